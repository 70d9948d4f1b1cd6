/* One HTTP request as received, shared between its connection and the request log. */
#ifndef SIM_HTTP_H
#define SIM_HTTP_H

#include "buf.h"

enum request_state { REQUEST_ACTIVE, REQUEST_COMPLETE, REQUEST_ABORTED, REQUEST_CUT };

struct request {
    unsigned refs;
    enum request_state state;
    uint64_t seq;
    uint64_t arrived_us;
    uint64_t ended_us;
    uint64_t events_sent;
    struct buf head; /* raw bytes; the slices below point into it */
    struct buf body; /* may be cut to the log's cap once the request has ended */
    uint64_t body_bytes;
    char body_sha256[65]; /* only set when the body was too large to keep */
    struct slice method, target, path, query;
    struct slice content_type, authorization;
    uint64_t content_length;
    bool has_length, chunked, expect, keep_alive, http11;
};

/* Parses head (which must end in an empty line); NULL when it is not HTTP/1. */
struct request *http_request_new(const char *head, size_t len);
void http_request_unref(struct request *r);

/* Steps over the header lines; start with cursor 0. */
bool http_header_next(const struct request *r, size_t *cursor, struct slice *name, struct slice *value);

/* The url-decoded query parameter appended to out; false when absent. */
bool http_query_get(const struct request *r, const char *name, struct buf *out);

const char *http_status_text(int status);

#endif
