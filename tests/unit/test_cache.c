/* The cache of a worker: with Redis, without, and while it fails. */
#include "cache_world.h"

#include "redis_server.h"
#include "sluice/cache.h"
#include "sluice/cache_redis.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { MAX = 8 << 20, MAX_ENTRY = 1 << 20, BUDGET_MS = 50 };

static struct redis_server server;

struct fixture {
    struct world world;
    struct event_base *base;
    struct redis *redis;
    struct cache *cache;
    struct buf message;
    /* of the last lookup */
    int calls;
    bool hit;
    struct buf body;
};

static struct redis *connect_to(struct fixture *f, const char *text, int64_t budget_ms)
{
    struct redis_url url;
    assert_null(redis_url_parse(slice_from_text(text), &url));
    return redis_new(f->base, &url, budget_ms * CLOCK_US_PER_MS);
}

static void turn(struct fixture *f)
{
    struct timeval tick = {0, 1000};
    event_base_loopexit(f->base, &tick);
    event_base_dispatch(f->base);
}

#define WAIT_UNTIL(f, condition)                                                                             \
    do {                                                                                                     \
        int64_t until = clock_monotonic_us() + 15000000;                                                     \
        while (!(condition) && clock_monotonic_us() < until)                                                 \
            turn(f);                                                                                         \
        if (!(condition))                                                                                    \
            fail_msg("not in time: %s", #condition);                                                         \
    } while (0)

static struct fixture *fixture_new(const char *redis_url)
{
    struct fixture *f = calloc(1, sizeof *f);
    world_open(&f->world);
    f->base = event_base_new();
    buf_init(&f->message, 4096);
    buf_init(&f->body, MAX);
    f->redis = redis_url ? connect_to(f, redis_url, BUDGET_MS) : NULL;
    struct cache_settings settings = {f->base, f->redis, f->world.dir, MAX, MAX_ENTRY};
    f->cache = cache_new(&settings, &f->message);
    assert_non_null(f->cache);
    assert_int_equal(f->message.len, 0);
    return f;
}

static int leave(void **state)
{
    struct fixture *f = *state;
    cache_free(&f->cache);
    redis_free(&f->redis);
    event_base_free(f->base);
    world_close(&f->world);
    buf_free(&f->message);
    buf_free(&f->body);
    free(f);
    redis_server_remove(&server);
    return 0;
}

static int enter_local(void **state)
{
    *state = fixture_new(NULL);
    return 0;
}

static int enter_redis(void **state)
{
    if (!redis_server_is_installed())
        skip();
    redis_server_start(&server, NULL);
    struct fixture *f = *state = fixture_new(server.url);
    WAIT_UNTIL(f, redis_is_connected(f->redis));
    return 0;
}

static void on_lookup(void *user, const struct cache_entry *entry)
{
    struct fixture *f = user;
    f->calls++;
    f->hit = entry != NULL;
    buf_clear(&f->body);
    if (entry)
        assert_true(buf_append_slice(&f->body, entry->body));
}

/* What the cache gives for the key; NULL: a miss. */
static const char *look(struct fixture *f, uint64_t number)
{
    struct digest key = world_key(number);
    f->calls = 0;
    cache_lookup(f->cache, &key, on_lookup, f);
    WAIT_UNTIL(f, f->calls > 0);
    assert_int_equal(f->calls, 1);
    return f->hit ? buf_text(&f->body) : NULL;
}

static bool store(struct fixture *f, uint64_t number, const char *body, int64_t ttl_ms)
{
    struct digest key = world_key(number);
    struct cache_entry entry = {.created_us = clock_wall_us(),
                                .expires_us = clock_wall_us() + ttl_ms * CLOCK_US_PER_MS,
                                .owner = {{1, 2, 3, 4, 5, 6}},
                                .content_type = SLICE_LITERAL("application/json"),
                                .body = slice_from_text(body)};
    return cache_store(f->cache, &key, &entry);
}

static void what_is_stored_is_found(void **state)
{
    struct fixture *f = *state;
    assert_null(look(f, 1));
    assert_true(store(f, 1, "one", 60000));
    assert_true(store(f, 2, "two", 60000));
    assert_string_equal(look(f, 1), "one");
    assert_string_equal(look(f, 2), "two");
    assert_true(store(f, 1, "other", 60000));
    assert_string_equal(look(f, 1), "other");
    assert_true(store(f, 3, "", 60000));
    assert_string_equal(look(f, 3), "");
    assert_int_equal(cache_counts(f->cache)->hits, 4);
    assert_int_equal(cache_counts(f->cache)->misses, 1);
}

static void it_expires(void **state)
{
    struct fixture *f = *state;
    assert_true(store(f, 1, "one", 60));
    assert_string_equal(look(f, 1), "one");
    usleep(80 * 1000);
    assert_null(look(f, 1));
    assert_false(store(f, 2, "two", -1));
}

static void what_is_too_large_is_not_kept(void **state)
{
    struct fixture *f = *state;
    char *large = calloc(1, MAX_ENTRY + 2);
    memset(large, 'x', MAX_ENTRY + 1);
    assert_false(store(f, 1, large, 60000));
    large[MAX_ENTRY] = '\0';
    cache_set_max_entry(f->cache, MAX_ENTRY);
    assert_true(store(f, 2, large, 60000));
    assert_int_equal(cache_counts(f->cache)->too_large,
                     f->redis ? 1 : 2); /* an eighth of the store is its own bound */
    free(large);
}

static void a_busy_store_is_tried_again(void **state)
{
    struct fixture *f = *state;
    int fd = open(world_path(&f->world, "cache-v1.lock"), O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    for (uint64_t i = 0; i < 20; i++)
        assert_true(store(f, i, "waiting", 60000));
    assert_null(look(f, 1));
    flock(fd, LOCK_UN);
    WAIT_UNTIL(f, cache_counts(f->cache)->stored_local == 20);
    assert_string_equal(look(f, 1), "waiting");
    assert_string_equal(look(f, 19), "waiting");
    assert_int_equal(flock(fd, LOCK_EX), 0);
    for (uint64_t i = 0; i < CACHE_PENDING_MAX; i++)
        assert_true(store(f, i, "lost", 60000));
    assert_false(store(f, 1, "lost", 60000));
    WAIT_UNTIL(f, cache_counts(f->cache)->dropped == CACHE_PENDING_MAX + 1);
    assert_string_equal(look(f, 1), "waiting");
    close(fd);
}

/* ---- with Redis -------------------------------------------------------------------------------------- */

static void name_of(uint64_t number, char out[100])
{
    struct digest key = world_key(number);
    char hex[DIGEST_HEX_SIZE];
    digest_hex(key.bytes, DIGEST_SIZE, hex);
    snprintf(out, 100, "sluice:cache:v1:%s", hex);
}

static void redis_holds_it_with_an_expiry(void **state)
{
    struct fixture *f = *state;
    char name[100], command[200], reply[100];
    assert_string_equal(cache_engine(f->cache), "redis");
    assert_true(store(f, 1, "one", 60000));
    assert_string_equal(look(f, 1), "one");
    name_of(1, name);
    snprintf(command, sizeof command, "PTTL %s", name);
    redis_server_ask(&server, command, reply, sizeof reply);
    assert_in_range(atoi(reply + 1), 50000, 60000);
    assert_int_equal(cache_counts(f->cache)->redis_hits, 1);
    assert_int_equal(cache_counts(f->cache)->stored_local, 0);
}

static void nonsense_is_a_miss(void **state)
{
    struct fixture *f = *state;
    static const char *const commands[][2] = {
        {"SET", "nonsense"},  {"SET", "SLC1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        {"DEL", ""},          {"LPUSH", "a"},
        {"SETRANGE", "60 x"}, {"APPEND", "x"}};
    char name[100], command[300], reply[100];
    name_of(1, name);
    for (size_t i = 0; i < TEST_COUNT(commands); i++) {
        snprintf(command, sizeof command, "DEL %s", name);
        redis_server_ask(&server, command, reply, sizeof reply);
        assert_true(store(f, 1, "the body is one two three four five", 60000));
        assert_string_equal(look(f, 1), "the body is one two three four five");
        if (i == 3) {
            snprintf(command, sizeof command, "DEL %s", name);
            redis_server_ask(&server, command, reply, sizeof reply);
        }
        snprintf(command, sizeof command, "%s %s %s", commands[i][0], name, commands[i][1]);
        redis_server_ask(&server, command, reply, sizeof reply);
        assert_null(look(f, 1));
    }
    /* Another key's record. */
    assert_true(store(f, 2, "two", 60000));
    assert_string_equal(look(f, 2), "two");
    char other[100];
    name_of(2, other);
    snprintf(command, sizeof command, "RENAME %s %s", other, name);
    redis_server_ask(&server, command, reply, sizeof reply);
    assert_null(look(f, 1));
    assert_true(cache_counts(f->cache)->nonsense >= 4);
}

static void without_redis_the_embedded_store_serves(void **state)
{
    struct fixture *f = *state;
    assert_true(store(f, 1, "in redis", 60000));
    assert_string_equal(look(f, 1), "in redis");
    redis_server_kill(&server);
    WAIT_UNTIL(f, !redis_is_connected(f->redis));
    assert_string_equal(cache_engine(f->cache), "lmdb");
    assert_null(look(f, 1));
    assert_true(store(f, 1, "in lmdb", 60000));
    assert_string_equal(look(f, 1), "in lmdb");
    redis_server_again(&server);
    WAIT_UNTIL(f, redis_is_connected(f->redis));
    assert_null(look(f, 1));
    assert_true(store(f, 1, "in redis again", 60000));
    assert_string_equal(look(f, 1), "in redis again");
}

static void a_frozen_redis_costs_no_more_than_its_budget(void **state)
{
    struct fixture *f = *state;
    int64_t longest = 0;
    redis_server_freeze(&server);
    for (uint64_t i = 0; i < 40; i++) {
        int64_t before = clock_monotonic_us();
        look(f, i);
        store(f, i, "meanwhile", 60000);
        int64_t took = clock_monotonic_us() - before;
        longest = took > longest ? took : longest;
    }
    assert_true(longest < (BUDGET_MS + 100) * CLOCK_US_PER_MS);
    assert_string_equal(cache_engine(f->cache), "lmdb");
    assert_string_equal(look(f, 39), "meanwhile");
    assert_true(cache_counts(f->cache)->redis_failures > 0);
    redis_server_thaw(&server);
    WAIT_UNTIL(f, redis_is_connected(f->redis));
    print_message("longest lookup and store with a frozen server: %lld us\n", (long long)longest);
}

static void a_full_redis_loses_writes_only(void **state)
{
    struct fixture *f = *state;
    char reply[100];
    redis_server_ask(&server, "CONFIG SET maxmemory-policy noeviction", reply, sizeof reply);
    redis_server_ask(&server, "CONFIG SET maxmemory 1", reply, sizeof reply);
    for (uint64_t i = 0; i < 20; i++) {
        store(f, i, "no room", 60000);
        look(f, i);
    }
    WAIT_UNTIL(f, cache_counts(f->cache)->dropped > 0);
    redis_server_ask(&server, "CONFIG SET maxmemory 0", reply, sizeof reply);
    WAIT_UNTIL(f, redis_is_connected(f->redis));
    assert_true(store(f, 1, "room", 60000));
    assert_string_equal(look(f, 1), "room");
}

static void a_cancelled_lookup_is_not_told(void **state)
{
    struct fixture *f = *state;
    struct digest key = world_key(1);
    assert_true(store(f, 1, "one", 60000));
    f->calls = 0;
    struct cache_lookup *l = cache_lookup(f->cache, &key, on_lookup, f);
    assert_non_null(l);
    cache_lookup_cancel(&l);
    assert_null(l);
    for (int i = 0; i < 20; i++)
        turn(f);
    assert_int_equal(f->calls, 0);
    cache_lookup(f->cache, &key, on_lookup, f); /* under way when everything ends */
    store(f, 2, "two", 60000);
}

struct walked {
    int64_t entries;
    int calls;
};

static void on_walked(void *user, int64_t entries)
{
    struct walked *w = user;
    w->entries = entries;
    w->calls++;
}

static int64_t walk(struct fixture *f, bool clear, const struct cache_owner *owner)
{
    struct walked w = {0, 0};
    if (clear)
        cache_redis_clear(f->redis, owner, on_walked, &w);
    else
        cache_redis_count(f->redis, on_walked, &w);
    WAIT_UNTIL(f, w.calls > 0);
    return w.entries;
}

static void redis_is_cleared_by_owner_or_all(void **state)
{
    struct fixture *f = *state;
    char reply[100];
    struct cache_owner mine = {{1, 2, 3, 4, 5, 6}}, other = {{9, 2, 3, 4, 5, 6}};
    redis_server_ask(&server, "SET sluice:other 1", reply, sizeof reply);
    redis_server_ask(&server, "SET sluice:cache:v1:short 1", reply, sizeof reply);
    for (uint64_t i = 0; i < 1500; i++) {
        struct digest key = world_key(i);
        struct cache_entry entry = {.created_us = clock_wall_us(),
                                    .expires_us = clock_wall_us() + 60 * INT64_C(1000000),
                                    .owner = i % 3 ? mine : other,
                                    .body = SLICE_LITERAL("body")};
        assert_true(cache_store(f->cache, &key, &entry));
    }
    look(f, 1);
    assert_int_equal(walk(f, false, NULL), 1500);
    assert_int_equal(walk(f, true, &other), 500);
    assert_null(look(f, 0));
    assert_string_equal(look(f, 1), "body");
    assert_int_equal(walk(f, true, NULL), 1000);
    assert_int_equal(walk(f, false, NULL), 0);
    redis_server_ask(&server, "GET sluice:other", reply, sizeof reply);
    assert_int_equal(strncmp(reply, "$1", 2), 0);
    redis_server_kill(&server);
    WAIT_UNTIL(f, !redis_is_connected(f->redis));
    assert_int_equal(walk(f, true, NULL), -1);
}

#define LOCAL(name) cmocka_unit_test_setup_teardown(name, enter_local, leave)
#define REDIS(name) cmocka_unit_test_setup_teardown(name, enter_redis, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCAL(what_is_stored_is_found),
        LOCAL(it_expires),
        LOCAL(what_is_too_large_is_not_kept),
        LOCAL(a_busy_store_is_tried_again),
        REDIS(what_is_stored_is_found),
        REDIS(it_expires),
        REDIS(what_is_too_large_is_not_kept),
        REDIS(redis_holds_it_with_an_expiry),
        REDIS(nonsense_is_a_miss),
        REDIS(without_redis_the_embedded_store_serves),
        REDIS(a_frozen_redis_costs_no_more_than_its_budget),
        REDIS(a_full_redis_loses_writes_only),
        REDIS(a_cancelled_lookup_is_not_told),
        REDIS(redis_is_cleared_by_owner_or_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
