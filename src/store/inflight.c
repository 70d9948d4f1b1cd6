/*
 * A slot's word:
 *
 *   bits 63…42  process id (Linux has none beyond 22 bits)
 *   bits 41…16  end of the lease: the monotonic clock in units of 2^16 µs, the lowest 26 bits
 *   bit  15     the answer is there, and on its way into the cache
 *   bits 14…0   tag: bits of the key beyond those that chose the slot
 *
 * The monotonic clock is one for all processes of a boot. A word of an earlier boot ends far from now or
 * within a minute.
 */
#include "sluice/inflight.h"

#include "sluice/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum {
    INFLIGHT_VERSION = 2,
    INFLIGHT_TAG_BITS = 15,
    INFLIGHT_FLAG_BITS = 1,
    INFLIGHT_TIME_BITS = 26,
    INFLIGHT_TIME_SHIFT = 16, /* µs to units */
    INFLIGHT_END_SHIFT = INFLIGHT_TAG_BITS + INFLIGHT_FLAG_BITS,
    INFLIGHT_PID_SHIFT = INFLIGHT_END_SHIFT + INFLIGHT_TIME_BITS
};

static const uint64_t inflight_tag_mask = (UINT64_C(1) << INFLIGHT_TAG_BITS) - 1;
static const uint64_t inflight_settling = UINT64_C(1) << INFLIGHT_TAG_BITS;
static const uint64_t inflight_time_mask = (UINT64_C(1) << INFLIGHT_TIME_BITS) - 1;
static const int64_t inflight_lease_max = INFLIGHT_LEASE_MAX_S * (int64_t)CLOCK_US_PER_SECOND;

typedef _Atomic uint64_t inflight_word;

static inflight_word *inflight_slot(const struct inflight *t, uint32_t slot)
{
    return (inflight_word *)t->file.data + slot;
}

bool inflight_open(struct inflight *t, const char *state_dir, struct buf *message)
{
    _Static_assert(sizeof(inflight_word) == sizeof(uint64_t) && ATOMIC_LLONG_LOCK_FREE == 2,
                   "words are shared");
    return shared_file_open(&t->file, state_dir, "inflight", INFLIGHT_VERSION,
                            INFLIGHT_SLOTS * sizeof(inflight_word), message) != SHARED_FILE_FAILED;
}

void inflight_close(struct inflight *t)
{
    shared_file_close(&t->file);
}

/* ---- words ------------------------------------------------------------------------------------------- */

static uint64_t inflight_tag(uint64_t word)
{
    return word & inflight_tag_mask;
}

/* At least one unit: a lease that was given has a duration. */
static uint64_t inflight_make_word(uint64_t tag, int64_t lease_us)
{
    lease_us = lease_us < inflight_lease_max ? lease_us : inflight_lease_max;
    uint64_t end = ((uint64_t)(clock_monotonic_us() + lease_us) >> INFLIGHT_TIME_SHIFT) + 1;
    return (uint64_t)getpid() << INFLIGHT_PID_SHIFT | (end & inflight_time_mask) << INFLIGHT_END_SHIFT | tag;
}

/* Units until the lease ends, in the circle of 26 bits. */
static bool inflight_has_time(uint64_t word)
{
    uint64_t now = (uint64_t)clock_monotonic_us() >> INFLIGHT_TIME_SHIFT;
    uint64_t left = ((word >> INFLIGHT_END_SHIFT) - now) & inflight_time_mask;
    return left > 0 && left <= ((uint64_t)inflight_lease_max >> INFLIGHT_TIME_SHIFT) + 2;
}

static bool inflight_is_live(uint64_t word)
{
    pid_t pid = (pid_t)(word >> INFLIGHT_PID_SHIFT);
    return word != 0 && pid > 0 && inflight_has_time(word) && (kill(pid, 0) == 0 || errno != ESRCH);
}

/* ---- claims ------------------------------------------------------------------------------------------ */

static uint64_t inflight_find(const struct digest *key, uint32_t *slot)
{
    uint64_t start;
    memcpy(&start, key->bytes, sizeof start);
    *slot = (uint32_t)(start % INFLIGHT_SLOTS);
    return inflight_tag(start / INFLIGHT_SLOTS);
}

struct inflight_claim inflight_claim(struct inflight *t, const struct digest *key, int64_t lease_us)
{
    uint32_t slot;
    uint64_t tag = inflight_find(key, &slot);
    inflight_word *word = inflight_slot(t, slot);
    uint64_t seen = atomic_load(word);
    for (;;) {
        if (inflight_is_live(seen)) {
            bool same = inflight_tag(seen) == tag;
            return same ? (struct inflight_claim){INFLIGHT_FOLLOWER, slot, seen}
                        : (struct inflight_claim){INFLIGHT_LEADER, INFLIGHT_NONE, 0};
        }
        uint64_t mine = inflight_make_word(tag, lease_us);
        if (atomic_compare_exchange_strong(word, &seen, mine))
            return (struct inflight_claim){INFLIGHT_LEADER, slot, mine};
    }
}

static bool inflight_change(struct inflight *t, struct inflight_claim *claim, uint64_t flag, int64_t lease_us)
{
    if (claim->role != INFLIGHT_LEADER || claim->slot == INFLIGHT_NONE)
        return claim->role == INFLIGHT_LEADER;
    uint64_t seen = claim->word, next = inflight_make_word(inflight_tag(claim->word), lease_us) | flag;
    if (!atomic_compare_exchange_strong(inflight_slot(t, claim->slot), &seen, next)) {
        claim->slot = INFLIGHT_NONE;
        return false;
    }
    claim->word = next;
    return true;
}

bool inflight_renew(struct inflight *t, struct inflight_claim *claim, int64_t lease_us)
{
    return inflight_change(t, claim, claim->word & inflight_settling, lease_us);
}

bool inflight_settle(struct inflight *t, struct inflight_claim *claim, int64_t lease_us)
{
    return inflight_change(t, claim, inflight_settling, lease_us);
}

bool inflight_is_settling(const struct inflight_claim *claim)
{
    return (claim->word & inflight_settling) != 0;
}

bool inflight_find_settling(const struct inflight *t, const struct digest *key, struct inflight_claim *out)
{
    uint32_t slot;
    uint64_t tag = inflight_find(key, &slot), seen = atomic_load(inflight_slot(t, slot));
    *out = (struct inflight_claim){INFLIGHT_FOLLOWER, slot, seen};
    return inflight_is_settling(out) && inflight_tag(seen) == tag && inflight_is_live(seen);
}

void inflight_release(struct inflight *t, struct inflight_claim *claim)
{
    if (claim->role != INFLIGHT_LEADER || claim->slot == INFLIGHT_NONE)
        return;
    uint64_t seen = claim->word;
    atomic_compare_exchange_strong(inflight_slot(t, claim->slot), &seen, 0);
    claim->slot = INFLIGHT_NONE;
}

bool inflight_is_led(const struct inflight *t, const struct inflight_claim *claim)
{
    if (claim->slot == INFLIGHT_NONE)
        return false;
    uint64_t seen = atomic_load(inflight_slot(t, claim->slot));
    return inflight_tag(seen) == inflight_tag(claim->word) && inflight_is_live(seen);
}

size_t inflight_count(const struct inflight *t)
{
    size_t count = 0;
    for (uint32_t i = 0; i < INFLIGHT_SLOTS; i++)
        count += inflight_is_live(atomic_load(inflight_slot(t, i)));
    return count;
}
