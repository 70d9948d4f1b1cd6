/*
 * What the processes of a machine share of the limits: the layout of the file limits.v1, and its slots.
 * Private to the store.
 *
 * Everything in it is a lock-free atomic; no value in it is trusted: an index is brought into its range, and
 * a number that cannot be ours counts as an empty bucket. A change of anything here needs a new
 * LIMITS_LAYOUT.
 */
#ifndef SLUICE_LIMITS_TABLE_H
#define SLUICE_LIMITS_TABLE_H

#include "sluice/digest.h"
#include "sluice/shared_file.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#define LIMITS_FILE "limits"

enum {
    LIMITS_LAYOUT = 1,
    LIMITS_WAYS = 32,         /* places where a key may be */
    LIMITS_IDLE_SECONDS = 600 /* unused for so long, a key may lose its place */
};

#ifdef LIMITS_SMALL /* the fuzzer's: a file of which its input can reach every byte */
enum { LIMITS_KEYS = 64, LIMITS_INDEX_BITS = 3, LIMITS_LEASES = 32, LIMITS_TICKETS = 256 };
#else
enum {
    LIMITS_KEYS = 65536,    /* a power of two */
    LIMITS_INDEX_BITS = 10, /* of a process */
    LIMITS_LEASES = 65536,  /* a power of two */
    LIMITS_TICKETS = 1048576
};
#endif

enum { LIMITS_PROCESSES = 1 << LIMITS_INDEX_BITS };

/* A key: one cache line. Times are in nanoseconds of limits_clock_ns(). */
struct limits_slot {
    _Atomic uint64_t tag_high; /* first 8 bytes of the digest; 0: free, 1: being emptied */
    _Atomic uint64_t tag_low;  /* the next 8; 0: not written yet, which whoever has the same tag_high does */
    _Atomic int64_t requests_tat, tokens_tat; /* bucket.h */
    _Atomic int64_t used_ns;                  /* when it was last used, to a second */
    _Atomic uint64_t tickets;                 /* first ticket << 32 | how many; 0: none yet */
    _Atomic uint64_t learned;                 /* output tokens a request, in 1/256; 0: none yet */
    _Atomic uint64_t spare;
};

/* A process that serves. word: generation << 2 | a state. */
struct limits_process {
    _Atomic uint64_t word;
    _Atomic int64_t alive_ns; /* when it last showed that it lives */
    _Atomic int64_t lease_ns; /* for how long that counts */
    _Atomic int64_t pid;      /* for people */
    uint64_t spare[4];
};

/* Tokens that a process has reserved. owner: see limits_lease.c; 0: free. */
struct limits_lease {
    _Atomic uint64_t owner;
    _Atomic uint64_t tag_high; /* whose they are */
    _Atomic uint64_t slot;
    _Atomic int64_t cost_ns;
};

struct limits_shared {
    _Atomic uint64_t clock;        /* see limits_clock.c */
    _Atomic int64_t seen_ns;       /* the latest time that a process saw */
    _Atomic uint64_t tickets_used; /* how many have been given to slots */
    _Atomic uint64_t learned;      /* of all keys, as in a slot */
    uint64_t spare[4];
    struct limits_process processes[LIMITS_PROCESSES];
    struct limits_slot slots[LIMITS_KEYS + 1]; /* the last one is shared by keys without a place */
    struct limits_lease leases[LIMITS_LEASES];
    _Atomic uint32_t tickets[LIMITS_TICKETS]; /* of one who may: see limits_lease.c; 0: free */
};

struct limits_tag {
    uint64_t high, low; /* high > 1, low > 0 */
};

struct limits_tag limits_tag_of(const struct digest *digest);

/* The slot of a key, made if it has none; the shared one if there is no place. Never NULL. */
struct limits_slot *limits_slot_get(struct limits_shared *s, struct limits_tag tag, int64_t now);

/* NULL where the key has none. */
struct limits_slot *limits_slot_find(struct limits_shared *s, struct limits_tag tag);

bool limits_slot_is_shared(const struct limits_shared *s, const struct limits_slot *slot);

/* limits_clock.c: the time of the file, in nanoseconds; its offset is asked for once, at the opening. */
int64_t limits_clock_open(struct limits_shared *s);
int64_t limits_clock_ns(int64_t offset_ns);

/* Compare-and-swap around the pure arithmetic of bucket.h. */
bool limits_tat_admit(_Atomic int64_t *tat, int64_t limit, int64_t now, int64_t n);
void limits_tat_settle(_Atomic int64_t *tat, int64_t limit, int64_t now, int64_t taken, int64_t used);
void limits_tat_give_back(_Atomic int64_t *tat, int64_t now, int64_t cost_ns);

#endif
