/* GET and SET of records. */
#include "sluice/cache_redis.h"

#include "cache_redis_name.h"

#include "sluice/clock.h"

#include <stdio.h>
#include <stdlib.h>

struct cache_redis_get {
    struct redis_command *command;
    struct digest key;
    size_t max_bytes;
    cache_redis_fn *fn;
    void *user;
};

void cache_redis_name(const struct digest *key, char out[CACHE_REDIS_NAME_SIZE])
{
    memcpy(out, CACHE_REDIS_PREFIX, sizeof CACHE_REDIS_PREFIX - 1);
    digest_hex(key->bytes, DIGEST_SIZE, out + sizeof CACHE_REDIS_PREFIX - 1);
}

static enum cache_redis_result cache_redis_judge(const struct cache_redis_get *g, enum redis_status status,
                                                 const struct redis_reply *reply, struct cache_entry *entry)
{
    if (status != REDIS_STATUS_OK)
        return CACHE_REDIS_FAILED;
    if (redis_reply_type(reply) == REDIS_TYPE_NIL)
        return CACHE_REDIS_MISS;
    struct slice value = redis_reply_text(reply);
    size_t max = g->max_bytes + CACHE_RECORD_HEAD_SIZE + CACHE_CONTENT_TYPE_MAX;
    if (redis_reply_type(reply) != REDIS_TYPE_STRING || value.len > max ||
        !cache_record_read(value, &g->key, entry))
        return CACHE_REDIS_NONSENSE;
    return entry->expires_us > clock_wall_us() ? CACHE_REDIS_HIT : CACHE_REDIS_MISS;
}

static void cache_redis_on_get(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct cache_redis_get *g = user;
    struct cache_entry entry;
    enum cache_redis_result result = cache_redis_judge(g, status, reply, &entry);
    cache_redis_fn *fn = g->fn;
    void *whose = g->user;
    free(g);
    fn(whose, result, result == CACHE_REDIS_HIT ? &entry : NULL);
}

struct cache_redis_get *cache_redis_get(struct redis *link, const struct digest *key, size_t max_bytes,
                                        cache_redis_fn *fn, void *user)
{
    char name[CACHE_REDIS_NAME_SIZE];
    struct cache_redis_get *g = calloc(1, sizeof *g);
    if (!g) {
        fn(user, CACHE_REDIS_FAILED, NULL);
        return NULL;
    }
    *g = (struct cache_redis_get){.key = *key, .max_bytes = max_bytes, .fn = fn, .user = user};
    cache_redis_name(key, name);
    const char *argv[] = {"GET", name};
    const size_t lens[] = {3, sizeof name - 1};
    struct redis_command *command = redis_command_argv(link, 2, argv, lens, cache_redis_on_get, g);
    if (!command)
        return NULL; /* called back, and freed */
    g->command = command;
    return g;
}

void cache_redis_cancel(struct cache_redis_get **get)
{
    struct cache_redis_get *g = *get;
    *get = NULL;
    if (!g)
        return;
    redis_command_cancel(&g->command);
    free(g);
}

struct redis_command *cache_redis_put(struct redis *link, const struct digest *key, int64_t expires_us,
                                      struct slice record, cache_redis_put_fn *fn, void *user)
{
    char name[CACHE_REDIS_NAME_SIZE], ms[24];
    int64_t left = (expires_us - clock_wall_us()) / CLOCK_US_PER_MS;
    cache_redis_name(key, name);
    int n = snprintf(ms, sizeof ms, "%lld", (long long)(left > 1 ? left : 1));
    const char *argv[] = {"SET", name, record.ptr, "PX", ms};
    const size_t lens[] = {3, sizeof name - 1, record.len, 2, (size_t)n};
    return redis_command_argv(link, 5, argv, lens, fn, user);
}
