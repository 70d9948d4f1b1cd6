/*
 * A slot's word:
 *
 *   bits 63…42  process id (Linux has none beyond 22 bits)
 *   bits 41…16  end of the lease: the monotonic clock in units of 2^16 µs, the lowest 26 bits
 *   bits 15…0   tag: bits of the key beyond those that chose the slot
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
    INFLIGHT_VERSION = 1,
    INFLIGHT_TAG_BITS = 16,
    INFLIGHT_TIME_BITS = 26,
    INFLIGHT_TIME_SHIFT = 16, /* µs to units */
    INFLIGHT_PID_SHIFT = INFLIGHT_TAG_BITS + INFLIGHT_TIME_BITS
};

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
    return word & UINT16_MAX;
}

/* At least one unit: a lease that was given has a duration. */
static uint64_t inflight_make_word(uint64_t tag, int64_t lease_us)
{
    lease_us = lease_us < inflight_lease_max ? lease_us : inflight_lease_max;
    uint64_t end = ((uint64_t)(clock_monotonic_us() + lease_us) >> INFLIGHT_TIME_SHIFT) + 1;
    return (uint64_t)getpid() << INFLIGHT_PID_SHIFT | (end & inflight_time_mask) << INFLIGHT_TAG_BITS | tag;
}

/* Units until the lease ends, in the circle of 26 bits. */
static bool inflight_has_time(uint64_t word)
{
    uint64_t now = (uint64_t)clock_monotonic_us() >> INFLIGHT_TIME_SHIFT;
    uint64_t left = ((word >> INFLIGHT_TAG_BITS) - now) & inflight_time_mask;
    return left > 0 && left <= ((uint64_t)inflight_lease_max >> INFLIGHT_TIME_SHIFT) + 2;
}

static bool inflight_is_live(uint64_t word)
{
    pid_t pid = (pid_t)(word >> INFLIGHT_PID_SHIFT);
    return word != 0 && pid > 0 && inflight_has_time(word) && (kill(pid, 0) == 0 || errno != ESRCH);
}

/* ---- claims ------------------------------------------------------------------------------------------ */

struct inflight_claim inflight_claim(struct inflight *t, const struct digest *key, int64_t lease_us)
{
    uint64_t start;
    memcpy(&start, key->bytes, sizeof start);
    uint32_t slot = (uint32_t)(start % INFLIGHT_SLOTS);
    uint64_t tag = inflight_tag(start / INFLIGHT_SLOTS);
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

bool inflight_renew(struct inflight *t, struct inflight_claim *claim, int64_t lease_us)
{
    if (claim->role != INFLIGHT_LEADER || claim->slot == INFLIGHT_NONE)
        return claim->role == INFLIGHT_LEADER;
    uint64_t seen = claim->word, next = inflight_make_word(inflight_tag(claim->word), lease_us);
    if (!atomic_compare_exchange_strong(inflight_slot(t, claim->slot), &seen, next)) {
        claim->slot = INFLIGHT_NONE;
        return false;
    }
    claim->word = next;
    return true;
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
