/*
 * The slots: a key may be in LIMITS_WAYS places that follow from its digest, and is found in the first that
 * holds it.
 *
 * A place that was taken is never free again, it only changes hands; so of processes that look for a place
 * for one key at once, all find the same. Where two places do change hands at that moment, the later one is
 * not found again.
 */
#include "limits_table.h"

#include "sluice/bucket.h"

enum limits_special_tag { LIMITS_TAG_FREE = 0, LIMITS_TAG_EMPTYING = 1 };

#define LIMITS_IDLE_NS      (LIMITS_IDLE_SECONDS * INT64_C(1000000000))
#define LIMITS_USED_STEP_NS INT64_C(1000000000)
#define LIMITS_EMPTYING_NS  INT64_C(10000000000) /* longer, and whoever began it is dead */

static_assert(sizeof(struct limits_slot) == 64, "a slot is a cache line");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
              "a lock cannot be shared between processes");

struct limits_tag limits_tag_of(const struct digest *digest)
{
    struct limits_tag tag;
    memcpy(&tag.high, digest->bytes, sizeof tag.high);
    memcpy(&tag.low, digest->bytes + sizeof tag.high, sizeof tag.low);
    if (tag.high <= LIMITS_TAG_EMPTYING)
        tag.high += 2;
    if (tag.low == 0)
        tag.low = 1;
    return tag;
}

static struct limits_slot *limits_slot_place(struct limits_shared *s, struct limits_tag tag, size_t way)
{
    return &s->slots[(tag.low + way) % LIMITS_KEYS];
}

/* A slot whose second half is still missing is completed by whoever comes first: its maker may have died. */
static bool limits_slot_matches(struct limits_slot *slot, struct limits_tag tag)
{
    if (atomic_load(&slot->tag_high) != tag.high)
        return false;
    uint64_t low = 0;
    return atomic_compare_exchange_strong(&slot->tag_low, &low, tag.low) || low == tag.low;
}

struct limits_slot *limits_slot_find(struct limits_shared *s, struct limits_tag tag)
{
    for (size_t way = 0; way < LIMITS_WAYS; way++) {
        struct limits_slot *slot = limits_slot_place(s, tag, way);
        if (limits_slot_matches(slot, tag))
            return slot;
        if (atomic_load(&slot->tag_high) == LIMITS_TAG_FREE)
            return NULL;
    }
    return NULL;
}

/* The first free place, unless the key turns out to be there on the way. */
static struct limits_slot *limits_slot_claim(struct limits_shared *s, struct limits_tag tag, int64_t now)
{
    for (size_t way = 0; way < LIMITS_WAYS; way++) {
        struct limits_slot *slot = limits_slot_place(s, tag, way);
        uint64_t seen = atomic_load(&slot->tag_high);
        if (seen == LIMITS_TAG_FREE) {
            atomic_store(&slot->used_ns, now); /* before the tag: it must not look idle */
            atomic_compare_exchange_strong(&slot->tag_high, &seen, tag.high);
        }
        if (limits_slot_matches(slot, tag))
            return slot;
    }
    return NULL;
}

static bool limits_slot_has_tickets(struct limits_shared *s, struct limits_slot *slot)
{
    uint64_t word = atomic_load(&slot->tickets), first = word >> 32, count = word & UINT32_MAX;
    for (uint64_t i = first; i < first + count && i < LIMITS_TICKETS; i++)
        if (atomic_load(&s->tickets[i]) != 0)
            return true;
    return false;
}

/* For how long nobody has used it. */
static int64_t limits_slot_unused_ns(const struct limits_slot *slot, int64_t now)
{
    int64_t used = atomic_load(&slot->used_ns);
    return used < 0 ? INT64_MAX : now - used;
}

/* Forgetting it must lose nothing: both buckets are full. */
static bool limits_slot_is_idle(struct limits_shared *s, struct limits_slot *slot, int64_t now)
{
    return limits_slot_unused_ns(slot, now) > LIMITS_IDLE_NS &&
           bucket_wait_full(atomic_load(&slot->requests_tat), now) == 0 &&
           bucket_wait_full(atomic_load(&slot->tokens_tat), now) == 0 && !limits_slot_has_tickets(s, slot);
}

/* Takes the slot from the key that had it. The tickets stay the slot's. */
static bool limits_slot_replace(struct limits_slot *slot, uint64_t had, struct limits_tag tag, int64_t now)
{
    if (!atomic_compare_exchange_strong(&slot->tag_high, &had, LIMITS_TAG_EMPTYING))
        return false;
    atomic_store(&slot->used_ns, now);
    atomic_store(&slot->tag_low, 0);
    atomic_store(&slot->requests_tat, 0);
    atomic_store(&slot->tokens_tat, 0);
    atomic_store(&slot->learned, 0);
    uint64_t emptying = LIMITS_TAG_EMPTYING;
    return atomic_compare_exchange_strong(&slot->tag_high, &emptying, tag.high);
}

static struct limits_slot *limits_slot_evict(struct limits_shared *s, struct limits_tag tag, int64_t now)
{
    for (size_t way = 0; way < LIMITS_WAYS; way++) {
        struct limits_slot *slot = limits_slot_place(s, tag, way);
        uint64_t had = atomic_load(&slot->tag_high);
        bool abandoned = had == LIMITS_TAG_EMPTYING && limits_slot_unused_ns(slot, now) > LIMITS_EMPTYING_NS;
        bool idle = had != LIMITS_TAG_EMPTYING && limits_slot_is_idle(s, slot, now);
        if ((abandoned || idle) && limits_slot_replace(slot, had, tag, now) && limits_slot_matches(slot, tag))
            return slot;
        if (had == LIMITS_TAG_EMPTYING && !abandoned)
            return NULL; /* it may become this very key's: the next request will see */
    }
    return NULL;
}

struct limits_slot *limits_slot_get(struct limits_shared *s, struct limits_tag tag, int64_t now)
{
    struct limits_slot *slot = limits_slot_find(s, tag);
    if (!slot)
        slot = limits_slot_claim(s, tag, now);
    if (!slot)
        slot = limits_slot_evict(s, tag, now);
    if (!slot)
        slot = &s->slots[LIMITS_KEYS];
    int64_t used = atomic_load_explicit(&slot->used_ns, memory_order_relaxed);
    if (used < now - LIMITS_USED_STEP_NS || used > now + LIMITS_IDLE_NS)
        atomic_store_explicit(&slot->used_ns, now, memory_order_relaxed);
    return slot;
}

bool limits_slot_is_shared(const struct limits_shared *s, const struct limits_slot *slot)
{
    return slot == &s->slots[LIMITS_KEYS];
}

bool limits_tat_admit(_Atomic int64_t *tat, int64_t limit, int64_t now, int64_t n)
{
    int64_t seen = atomic_load(tat), next;
    bool admitted;
    do {
        next = seen;
        admitted = bucket_admit(&next, limit, now, n);
        if (next == seen)
            return admitted;
    } while (!atomic_compare_exchange_weak(tat, &seen, next));
    return admitted;
}

void limits_tat_settle(_Atomic int64_t *tat, int64_t limit, int64_t now, int64_t taken, int64_t used)
{
    int64_t seen = atomic_load(tat), next;
    do {
        next = seen;
        bucket_settle(&next, limit, now, taken, used);
    } while (!atomic_compare_exchange_weak(tat, &seen, next));
}

void limits_tat_give_back(_Atomic int64_t *tat, int64_t now, int64_t cost_ns)
{
    int64_t seen = atomic_load(tat), next;
    do {
        int64_t wait = bucket_wait_full(seen, now), cost = cost_ns < 0 ? 0 : cost_ns;
        next = now + (wait > cost ? wait - cost : 0);
    } while (!atomic_compare_exchange_weak(tat, &seen, next));
}
