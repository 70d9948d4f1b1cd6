/*
 * The cache of a worker: Redis while it is connected, the embedded store otherwise.
 *
 * No call waits. A lookup in Redis that is not answered in time is looked up in the embedded store. What
 * cannot be written at once, as another process writes, is kept for a moment (CACHE_PENDING_…) and then
 * dropped: a cache may.
 */
#ifndef SLUICE_CACHE_H
#define SLUICE_CACHE_H

#include "sluice/cache_record.h"
#include "sluice/redis.h"

enum {
    CACHE_PENDING_MAX = 256,                    /* writes that wait for the embedded store */
    CACHE_PENDING_BYTES_MAX = 16 * 1024 * 1024, /* and their bytes */
    CACHE_PENDING_MS = 2000                     /* and how long */
};

struct cache;
struct cache_lookup;

struct cache_settings {
    struct event_base *base;
    struct redis *redis;    /* lent; NULL: none */
    const char *state_dir;  /* NULL: no embedded store */
    size_t max_bytes;       /* of the embedded store */
    size_t max_entry_bytes; /* of a body */
};

/* After fork(2). Without an embedded store that can be opened it works with Redis alone: message tells. NULL
 * without memory. */
struct cache *cache_new(const struct cache_settings *settings, struct buf *message);

/* Lookups that wait are not called back. To be called before the link is freed. */
void cache_free(struct cache **cache);

/* For a reload. */
void cache_set_max_entry(struct cache *cache, size_t bytes);

/* entry: NULL for a miss; it is valid within the call. */
typedef void cache_lookup_fn(void *user, const struct cache_entry *entry);

/* Calls back exactly once unless cancelled, possibly before the return: then NULL is returned. */
struct cache_lookup *cache_lookup(struct cache *cache, const struct digest *key, cache_lookup_fn *fn,
                                  void *user);
void cache_lookup_cancel(struct cache_lookup **lookup);

/* False where the entry is not taken: it is too large, has expired, or there is no room to wait. */
bool cache_store(struct cache *cache, const struct digest *key, const struct cache_entry *entry);

/* Counts since cache_new(). */
struct cache_counts {
    uint64_t lookups, hits, misses; /* hits + misses + those that wait or were cancelled = lookups */
    uint64_t redis_hits, local_hits;
    uint64_t redis_failures; /* lookups that Redis did not answer in time */
    uint64_t nonsense;       /* records that were none */
    uint64_t stores;         /* taken */
    uint64_t stored_local;
    uint64_t too_large;
    uint64_t dropped; /* taken, and lost: the store was busy for too long, or Redis refused */
    uint64_t local_failures;
};

const struct cache_counts *cache_counts(const struct cache *cache);

/* "redis", "lmdb" or "none": what a lookup would ask now. */
const char *cache_engine(const struct cache *cache);

#endif
