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

/* Everything is called back exactly once unless cancelled, possibly before the return: then NULL is returned.
 */
struct cache_redis_get *cache_redis_get(struct redis *link, const struct digest *key, size_t max_bytes,
                                        cache_redis_fn *fn, void *user);
void cache_redis_cancel(struct cache_redis_get **get);

/* The record expires at expires_us of the wall clock. To be cancelled with redis_command_cancel(); called
 * back as a get is. */
typedef void cache_redis_put_fn(void *user, enum redis_status status, const struct redis_reply *reply);
struct redis_command *cache_redis_put(struct redis *link, const struct digest *key, int64_t expires_us,
                                      struct slice record, cache_redis_put_fn *fn, void *user);

/* Walk over all entries, for commands of an operator: the server is asked piece by piece. done is called
 * once, with the number of entries, or -1 where Redis did not answer; possibly before the return. */
typedef void cache_redis_walked_fn(void *user, int64_t entries);

/* Removes all entries, or with an owner only its own; the number is of those removed. */
void cache_redis_clear(struct redis *link, const struct cache_owner *owner, cache_redis_walked_fn *done,
                       void *user);
void cache_redis_count(struct redis *link, cache_redis_walked_fn *done, void *user);

#endif
