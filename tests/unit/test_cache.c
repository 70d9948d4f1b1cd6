/* The cache of a worker: with Redis, without, and while it fails. */
#include "cache_world.h"

#include "redis_server.h"
#include "sluice/cache.h"
#include "sluice/cache_lmdb.h"
#include "sluice/cache_redis.h"
#include "sluice/cache_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX = 8 << 20, MAX_ENTRY = 1 << 20, BUDGET_MS = 50, PATIENT_MS = 15000 };

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

static void open_cache(struct fixture *f)
{
    struct cache_settings settings = {f->base, f->redis, f->world.dir, MAX, MAX_ENTRY};
    f->cache = cache_new(&settings, &f->message);
    assert_non_null(f->cache);
    assert_int_equal(f->message.len, 0);
}

/* budget_ms: how long Redis may take. On a busy machine it takes long: only what is about that has a short one. */
static struct fixture *fixture_new(const char *redis_url, int64_t budget_ms)
{
    struct fixture *f = calloc(1, sizeof *f);
    world_open(&f->world);
    f->base = event_base_new();
    buf_init(&f->message, 4096);
    buf_init(&f->body, MAX);
    f->redis = redis_url ? connect_to(f, redis_url, budget_ms) : NULL;
    open_cache(f);
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
    *state = fixture_new(NULL, 0);
    return 0;
}

static int enter_redis_with(void **state, int64_t budget_ms)
{
    if (!redis_server_is_installed())
        skip();
    redis_server_start(&server, NULL);
    struct fixture *f = *state = fixture_new(server.url, budget_ms);
    WAIT_UNTIL(f, redis_is_connected(f->redis));
    return 0;
}

static int enter_redis(void **state)
{
    return enter_redis_with(state, PATIENT_MS);
}

static int enter_hurried_redis(void **state)
{
    return enter_redis_with(state, BUDGET_MS);
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
    assert_int_equal(store(f, 2, large, 60000),
                     f->redis != NULL); /* an eighth of the store is its own bound */
    assert_int_equal(cache_counts(f->cache)->too_large, f->redis ? 1 : 2);
    free(large);
}

/* ---- the embedded store, written by a thread -------------------------------------------------------- */

static int take_lock(struct fixture *f)
{
    int fd = open(world_path(&f->world, "cache-v1.lock"), O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    return fd;
}

static uint64_t stored(const struct fixture *f)
{
    return cache_counts(f->cache)->stored_local;
}

static void a_busy_store_is_tried_again(void **state)
{
    struct fixture *f = *state;
    int fd = take_lock(f);
    for (uint64_t i = 0; i < 20; i++)
        assert_true(store(f, i, "waiting", 60000));
    assert_string_equal(look(f, 1), "waiting");
    assert_int_equal(stored(f), 0);
    flock(fd, LOCK_UN);
    WAIT_UNTIL(f, stored(f) == 20);
    assert_string_equal(look(f, 1), "waiting");
    assert_string_equal(look(f, 19), "waiting");
    close(fd);
}

/* Of those that were taken, when one was refused: a slow machine may have given some up by then. */
static uint64_t waiting(const struct fixture *f, uint64_t taken)
{
    return taken - (cache_counts(f->cache)->dropped - 1);
}

/* Those that found no room, and those that waited for too long. */
static void what_waits_has_a_bound(void **state)
{
    struct fixture *f = *state;
    uint64_t taken = 0;
    assert_true(store(f, 1, "kept", 60000));
    WAIT_UNTIL(f, stored(f) == 1);
    int fd = take_lock(f);
    assert_true(store(f, taken++, "lost", 60000));
    assert_string_equal(look(f, 0), "lost");
    while (store(f, taken % 1000, "lost", 60000))
        taken++;
    assert_int_equal(waiting(f, taken), CACHE_WRITER_ENTRIES_MAX);
    WAIT_UNTIL(f, cache_counts(f->cache)->dropped == taken + 1);
    assert_string_equal(look(f, 1), "kept");
    assert_null(look(f, 2));
    close(fd);
    assert_true(store(f, 2, "kept", 60000));
    WAIT_UNTIL(f, stored(f) == 2);
}

static void their_bytes_have_a_bound_too(void **state)
{
    struct fixture *f = *state;
    enum { LENGTH = 900000 };
    char *large = malloc(LENGTH + 1);
    uint64_t taken = 0;
    memset(large, 'x', LENGTH);
    large[LENGTH] = '\0';
    int fd = take_lock(f);
    while (store(f, taken, large, 60000))
        taken++;
    assert_in_range(waiting(f, taken), CACHE_WRITER_BYTES_MAX / (2 * LENGTH),
                    CACHE_WRITER_BYTES_MAX / LENGTH);
    close(fd);
    free(large);
}

static void on_settled(void *user)
{
    struct fixture *f = user;
    f->calls++;
}

static void who_waits_is_told_when_it_is_stored(void **state)
{
    struct fixture *f = *state;
    f->calls = 0;
    assert_false(cache_when_settled(f->cache, on_settled, f));
    int fd = take_lock(f);
    assert_true(store(f, 1, "one", 60000));
    assert_true(cache_when_settled(f->cache, on_settled, f));
    assert_true(store(f, 2, "two", 60000));
    assert_true(cache_when_settled(f->cache, on_settled, f));
    for (int i = 0; i < 20; i++)
        turn(f);
    assert_int_equal(f->calls, 0);
    close(fd);
    WAIT_UNTIL(f, f->calls == 2);
    assert_int_equal(stored(f), 2);
    fd = take_lock(f);
    assert_true(store(f, 3, "lost with the end", 60000));
    assert_true(cache_when_settled(f->cache, on_settled, f));
    cache_free(&f->cache);
    assert_int_equal(f->calls, 3);
    close(fd);
    open_cache(f);
    assert_string_equal(look(f, 2), "two");
    assert_null(look(f, 3));
}

static void the_end_writes_what_waits(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 200; i++)
        assert_true(store(f, i, "in time", 60000));
    cache_free(&f->cache);
    open_cache(f);
    for (uint64_t i = 0; i < 200; i++)
        assert_string_equal(look(f, i), "in time");
}

/* Another process begins a new store in the place of ours: a read finds out, and the thread goes over to it.
 */
static void a_new_store_is_taken_up(void **state)
{
    struct fixture *f = *state;
    struct digest key = world_key(2);
    struct cache_owner owner = {{1}};
    struct buf record;
    char aside[2 * WORLD_PATH_MAX];
    assert_true(store(f, 1, "in the old one", 60000));
    WAIT_UNTIL(f, stored(f) == 1);
    snprintf(aside, sizeof aside, "%s", world_path(&f->world, "cache-v1.bad"));
    assert_int_equal(rename(world_path(&f->world, "cache-v1"), aside), 0);
    struct cache_lmdb *other = cache_lmdb_open(f->world.dir, MAX, &f->message, &f->message);
    buf_init(&record, 10000);
    world_record(&record, &key, 100, 7, 60000);
    assert_int_equal(cache_lmdb_put(other, &key, &owner, INT64_MAX, buf_slice(&record)), CACHE_LMDB_OK);
    WAIT_UNTIL(f, look(f, 2));
    assert_null(look(f, 1));
    assert_true(store(f, 3, "in the new one", 60000));
    WAIT_UNTIL(f, stored(f) == 2);
    key = world_key(3);
    buf_clear(&record);
    assert_int_equal(cache_lmdb_get(other, &key, &record), CACHE_LMDB_OK);
    cache_lmdb_close(&other);
    buf_free(&record);
}

/* ---- LMDB's own lock, held by a program that knows nothing of ours ----------------------------------- */

struct holder {
    pid_t pid;
    int to, from; /* a byte each: hold it, let it go; it is held */
};

static int hold_lock(const char *dir, int from, int to)
{
    MDB_env *env;
    MDB_txn *txn;
    char byte;
    if (read(from, &byte, 1) != 1 || mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 4) != 0 ||
        mdb_env_open(env, dir, MDB_NOSYNC, 0600) != 0 || mdb_txn_begin(env, NULL, 0, &txn) != 0)
        return 1;
    if (write(to, "h", 1) != 1 || read(from, &byte, 1) != 1)
        return 2;
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return 0;
}

/* To be started before the process has a thread. */
static struct holder holder_start(struct fixture *f)
{
    int down[2], up[2];
    char dir[2 * WORLD_PATH_MAX];
    snprintf(dir, sizeof dir, "%s", world_path(&f->world, "cache-v1"));
    assert_int_equal(pipe(down), 0);
    assert_int_equal(pipe(up), 0);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60); /* whatever becomes of the test */
        close(down[1]);
        _exit(hold_lock(dir, down[0], up[1]));
    }
    close(down[0]);
    close(up[1]);
    return (struct holder){pid, down[1], up[0]};
}

static void holder_hold(const struct holder *h)
{
    char byte;
    assert_int_equal(write(h->to, "h", 1), 1);
    assert_int_equal(read(h->from, &byte, 1), 1);
}

static void holder_let_go(struct holder *h)
{
    int status;
    assert_int_equal(write(h->to, "g", 1), 1);
    assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
    assert_int_equal(status, 0);
    close(h->to);
    close(h->from);
}

/* All between hold and let go happens while the lock is held: what waited for it would wait for ever. */
static void the_loop_does_not_wait_for_the_lock(void **state)
{
    struct fixture *f = *state;
    struct holder h = holder_start(f);
    assert_true(store(f, 1, "before", 60000));
    WAIT_UNTIL(f, stored(f) == 1);
    holder_hold(&h);
    for (uint64_t i = 2; i < 100; i++)
        assert_true(store(f, i, "meanwhile", 60000));
    assert_true(store(f, 1, "newer", 60000));
    for (int i = 0; i < 20; i++)
        turn(f);
    assert_string_equal(look(f, 1), "newer");
    assert_string_equal(look(f, 99), "meanwhile");
    assert_null(look(f, 100));
    assert_int_equal(stored(f), 1);
    assert_int_equal(cache_counts(f->cache)->dropped, 0);
    holder_let_go(&h);
    WAIT_UNTIL(f, stored(f) == 100);
    cache_free(&f->cache);
    open_cache(f);
    assert_string_equal(look(f, 1), "newer");
    assert_string_equal(look(f, 99), "meanwhile");
}

static int count_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    for (struct dirent *d; (d = readdir(tasks));)
        count += d->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* A store that is there is opened without it. */
static void the_start_does_not_wait_for_the_lock(void **state)
{
    struct fixture *f = *state;
    struct holder h = holder_start(f);
    assert_true(store(f, 1, "before", 60000));
    cache_free(&f->cache);
    holder_hold(&h);
    open_cache(f);
    assert_string_equal(look(f, 1), "before");
    holder_let_go(&h);
}

static void the_end_does_not_wait_for_the_lock(void **state)
{
    struct fixture *f = *state;
    struct holder h = holder_start(f);
    int threads = count_threads();
    holder_hold(&h);
    for (uint64_t i = 1; i < 10; i++)
        assert_true(store(f, i, "stuck", 60000));
    cache_free(&f->cache);
    assert_int_equal(count_threads(), threads + 1); /* it waits, alone */
    holder_let_go(&h);
    WAIT_UNTIL(f, count_threads() == threads); /* it has tidied up */
    open_cache(f);
    assert_string_equal(look(f, 1), "stuck");
    assert_null(look(f, 9));
    assert_true(store(f, 9, "fresh", 60000));
    WAIT_UNTIL(f, stored(f) == 1);
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
    assert_string_equal(cache_engine(f->cache), "lmdb");
    assert_string_equal(look(f, 39), "meanwhile");
    assert_in_range(cache_counts(f->cache)->redis_failures, 1, REDIS_BREAKER_FAILURES); /* each took the budget */
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
        LOCAL(what_waits_has_a_bound),
        LOCAL(their_bytes_have_a_bound_too),
        LOCAL(who_waits_is_told_when_it_is_stored),
        LOCAL(the_end_writes_what_waits),
        LOCAL(a_new_store_is_taken_up),
        LOCAL(the_loop_does_not_wait_for_the_lock),
        LOCAL(the_start_does_not_wait_for_the_lock),
        LOCAL(the_end_does_not_wait_for_the_lock),
        REDIS(what_is_stored_is_found),
        REDIS(it_expires),
        REDIS(what_is_too_large_is_not_kept),
        REDIS(redis_holds_it_with_an_expiry),
        REDIS(nonsense_is_a_miss),
        REDIS(without_redis_the_embedded_store_serves),
        cmocka_unit_test_setup_teardown(a_frozen_redis_costs_no_more_than_its_budget, enter_hurried_redis, leave),
        REDIS(a_full_redis_loses_writes_only),
        REDIS(a_cancelled_lookup_is_not_told),
        REDIS(redis_is_cleared_by_owner_or_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
