/*
 * Cached answers in Redis: sluice:cache:v1:<key in hex>, with Redis' own expiry. The value is a record
 * (cache_record.h): what is not a valid one of this key is a miss.
 *
 * Clearing walks the names by SCAN and looks at the owner in each record.
 */
#ifndef SLUICE_CACHE_REDIS_H
#define SLUICE_CACHE_REDIS_H

#include "sluice/cache_record.h"
#include "sluice/redis.h"

struct cache_redis_get;

enum cache_redis_result {
    CACHE_REDIS_HIT,
    CACHE_REDIS_MISS,
    CACHE_REDIS_NONSENSE, /* the value was no record of this key */
    CACHE_REDIS_FAILED    /* no answer in time, or an error: the embedded store may know */
};

/* The entry is NULL unless HIT; it is valid within the call. */
typedef void cache_redis_fn(void *user, enum cache_redis_result result, const struct cache_entry *entry);

/* Everything is called back exactly once unless cancelled, possibly before the return: then NULL is returned. */
struct cache_redis_get *cache_redis_get(struct redis *link, const struct digest *key, size_t max_bytes,
                                        cache_redis_fn *fn, void *user);
void cache_redis_cancel(struct cache_redis_get **get);

/* Nobody waits for it. *failed is counted up where it was not stored; it must outlive the link. record expires at
 * expires_us of the wall clock. */
void cache_redis_put(struct redis *link, const struct digest *key, int64_t expires_us, struct slice record,
                     uint64_t *failed);
void cache_redis_remove(struct redis *link, const struct digest *key);

/* Removes all entries, or those of one owner. done is called once, with the number of those removed, or -1. */
typedef void cache_redis_cleared_fn(void *user, int64_t removed);
void cache_redis_clear(struct redis *link, const struct cache_owner *owner, cache_redis_cleared_fn *done, void *user);

#endif
