/*
 * The cache of a worker: Redis while it is connected, the embedded store otherwise.
 *
 * No call waits. A lookup in Redis that is not answered in time is looked up in the embedded store. What is
 * stored there is written by a thread (cache_writer.h, which has the bounds); this process finds it from now
 * on, others in a moment. What cannot be written for too long is dropped: a cache may.
 */
#ifndef SLUICE_CACHE_H
#define SLUICE_CACHE_H

#include "sluice/cache_record.h"
#include "sluice/redis.h"

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

/* Lookups that wait are not called back; who waits for what was stored is. What is on its way into the
 * embedded store is written, within CACHE_WRITER_END_MS. To be called before the link is freed. */
void cache_free(struct cache **cache);

/* For a reload. */
void cache_set_max_entry(struct cache *cache, size_t bytes);

/* entry: NULL for a miss; it is valid within the call. */
typedef void cache_lookup_fn(void *user, const struct cache_entry *entry);

/* Calls back exactly once unless cancelled, possibly before the return: then NULL is returned. */
struct cache_lookup *cache_lookup(struct cache *cache, const struct digest *key, cache_lookup_fn *fn,
                                  void *user);
void cache_lookup_cancel(struct cache_lookup **lookup);

/* False where the entry is not taken: it is too large, has expired, or too many are on their way. */
bool cache_store(struct cache *cache, const struct digest *key, const struct cache_entry *entry);

/* Calls back when all that was given to the embedded store so far can be found by other processes, or is
 * lost: some milliseconds after it; at the latest by cache_free(). False: nothing is on its way (or
 * too many wait), and nobody is called back. */
typedef void cache_settled_fn(void *user);
bool cache_when_settled(struct cache *cache, cache_settled_fn *fn, void *user);

/* Counts since cache_new(). */
struct cache_counts {
    uint64_t lookups, hits, misses; /* hits + misses + those that wait or were cancelled = lookups */
    uint64_t redis_hits, local_hits;
    uint64_t redis_failures; /* lookups that Redis did not answer in time */
    uint64_t nonsense;       /* records that were none */
    uint64_t stores;         /* taken */
    uint64_t stored_local, stored_redis;
    uint64_t too_large;
    uint64_t dropped; /* no room among those on their way, the store busy for too long, or Redis refused */
    uint64_t read_failures, write_failures; /* of the embedded store; the latter too where there is none */
};

const struct cache_counts *cache_counts(const struct cache *cache);

/* "redis", "lmdb" or "none": what a lookup would ask now. */
const char *cache_engine(const struct cache *cache);

#endif
