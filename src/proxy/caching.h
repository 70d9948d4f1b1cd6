/*
 * What the cache knows of an exchange. Shared by cache.c (looking up, giving, storing), flight.c (joining identical
 * requests) and cache_items.c (embeddings, item by item).
 */
#ifndef SLUICE_CACHING_H
#define SLUICE_CACHING_H

#include "exchange.h"
#include "sluice/cache.h"
#include "sluice/cache_policy.h"
#include "sluice/embeddings.h"
#include "sluice/inflight.h"
#include "sluice/stream_fold.h"

enum {
    CACHING_HOLD_MAX = 16 * 1024 * 1024, /* an embeddings answer up to this size is taken apart */
    CACHING_POLL_MS = 20,                /* how often another process's request is looked at */
    CACHING_SETTLE_POLL_MS = 2,          /* the same while its answer is being stored */
    CACHING_SETTLE_REDIS_MS = 60,        /* within which Redis has taken an answer */
    CACHING_SETTLE_MAX_MS = 500,         /* longer than this nobody waits for an answer to be stored */
    CACHING_LEASE_SECONDS = 10           /* a leader without a sign of life for so long is replaced */
};

/* How an exchange takes part in a flight: identical requests of which one goes upstream. */
enum caching_role {
    CACHING_ALONE,
    CACHING_LEADER,  /* it goes upstream, and others may wait for it */
    CACHING_WATCHER, /* it waits for another process's leader, and others may wait for it */
    CACHING_FOLLOWER /* it waits for an exchange of this process */
};

/* One input of an embeddings request. */
struct caching_item {
    struct exchange *exchange;
    struct digest key;
    struct cache_lookup *lookup;
    struct buf bytes;       /* what found points into */
    struct embedding found; /* an empty vector: missing */
};

struct caching_items {
    struct embeddings_request request;
    struct digest frame;
    struct buf reduced; /* the request with what is missing only */
    struct caching_item *items;
    size_t waiting; /* lookups without an answer, and one while lookups are being made */
    size_t missing;
};

struct caching {
    enum cache_kind kind;
    struct cache_control control;
    struct digest key;
    struct cache_lookup *lookup;
    struct caching_items *items; /* NULL: the answer is one entry */

    enum caching_role role;
    struct exchange *leader;        /* of a follower */
    struct exchange *followers;     /* of a leader or watcher, oldest first */
    struct exchange *next_follower;
    struct exchange *next_flight;   /* in the proxy's list of flights */
    struct inflight_claim claim;
    bool claimed;
    struct event timer;             /* a watcher's next look, a leader's next sign of life, a follower's patience */
    int64_t patience_us;            /* when waiting ends */
    bool joined;                    /* it has waited for another one's answer */

    struct stream_fold *fold;       /* of a leader's stream: the object that it tells */
    struct buf told;                /* of a leader's stream: its events so far, for those who join later */
    bool told_all;                  /* told holds all of them */
};

/* flight.c */
void flight_enter(struct exchange *x);
bool flight_await_store(struct exchange *x);                              /* the answer is just being stored */
void flight_leave(struct exchange *x);                                    /* the exchange ends */
void flight_tell(struct exchange *x, const struct sse_event *event);      /* a leader's event */
void flight_land(struct exchange *x, struct slice object, struct slice type); /* the answer, for all who wait */
void flight_share_error(struct exchange *x, struct slice body);           /* an error that all would get */
void flight_fail(struct exchange *x);                                     /* one of those who wait takes over */

/* cache.c */
void cache_look_up(struct exchange *x);
void cache_go_upstream(struct exchange *x);
/* Answers from a complete object, and all who wait for this exchange. age_us of an entry; -1: it is fresh. */
void cache_give(struct exchange *x, struct slice object, struct slice type, int64_t age_us);
void cache_give_event(struct exchange *x, const struct sse_event *event);
void cache_put(struct exchange *x, const struct digest *key, struct slice body, struct slice type);
bool cache_is_fresh(const struct exchange *x, const struct cache_entry *entry);
void cache_miss(struct exchange *x);

/* cache_items.c. False: the request cannot be taken apart. */
bool cache_items_prepare(struct exchange *x, const struct digest *place);
void cache_items_look_up(struct exchange *x);
/* Stores the items of the upstream's answer, and makes the answer to the whole request of it in *body where only a part
 * was asked for. False: it cannot be taken apart. */
bool cache_items_complete(struct exchange *x, struct buf *body);
void cache_items_free(struct exchange *x);

#endif
