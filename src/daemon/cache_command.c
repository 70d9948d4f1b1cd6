/* What the cache holds, in Redis and in the state directory, and making it empty. Nothing needs to run. */
#include "cache_command.h"

#include "subcommand.h"

#include "sluice/cache_lmdb.h"
#include "sluice/cache_redis.h"
#include "sluice/clock.h"
#include "sluice/daemon.h"

#include <event2/event.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CACHE_COMMAND_REDIS_MS = 2000, /* for the connection, and for each answer */
    CACHE_COMMAND_PAUSE_US = 2000,
    CACHE_COMMAND_TRIES = 2000 /* of a store that is busy: four seconds */
};

static const char cache_command_usage[] =
    "usage: sluice cache stats [--env-file FILE]\n"
    "       sluice cache clear [--key FINGERPRINT] [--env-file FILE]\n"
    "\n"
    "Shows how many answers are kept, or removes them: in Redis (CACHE__REDIS_URL) and in STATE_DIR.\n"
    "\n"
    "  --env-file FILE      read options from FILE instead of .env\n"
    "  --key FINGERPRINT    only those of this key: of the client's, that asked first; with "
    "CACHE__SCOPE=upstream\n"
    "                       of the OpenAI key. The log and --print-config show the 12 hexadecimal digits\n";

/* It is not repeated what was given: it may be a key. */
static const char cache_command_no_fingerprint[] =
    "--key takes a fingerprint, 12 hexadecimal digits as the log and --print-config show them";

struct cache_command {
    const char *env_file, *key, *wrong;
    const char *mistake; /* said in full, in place of wrong */
    bool clear, stats, help;
    struct cache_owner owner;
    uint64_t removed;
};

/* As the log shows it, or with the "sha256:" of --print-config. */
static bool cache_command_read_key(struct cache_command *c)
{
    static const char prefix[] = "sha256:";
    struct slice text = slice_from_text(c->key);
    if (strncmp(c->key, prefix, sizeof prefix - 1) == 0)
        text = slice_skip(text, sizeof prefix - 1);
    return cache_owner_parse(text, &c->owner);
}

static void cache_command_parse(struct cache_command *c, int argc, char **argv)
{
    *c = (struct cache_command){0};
    for (int i = 1; i < argc && !c->wrong; i++) {
        const char **value = strcmp(argv[i], "--env-file") == 0 ? &c->env_file
                             : strcmp(argv[i], "--key") == 0    ? &c->key
                                                                : NULL;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            c->help = true;
        else if (strcmp(argv[i], "stats") == 0)
            c->stats = true;
        else if (strcmp(argv[i], "clear") == 0)
            c->clear = true;
        else if (value && i + 1 < argc)
            *value = argv[++i];
        else
            c->wrong = argv[i];
    }
    if (c->key && !cache_command_read_key(c))
        c->mistake = cache_command_no_fingerprint;
    if (!c->wrong && !c->help && (c->stats == c->clear || (c->key && !c->clear)))
        c->wrong = c->key ? "--key" : c->stats ? "stats clear" : "stats or clear is missing";
}

/* ---- the embedded store ------------------------------------------------------------------------------ */

static void cache_command_tell(const struct cache_lmdb *store, enum cache_lmdb_result result,
                               struct buf *error)
{
    buf_printf(error, "STATE_DIR: %s\n",
               result == CACHE_LMDB_FAILED ? cache_lmdb_trouble(store)
                                           : "another process writes all the time");
}

static bool cache_command_clear_local(struct cache_command *c, struct cache_lmdb *store, struct buf *error)
{
    enum cache_lmdb_result result = CACHE_LMDB_OK;
    uint64_t removed = 0;
    for (int tries = 0;
         tries < CACHE_COMMAND_TRIES && result != CACHE_LMDB_MISS && result != CACHE_LMDB_FAILED;) {
        result = cache_lmdb_clear(store, c->key ? &c->owner : NULL, &removed);
        if (result == CACHE_LMDB_OK)
            continue;
        tries++;
        usleep(CACHE_COMMAND_PAUSE_US);
    }
    if (result != CACHE_LMDB_MISS) {
        cache_command_tell(store, result, error);
        return false;
    }
    c->removed += removed;
    printf("STATE_DIR  %llu entries removed\n", (unsigned long long)removed);
    return true;
}

/* One that could not be opened at once, as another process had it, is tried again for a while. */
static bool cache_command_read_stats(struct cache_lmdb *store, struct cache_lmdb_stats *out,
                                     struct buf *error)
{
    enum cache_lmdb_result result = cache_lmdb_stats(store, out);
    for (int tries = 0; result != CACHE_LMDB_OK && tries < CACHE_COMMAND_TRIES; tries++) {
        result = cache_lmdb_mend(store);
        if (result == CACHE_LMDB_BUSY)
            usleep(CACHE_COMMAND_PAUSE_US);
        else if (result != CACHE_LMDB_OK || (result = cache_lmdb_stats(store, out)) == CACHE_LMDB_FAILED)
            break;
    }
    if (result != CACHE_LMDB_OK)
        cache_command_tell(store, result, error);
    return result == CACHE_LMDB_OK;
}

static bool cache_command_show_local(struct cache_lmdb *store, struct buf *error)
{
    struct cache_lmdb_stats s;
    if (!cache_command_read_stats(store, &s, error))
        return false;
    printf("STATE_DIR  %llu entries, %.1f of %.1f MiB used; %llu stored, %llu evicted, %llu expired since it "
           "was begun",
           (unsigned long long)s.entries, (double)s.used_bytes / (1 << 20), (double)s.max_bytes / (1 << 20),
           (unsigned long long)s.stored, (unsigned long long)s.evicted, (unsigned long long)s.expired);
    if (s.oldest_us > 0)
        printf("; the oldest is %lld s old",
               (long long)((clock_wall_us() - s.oldest_us) / CLOCK_US_PER_SECOND));
    putchar('\n');
    return true;
}

/* Looking must not make a store where there is none. */
static bool cache_command_is_there(const char *state_dir)
{
    char path[4096];
    struct stat info;
    int n = snprintf(path, sizeof path, "%s/cache-v1/data.mdb", state_dir);
    return n > 0 && (size_t)n < sizeof path && stat(path, &info) == 0;
}

static bool cache_command_local(struct cache_command *c, const struct config *config, struct buf *error)
{
    if (!cache_command_is_there(config->state_dir)) {
        puts("STATE_DIR  no store yet");
        return true;
    }
    struct cache_lmdb *store =
        cache_lmdb_open(config->state_dir, (size_t)config->cache_max_bytes, error, error);
    if (!store)
        return false;
    bool ok = c->clear ? cache_command_clear_local(c, store, error) : cache_command_show_local(store, error);
    if (cache_lmdb_take_notice(store, error))
        buf_append_char(error, '\n');
    cache_lmdb_close(&store);
    return ok;
}

/* ---- Redis ------------------------------------------------------------------------------------------- */

struct cache_command_redis {
    struct event_base *base;
    struct redis *link;
    int64_t entries;
    bool done;
};

static void cache_command_on_walked(void *user, int64_t entries)
{
    struct cache_command_redis *r = user;
    r->entries = entries;
    r->done = true;
    event_base_loopbreak(r->base);
}

/* Turns the loop for a moment. */
static void cache_command_turn(struct cache_command_redis *r)
{
    struct timeval moment = {0, 10 * CLOCK_US_PER_MS};
    event_base_loopexit(r->base, &moment);
    event_base_dispatch(r->base);
}

static bool cache_command_connect(struct cache_command_redis *r)
{
    int64_t until = clock_monotonic_us() + CACHE_COMMAND_REDIS_MS * (int64_t)CLOCK_US_PER_MS;
    while (!redis_is_connected(r->link) && clock_monotonic_us() < until)
        cache_command_turn(r);
    return redis_is_connected(r->link);
}

/* A server that cannot be reached is told, and no failure: without one the cache works too. */
static bool cache_command_ask_redis(struct cache_command *c, struct cache_command_redis *r, struct buf *error)
{
    if (!cache_command_connect(r)) {
        printf("Redis      not connected: %s\n", redis_trouble(r->link));
        return true;
    }
    if (c->clear)
        cache_redis_clear(r->link, c->key ? &c->owner : NULL, cache_command_on_walked, r);
    else
        cache_redis_count(r->link, cache_command_on_walked, r);
    while (!r->done)
        cache_command_turn(r);
    if (r->entries < 0)
        buf_printf(error, "Redis: it stopped answering\n");
    else
        printf("Redis      %lld entries%s\n", (long long)r->entries, c->clear ? " removed" : "");
    c->removed += c->clear && r->entries > 0 ? (uint64_t)r->entries : 0;
    return r->entries >= 0;
}

static bool cache_command_redis(struct cache_command *c, const struct config *config, struct buf *error)
{
    struct cache_command_redis r = {.base = event_base_new()};
    struct redis_url url;
    bool ok = false;
    const char *wrong = redis_url_parse(slice_from_text(config->cache_redis_url), &url);
    if (r.base && !wrong)
        r.link = redis_new(r.base, &url, CACHE_COMMAND_REDIS_MS * (int64_t)CLOCK_US_PER_MS);
    if (r.link)
        ok = cache_command_ask_redis(c, &r, error);
    else
        buf_printf(error, "Redis: %s\n", wrong ? wrong : "not enough memory");
    if (r.link)
        redis_free(&r.link);
    if (r.base)
        event_base_free(r.base);
    return ok;
}

/* ---- the command ------------------------------------------------------------------------------------- */

static bool cache_command_is_key(const struct cache_command *c, const char *secret)
{
    struct digest digest;
    return secret && digest_sha256(slice_from_text(secret), &digest) &&
           memcmp(digest.bytes, c->owner.bytes, sizeof c->owner.bytes) == 0;
}

static bool cache_command_is_configured(const struct cache_command *c, const struct config *config)
{
    const struct config_list *lists[] = {&config->client_api_keys, &config->openai_api_keys};
    const struct config_mappings *mappings = &config->api_key_mapping;
    bool found = false;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (size_t k = 0; k < lists[i]->count; k++)
            found = found || cache_command_is_key(c, lists[i]->items[k]);
    for (size_t i = 0; i < mappings->count; i++)
        found = found || cache_command_is_key(c, mappings->items[i].client_key) ||
                cache_command_is_key(c, mappings->items[i].api_key);
    return found;
}

/* A key that is no longer configured may have entries; one that is neither was mistyped. */
static bool cache_command_was_meant(const struct cache_command *c, const struct config *config,
                                    struct buf *error)
{
    if (!c->key || c->removed > 0 || cache_command_is_configured(c, config))
        return true;
    buf_printf(error, "no entry and no configured key has the fingerprint %s\n", c->key);
    return false;
}

static bool cache_command_work(void *user, const struct config *config, struct buf *text)
{
    struct cache_command *c = user;
    bool redis = cache_command_redis(c, config, text);
    bool local = cache_command_local(c, config, text);
    return redis && local && cache_command_was_meant(c, config, text);
}

int cache_command_main(int argc, char **argv)
{
    struct cache_command c;
    cache_command_parse(&c, argc, argv);
    if (c.wrong || c.mistake) {
        fprintf(stderr, "sluice cache: %s%s\n%s",
                c.mistake ? "" : "not understood: ", c.mistake ? c.mistake : c.wrong, cache_command_usage);
        return DAEMON_EXIT_USAGE;
    }
    if (c.help)
        return fputs(cache_command_usage, stdout) < 0 ? DAEMON_EXIT_FAILED : DAEMON_EXIT_OK;
    return subcommand_run(&(struct subcommand){"cache", c.env_file, cache_command_work, &c});
}
