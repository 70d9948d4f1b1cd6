/*
 * HTTP requests to an upstream, on the event loop. The one module that knows libcurl.
 *
 * A pool keeps connections, which all transfers of the worker share. A transfer ends with
 * done(), exactly once and always from the loop, or silently with transfer_cancel(). After either its handle is
 * dead.
 */
#ifndef SLUICE_TRANSFER_H
#define SLUICE_TRANSFER_H

#include "sluice/slice.h"

#include <event2/event.h>
#include <stdint.h>

struct transfer_pool;
struct transfer;

enum transfer_result {
    TRANSFER_OK,                 /* the whole answer arrived, whatever its status */
    TRANSFER_UNREACHABLE,        /* no connection: name, refusal, reset before the first byte of an answer */
    TRANSFER_TLS_FAILED,         /* handshake or certificate */
    TRANSFER_CUT,                /* the answer broke off */
    TRANSFER_GARBAGE,            /* what came is not HTTP, or exceeds a bound */
    TRANSFER_CONNECT_TIMEOUT,
    TRANSFER_FIRST_BYTE_TIMEOUT,
    TRANSFER_IDLE_TIMEOUT,       /* nothing came for too long after the first byte */
    TRANSFER_TOTAL_TIMEOUT,
    TRANSFER_INTERNAL            /* no memory, or a setting that libcurl refuses */
};

/* In snake_case, for logs. */
const char *transfer_result_name(enum transfer_result result);

struct transfer_limits {
    int64_t connect_us;
    int64_t first_byte_us; /* from the start, or the last piece of a streamed body, to the answer's head */
    int64_t idle_us;
    int64_t total_us;
};

struct transfer_events {
    /* A header of the final answer, in order. The slices are valid during the call. */
    void (*header)(void *user, struct slice name, struct slice value);
    /* The head is complete. content_length is -1 where it was not said. */
    void (*head)(void *user, int status, int64_t content_length);
    /* A piece of the body. False: hold back after this piece until transfer_resume(). */
    bool (*body)(void *user, struct slice bytes);
    void (*done)(void *user, enum transfer_result result, const char *detail);
    /* More of a streamed body: up to size bytes to to, and how many; 0: it has ended; TRANSFER_READ_LATER: none now,
     * until transfer_send_more(); TRANSFER_READ_FAILED ends the transfer. NULL where no body is streamed. */
    size_t (*read)(void *user, char *to, size_t size);
};

#define TRANSFER_READ_LATER ((size_t)-1)
#define TRANSFER_READ_FAILED ((size_t)-2)

struct transfer_request {
    const char *method;
    const char *url;
    const char *const *headers; /* "Name: value", NULL at the end; copied */
    struct slice body;          /* must live until the transfer has ended; empty with a NULL pointer: none */
    bool streamed;              /* the body comes from read() instead; it cannot be sent twice */
    int64_t length;             /* of a streamed body; -1: not known, it is sent in chunks */
    bool http2;                 /* by ALPN, where the upstream has it */
    struct transfer_limits limits;
};

/* NULL without memory. */
struct transfer_pool *transfer_pool_new(struct event_base *base);

/* Whom transfers trust by TLS, in place of the system's certificates: a PEM file, lent; before the first transfer. */
void transfer_pool_trust(struct transfer_pool *pool, const char *ca_file);

/* Cancels what is under way, without done(). */
void transfer_pool_free(struct transfer_pool **handle);

/* Transfers under way. */
size_t transfer_pool_active(const struct transfer_pool *pool);

/* NULL without memory. Nothing is called back before the loop's next turn. */
struct transfer *transfer_start(struct transfer_pool *pool, const struct transfer_request *request,
                                const struct transfer_events *events, void *user);

/* Ends it at once: the connection is closed where the answer was not complete. Clears *t; NULL is ignored. Allowed
 * within every callback. */
void transfer_cancel(struct transfer **handle);

/* Goes on after body() said false. May call body() before it returns. */
void transfer_resume(struct transfer *t);

/* Goes on after read() said TRANSFER_READ_LATER. May call read() before it returns. */
void transfer_send_more(struct transfer *t);

#endif
