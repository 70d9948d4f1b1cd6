/*
 * The endpoints of the API, by path: what Sluice knows of each. A path that is not in the table is an endpoint too, one
 * that Sluice knows nothing of: it passes through.
 */
#ifndef SLUICE_ENDPOINT_H
#define SLUICE_ENDPOINT_H

#include "sluice/slice.h"

enum endpoint_method {
    ENDPOINT_GET = 1,
    ENDPOINT_POST = 2,
    ENDPOINT_DELETE = 4,
    ENDPOINT_ANY = 8 /* the upstream judges */
};

/* Which fields a JSON body of this endpoint has. */
enum endpoint_fields {
    ENDPOINT_FIELDS_NONE, /* the body is not looked into */
    ENDPOINT_FIELDS_CHAT,
    ENDPOINT_FIELDS_COMPLETIONS,
    ENDPOINT_FIELDS_EMBEDDINGS,
    ENDPOINT_FIELDS_RESPONSES,
    ENDPOINT_FIELDS_MODEL /* "model" and "stream" are read, nothing is checked */
};

/* How an event stream of this endpoint ends, and how an error in it looks. */
enum endpoint_stream {
    ENDPOINT_STREAM_OTHER,    /* it ends when the upstream ends it */
    ENDPOINT_STREAM_CHOICES,  /* with "[DONE]", after a finish reason */
    ENDPOINT_STREAM_RESPONSES /* with response.completed, response.incomplete, response.failed or error */
};

struct endpoint {
    const char *name;    /* for logs and metrics */
    const char *pattern; /* behind /v1; {} stands for one segment */
    unsigned methods;    /* a sum of enum endpoint_method */
    enum endpoint_fields fields;
    enum endpoint_stream stream;
    bool model_in_path; /* the first {} is the model */
    bool is_stored;     /* answers are objects that an earlier request has made, with its usage */
};

/* Never NULL. */
const struct endpoint *endpoint_find(struct slice api_path);

bool endpoint_allows(const struct endpoint *e, struct slice method);

/* Whether such a request makes a model work. The usage in another one's answer was counted before, or will be told again. */
bool endpoint_uses_tokens(const struct endpoint *e, struct slice method);

/* The n-th segment (from 0) of a path; empty where there is none. */
struct slice endpoint_segment(struct slice path, size_t n);

/* The model in a path such as /engines/MODEL/completions; empty where the endpoint has none there. */
struct slice endpoint_path_model(const struct endpoint *e, struct slice api_path);

/* Administration of the upstream's organisation: /organization/… and /projects/…, however the path is written. */
bool endpoint_is_admin(struct slice api_path);

/* A path that is for WebSocket connections only. */
bool endpoint_is_websocket(struct slice api_path);

#endif
