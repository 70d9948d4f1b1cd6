/* The embedded store: entries, order, expiry, bounds, other processes, and what is wrong with its files. */
#include "cache_world.h"

#include "sluice/cache_lmdb.h"

#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = CACHE_LMDB_BYTES_MIN, TTL_MS = 60000 };

static const struct cache_owner owner = {{1, 2, 3, 4, 5, 6}}, other_owner = {{6, 5, 4, 3, 2, 1}};

struct fixture {
    struct world world;
    struct cache_lmdb *store;
    struct buf record, got, notice, error;
};

static struct cache_lmdb *open_store(struct fixture *f, size_t max)
{
    buf_clear(&f->notice);
    buf_clear(&f->error);
    struct cache_lmdb *s = cache_lmdb_open(f->world.dir, max, &f->notice, &f->error);
    if (!s)
        print_error("%s\n", buf_text(&f->error));
    return s;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    buf_init(&f->record, 8 << 20);
    buf_init(&f->got, 8 << 20);
    buf_init(&f->notice, 4096);
    buf_init(&f->error, 4096);
    world_open(&f->world);
    f->store = open_store(f, SMALL);
    *state = f;
    return f->store ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cache_lmdb_close(&f->store);
    world_close(&f->world);
    buf_free(&f->record);
    buf_free(&f->got);
    buf_free(&f->notice);
    buf_free(&f->error);
    free(f);
    return 0;
}

static enum cache_lmdb_result put(struct fixture *f, uint64_t number, size_t size, uint64_t salt, int64_t ms)
{
    struct digest key = world_key(number);
    world_record(&f->record, &key, size, salt, ms);
    return cache_lmdb_put(f->store, &key, &owner, clock_wall_us() + ms * CLOCK_US_PER_MS,
                          buf_slice(&f->record));
}

/* The salt of the entry, or -1 for a miss. */
static int64_t get(struct fixture *f, uint64_t number)
{
    struct digest key = world_key(number);
    uint64_t salt;
    buf_clear(&f->got);
    enum cache_lmdb_result result = cache_lmdb_get(f->store, &key, &f->got);
    if (result == CACHE_LMDB_MISS)
        return -1;
    assert_int_equal(result, CACHE_LMDB_OK);
    assert_true(world_check(buf_slice(&f->got), &key, &salt));
    return (int64_t)salt;
}

static struct cache_lmdb_stats stats(struct fixture *f)
{
    struct cache_lmdb_stats s;
    assert_int_equal(cache_lmdb_stats(f->store, &s), CACHE_LMDB_OK);
    return s;
}

static void entries_come_back_at_every_size(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {8,    100,  1900, 1973, 1974,   1975,  2018,
                                   2019, 3900, 4036, 8192, 100000, 520000};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        assert_int_equal(put(f, i, sizes[i], i, TTL_MS), CACHE_LMDB_OK);
        assert_int_equal(get(f, i), i);
    }
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        assert_int_equal(get(f, i), i);
    assert_int_equal(get(f, 1000), -1);
    assert_int_equal(stats(f).entries, TEST_COUNT(sizes));
    assert_int_equal(stats(f).stored, TEST_COUNT(sizes));
}

static void a_key_has_one_entry(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(put(f, 1, 100 + i * 100, i, TTL_MS), CACHE_LMDB_OK);
        assert_int_equal(get(f, 1), i);
    }
    assert_int_equal(stats(f).entries, 1);
    assert_int_equal(stats(f).evicted, 0);
}

static void removed_is_gone(void **state)
{
    struct fixture *f = *state;
    struct digest key = world_key(1);
    assert_int_equal(put(f, 1, 5000, 1, TTL_MS), CACHE_LMDB_OK);
    assert_int_equal(put(f, 2, 5000, 2, TTL_MS), CACHE_LMDB_OK);
    assert_int_equal(cache_lmdb_remove(f->store, &key), CACHE_LMDB_OK);
    assert_int_equal(cache_lmdb_remove(f->store, &key), CACHE_LMDB_MISS);
    assert_int_equal(get(f, 1), -1);
    assert_int_equal(get(f, 2), 2);
    assert_int_equal(stats(f).entries, 1);
}

static void expired_is_a_miss_and_is_swept(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 40; i++)
        assert_int_equal(put(f, i, 3000, i, i % 2 ? TTL_MS : 30), CACHE_LMDB_OK);
    usleep(40 * 1000);
    for (uint64_t i = 0; i < 40; i++)
        assert_int_equal(get(f, i), i % 2 ? (int64_t)i : -1);
    for (uint64_t i = 100; i < 103; i++)
        assert_int_equal(put(f, i, 10, i, TTL_MS), CACHE_LMDB_OK);
    assert_int_equal(stats(f).entries, 20 + 3);
    assert_int_equal(stats(f).expired, 20);
}

static void the_oldest_make_room(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 2000, SIZE = 8000 };
    uint64_t first = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(put(f, i, SIZE, i, TTL_MS), CACHE_LMDB_OK);
        assert_int_equal(get(f, i), i);
    }
    while (get(f, first) < 0)
        first++;
    for (uint64_t i = first; i < COUNT; i++)
        assert_int_equal(get(f, i), i);
    struct cache_lmdb_stats s = stats(f);
    assert_int_equal(s.entries, COUNT - first);
    assert_int_equal(s.evicted, first);
    assert_true(s.entries * SIZE > SMALL / 2);
    assert_true(s.file_bytes <= SMALL);
    assert_true(s.used_bytes <= SMALL / 8 * 7);
    assert_true(s.oldest_us > 0 && s.oldest_us <= clock_wall_us());
}

/* Sizes that alternate make holes of every size. */
static void mixed_sizes_never_fail(void **state)
{
    struct fixture *f = *state;
    srandom(3);
    for (uint64_t i = 0; i < 3000; i++) {
        size_t size = random() % 10 == 0 ? (size_t)random() % (SMALL / 8 - 100) : (size_t)random() % 6000;
        int64_t ms = random() % 3 == 0 ? 20 : TTL_MS;
        uint64_t number = (uint64_t)random() % 2000;
        assert_int_equal(put(f, number, size + 8, i, ms), CACHE_LMDB_OK);
        int64_t salt = get(f, number);
        assert_true(salt == (int64_t)i || (salt == -1 && ms == 20));
    }
    assert_true(stats(f).file_bytes <= SMALL);
}

static void what_is_too_large_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 1, SMALL / 8, 1, TTL_MS), CACHE_LMDB_TOO_LARGE);
    assert_int_equal(get(f, 1), -1);
}

static void it_outlives_a_process(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 1, 9000, 11, TTL_MS), CACHE_LMDB_OK);
    cache_lmdb_close(&f->store);
    f->store = open_store(f, SMALL);
    assert_non_null(f->store);
    assert_int_equal(f->notice.len, 0);
    assert_int_equal(get(f, 1), 11);
}

static void clear_takes_an_owner_or_all(void **state)
{
    struct fixture *f = *state;
    uint64_t removed = 0;
    for (uint64_t i = 0; i < 300; i++) {
        struct digest key = world_key(i);
        world_record(&f->record, &key, 1000, i, TTL_MS);
        assert_int_equal(
            cache_lmdb_put(f->store, &key, i % 3 ? &owner : &other_owner, INT64_MAX, buf_slice(&f->record)),
            CACHE_LMDB_OK);
    }
    while (cache_lmdb_clear(f->store, &other_owner, &removed) == CACHE_LMDB_OK)
        ;
    assert_int_equal(removed, 100);
    for (uint64_t i = 0; i < 300; i++)
        assert_int_equal(get(f, i), i % 3 ? (int64_t)i : -1);
    while (cache_lmdb_clear(f->store, NULL, &removed) == CACHE_LMDB_OK)
        ;
    assert_int_equal(removed, 300);
    assert_int_equal(stats(f).entries, 0);
    assert_int_equal(put(f, 1, 1000, 5, TTL_MS), CACHE_LMDB_OK);
    assert_int_equal(get(f, 1), 5);
}

/* ---- other processes --------------------------------------------------------------------------------- */

static void a_held_lock_is_busy_and_reads_go_on(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 1, 1000, 5, TTL_MS), CACHE_LMDB_OK);
    int fd = open(world_path(&f->world, "cache-v1.lock"), O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    int64_t before = clock_monotonic_us();
    assert_int_equal(put(f, 2, 1000, 6, TTL_MS), CACHE_LMDB_BUSY);
    assert_int_equal(get(f, 1), 5);
    assert_true(clock_monotonic_us() - before < 50 * CLOCK_US_PER_MS);
    close(fd);
    assert_int_equal(put(f, 2, 1000, 6, TTL_MS), CACHE_LMDB_OK);
}

static pid_t writer_start(struct fixture *f, uint64_t seed)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    alarm(60); /* whatever becomes of the test */
    struct cache_lmdb *mine = open_store(f, SMALL);
    if (!mine)
        _exit(1);
    f->store = mine;
    for (uint64_t i = seed;; i++)
        if (put(f, i % 5000, 200 + i * 37 % 20000, i, TTL_MS) == CACHE_LMDB_FAILED)
            _exit(2);
}

static void wait_for_entries(struct fixture *f, uint64_t stored)
{
    for (int i = 0; i < 1000 && stats(f).stored < stored; i++)
        usleep(5000);
    assert_true(stats(f).stored >= stored);
}

/* A writer that was killed leaves the store as it was before or after what it did. */
static void a_killed_writer_leaves_it_whole(void **state)
{
    struct fixture *f = *state;
    for (uint64_t round = 0; round < 12; round++) {
        pid_t pid = writer_start(f, round * 1000);
        assert_true(pid > 0);
        wait_for_entries(f, stats(f).stored + 20);
        usleep((useconds_t)(round * 777));
        int status;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(put(f, 9000 + round, 5000, round, TTL_MS), CACHE_LMDB_OK);
        for (uint64_t i = 0; i < 5000; i++)
            get(f, i);
        assert_int_equal(get(f, 9000 + round), round);
    }
    cache_lmdb_close(&f->store);
    f->store = open_store(f, SMALL);
    assert_non_null(f->store);
    assert_int_equal(f->notice.len, 0);
    assert_true(stats(f).entries > 50);
}

/* Whatever it was doing when it was stopped, nobody waits for it. */
static void a_stopped_writer_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    pid_t pid = writer_start(f, 1);
    wait_for_entries(f, 50);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(kill(pid, SIGSTOP), 0);
        assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
        int64_t before = clock_monotonic_us();
        enum cache_lmdb_result result = put(f, 9000, 100, 1, TTL_MS);
        assert_true(result == CACHE_LMDB_OK || result == CACHE_LMDB_BUSY);
        get(f, 9000);
        assert_true(clock_monotonic_us() - before < 200 * CLOCK_US_PER_MS);
        assert_int_equal(kill(pid, SIGCONT), 0);
        usleep(3000);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(put(f, 9000, 100, 1, TTL_MS), CACHE_LMDB_OK);
}

static pid_t reader_start(const char *dir, int from, int to)
{
    MDB_env *env;
    MDB_txn *txn;
    char byte;
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    alarm(60); /* whatever becomes of the test */
    if (mdb_env_create(&env) != 0 || mdb_env_open(env, dir, MDB_RDONLY, 0600) != 0 ||
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 || write(to, "r", 1) != 1 ||
        read(from, &byte, 1) != 1)
        _exit(1);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    _exit(0);
}

/* It holds all pages of its time: nothing can be made room for, and yet the store is not given up. */
static void a_reader_that_does_not_go_on_costs_no_store(void **state)
{
    struct fixture *f = *state;
    int down[2], up[2], status;
    char dir[2 * WORLD_PATH_MAX], byte;
    enum cache_lmdb_result result = CACHE_LMDB_OK;
    uint64_t i = 0;
    for (; i < 1000; i++)
        assert_int_equal(put(f, i, 8000, i, TTL_MS), CACHE_LMDB_OK);
    snprintf(dir, sizeof dir, "%s", world_path(&f->world, "cache-v1"));
    assert_int_equal(pipe(down) + pipe(up), 0);
    pid_t pid = reader_start(dir, down[0], up[1]);
    assert_int_equal(read(up[0], &byte, 1), 1);
    for (; i < 4000 && result != CACHE_LMDB_FULL; i++)
        result = put(f, i, 8000, i, TTL_MS);
    assert_int_equal(result, CACHE_LMDB_FULL);
    for (int again = 0; again < 20; again++)
        assert_int_equal(put(f, i, 8000, i, TTL_MS), CACHE_LMDB_FULL);
    assert_int_equal(write(down[1], "g", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    while ((result = put(f, i, 8000, i, TTL_MS)) == CACHE_LMDB_FULL)
        ;
    assert_int_equal(result, CACHE_LMDB_OK);
    assert_int_equal(get(f, i), i);
    assert_true(stats(f).stored > 1000);
    buf_clear(&f->notice);
    assert_false(cache_lmdb_take_notice(f->store, &f->notice));
    for (int n = 0; n < 2; n++) {
        close(down[n]);
        close(up[n]);
    }
}

/* ---- files that are not as they should be ------------------------------------------------------------ */

static void write_file(const char *path, const char *bytes, size_t len, off_t at)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static void reopen_after_damage(struct fixture *f, const char *notice)
{
    f->store = open_store(f, SMALL);
    assert_non_null(f->store);
    if (notice)
        assert_non_null(strstr(buf_text(&f->notice) ? buf_text(&f->notice) : "", notice));
    else
        assert_int_equal(f->notice.len, 0);
    assert_int_equal(get(f, 1), -1);
    assert_int_equal(put(f, 1, 1000, 5, TTL_MS), CACHE_LMDB_OK);
    assert_int_equal(get(f, 1), 5);
}

static void a_foreign_file_is_moved_aside(void **state)
{
    struct fixture *f = *state;
    char noise[20000];
    memset(noise, 'n', sizeof noise);
    cache_lmdb_close(&f->store);
    write_file(world_path(&f->world, "cache-v1/data.mdb"), noise, sizeof noise, 0);
    reopen_after_damage(f, "was moved to");
    struct stat info;
    assert_int_equal(stat(world_path(&f->world, "cache-v1.bad/data.mdb"), &info), 0);
}

static void a_cut_file_is_moved_aside(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(put(f, i, 8000, i, TTL_MS), CACHE_LMDB_OK);
    cache_lmdb_close(&f->store);
    assert_int_equal(truncate(world_path(&f->world, "cache-v1/data.mdb"), 3 * 4096), 0);
    reopen_after_damage(f, "was moved to");
    cache_lmdb_close(&f->store);
    assert_int_equal(truncate(world_path(&f->world, "cache-v1/data.mdb"), 100), 0);
    reopen_after_damage(f, "was moved to");
}

static void an_empty_file_is_begun(void **state)
{
    struct fixture *f = *state;
    cache_lmdb_close(&f->store);
    assert_int_equal(truncate(world_path(&f->world, "cache-v1/data.mdb"), 0), 0);
    reopen_after_damage(f, NULL);
}

static void a_file_in_the_folder_s_place_is_moved_aside(void **state)
{
    struct fixture *f = *state;
    cache_lmdb_close(&f->store);
    unlink(world_path(&f->world, "cache-v1/data.mdb"));
    unlink(world_path(&f->world, "cache-v1/lock.mdb"));
    unlink(world_path(&f->world, "cache-v1/boot"));
    assert_int_equal(rmdir(world_path(&f->world, "cache-v1")), 0);
    write_file(world_path(&f->world, "cache-v1"), "x", 1, 0);
    reopen_after_damage(f, "was moved to");
}

static void another_boot_s_store_is_begun_anew(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 1, 1000, 5, TTL_MS), CACHE_LMDB_OK);
    cache_lmdb_close(&f->store);
    write_file(world_path(&f->world, "cache-v1/boot"), "00000000", 8, 0);
    reopen_after_damage(f, NULL);
}

static void a_smaller_bound_begins_anew(void **state)
{
    struct fixture *f = *state;
    cache_lmdb_close(&f->store);
    f->store = open_store(f, 2 * SMALL);
    for (uint64_t i = 0; i < 500; i++)
        assert_int_equal(put(f, i, 8000, i, TTL_MS), CACHE_LMDB_OK);
    assert_int_equal(get(f, 0), 0);
    cache_lmdb_close(&f->store);
    f->store = open_store(f, SMALL);
    assert_int_equal(get(f, 0), -1);
    assert_true(stats(f).file_bytes <= SMALL);
}

/* The others notice that one process has begun a new store, and go over to it. */
static void a_new_store_is_everybody_s(void **state)
{
    struct fixture *f = *state;
    struct cache_lmdb *old = f->store;
    assert_int_equal(put(f, 1, 1000, 5, TTL_MS), CACHE_LMDB_OK);
    char aside[2 * WORLD_PATH_MAX];
    snprintf(aside, sizeof aside, "%s", world_path(&f->world, "cache-v1.bad"));
    assert_int_equal(rename(world_path(&f->world, "cache-v1"), aside), 0);
    f->store = open_store(f, SMALL);
    assert_int_equal(put(f, 2, 1000, 6, TTL_MS), CACHE_LMDB_OK);
    struct cache_lmdb *fresh = f->store;
    f->store = old;
    assert_int_equal(put(f, 3, 1000, 7, TTL_MS), CACHE_LMDB_OK);
    assert_int_equal(get(f, 2), 6);
    assert_int_equal(get(f, 1), -1);
    f->store = fresh;
    assert_int_equal(get(f, 3), 7);
    f->store = old;
    cache_lmdb_close(&fresh);
}

static void a_folder_that_cannot_be_written_is_an_error(void **state)
{
    struct fixture *f = *state;
    buf_clear(&f->error);
    assert_null(cache_lmdb_open("/nonexistent/folder", SMALL, &f->notice, &f->error));
    assert_non_null(strstr(buf_text(&f->error), "/nonexistent/folder"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(entries_come_back_at_every_size),
        TEST(a_key_has_one_entry),
        TEST(removed_is_gone),
        TEST(expired_is_a_miss_and_is_swept),
        TEST(the_oldest_make_room),
        TEST(mixed_sizes_never_fail),
        TEST(what_is_too_large_is_refused),
        TEST(it_outlives_a_process),
        TEST(clear_takes_an_owner_or_all),
        TEST(a_held_lock_is_busy_and_reads_go_on),
        TEST(a_killed_writer_leaves_it_whole),
        TEST(a_stopped_writer_holds_nobody_up),
        TEST(a_reader_that_does_not_go_on_costs_no_store),
        TEST(a_foreign_file_is_moved_aside),
        TEST(a_cut_file_is_moved_aside),
        TEST(an_empty_file_is_begun),
        TEST(a_file_in_the_folder_s_place_is_moved_aside),
        TEST(another_boot_s_store_is_begun_anew),
        TEST(a_smaller_bound_begins_anew),
        TEST(a_new_store_is_everybody_s),
        TEST(a_folder_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
