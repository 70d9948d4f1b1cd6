/*
 * Admission by the shared file: exact over all processes, without a lock.
 *
 * First every limit is looked at, so that a refusal usually changes nothing. Then they are taken one after
 * the other, and given back if a later one fails: what another process sees in between is at most one request
 * too much.
 */
#include "limits_internal.h"

static int64_t limits_local_wait(const _Atomic int64_t *tat, int64_t now)
{
    return bucket_wait_full(atomic_load(tat), now);
}

static bool limits_local_would_admit(_Atomic int64_t *tat, int64_t limit, int64_t now, int64_t n)
{
    int64_t copy = atomic_load(tat), seen = copy;
    bool admitted = limit == 0 || bucket_admit(&copy, limit, now, n);
    if (!admitted && copy != seen)
        atomic_compare_exchange_strong(tat, &seen, copy);
    return admitted;
}

static bool limits_local_take(_Atomic int64_t *tat, int64_t limit, int64_t now, int64_t n)
{
    return limit == 0 || limits_tat_admit(tat, limit, now, n);
}

static enum limits_verdict limits_local_take_buckets(struct limits_reservation *r, int64_t now)
{
    struct limits_slot *slot = r->slot;
    if (!limits_local_take(&slot->requests_tat, r->rates.requests, now, 1))
        return LIMITS_REFUSED_REQUESTS;
    if (limits_local_take(&slot->tokens_tat, r->rates.tokens, now, r->tokens))
        return LIMITS_ADMITTED;
    if (r->rates.requests)
        limits_tat_settle(&slot->requests_tat, r->rates.requests, now, 1, 0);
    return LIMITS_REFUSED_TOKENS;
}

static bool limits_local_take_ticket(struct limits_reservation *r)
{
    struct limits *l = r->limits;
    enum limits_ticket_result result = LIMITS_TICKET_TAKEN;
    if (r->rates.concurrent > 0)
        result = limits_ticket_take(&l->member, r->slot, r->rates.concurrent, &r->ticket);
    l->stats.not_enforced += result == LIMITS_TICKET_UNCOUNTED;
    return result != LIMITS_TICKET_REFUSED;
}

static enum limits_verdict limits_local_take_all(struct limits_reservation *r, int64_t now)
{
    struct limits_slot *slot = r->slot;
    if (!limits_local_would_admit(&slot->requests_tat, r->rates.requests, now, 1))
        return LIMITS_REFUSED_REQUESTS;
    if (!limits_local_would_admit(&slot->tokens_tat, r->rates.tokens, now, r->tokens))
        return LIMITS_REFUSED_TOKENS;
    if (!limits_local_take_ticket(r))
        return LIMITS_REFUSED_CONCURRENT;
    enum limits_verdict verdict = limits_local_take_buckets(r, now);
    if (verdict != LIMITS_ADMITTED)
        limits_ticket_drop(&r->limits->member, r->ticket, r->owner);
    return verdict;
}

static void limits_local_take_lease(struct limits_reservation *r)
{
    struct limits *l = r->limits;
    if (r->rates.tokens == 0 || r->tokens == 0)
        return;
    r->lease = limits_lease_take(&l->member, r->slot, bucket_cost(r->rates.tokens, r->tokens));
    l->stats.no_lease += r->lease == LIMITS_NO_LEASE;
}

void limits_local_admit(struct limits_reservation *r, struct limits_decision *d)
{
    struct limits *l = r->limits;
    int64_t now = limits_now(l);
    limits_member_beat(&l->member, now);
    l->stats.reclaimed = l->member.reclaimed;
    r->phase = LIMITS_LOCAL;
    r->slot = limits_slot_get(l->shared, r->tag, now);
    r->owner = limits_lease_owner(&l->member);
    l->stats.shared_place += limits_slot_is_shared(l->shared, r->slot);
    d->verdict = limits_local_take_all(r, now);
    if (d->verdict == LIMITS_ADMITTED)
        limits_local_take_lease(r);
    int64_t requests = limits_local_wait(&r->slot->requests_tat, now);
    int64_t tokens = limits_local_wait(&r->slot->tokens_tat, now);
    limits_describe(&r->rates, requests, tokens, d);
    if (d->verdict != LIMITS_ADMITTED)
        limits_describe_refusal(&r->rates, requests, tokens, d);
}

/* A slot that changed hands meanwhile was idle: nothing of this request was left in it. */
static struct limits_slot *limits_local_slot(struct limits_reservation *r, int64_t now)
{
    bool same =
        limits_slot_is_shared(r->limits->shared, r->slot) || atomic_load(&r->slot->tag_high) == r->tag.high;
    return same ? r->slot : limits_slot_get(r->limits->shared, r->tag, now);
}

/* What is still charged of the reservation: all of it, unless others have taken it back. */
static int64_t limits_local_release(struct limits_reservation *r)
{
    struct limits_member *m = &r->limits->member;
    limits_ticket_drop(m, r->ticket, r->owner);
    if (r->lease == LIMITS_NO_LEASE || limits_lease_drop(m, r->lease, r->owner))
        return r->tokens;
    return 0;
}

void limits_local_settle(struct limits_reservation *r, int64_t used)
{
    int64_t now = limits_now(r->limits), taken = limits_local_release(r);
    if (r->rates.tokens > 0 && taken != used)
        limits_tat_settle(&limits_local_slot(r, now)->tokens_tat, r->rates.tokens, now, taken, used);
}

void limits_local_cancel(struct limits_reservation *r)
{
    int64_t now = limits_now(r->limits), taken = limits_local_release(r);
    struct limits_slot *slot = limits_local_slot(r, now);
    if (r->rates.tokens > 0)
        limits_tat_settle(&slot->tokens_tat, r->rates.tokens, now, taken, 0);
    if (r->rates.requests > 0)
        limits_tat_settle(&slot->requests_tat, r->rates.requests, now, 1, 0);
}

void limits_local_look(struct limits *l, struct limits_tag tag, const struct limits_rates *rates,
                       struct limits_decision *d)
{
    int64_t now = limits_now(l);
    struct limits_slot *slot = limits_slot_find(l->shared, tag);
    int64_t requests = slot ? limits_local_wait(&slot->requests_tat, now) : 0;
    int64_t tokens = slot ? limits_local_wait(&slot->tokens_tat, now) : 0;
    limits_describe(rates, requests, tokens, d);
}

void limits_local_mirror(struct limits *l, struct limits_tag tag, int64_t requests_wait, int64_t tokens_wait)
{
    int64_t now = limits_now(l);
    struct limits_slot *slot = limits_slot_get(l->shared, tag, now);
    if (limits_slot_is_shared(l->shared, slot))
        return;
    atomic_store(&slot->requests_tat, now + requests_wait);
    atomic_store(&slot->tokens_tat, now + tokens_wait);
}
