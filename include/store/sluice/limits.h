/*
 * Rate limits of a client key: requests a minute, tokens a minute, requests at once.
 *
 * Requests and tokens are token buckets that hold a minute's worth (bucket.h). They live in a file of the state
 * directory (limits.v1) that all processes of the machine map, so that one limit holds for all of them; or, with
 * RATE_LIMIT__BACKEND=redis, in Redis, so that one limit holds for several machines. Without an answer of Redis in time
 * the machine's own buckets decide, with RATE_LIMIT__LOCAL_SHARE of each limit: they begin where Redis was last seen.
 *
 * What an admission reserves belongs to the process that asked. A process that dies gives it back: it shows every
 * quarter of RATE_LIMIT__LEASE_SECONDS that it lives, and after three quarters without that the others take back what it
 * held; a process that was only asleep finds its reservations gone, and is charged in full when it settles.
 *
 * Time is that of CLOCK_BOOTTIME, which never steps, moved so that it goes on after a restart of the machine (by the
 * wall clock, and never behind what the file has seen). Redis' own clock counts for what is in Redis.
 *
 * Tables and their caps: 65,536 keys, each in one of 32 places; a key unused for ten minutes, with full buckets and
 * nothing reserved, gives its place up. Keys that find no place share one, with one bucket for all: rather too strict
 * than none. 65,536 reservations and 1,024 processes can be given back after a crash; beyond that a reservation counts,
 * but comes back by time alone. 1,048,576 places for requests at once; beyond, that limit is not enforced. All of it is
 * counted in limits_stats.
 */
#ifndef SLUICE_LIMITS_H
#define SLUICE_LIMITS_H

#include "sluice/config.h"
#include "sluice/keys.h"
#include "sluice/ratelimit_headers.h"
#include "sluice/redis.h"

struct limits;
struct limits_reservation;

enum limits_verdict {
    LIMITS_ADMITTED,
    LIMITS_REFUSED_REQUESTS,
    LIMITS_REFUSED_TOKENS,
    LIMITS_REFUSED_CONCURRENT
};

struct limits_decision {
    enum limits_verdict verdict;
    struct ratelimit_bucket requests, tokens; /* after this admission; limit 0: unlimited */
    int64_t concurrent_limit; /* 0: unlimited */
    int64_t requested_tokens; /* the estimate that was asked for */
    int64_t retry_after_us;   /* of a refusal: when the same request would be admitted if nothing else came */
    bool fallback;            /* the machine's own buckets decided in place of Redis */
};

typedef void limits_callback(void *user, const struct limits_decision *decision);

struct limits_stats {
    uint64_t admitted, refused_requests, refused_tokens, refused_concurrent;
    uint64_t fallbacks;      /* decided without Redis though it should have been asked */
    uint64_t reclaimed;      /* reservations of dead processes that this one gave back */
    uint64_t shared_place;   /* admissions of keys that found no place of their own */
    uint64_t no_lease;       /* admissions that a crash would not give back */
    uint64_t not_enforced;   /* admissions for which requests at once could not be counted */
};

/*
 * base may be NULL where nothing asynchronous is wanted (then nothing shows that this process lives but its calls).
 * redis: NULL unless RATE_LIMIT__BACKEND=redis; it must live longer. Copies what it needs of the configuration.
 * NULL after having written to message what is wrong. A message together with a result is a warning: a damaged file was
 * replaced.
 */
struct limits *limits_new(struct event_base *base, const struct config *config, struct redis *redis,
                          struct buf *message);

/* Gives back what is still reserved, as limits_cancel() does, without any callback. */
void limits_free(struct limits **limits);

/*
 * Asks to admit one request of about `tokens` tokens (0: it uses none, and no debt of tokens stops it). The callback is
 * called exactly once, possibly before this returns. *out is set before: to the reservation, which stays there if the
 * request is admitted, and is NULL when the callback tells of a refusal. out must stay where it is until the
 * reservation has ended.
 */
void limits_admit(struct limits *limits, const struct client_key *key, int64_t tokens,
                  struct limits_reservation **out, limits_callback *callback, void *user);

/* The request was made and has used this many tokens: the difference is charged or given back. A request that was in
 * debt from the start may leave a debt. Clears *r; NULL is ignored. */
void limits_settle(struct limits_reservation **r, int64_t tokens);

/* The request was not made: everything is given back. Before the callback: it will not be called. Clears *r; NULL is
 * ignored. */
void limits_cancel(struct limits_reservation **r);

/* As an admission would show it, without admitting; of Redis what was last seen. Never waits. */
void limits_look(struct limits *limits, const struct client_key *key, struct limits_decision *out);

/* Output tokens of a request of this key, for its estimate: a moving average (1/8) of what limits_learn() was told, of
 * the whole machine's requests while the key has none. 0: nothing is known. */
int64_t limits_learned_output(struct limits *limits, const struct client_key *key);
void limits_learn(struct limits *limits, const struct client_key *key, int64_t output_tokens);

const struct limits_stats *limits_stats(const struct limits *limits);

#endif
