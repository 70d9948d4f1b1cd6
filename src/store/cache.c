/*
 * One cache of two engines: which is asked, and what happens to a write that cannot be made at once.
 */
#include "sluice/cache.h"

#include "sluice/cache_lmdb.h"
#include "sluice/cache_redis.h"
#include "sluice/clock.h"

#include <stdlib.h>

enum { CACHE_RETRY_MS = 2 };

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

/* A record that waits for the embedded store. */
struct cache_pending {
    struct cache_pending *next;
    struct digest key;
    struct cache_owner owner;
    int64_t expires_us, since_us; /* wall and monotonic clock */
    struct buf record;
};

struct cache {
    struct redis *redis;
    struct cache_lmdb *local;
    size_t max_entry;
    struct event *timer;
    struct cache_lookup *lookups;
    struct cache_put *puts;
    struct cache_pending *first, **last;
    size_t pending, pending_bytes;
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
    if (!c->timer)
        cache_free(&c);
    return c;
}

static void cache_drop_pending(struct cache *c)
{
    struct cache_pending *p = c->first;
    c->first = p->next;
    if (!c->first)
        c->last = &c->first;
    c->pending--;
    c->pending_bytes -= p->record.len;
    buf_free(&p->record);
    free(p);
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
    while (c->first)
        cache_drop_pending(c);
    if (c->timer)
        event_free(c->timer);
    cache_lmdb_close(&c->local);
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

/* ---- lookups ----------------------------------------------------------------------------------------- */

static void cache_answer(struct cache *c, const struct cache_entry *entry, cache_lookup_fn *fn, void *user)
{
    c->counts.hits += entry != NULL;
    c->counts.misses += entry == NULL;
    fn(user, entry);
}

static bool cache_read_local(struct cache *c, const struct digest *key, struct cache_entry *entry)
{
    buf_clear(&c->record);
    enum cache_lmdb_result result = c->local ? cache_lmdb_get(c->local, key, &c->record) : CACHE_LMDB_MISS;
    c->counts.local_failures += result == CACHE_LMDB_FAILED;
    if (result != CACHE_LMDB_OK)
        return false;
    bool ok = cache_record_read(buf_slice(&c->record), key, entry);
    c->counts.nonsense += !ok;
    c->counts.local_hits += ok;
    return ok;
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

static void cache_arm_timer(struct cache *c)
{
    struct timeval after = {0, CACHE_RETRY_MS * CLOCK_US_PER_MS};
    if (c->first && !event_pending(c->timer, EV_TIMEOUT, NULL))
        event_add(c->timer, &after);
}

/* True where it is settled, one way or the other. */
static bool cache_put_local(struct cache *c, const struct digest *key, const struct cache_owner *owner,
                            int64_t expires_us, struct slice record)
{
    enum cache_lmdb_result result =
        c->local ? cache_lmdb_put(c->local, key, owner, expires_us, record) : CACHE_LMDB_FAILED;
    switch (result) {
    case CACHE_LMDB_BUSY:
    case CACHE_LMDB_FULL:
        return false;
    case CACHE_LMDB_OK:
        c->counts.stored_local++;
        return true;
    case CACHE_LMDB_TOO_LARGE:
        c->counts.too_large++;
        return true;
    default:
        c->counts.local_failures++;
        return true;
    }
}

static void cache_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct cache *c = arg;
    int64_t now = clock_monotonic_us();
    (void)fd;
    (void)what;
    while (c->first) {
        struct cache_pending *p = c->first;
        bool settled = cache_put_local(c, &p->key, &p->owner, p->expires_us, buf_slice(&p->record));
        bool late = now - p->since_us > CACHE_PENDING_MS * (int64_t)CLOCK_US_PER_MS;
        if (!settled && !late)
            break;
        c->counts.dropped += !settled;
        cache_drop_pending(c);
        if (settled)
            break; /* one a turn: others want the loop, and the store, too */
    }
    cache_arm_timer(c);
}

/* Takes the record that was just written. */
static bool cache_wait(struct cache *c, const struct digest *key, const struct cache_entry *entry)
{
    struct cache_pending *p = NULL;
    if (c->pending < CACHE_PENDING_MAX && c->record.len <= CACHE_PENDING_BYTES_MAX - c->pending_bytes)
        p = malloc(sizeof *p);
    if (!p) {
        c->counts.dropped++;
        return false;
    }
    *p = (struct cache_pending){NULL, *key, entry->owner, entry->expires_us, clock_monotonic_us(), c->record};
    buf_init(&c->record, p->record.max);
    *c->last = p;
    c->last = &p->next;
    c->pending++;
    c->pending_bytes += p->record.len;
    cache_arm_timer(c);
    return true;
}

static void cache_on_put(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct cache_put *p = user;
    (void)reply;
    p->command = NULL;
    p->cache->counts.dropped += status != REDIS_STATUS_OK;
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

bool cache_store(struct cache *c, const struct digest *key, const struct cache_entry *entry)
{
    bool large = entry->body.len > c->max_entry;
    c->counts.too_large += large;
    buf_clear(&c->record);
    if (large || entry->expires_us <= clock_wall_us() || !cache_record_write(&c->record, key, entry))
        return false;
    c->counts.stores++;
    if (cache_uses_redis(c)) {
        cache_put_redis(c, key, entry->expires_us);
        return true;
    }
    /* Those that wait go first, so that the newest of a key stays. */
    if (c->first || !cache_put_local(c, key, &entry->owner, entry->expires_us, buf_slice(&c->record)))
        return cache_wait(c, key, entry);
    return true;
}
