/* Choosing among upstream keys, and their breakers. */
#include "sluice/pool.h"

#include "sluice/clock.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { POOL_PROBE_SECONDS = 30 /* a probe that tells nothing in this time is given up */ };

/* All times are of the monotonic clock, in microseconds; 0: never. */
struct pool_health {
    _Atomic int64_t failures;   /* in a row */
    _Atomic int64_t open_until; /* the breaker is open, or waits for a probe where this has passed */
    _Atomic int64_t probe_until; /* a probe is under way */
    _Atomic int64_t rest_until;
    _Atomic bool disabled;
};

struct pool_shared {
    size_t count;
    struct pool_health keys[];
};

struct pool {
    const struct keys *keys;
    struct pool_shared *shared;
    int64_t open_us;
    size_t *in_use; /* requests under way in this worker, by key */
};

static size_t pool_shared_size(size_t count)
{
    return sizeof(struct pool_shared) + count * sizeof(struct pool_health);
}

struct pool_shared *pool_shared_new(size_t count)
{
    struct pool_shared *s =
        mmap(NULL, pool_shared_size(count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->count = count;
    return s;
}

void pool_shared_free(struct pool_shared **shared)
{
    if (*shared)
        munmap(*shared, pool_shared_size((*shared)->count));
    *shared = NULL;
}

struct pool *pool_new(const struct keys *keys, struct pool_shared *shared, int64_t open_us)
{
    struct pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (struct pool){keys, shared, open_us, calloc(shared->count + 1, sizeof *p->in_use)};
    if (!p->in_use)
        pool_free(&p);
    return p;
}

void pool_free(struct pool **pool)
{
    if (*pool)
        free((*pool)->in_use);
    free(*pool);
    *pool = NULL;
}

enum pool_state { POOL_STATE_GOOD, POOL_STATE_RESTING, POOL_STATE_OPEN, POOL_STATE_DISABLED };

static enum pool_state pool_state_of(const struct pool_health *h, int64_t now)
{
    if (atomic_load(&h->disabled))
        return POOL_STATE_DISABLED;
    int64_t open_until = atomic_load(&h->open_until);
    if (open_until != 0 && (now < open_until || now < atomic_load(&h->probe_until)))
        return POOL_STATE_OPEN;
    return now < atomic_load(&h->rest_until) ? POOL_STATE_RESTING : POOL_STATE_GOOD;
}

/* Where the breaker waits for a probe, only one request may be it. */
static bool pool_take(struct pool_health *h, int64_t now)
{
    if (atomic_load(&h->open_until) == 0)
        return true;
    int64_t seen = atomic_load(&h->probe_until);
    return now >= seen && atomic_compare_exchange_strong(&h->probe_until, &seen,
                                                         now + POOL_PROBE_SECONDS * (int64_t)CLOCK_US_PER_SECOND);
}

/* The best of the client's keys in this state or a better one. False: there is none. */
static bool pool_find(const struct pool *p, const struct client_key *key, enum pool_state worst, int64_t now,
                      size_t *best)
{
    bool found = false;
    for (size_t i = key->first; i < key->first + key->count; i++) {
        if (pool_state_of(&p->shared->keys[i], now) > worst)
            continue;
        if (!found || p->in_use[i] < p->in_use[*best])
            *best = i;
        found = true;
    }
    return found;
}

static struct pool_choice pool_refuse(const struct pool *p, const struct client_key *key, int64_t now)
{
    struct pool_choice choice = {.refusal = POOL_REFUSED_DISABLED, .retry_after_us = INT64_MAX};
    for (size_t i = key->first; i < key->first + key->count; i++) {
        const struct pool_health *h = &p->shared->keys[i];
        if (atomic_load(&h->disabled))
            continue;
        int64_t open = atomic_load(&h->open_until), probe = atomic_load(&h->probe_until);
        int64_t left = now < open ? open - now : probe - now;
        choice.refusal = POOL_REFUSED_OPEN;
        if (left < choice.retry_after_us)
            choice.retry_after_us = left > CLOCK_US_PER_SECOND ? left : CLOCK_US_PER_SECOND;
    }
    return choice;
}

struct pool_choice pool_choose(struct pool *p, const struct client_key *key)
{
    int64_t now = clock_monotonic_us();
    size_t best = 0;
    bool found = pool_find(p, key, POOL_STATE_GOOD, now, &best) || pool_find(p, key, POOL_STATE_RESTING, now, &best);
    if (!found || !pool_take(&p->shared->keys[best], now))
        return pool_refuse(p, key, now);
    p->in_use[best]++;
    return (struct pool_choice){.chosen = true, .index = best};
}

bool pool_has_another(const struct pool *p, const struct client_key *key)
{
    size_t best = 0;
    return key->count > 1 && pool_find(p, key, POOL_STATE_GOOD, clock_monotonic_us(), &best);
}

static void pool_note_success(struct pool_health *h)
{
    atomic_store(&h->failures, 0);
    if (atomic_load(&h->open_until) != 0) {
        atomic_store(&h->open_until, 0);
        atomic_store(&h->probe_until, 0);
    }
}

static void pool_note_failure(const struct pool *p, struct pool_health *h, int64_t now)
{
    if (atomic_fetch_add(&h->failures, 1) + 1 < POOL_FAILURES)
        return;
    atomic_store(&h->open_until, now + p->open_us);
    atomic_store(&h->probe_until, 0);
}

void pool_report(struct pool *p, const struct client_key *key, size_t index, enum pool_outcome outcome,
                 int64_t rest_us)
{
    struct pool_health *h = &p->shared->keys[index];
    int64_t now = clock_monotonic_us();
    bool others = key->count > 1;
    p->in_use[index]--;
    if (outcome == POOL_UNKNOWN)
        atomic_store(&h->probe_until, 0);
    else if (outcome == POOL_FAILED)
        pool_note_failure(p, h, now);
    else
        pool_note_success(h);
    if (outcome == POOL_REJECTED && others)
        atomic_store(&h->disabled, true);
    if (outcome == POOL_LIMITED && others)
        atomic_store(&h->rest_until, now + rest_us);
}

bool pool_is_open(const struct pool *p)
{
    int64_t now = clock_monotonic_us();
    for (size_t i = 0; i < p->shared->count; i++)
        if (pool_state_of(&p->shared->keys[i], now) < POOL_STATE_OPEN)
            return false;
    return p->shared->count > 0;
}
