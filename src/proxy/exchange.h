/*
 * One request and its answer. The files of this folder, in the order of a request's life:
 *
 *   proxy.c ─▶ route.c ─▶ authenticate.c ─▶ receive.c ─▶ admit.c ─▶ cache.c ─▶ upstream.c ─▶ relay.c ─▶ settle.c
 *                 └────────────┴────────────────┴───────────┴──────────┴────────────┴──▶ answer.c ────────┘
 *
 * diagnose.c stands in the place of upstream.c and relay.c for requests about Sluice itself; health.c, metrics.c and
 * status.c answer what route.c finds to be for them. record.c and trace.c note what happens (record.h).
 *
 * Each stage calls the next one; none calls a former one. Every answer goes out through answer.c. The exchange
 * ends in settle.c, once, when the FastCGI side is done with it: only there is it freed.
 */
#ifndef SLUICE_EXCHANGE_H
#define SLUICE_EXCHANGE_H

#include "sluice/arena.h"
#include "sluice/buf.h"
#include "sluice/endpoint.h"
#include "sluice/fcgi.h"
#include "sluice/http_request.h"
#include "sluice/inflight.h"
#include "sluice/keys.h"
#include "sluice/limits.h"
#include "sluice/openai_error.h"
#include "sluice/pool.h"
#include "sluice/proxy.h"
#include "sluice/request_fields.h"
#include "sluice/retry.h"
#include "sluice/sse.h"
#include "sluice/stream_event.h"
#include "sluice/transfer.h"
#include "sluice/usage.h"

#include "record.h"

#include <event2/event_struct.h>

enum { DIAGNOSE_ID_MAX = 64, DIAGNOSE_STREAMS_MAX = 64 };

enum {
    EXCHANGE_MEMORY_MAX = 512 * 1024,
    EXCHANGE_ID_MAX = 128,         /* of a request id that a client chose */
    EXCHANGE_HEAD_MAX = 64 * 1024,
    EXCHANGE_REPLAY_MAX = 64 * 1024, /* a body that is not looked into is held up to this size, then streamed */
    EXCHANGE_BODY_HIGH = 256 * 1024, /* of a streamed body: above, the front server is held back */
    EXCHANGE_BODY_LOW = 64 * 1024,
    EXCHANGE_HOLD_MAX = 64 * 1024, /* an answer up to this size is sent only when it is complete */
    EXCHANGE_EVENT_MAX = 4 * 1024 * 1024, /* one event of a stream; images come in events */
    EXCHANGE_TAIL_SIZE = 4096      /* end of a larger answer in which usage is looked for */
};

/* Why an exchange ended, for the log. */
enum exchange_end {
    EXCHANGE_COMPLETE,        /* the upstream's answer, whatever its status, was delivered */
    EXCHANGE_CACHED,          /* a kept or a shared answer was delivered */
    EXCHANGE_LOCAL,           /* an answer of Sluice's own that is no error: health */
    EXCHANGE_REFUSED,         /* the request was at fault; "error" says how */
    EXCHANGE_UPSTREAM_FAILED, /* no answer from the upstream; the client got an error */
    EXCHANGE_CUT,             /* the answer broke off after its first byte had gone out */
    EXCHANGE_CLIENT_LEFT,
    EXCHANGE_CLIENT_STALLED,  /* the client took nothing for too long */
    EXCHANGE_PEER_BROKE,      /* the front server broke FastCGI */
    EXCHANGE_DRAINED,         /* ended because the process ends */
    EXCHANGE_FAILED           /* an error of Sluice's own */
};

/* How the request's body is taken. */
enum exchange_body {
    EXCHANGE_BODY_HELD,     /* JSON that is looked into, up to MAX_BODY_BYTES */
    EXCHANGE_BODY_SMALL,    /* not looked into; held as long as it is small, so that it can be sent again */
    EXCHANGE_BODY_STREAMED  /* of any size: passed on as it comes */
};

/* What the cache did, for X-Cache, log and metrics. */
enum exchange_cache {
    EXCHANGE_CACHE_NONE, /* it never came to it */
    EXCHANGE_CACHE_HIT,
    EXCHANGE_CACHE_MISS,
    EXCHANGE_CACHE_COALESCED, /* another request's answer */
    EXCHANGE_CACHE_BYPASS     /* not a request, or not a client, for the cache */
};

/* What a request's tokens were counted by. */
enum exchange_usage_source {
    EXCHANGE_USAGE_NONE,     /* there was nothing to count */
    EXCHANGE_USAGE_UPSTREAM, /* the upstream told */
    EXCHANGE_USAGE_DELTAS,   /* the input was estimated, the output counted from the deltas */
    EXCHANGE_USAGE_ESTIMATE  /* the input was estimated */
};

/* What a request has cost (cost.c). */
struct cost {
    enum { EXCHANGE_COST_NONE, EXCHANGE_COST_KNOWN, EXCHANGE_COST_UNPRICED } state;
    uint64_t nano_usd;
};

struct caching;

struct exchange {
    struct proxy *proxy;
    struct exchange *next, *prev;
    struct fcgi_request *fcgi; /* NULL: the client has left, others wait for the answer */
    struct arena memory;

    struct http_request http;
    const char *request_id;
    const char *cors_origin; /* the origin that the answer allows, or NULL */
    struct slice api_path;   /* behind /v1 */
    const struct endpoint *endpoint;
    const struct client_key *key; /* NULL: not authenticated */
    struct request_fields fields;
    enum exchange_body body_mode;
    struct buf body;         /* of a streamed body: what has not gone upstream */
    bool body_done;
    struct diagnosis *diagnosis; /* NULL: the request goes upstream */

    /* Its limits. */
    bool has_limits;               /* limits is set */
    struct limits_decision limits; /* at admission, or as last looked at */
    struct limits_reservation *reservation;
    int64_t estimated_input, estimated_tokens;
    size_t delivered_tokens;       /* counted from the deltas of a stream */
    bool usage_asked;              /* by Sluice, not by the client: to be hidden */
    enum exchange_usage_source usage_source;

    struct caching *caching;       /* NULL: the cache has no part in it */
    enum exchange_cache cache_result;
    struct buf *sent_body;         /* goes upstream instead of body; NULL: body does */
    struct event orphan_event;     /* ends an exchange without a client */

    /* The attempts upstream. What follows is of the present one. */
    unsigned attempts;
    struct event retry_timer;
    bool has_slot;           /* upstream_index is in use in the pool */
    size_t upstream_index;
    struct transfer *transfer;
    int upstream_status;
    int64_t upstream_length; /* of the body, -1: not said */
    const char *upstream_request_id;
    struct retry_hints hints;
    struct buf head;         /* header lines of the answer */
    bool head_is_short;      /* for want of memory: it must not go out */
    struct buf held;         /* body of an answer that is not yet sent, then its tail */
    bool streaming;          /* the upstream's answer is an event stream */
    bool flowing;            /* an answer too large to hold is on its way */
    struct sse_parser sse;
    size_t events;           /* sent to the client */
    bool encoded;            /* the upstream's answer is compressed */
    bool stream_ended;       /* an event that may end a stream was seen */
    bool stream_is_whole;    /* so was the one behind which nothing comes */

    struct event keepalive_timer;
    int64_t sent_us;         /* when the last byte of a stream was given out */
    int status;              /* of the answer; 0: none yet */
    bool no_more_retries;    /* the client shall not try again what was tried often enough */
    int64_t retry_after_us;  /* said with an error of Sluice's own; 0: nothing */
    bool answered;           /* the answer is complete */
    enum exchange_end end;
    const char *error;       /* name of the error that was answered, or NULL */
    const char *detail;      /* what libcurl said, or NULL */
    struct usage usage;
    struct cost cost;

    int64_t started_us, upstream_started_us, upstream_head_us, upstream_done_us, first_byte_us;
    size_t bytes_in, bytes_out; /* body bytes */
    struct record record;
};

/* The last streams of diagnose.c that had an id. */
struct diagnosed {
    struct diagnosed_stream {
        char id[DIAGNOSE_ID_MAX + 1]; /* empty: an unused place */
        char key[KEY_FINGERPRINT_SIZE];
        int64_t began_us, ended_us; /* ended_us 0: under way */
        bool left;                  /* by its client */
    } streams[DIAGNOSE_STREAMS_MAX];
    size_t next;
};

struct proxy {
    struct event_base *base;
    const struct config *config;
    const struct keys *keys;
    struct pool *pool;
    struct redis *redis;       /* NULL: not used */
    struct limits *limits;
    struct cache *cache;       /* NULL: off */
    struct inflight *inflight; /* NULL: not shared with other processes */
    struct exchange *flights;  /* those that others may join, linked by caching->next_flight */
    struct fcgi_server *server;
    struct transfer_pool *transfers;
    struct recorder recorder;
    struct exchange *exchanges;
    size_t active, max_active;
    size_t peak; /* of active, since memory was last given back */
    struct event *calm_event;
    bool warned_no_authorization;
    struct diagnosed diagnosed;
    bool draining;
    enum proxy_drain_mode drain_mode;
    void (*on_idle)(void *ctx);
    void *on_idle_ctx;
    struct event *idle_event;
    int64_t served, serve_limit;
    void (*on_limit)(void *ctx);
    void *on_limit_ctx;
};

/* services.c: limits, cache, Redis. False: it cannot work; the log tells why. */
bool services_open(struct proxy *p);
void services_close(struct proxy *p);
bool services_redis_is_connected(const struct proxy *p);

/* route.c: where the request goes. Ends in authenticate_request() or an answer. */
void route_request(struct exchange *x);
/* A request about Sluice itself that is answered while draining too. False: it is none, and nothing was done. */
bool route_own(struct exchange *x);
/* Whether the method is GET or HEAD; answers where it is not. */
bool route_is_read(struct exchange *x);

/* cors.c: decides x->cors_origin; true where the request was a preflight and is answered. */
bool cors_handle(struct exchange *x);
/* The header lines that let a page of x->cors_origin read the answer. */
bool cors_put_headers(const struct exchange *x, struct buf *head);

/* authenticate.c: whose request it is. Ends in receive_begin() or an answer. */
void authenticate_request(struct exchange *x);

/* receive.c: the body, and whether it can be served. Ends in admit_request() or an answer. */
void receive_begin(struct exchange *x);
void receive_piece(struct exchange *x, struct slice bytes);
void receive_end(struct exchange *x);

/* diagnose.c: answers about Sluice itself. False: the request is none for them, and nothing was done. The others are
 * for requests with a diagnosis only, but for settle, which takes all. */
bool diagnose_begin(struct exchange *x);
void diagnose_piece(struct exchange *x, struct slice bytes);
void diagnose_end(struct exchange *x);
void diagnose_settle(struct exchange *x, enum fcgi_outcome outcome);

/* admit.c: the client's limits. Ends in cache_request() or an answer. */
void admit_request(struct exchange *x);
void admit_settle_cached(struct exchange *x);  /* no tokens were used */
void admit_settle(struct exchange *x);         /* what is known now was used; later calls do nothing */
bool admit_put_headers(struct exchange *x, struct buf *head);
bool admit_hides_header(const struct exchange *x, struct slice name); /* of the upstream's, as the client has its own */

/* cache.c: an answer that is known, or is under way. Ends in upstream_begin() or an answer. */
void cache_request(struct exchange *x);
void cache_take_event(struct exchange *x, const struct sse_event *event); /* of the upstream's stream */
/* The upstream's complete answer, which may be made whole in place. False: it is not what was asked for. */
bool cache_take_answer(struct exchange *x, struct buf *body);
void cache_take_stream_end(struct exchange *x);
void cache_take_failure(struct exchange *x);
bool cache_is_wanted(const struct exchange *x); /* others wait for its answer */
void cache_end(struct exchange *x);

/* upstream.c: the request goes upstream, again where that helps. Its answer goes to relay.c. */
void upstream_begin(struct exchange *x);
void upstream_more_body(struct exchange *x); /* of a streamed body */
void upstream_cancel(struct exchange *x);    /* ends the attempt and what waits for the next one */
void upstream_drained(struct exchange *x);   /* the client has taken what it had been given */

/* relay.c: what comes back. */
void relay_begin(struct exchange *x); /* an attempt begins: nothing has come back */
void relay_header(struct exchange *x, struct slice name, struct slice value);
void relay_head(struct exchange *x, int status, int64_t length);
bool relay_body(struct exchange *x, struct slice bytes); /* false: the upstream shall pause */
void relay_end(struct exchange *x, enum transfer_result result, const char *detail);

/* An event as the client shall see it. hide_usage: what the event says where its usage was not asked for and is to be
 * hidden, or NULL. False: the answer ended. */
bool relay_give_event(struct exchange *x, const struct sse_event *event, const struct stream_event *hide_usage);

/* keepalive.c: comment lines for a stream that is silent. */
void keepalive_start(struct exchange *x);
void keepalive_stop(struct exchange *x);

/* answer.c: every byte that goes to the client. */
void answer_error(struct exchange *x, enum exchange_end end, const struct openai_error *error);
void answer_error_id(struct exchange *x, enum exchange_end end, enum openai_error_id id);
/* 413 for a body of this many bytes, or more. */
void answer_too_large(struct exchange *x, int64_t size);
/* 503 with Retry-After. */
void answer_unavailable(struct exchange *x, enum openai_error_id id, int64_t retry_after_us);
void answer_json(struct exchange *x, int status, struct slice json);
/* An upstream's error body that was another exchange's answer. */
void answer_upstream_error(struct exchange *x, int status, struct slice json);
/* Bytes that the client has not taken. */
size_t answer_pending(const struct exchange *x);
/* Any text, with the lines of x->head; not to be kept by caches. */
void answer_text(struct exchange *x, int status, const char *type, struct slice text);
/* x->head, line by line. One beyond its bound is left out; one that memory was missing for makes answer_head() fail. */
void answer_clear_headers(struct exchange *x);
void answer_put_header(struct exchange *x, struct slice name, struct slice value);
/* The head with the lines of x->head; length -1: none is said. */
bool answer_head(struct exchange *x, int status, int64_t length);
bool answer_body(struct exchange *x, struct slice bytes);
/* The head of an event stream that Sluice begins by itself. */
bool answer_stream_head(struct exchange *x);
/* An error in the middle of a stream, as an event in the form of the endpoint. */
void answer_error_event(struct exchange *x, enum exchange_end end, enum openai_error_id id);
/* The same with the upstream's own error body. */
void answer_upstream_error_event(struct exchange *x, enum exchange_end end, struct slice json);
void answer_complete(struct exchange *x, enum exchange_end end);
/* The answer breaks off: the front server must see it. */
void answer_abort(struct exchange *x, enum exchange_end end);

/* cost.c: what it has cost, behind admit_settle(). */
void cost_settle(struct exchange *x);

/* settle.c: the log line, and the end. */
void settle_exchange(struct exchange *x, enum fcgi_outcome outcome);

#endif
