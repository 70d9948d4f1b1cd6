/*
 * One cache of two engines: which is asked, and what becomes of a write that is under way.
 */
#include "sluice/cache.h"

#include "sluice/cache_lmdb.h"
#include "sluice/cache_redis.h"
#include "sluice/cache_writer.h"
#include "sluice/clock.h"
#include "sluice/log.h"

#include <stdlib.h>

enum {
    CACHE_REAP_MS = 5, /* how often the writer is looked after while it writes */
    CACHE_WAITERS_MAX = CACHE_WRITER_ENTRIES_MAX
};

struct cache_lookup {
    struct cache *cache;
    struct cache_lookup *next, *prev;
    struct cache_redis_get *get;
    struct digest key;
    cache_lookup_fn *fn;
    void *user;
};

/* A record on its way to Redis. */
struct cache_put {
    struct cache *cache;
    struct cache_put *next, *prev;
    struct redis_command *command;
};

/* Somebody who waits for what was stored. */
struct cache_waiter {
    struct cache_waiter *next;
    uint64_t after; /* so many writes */
    cache_settled_fn *fn;
    void *user;
};

struct cache {
    struct redis *redis;
    struct cache_lmdb *local; /* for reading */
    struct cache_writer *writer;
    size_t max_entry;
    struct event *timer;
    struct cache_lookup *lookups;
    struct cache_put *puts;
    struct cache_waiter *first, **last;
    size_t waiters;
    struct buf record; /* the one that is read or written now */
    struct cache_counts counts;
};

/* ---- making ------------------------------------------------------------------------------------------ */

static void cache_on_timer(evutil_socket_t fd, short what, void *arg);

struct cache *cache_new(const struct cache_settings *settings, struct buf *message)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->redis = settings->redis;
    c->last = &c->first;
    cache_set_max_entry(c, settings->max_entry_bytes);
    c->timer = event_new(settings->base, -1, 0, cache_on_timer, c);
    if (settings->state_dir)
        c->local = cache_lmdb_open(settings->state_dir, settings->max_bytes, message, message);
    if (c->local)
        c->writer = cache_writer_new(c->local);
    if (!c->timer || (c->local && !c->writer))
        cache_free(&c);
    return c;
}

static void cache_tell_settled(struct cache *c, uint64_t writes)
{
    while (c->first && c->first->after <= writes) {
        struct cache_waiter *w = c->first;
        c->first = w->next;
        c->waiters--;
        if (!c->first)
            c->last = &c->first;
        w->fn(w->user);
        free(w);
    }
}

/* Cancels it where it was not answered. */
static void cache_end_put(struct cache_put *p)
{
    redis_command_cancel(&p->command);
    if (p->prev)
        p->prev->next = p->next;
    else
        p->cache->puts = p->next;
    if (p->next)
        p->next->prev = p->prev;
    free(p);
}

void cache_free(struct cache **cache)
{
    struct cache *c = *cache;
    *cache = NULL;
    if (!c)
        return;
    while (c->lookups) {
        struct cache_lookup *l = c->lookups;
        cache_lookup_cancel(&l);
    }
    while (c->puts)
        cache_end_put(c->puts);
    if (c->timer)
        event_free(c->timer);
    if (c->writer)
        cache_writer_free(&c->writer);
    else
        cache_lmdb_close(&c->local);
    cache_tell_settled(c, UINT64_MAX);
    buf_free(&c->record);
    free(c);
}

void cache_set_max_entry(struct cache *c, size_t bytes)
{
    c->max_entry = bytes;
    buf_free(&c->record);
    buf_init(&c->record, bytes + CACHE_RECORD_HEAD_SIZE + CACHE_CONTENT_TYPE_MAX);
}

static bool cache_uses_redis(const struct cache *c)
{
    return c->redis && redis_is_connected(c->redis);
}

const struct cache_counts *cache_counts(const struct cache *c)
{
    return &c->counts;
}

const char *cache_engine(const struct cache *c)
{
    return cache_uses_redis(c) ? "redis" : c->local ? "lmdb" : "none";
}

/* ---- what the writer has done ------------------------------------------------------------------------ */

static void cache_count_write(struct cache *c, enum cache_lmdb_result result)
{
    switch (result) {
    case CACHE_LMDB_OK:
        c->counts.stored_local++;
        break;
    case CACHE_LMDB_TOO_LARGE:
        c->counts.too_large++;
        break;
    case CACHE_LMDB_BUSY:
    case CACHE_LMDB_FULL:
        c->counts.dropped++;
        break;
    case CACHE_LMDB_MISS:
    case CACHE_LMDB_FAILED:
        c->counts.write_failures++;
        break;
    }
}

static void cache_reap(struct cache *c)
{
    struct cache_writer_done done;
    while (cache_writer_reap(c->writer, &done)) {
        if (done.was_record)
            cache_count_write(c, done.result);
        if (done.notice.len > 0)
            log_message(LOG_LEVEL_WARNING, "cache_rebuilt", "%s", buf_text(&done.notice));
        buf_free(&done.notice);
    }
}

static bool cache_is_writing(const struct cache *c)
{
    return c->writer && cache_writer_reaped(c->writer) < cache_writer_added(c->writer);
}

static void cache_arm_timer(struct cache *c)
{
    struct timeval after = {0, CACHE_REAP_MS * CLOCK_US_PER_MS};
    if (cache_is_writing(c) && !event_pending(c->timer, EV_TIMEOUT, NULL))
        event_add(c->timer, &after);
}

static void cache_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct cache *c = arg;
    (void)fd;
    (void)what;
    cache_reap(c);
    cache_tell_settled(c, cache_writer_reaped(c->writer));
    cache_arm_timer(c);
}

static void cache_mend(struct cache *c)
{
    cache_writer_mend(c->writer);
    cache_arm_timer(c);
}

bool cache_when_settled(struct cache *c, cache_settled_fn *fn, void *user)
{
    bool wanted = cache_is_writing(c) && c->waiters < CACHE_WAITERS_MAX;
    struct cache_waiter *w = wanted ? malloc(sizeof *w) : NULL;
    if (!w)
        return false;
    *w = (struct cache_waiter){NULL, cache_writer_added(c->writer), fn, user};
    *c->last = w;
    c->last = &w->next;
    c->waiters++;
    return true;
}

/* ---- lookups ----------------------------------------------------------------------------------------- */

static void cache_answer(struct cache *c, const struct cache_entry *entry, cache_lookup_fn *fn, void *user)
{
    c->counts.hits += entry != NULL;
    c->counts.misses += entry == NULL;
    fn(user, entry);
}

/* Into the cache's buffer; what is on its way first, as it is newer. */
static enum cache_lmdb_result cache_find_local(struct cache *c, const struct digest *key)
{
    struct slice queued;
    buf_clear(&c->record);
    cache_reap(c);
    if (cache_writer_find(c->writer, key, &queued))
        return buf_append_slice(&c->record, queued) ? CACHE_LMDB_OK : CACHE_LMDB_MISS;
    enum cache_lmdb_result result = cache_lmdb_get(c->local, key, &c->record);
    if (cache_lmdb_wants_mending(c->local))
        cache_mend(c);
    return result;
}

static bool cache_read_local(struct cache *c, const struct digest *key, struct cache_entry *entry)
{
    enum cache_lmdb_result result = c->writer ? cache_find_local(c, key) : CACHE_LMDB_MISS;
    c->counts.read_failures += result == CACHE_LMDB_FAILED;
    if (result != CACHE_LMDB_OK)
        return false;
    bool ok = cache_record_read(buf_slice(&c->record), key, entry);
    bool lives = ok && entry->expires_us > clock_wall_us();
    c->counts.nonsense += !ok;
    c->counts.local_hits += lives;
    return lives;
}

/* The entry points into a buffer of the cache, which another lookup may use: it is taken out for the time of
 * the call. */
static void cache_lookup_local(struct cache *c, const struct digest *key, cache_lookup_fn *fn, void *user)
{
    struct cache_entry entry;
    bool found = cache_read_local(c, key, &entry);
    struct buf mine = c->record;
    buf_init(&c->record, mine.max);
    cache_answer(c, found ? &entry : NULL, fn, user);
    buf_free(&mine);
}

static void cache_unlink_lookup(struct cache_lookup *l)
{
    if (l->prev)
        l->prev->next = l->next;
    else
        l->cache->lookups = l->next;
    if (l->next)
        l->next->prev = l->prev;
}

static void cache_on_redis(void *user, enum cache_redis_result result, const struct cache_entry *entry)
{
    struct cache_lookup l = *(struct cache_lookup *)user;
    cache_unlink_lookup(user);
    free(user);
    l.cache->counts.redis_failures += result == CACHE_REDIS_FAILED;
    l.cache->counts.nonsense += result == CACHE_REDIS_NONSENSE;
    l.cache->counts.redis_hits += result == CACHE_REDIS_HIT;
    if (result == CACHE_REDIS_FAILED)
        cache_lookup_local(l.cache, &l.key, l.fn, l.user);
    else
        cache_answer(l.cache, entry, l.fn, l.user);
}

struct cache_lookup *cache_lookup(struct cache *c, const struct digest *key, cache_lookup_fn *fn, void *user)
{
    c->counts.lookups++;
    struct cache_lookup *l = cache_uses_redis(c) ? calloc(1, sizeof *l) : NULL;
    if (!l) {
        cache_lookup_local(c, key, fn, user);
        return NULL;
    }
    *l = (struct cache_lookup){.cache = c, .next = c->lookups, .key = *key, .fn = fn, .user = user};
    if (l->next)
        l->next->prev = l;
    c->lookups = l;
    struct cache_redis_get *get = cache_redis_get(c->redis, key, c->max_entry, cache_on_redis, l);
    if (!get)
        return NULL; /* answered, and freed */
    l->get = get;
    return l;
}

void cache_lookup_cancel(struct cache_lookup **lookup)
{
    struct cache_lookup *l = *lookup;
    *lookup = NULL;
    if (!l)
        return;
    cache_redis_cancel(&l->get);
    cache_unlink_lookup(l);
    free(l);
}

/* ---- stores ------------------------------------------------------------------------------------------ */

static void cache_on_put(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct cache_put *p = user;
    (void)reply;
    p->command = NULL;
    p->cache->counts.dropped += status != REDIS_STATUS_OK;
    p->cache->counts.stored_redis += status == REDIS_STATUS_OK;
    cache_end_put(p);
}

static void cache_put_redis(struct cache *c, const struct digest *key, int64_t expires_us)
{
    struct cache_put *p = malloc(sizeof *p);
    if (!p) {
        c->counts.dropped++;
        return;
    }
    *p = (struct cache_put){c, c->puts, NULL, NULL};
    if (p->next)
        p->next->prev = p;
    c->puts = p;
    struct redis_command *command =
        cache_redis_put(c->redis, key, expires_us, buf_slice(&c->record), cache_on_put, p);
    if (command)
        p->command = command; /* otherwise it was called back, and is gone */
}

/* The writer takes the record that was just written. */
static bool cache_put_local(struct cache *c, const struct digest *key, const struct cache_entry *entry)
{
    if (!c->writer) {
        c->counts.write_failures++;
        return false;
    }
    if (!cache_lmdb_takes(c->local, c->record.len)) {
        c->counts.too_large++;
        return false;
    }
    cache_reap(c);
    if (!cache_writer_add(c->writer, key, &entry->owner, entry->expires_us, &c->record)) {
        c->counts.dropped++;
        return false;
    }
    c->counts.stores++;
    cache_arm_timer(c);
    return true;
}

bool cache_store(struct cache *c, const struct digest *key, const struct cache_entry *entry)
{
    bool large = entry->body.len > c->max_entry;
    c->counts.too_large += large;
    buf_clear(&c->record);
    if (large || entry->expires_us <= clock_wall_us() || !cache_record_write(&c->record, key, entry))
        return false;
    if (!cache_uses_redis(c))
        return cache_put_local(c, key, entry);
    c->counts.stores++;
    cache_put_redis(c, key, entry->expires_us);
    return true;
}
