/*
 * What Sluice must know of a JSON request body (OpenAI reference, "Create chat completion"). The body itself is
 * forwarded as the client sent it: nothing here is ever written back.
 */
#ifndef SLUICE_REQUEST_FIELDS_H
#define SLUICE_REQUEST_FIELDS_H

#include "sluice/openai_error.h"

enum { REQUEST_MODEL_MAX = 128, REQUEST_DETAIL_MAX = 96 };

struct request_fields {
    char model[REQUEST_MODEL_MAX]; /* cut at the limit: for logs and metrics only */
    bool stream;
    bool include_usage; /* stream_options.include_usage */
};

/* An error with room of its own for what its text needs. */
struct request_error {
    struct openai_error error;
    char details[OPENAI_ERROR_ARGS][REQUEST_DETAIL_MAX];
};

/* Reads a chat completion's body. False: error says what OpenAI would say; out is then filled as far as it is
 * known, for the log. */
bool request_fields_read_chat(struct slice body, struct request_fields *out, struct request_error *error);

#endif
