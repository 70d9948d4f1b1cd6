/* The limits: whose they are, and which side decides. */
#include "limits_internal.h"

#include "sluice/clock.h"

#include <stdlib.h>

enum { LIMITS_LEARN_SHIFT = 8, LIMITS_LEARN_WEIGHT = 8 };

#define LIMITS_LEARN_MAX           INT64_C(1000000000)
#define LIMITS_NS_PER_US           INT64_C(1000)
#define LIMITS_CONCURRENT_RETRY_US INT64_C(1000000) /* nobody knows when a request ends */
#define LIMITS_SHARE_WHOLE         INT64_C(1000000)

int64_t limits_now(const struct limits *l)
{
    return limits_clock_ns(l->offset_ns);
}

/* ---- whose limits
 * -------------------------------------------------------------------------------------------- */

static int limits_compare_overrides(const void *a, const void *b)
{
    return memcmp(((const struct limits_override *)a)->digest.bytes,
                  ((const struct limits_override *)b)->digest.bytes, DIGEST_SIZE);
}

static int64_t limits_said(int64_t value, int64_t otherwise)
{
    return value < 0 ? otherwise : value;
}

static bool limits_take_config(struct limits *l, const struct config *c)
{
    l->defaults = (struct limits_rates){c->rate_limit_requests_per_minute, c->rate_limit_tokens_per_minute,
                                        c->rate_limit_concurrent_requests};
    l->share = c->rate_limit_local_share;
    l->override_count = c->rate_limit_overrides.count;
    l->overrides = calloc(l->override_count + 1, sizeof *l->overrides);
    if (!l->overrides)
        return false;
    for (size_t i = 0; i < l->override_count; i++) {
        const struct config_override *o = &c->rate_limit_overrides.items[i];
        l->overrides[i] =
            (struct limits_override){o->client_key,
                                     {limits_said(o->requests_per_minute, l->defaults.requests),
                                      limits_said(o->tokens_per_minute, l->defaults.tokens),
                                      limits_said(o->concurrent_requests, l->defaults.concurrent)}};
    }
    qsort(l->overrides, l->override_count, sizeof *l->overrides, limits_compare_overrides);
    return true;
}

static const struct limits_rates *limits_rates_of(const struct limits *l, const struct client_key *key)
{
    struct limits_override wanted = {.digest = key->digest};
    const struct limits_override *found =
        bsearch(&wanted, l->overrides, l->override_count, sizeof wanted, limits_compare_overrides);
    return found ? &found->rates : &l->defaults;
}

static int64_t limits_share_of(const struct limits *l, int64_t limit)
{
    __extension__ typedef __int128 wide;
    int64_t share = (int64_t)((wide)limit * l->share / LIMITS_SHARE_WHOLE);
    return limit > 0 && share < 1 ? 1 : share;
}

struct limits_rates limits_local_rates(const struct limits *l, const struct limits_rates *rates)
{
    return (struct limits_rates){limits_share_of(l, rates->requests), limits_share_of(l, rates->tokens),
                                 limits_share_of(l, rates->concurrent)};
}

/* ---- what a client is told
 * ----------------------------------------------------------------------------------- */

static int64_t limits_us(int64_t ns)
{
    return ns / LIMITS_NS_PER_US + (ns % LIMITS_NS_PER_US > 0);
}

static struct ratelimit_bucket limits_bucket_of(int64_t limit, int64_t wait)
{
    if (limit == 0)
        return (struct ratelimit_bucket){0};
    return (struct ratelimit_bucket){limit, bucket_remaining(wait, limit, 0), limits_us(wait)};
}

void limits_describe(const struct limits_rates *rates, int64_t requests_wait, int64_t tokens_wait,
                     struct limits_decision *d)
{
    d->requests = limits_bucket_of(rates->requests, requests_wait);
    d->tokens = limits_bucket_of(rates->tokens, tokens_wait);
    d->concurrent_limit = rates->concurrent;
}

void limits_describe_refusal(const struct limits_rates *rates, int64_t requests_wait, int64_t tokens_wait,
                             struct limits_decision *d)
{
    int64_t wait = rates->requests ? bucket_wait_admit(requests_wait, rates->requests, 0, 1) : 0;
    int64_t tokens =
        rates->tokens ? bucket_wait_admit(tokens_wait, rates->tokens, 0, d->requested_tokens) : 0;
    d->retry_after_us = limits_us(tokens > wait ? tokens : wait);
    if (d->verdict == LIMITS_REFUSED_CONCURRENT && d->retry_after_us < LIMITS_CONCURRENT_RETRY_US)
        d->retry_after_us = LIMITS_CONCURRENT_RETRY_US;
}

/* ---- reservations
 * -------------------------------------------------------------------------------------------- */

static struct limits_reservation *limits_reserve(struct limits *l, const struct client_key *key,
                                                 int64_t tokens)
{
    struct limits_reservation *r = malloc(sizeof *r);
    if (!r)
        return NULL;
    *r = (struct limits_reservation){.limits = l,
                                     .next = l->reservations,
                                     .tag = limits_tag_of(&key->digest),
                                     .rates = *limits_rates_of(l, key),
                                     .tokens = tokens < 0 ? 0 : tokens,
                                     .lease = LIMITS_NO_LEASE,
                                     .ticket = LIMITS_NO_TICKET};
    memcpy(r->fingerprint, key->fingerprint, sizeof r->fingerprint);
    if (r->next)
        r->next->prev = r;
    l->reservations = r;
    return r;
}

void limits_forget(struct limits_reservation *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        r->limits->reservations = r->next;
    if (r->next)
        r->next->prev = r->prev;
    free(r);
}

static void limits_count(struct limits_stats *s, enum limits_verdict verdict)
{
    uint64_t *counters[] = {&s->admitted, &s->refused_requests, &s->refused_tokens, &s->refused_concurrent};
    ++*counters[verdict];
}

void limits_decide(struct limits_reservation *r, struct limits_decision *d)
{
    limits_callback *callback = r->callback;
    void *user = r->user;
    limits_count(&r->limits->stats, d->verdict);
    if (d->verdict != LIMITS_ADMITTED) {
        *r->out = NULL;
        limits_forget(r);
    }
    callback(user, d);
}

/* Without memory the request is admitted: what comes next will fail by itself. */
void limits_admit(struct limits *l, const struct client_key *key, int64_t tokens,
                  struct limits_reservation **out, limits_callback *callback, void *user)
{
    struct limits_decision d = {.requested_tokens = tokens < 0 ? 0 : tokens};
    struct limits_reservation *r = *out = limits_reserve(l, key, tokens);
    if (!r) {
        callback(user, &d);
        return;
    }
    r->out = out;
    r->callback = callback;
    r->user = user;
    if (l->redis) {
        limits_redis_admit(r);
        return;
    }
    limits_local_admit(r, &d);
    limits_decide(r, &d);
}

void limits_settle(struct limits_reservation **reservation, int64_t tokens)
{
    struct limits_reservation *r = *reservation;
    int64_t used = tokens < 0 ? 0 : tokens;
    *reservation = NULL;
    if (r && r->phase == LIMITS_ASKING) {
        limits_cancel(&r); /* nobody knows yet whether it may be made */
    } else if (r && r->phase == LIMITS_REMOTE) {
        limits_redis_settle(r, used, false);
    } else if (r) {
        limits_local_settle(r, used);
        limits_forget(r);
    }
}

void limits_cancel(struct limits_reservation **reservation)
{
    struct limits_reservation *r = *reservation;
    *reservation = NULL;
    if (r && r->phase == LIMITS_REMOTE) {
        limits_redis_settle(r, 0, true);
    } else if (r) {
        if (r->phase == LIMITS_ASKING)
            redis_command_cancel(&r->command); /* what Redis still notes of it comes back with its lease */
        else
            limits_local_cancel(r);
        limits_forget(r);
    }
}

void limits_look(struct limits *l, const struct client_key *key, struct limits_decision *out)
{
    struct limits_rates rates = *limits_rates_of(l, key);
    *out = (struct limits_decision){.fallback = l->redis && l->away};
    if (out->fallback)
        rates = limits_local_rates(l, &rates);
    limits_local_look(l, limits_tag_of(&key->digest), &rates, out);
}

/* ---- how long answers are
 * ------------------------------------------------------------------------------------ */

static void limits_learn_into(_Atomic uint64_t *average, int64_t tokens)
{
    int64_t sample = (tokens < LIMITS_LEARN_MAX ? tokens : LIMITS_LEARN_MAX) << LIMITS_LEARN_SHIFT;
    uint64_t seen = atomic_load(average), next;
    do {
        int64_t was = seen <= (uint64_t)LIMITS_LEARN_MAX << LIMITS_LEARN_SHIFT ? (int64_t)seen : 0;
        int64_t is = was == 0 ? sample : was + (sample - was) / LIMITS_LEARN_WEIGHT;
        next = is > 0 ? (uint64_t)is : 1;
    } while (!atomic_compare_exchange_weak(average, &seen, next));
}

int64_t limits_learned(uint64_t average)
{
    uint64_t tokens = (average + (1 << LIMITS_LEARN_SHIFT) - 1) >> LIMITS_LEARN_SHIFT;
    return tokens <= (uint64_t)LIMITS_LEARN_MAX ? (int64_t)tokens : 0;
}

int64_t limits_learned_output(struct limits *l, const struct client_key *key)
{
    struct limits_slot *slot = limits_slot_find(l->shared, limits_tag_of(&key->digest));
    uint64_t own = slot ? atomic_load(&slot->learned) : 0;
    return limits_learned(own ? own : atomic_load(&l->shared->learned));
}

void limits_learn(struct limits *l, const struct client_key *key, int64_t output_tokens)
{
    struct limits_slot *slot = limits_slot_get(l->shared, limits_tag_of(&key->digest), limits_now(l));
    if (output_tokens < 0)
        return;
    limits_learn_into(&slot->learned, output_tokens);
    limits_learn_into(&l->shared->learned, output_tokens);
}

/* ---- life
 * ---------------------------------------------------------------------------------------------------- */

static void limits_on_beat(evutil_socket_t fd, short what, void *arg)
{
    struct limits *l = arg;
    (void)fd;
    (void)what;
    limits_member_beat(&l->member, limits_now(l));
    if (l->redis)
        limits_redis_beat(l);
}

/* A little more often than a beat is due, so that none is left out. */
static bool limits_start_beat(struct limits *l, struct event_base *base, int64_t lease_us)
{
    int64_t us = lease_us / 5;
    struct timeval every = {us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND};
    l->beat = event_new(base, -1, EV_PERSIST, limits_on_beat, l);
    return l->beat && event_add(l->beat, &every) == 0;
}

static bool limits_open(struct limits *l, struct event_base *base, const struct config *c,
                        struct buf *message)
{
    if (shared_file_open(&l->file, c->state_dir, LIMITS_FILE, LIMITS_LAYOUT, sizeof *l->shared, message) ==
        SHARED_FILE_FAILED)
        return false;
    l->shared = l->file.data;
    l->offset_ns = limits_clock_open(l->shared);
    limits_member_join(&l->member, l->shared, c->rate_limit_lease_us * LIMITS_NS_PER_US, limits_now(l));
    bool ok = limits_take_config(l, c) && (!l->redis || limits_redis_open(l)) &&
              (!base || limits_start_beat(l, base, c->rate_limit_lease_us));
    if (!ok)
        buf_append_text(message, "there is not enough memory for the limits");
    return ok;
}

struct limits *limits_new(struct event_base *base, const struct config *config, struct redis *redis,
                          struct buf *message)
{
    struct limits *l = calloc(1, sizeof *l);
    if (!l) {
        buf_append_text(message, "there is not enough memory for the limits");
        return NULL;
    }
    l->redis = redis;
    if (!limits_open(l, base, config, message))
        limits_free(&l);
    return l;
}

/* What Redis has noted comes back there with its lease. */
static void limits_end_reservation(struct limits_reservation *r)
{
    if (r->command)
        redis_command_cancel(&r->command);
    if (r->phase == LIMITS_LOCAL)
        limits_local_cancel(r);
    if (r->phase <= LIMITS_REMOTE)
        *r->out = NULL;
    limits_forget(r);
}

void limits_free(struct limits **limits)
{
    struct limits *l = *limits;
    *limits = NULL;
    if (!l)
        return;
    while (l->reservations)
        limits_end_reservation(l->reservations);
    if (l->beat)
        event_free(l->beat);
    if (l->shared)
        limits_member_leave(&l->member);
    shared_file_close(&l->file);
    free(l->overrides);
    free(l);
}

const struct limits_stats *limits_stats(const struct limits *l)
{
    return &l->stats;
}
