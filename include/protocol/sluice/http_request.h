/*
 * What a client asked, read from CGI variables (RFC 3875) as a FastCGI front server gives them.
 *
 * All slices point into the variables and live as long as these. The path is taken from REQUEST_URI: the one
 * variable that every front server leaves as the client sent it.
 */
#ifndef SLUICE_HTTP_REQUEST_H
#define SLUICE_HTTP_REQUEST_H

#include "sluice/slice.h"

#include <stdint.h>

enum { HTTP_HEADERS_MAX_BYTES = 64 * 1024 };

struct http_request {
    struct slice method;
    struct slice path;  /* of REQUEST_URI, percent-encoding untouched, without the query */
    struct slice query; /* without '?' */
    struct slice content_type;
    struct slice authorization;
    struct slice request_id; /* X-Request-ID */
    struct slice origin;
    struct slice remote_addr;
    int64_t content_length; /* bytes; -1: not said (a chunked body) */
    struct slice uri, length; /* REQUEST_URI and CONTENT_LENGTH as they came */
    size_t header_bytes;    /* names and values of all HTTP_ variables */
    const char *const *vars; /* "NAME=value", NULL at the end */
};

enum http_request_result {
    HTTP_REQUEST_OK,
    HTTP_REQUEST_BAD_VARIABLE, /* no method or URI, one that is none, or a control character in a header */
    HTTP_REQUEST_REPEATED,     /* what may be there once is there twice, or with two values: two readers might take different ones */
    HTTP_REQUEST_BAD_LENGTH,   /* CONTENT_LENGTH is not a number */
    HTTP_REQUEST_HEADERS_TOO_LARGE
};

/* Fills out even where the answer is not OK, as far as it came. */
enum http_request_result http_request_parse(const char *const *vars, struct http_request *out);

/* A header by its CGI name, such as "HTTP_OPENAI_BETA"; empty where it was not sent. */
struct slice http_request_variable(const struct http_request *r, const char *name);

/* The token of "Authorization: Bearer token"; empty where there is none of this scheme. */
struct slice http_request_bearer(const struct http_request *r);

#endif
