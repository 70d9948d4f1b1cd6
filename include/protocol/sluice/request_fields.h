/*
 * What Sluice must know of a JSON request body (OpenAI reference). The body itself is forwarded as the client sent it:
 * nothing here is ever written back.
 */
#ifndef SLUICE_REQUEST_FIELDS_H
#define SLUICE_REQUEST_FIELDS_H

#include "sluice/endpoint.h"
#include "sluice/json_scan.h"
#include "sluice/openai_error.h"

enum {
    REQUEST_MODEL_MAX = 128,
    REQUEST_DETAIL_MAX = 96,
    REQUEST_DEPTH_MAX = JSON_SCAN_DEPTH_MAX /* of a body: what is nested deeper is no JSON here */
};

struct request_fields {
    char model[REQUEST_MODEL_MAX]; /* cut at the limit: for logs and metrics only */
    bool stream;
    bool include_usage; /* stream_options.include_usage */
    bool background;    /* the model works behind the answer */
};

/* An error with room of its own for what its text needs. */
struct request_error {
    struct openai_error error;
    char param[REQUEST_DETAIL_MAX];
    char details[OPENAI_ERROR_ARGS][REQUEST_DETAIL_MAX];
};

enum request_check {
    REQUEST_CHECK_FIELDS, /* required fields, types and ranges */
    REQUEST_CHECK_OBJECT  /* only that it is a JSON object */
};

/*
 * Reads a body of an endpoint with fields. False: error says what OpenAI would say; out is then filled as far as it
 * is known, for the log. path_model is a model that stands in the path, or empty. Unknown fields always pass, and so
 * does null. Nothing is allocated, and the body is read once.
 */
bool request_fields_read(struct slice body, enum endpoint_fields fields, struct slice path_model,
                         enum request_check check, struct request_fields *out, struct request_error *error);

/* The value of a form field in the beginning of a multipart/form-data body (RFC 7578); empty where it is not there. */
struct slice request_form_field(struct slice body, const char *name);

#endif
