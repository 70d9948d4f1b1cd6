/*
 * FastCGI connections on the event loop. The one module that knows libfcgi.
 *
 * The front server's bytes are read without blocking and cut into records here; only a complete, bounded and
 * well-formed head (BEGIN_REQUEST and PARAMS) is given to libfcgi, which decodes it. The answer is framed and
 * written by libfcgi, one buffer of it a call and only where the socket is known to have room, so that its writes do
 * not wait. docs/architecture.md tells what libfcgi would do with a hostile peer otherwise.
 *
 * A connection has at most one request at a time. A request begins with begin(), and ends with done(), exactly
 * once, always from the loop and never within a call of the application's: after done() its handle is dead.
 */
#ifndef SLUICE_FCGI_H
#define SLUICE_FCGI_H

#include "sluice/handover.h"
#include "sluice/slice.h"

#include <event2/event.h>
#include <stdint.h>

struct fcgi_server;
struct fcgi_request;

/* How a request ended, seen from the front server's side. */
enum fcgi_outcome {
    FCGI_DELIVERED,   /* the whole answer was given to the front server */
    FCGI_ABORTED,     /* the application gave up: fcgi_request_abort() */
    FCGI_CLIENT_LEFT, /* the connection was closed or reset, or FCGI_ABORT_REQUEST came */
    FCGI_PEER_BROKE,  /* what came was not FastCGI */
    FCGI_STALLED      /* the peer took nothing for too long */
};

struct fcgi_events {
    /* A head has arrived. What it returns is user in all later calls. */
    void *(*begin)(void *ctx, struct fcgi_request *r);
    /* A piece of the body; the bytes are valid during the call. */
    void (*body)(void *user, struct slice bytes);
    void (*body_end)(void *user);
    /* Nothing of a body that has not ended came for too long; said once. */
    void (*body_late)(void *user);
    /* Less than the low-water mark waits to be written, after it had been more than the high-water mark. */
    void (*drained)(void *user);
    void (*done)(void *user, enum fcgi_outcome outcome);
};

enum {
    FCGI_HEAD_MAX = 128 * 1024, /* bytes of all PARAMS; beyond, the head arrives empty: see below */
    FCGI_RECORD_CONTENT_MAX = 65535, /* bytes that one call of body() can bring */
    FCGI_PARAMS_MAX = 1000,     /* variables in one request */
    FCGI_HIGH_WATER = 128 * 1024,
    FCGI_LOW_WATER = 32 * 1024,
    FCGI_PENDING_MAX = 64 * 1024 * 1024 /* a write beyond this is refused */
};

struct fcgi_limits {
    int64_t head_us;  /* from a connection's first byte to a whole head */
    int64_t body_us;  /* between two pieces of a body */
    int64_t write_us; /* without the peer taking anything */
    int64_t drain_us; /* how long the rest of a body is read and dropped after the answer */
    size_t connections; /* accepting pauses at this many */
    size_t timers;      /* of the application, that a request may have armed at once: there is room for them (timers.h) */
};

/* listen_fd is a listening socket, stays the caller's and is made non-blocking. NULL without memory or
 * descriptors. ctx goes to begin(). */
struct fcgi_server *fcgi_server_new(struct event_base *base, int listen_fd, const struct fcgi_events *events,
                                    const struct fcgi_limits *limits, void *ctx);

/* Stops accepting; requests under way go on. A connection without a request is handed over, at once and whenever one
 * becomes so, or closed where handover is NULL or full. handover is lent. */
void fcgi_server_stop_accepting(struct fcgi_server *s, const struct handover *handover);

/* Takes a connection that another process handed over. fd becomes the server's. */
void fcgi_server_adopt(struct fcgi_server *s, int fd);

size_t fcgi_server_connections(const struct fcgi_server *s);

/* Ends every connection at once, with done() for each request, and frees the server. */
void fcgi_server_free(struct fcgi_server **server);

/* The CGI variables, "NAME=value", NULL at the end; valid until done(). */
const char *const *fcgi_request_variables(const struct fcgi_request *r);

/* The head exceeded FCGI_HEAD_MAX or FCGI_PARAMS_MAX and was dropped: there are no variables. */
bool fcgi_request_head_was_too_large(const struct fcgi_request *r);

/* Whether the front server wants to keep the connection for its next request. */
bool fcgi_request_keeps_connection(const struct fcgi_request *r);

/* Closes the connection behind the answer nevertheless, so that the front server's next request may reach another
 * process. */
void fcgi_request_close_connection(struct fcgi_request *r);

/* Queues bytes of the answer; they are written in the same turn of the loop where the peer takes them. False past
 * FCGI_PENDING_MAX or without memory: the answer then has a hole and must be aborted. */
bool fcgi_request_write(struct fcgi_request *r, struct slice bytes);

/* Bytes queued and not written. */
size_t fcgi_request_pending(const struct fcgi_request *r);

/* The answer is complete. */
void fcgi_request_end(struct fcgi_request *r);

/* The answer will not be completed: the connection is closed, so that the front server sees it. */
void fcgi_request_abort(struct fcgi_request *r);

/* No more body() until resumed: the front server is held back. The client's departure is still seen. */
void fcgi_request_pause_body(struct fcgi_request *r);
void fcgi_request_resume_body(struct fcgi_request *r);

#endif
