/*
 * The upstream keys at work: which one a request takes, and what is known of its health.
 *
 * The health is shared by all workers of a supervisor (one anonymous mapping): a breaker that one worker's failures
 * open is open for all. How many requests use a key is counted in each worker by itself.
 *
 * The breaker of a key opens after POOL_FAILURES failures in a row. While it is open the key is not used; afterwards
 * one request probes it, and its result closes or opens it again.
 */
#ifndef SLUICE_POOL_H
#define SLUICE_POOL_H

#include "sluice/keys.h"

enum { POOL_FAILURES = 15 };

struct pool_shared; /* the mapping */
struct pool;        /* a worker's view of it */

/* For count upstream keys; before the workers are forked. NULL without memory. */
struct pool_shared *pool_shared_new(size_t count);
void pool_shared_free(struct pool_shared **shared);

/* Everything is lent. open_us: how long an open breaker stays open. NULL without memory. */
struct pool *pool_new(const struct keys *keys, struct pool_shared *shared, int64_t open_us);
void pool_free(struct pool **pool);

enum pool_refusal {
    POOL_REFUSED_OPEN,    /* every key's breaker is open */
    POOL_REFUSED_DISABLED /* the upstream rejected every key */
};

struct pool_choice {
    bool chosen;
    size_t index;                /* of the upstream key, where chosen; give it back with pool_report() */
    enum pool_refusal refusal;   /* otherwise */
    int64_t retry_after_us;      /* of POOL_REFUSED_OPEN */
};

/* The least used key that may be used; one that rests after a 429 only where no other may. */
struct pool_choice pool_choose(struct pool *pool, const struct client_key *key);

/* Once a key was reported rejected or limited: whether the client has another that is neither, nor behind an open
 * breaker. */
bool pool_has_another(const struct pool *pool, const struct client_key *key);

enum pool_outcome {
    POOL_SUCCEEDED, /* the upstream answered, whatever it said */
    POOL_FAILED,    /* no answer, or a server error */
    POOL_REJECTED,  /* 401: with others beside it, the key is out until a reload */
    POOL_LIMITED,   /* 429: with others beside it, the key rests for rest_us */
    POOL_UNKNOWN    /* the client left before anything was known */
};

void pool_report(struct pool *pool, const struct client_key *key, size_t index, enum pool_outcome outcome,
                 int64_t rest_us);

/* For health and metrics: whether every key's breaker is open. */
bool pool_is_open(const struct pool *pool);

#endif
