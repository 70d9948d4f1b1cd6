/* What is noted of an exchange for the metrics, and where. Part of exchange.h. */
#ifndef SLUICE_RECORD_H
#define SLUICE_RECORD_H

#include "sluice/metrics.h"
#include "sluice/redis.h"
#include "sluice/transfer.h"

struct exchange;
struct proxy;

/* Of one exchange. */
struct record {
    const char *place;    /* "health", "metrics", …: the request is no call of the API; or NULL */
    int64_t received_us;  /* the request was whole */
    int64_t first_us;     /* the first event of a stream was given out; 0: none yet */
    int64_t event_us;     /* the last one */
    bool stream;          /* it counts in the recorder's streams */
    bool cache_asked, cache_hit;
    struct metrics_histogram gaps;
};

/* Of a proxy. */
struct recorder {
    struct metrics *metrics; /* NULL: nothing is recorded */
    struct event *tick;
    struct event *flush; /* of the log */
    size_t streams;
    uint64_t log_lines, log_dropped; /* that were counted already */
    struct redis_stats redis;        /* likewise */
    uint64_t cache_stored, cache_dropped, cache_failed;
    void *descriptors;               /* the directory that is being counted, some of it each tick; or NULL */
    int64_t descriptors_seen;
};

/* record.c. The metrics are lent. False without memory. */
bool record_start(struct proxy *p, struct metrics *metrics);
void record_stop(struct proxy *p);
/* Brings what this process shows of itself up to date: by the tick, and before the metrics are shown. */
void record_refresh(struct proxy *p);

/* The number of requests under way has changed. */
void record_active(struct proxy *p);
void record_received(struct exchange *x);
/* An event with data goes to the client. */
void record_event(struct exchange *x, int64_t now_us);
/* An attempt upstream has ended; pause_us: until the next one, -1: it was the last. */
void record_attempt(struct exchange *x, enum transfer_result result, const char *detail, int64_t pause_us);
/* What was wrong with an answer that the transfer itself found good, such as "cut". */
void record_upstream_error(struct exchange *x, const char *kind);
/* result: "hit", "miss", "coalesced" or "bypass". */
void record_cache(struct exchange *x, const char *result);
/* kind: "requests", "tokens" or "concurrent". */
void record_refusal(struct exchange *x, const char *kind);
/* It has ended; end: the reason's name. */
void record_end(struct exchange *x, const char *end, bool bad);

/* trace.c: a stage at the level debug, with its cause or NULL. */
void trace_stage(const struct exchange *x, const char *stage, const char *cause);
/* A body, or the beginning of one, and the request's headers: only where LOG_BODIES says so. */
void trace_body(const struct exchange *x, const char *event, struct slice body);
void trace_headers(const struct exchange *x);

/* metrics.c, status.c, health.c: requests about Sluice itself. False: it is none of these, and nothing was done. */
bool metrics_answer(struct exchange *x, struct slice path);
bool status_answer(struct exchange *x, struct slice path);
bool health_answer(struct exchange *x, struct slice path);
/* access.c: whether it may see the metrics. Answers where it may not. */
bool access_is_open(struct exchange *x);

#endif
