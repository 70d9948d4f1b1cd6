/*
 * The embedded store at its bound: two processes write new entries without a pause, one by itself and one by
 * the thread that workers have, and are killed in the middle; a reader checks every byte that it is given.
 *
 * A second for the tests; SLUICE_CACHE_LOAD_SECONDS=300 by hand for the long run, whose numbers it prints.
 */
#include "cache_world.h"

#include "sluice/cache_lmdb.h"
#include "sluice/cache_writer.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WRITERS = 2, ENTRY = 8100, RECENT = 2000, QUEUED_MAX = 16, TIMES_MAX = 1000000 };

static const struct cache_owner owner = {{1, 2, 3, 4, 5, 6}};

/* How often something took so many microseconds. */
struct times {
    _Atomic uint64_t longest_us;
    _Atomic uint32_t counts[TIMES_MAX];
};

struct shared {
    _Atomic uint64_t next; /* number of the next entry */
    _Atomic uint64_t stored, busy, full, failed;
    struct times direct, handed; /* a whole put, and one that is handed to the thread */
};

static void note_time(struct times *t, int64_t before_us)
{
    uint64_t us = (uint64_t)(clock_monotonic_us() - before_us), seen = atomic_load(&t->longest_us);
    while (us > seen && !atomic_compare_exchange_weak(&t->longest_us, &seen, us))
        ;
    atomic_fetch_add(&t->counts[us < TIMES_MAX ? us : TIMES_MAX - 1], 1);
}

/* What so large a part of them did not exceed. */
static unsigned long long time_of(const struct times *t, double part)
{
    uint64_t all = 0, seen = 0;
    size_t us = 0;
    for (size_t i = 0; i < TIMES_MAX; i++)
        all += t->counts[i];
    while (us < TIMES_MAX - 1 && (double)(seen += t->counts[us]) < part * (double)all)
        us++;
    return us;
}

static void print_times(const char *name, const struct times *t)
{
    print_message("%s: median %llu us, 99%% %llu us, longest %llu us\n", name, time_of(t, 0.5),
                  time_of(t, 0.99), (unsigned long long)t->longest_us);
}

static struct digest make_one(struct shared *s, struct buf *record)
{
    uint64_t number = atomic_fetch_add(&s->next, 1);
    struct digest key = world_key(number);
    size_t size = number % 100 == 0 ? 100000 : ENTRY - number % 4000;
    world_record(record, &key, size, number, 3600000);
    return key;
}

static void write_directly(struct cache_lmdb *store, struct shared *s, struct buf *record)
{
    struct digest key = make_one(s, record);
    for (;;) {
        int64_t before = clock_monotonic_us();
        enum cache_lmdb_result result = cache_lmdb_put(store, &key, &owner, INT64_MAX, buf_slice(record));
        note_time(&s->direct, before);
        if (result != CACHE_LMDB_BUSY && result != CACHE_LMDB_FULL) {
            atomic_fetch_add(result == CACHE_LMDB_OK ? &s->stored : &s->failed, 1);
            return;
        }
        atomic_fetch_add(result == CACHE_LMDB_BUSY ? &s->busy : &s->full, 1);
        usleep(500);
    }
}

static void reap(struct cache_writer *writer, struct shared *s)
{
    struct cache_writer_done done;
    while (cache_writer_reap(writer, &done)) {
        atomic_fetch_add(done.result == CACHE_LMDB_OK ? &s->stored : &s->failed, 1);
        buf_free(&done.notice);
    }
}

static void write_by_thread(struct cache_writer *writer, struct shared *s, struct buf *record)
{
    struct digest key = make_one(s, record);
    while (cache_writer_added(writer) - cache_writer_reaped(writer) >= QUEUED_MAX) {
        reap(writer, s);
        usleep(200);
    }
    int64_t before = clock_monotonic_us();
    bool ok = cache_writer_add(writer, &key, &owner, INT64_MAX, record);
    note_time(&s->handed, before);
    atomic_fetch_add(&s->failed, !ok);
}

static pid_t writer_start(const struct world *w, size_t max, struct shared *s, unsigned seconds,
                          bool by_thread)
{
    struct buf record, text;
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    alarm(seconds + 30);
    buf_init(&record, 1 << 20);
    buf_init(&text, 4096);
    struct cache_lmdb *store = cache_lmdb_open(w->dir, max, &text, &text);
    if (!store || text.len > 0)
        _exit(1); /* nothing is ever moved aside here */
    struct cache_writer *writer = by_thread ? cache_writer_new(store) : NULL;
    for (;;)
        if (writer)
            write_by_thread(writer, s, &record);
        else
            write_directly(store, s, &record);
}

struct reads {
    uint64_t hits, misses, wrong, total_us, longest_us;
};

static void read_one(struct cache_lmdb *store, uint64_t number, struct buf *out, struct reads *r)
{
    struct digest key = world_key(number);
    uint64_t salt;
    buf_clear(out);
    int64_t before = clock_monotonic_us();
    enum cache_lmdb_result result = cache_lmdb_get(store, &key, out);
    uint64_t took = (uint64_t)(clock_monotonic_us() - before);
    r->total_us += took;
    r->longest_us = took > r->longest_us ? took : r->longest_us;
    r->hits += result == CACHE_LMDB_OK;
    r->misses += result == CACHE_LMDB_MISS;
    r->wrong += result != CACHE_LMDB_OK && result != CACHE_LMDB_MISS;
    r->wrong += result == CACHE_LMDB_OK && (!world_check(buf_slice(out), &key, &salt) || salt != number);
}

static void at_its_bound_under_load_and_kills(void **state)
{
    (void)state;
    const char *text = getenv("SLUICE_CACHE_LOAD_SECONDS");
    unsigned seconds = text ? (unsigned)atoi(text) : 1;
    size_t max = seconds > 10 ? 64 << 20 : 8 << 20;
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct cache_lmdb_stats stats;
    struct reads r = {0};
    struct world w;
    struct buf out;
    pid_t pids[WRITERS];
    unsigned kills = 0;
    uint64_t most = 0;
    world_open(&w);
    buf_init(&out, 1 << 20);
    struct cache_lmdb *store = cache_lmdb_open(w.dir, max, &out, &out);
    assert_non_null(store);
    for (int i = 0; i < WRITERS; i++)
        pids[i] = writer_start(&w, max, s, seconds, i % 2);
    int64_t end = clock_monotonic_us() + seconds * (int64_t)CLOCK_US_PER_SECOND, kill_at = 0;
    srandom(9);
    while (clock_monotonic_us() < end) {
        uint64_t newest = atomic_load(&s->next), back = (uint64_t)random() % RECENT;
        read_one(store, newest > back ? newest - back : 0, &out, &r);
        usleep(200);
        if (clock_monotonic_us() < kill_at)
            continue;
        kill_at = clock_monotonic_us() + 50000 + random() % 100000;
        int victim = (int)random() % WRITERS, status;
        assert_int_equal(kill(pids[victim], SIGKILL), 0);
        assert_int_equal(waitpid(pids[victim], &status, 0), pids[victim]);
        assert_true(WIFSIGNALED(status));
        pids[victim] = writer_start(&w, max, s, seconds, victim % 2);
        kills++;
        assert_int_equal(cache_lmdb_stats(store, &stats), CACHE_LMDB_OK);
        most = stats.file_bytes > most ? stats.file_bytes : most;
    }
    for (int i = 0; i < WRITERS; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    cache_lmdb_close(&store);
    buf_clear(&out);
    store = cache_lmdb_open(w.dir, max, &out, &out);
    assert_non_null(store);
    assert_int_equal(out.len, 0);
    assert_int_equal(cache_lmdb_stats(store, &stats), CACHE_LMDB_OK);
    print_message(
        "%u s, bound %zu MiB: file at most %.1f MiB, %llu entries, %llu stored, %llu evicted, %u kills\n",
        seconds, max >> 20, (double)most / (1 << 20), (unsigned long long)stats.entries,
        (unsigned long long)stats.stored, (unsigned long long)stats.evicted, kills);
    print_message("puts: %llu ok, %llu busy, %llu full, %llu failed\n", (unsigned long long)s->stored,
                  (unsigned long long)s->busy, (unsigned long long)s->full, (unsigned long long)s->failed);
    print_times("a whole put", &s->direct);
    print_times("a put handed to the thread", &s->handed);
    print_message("gets: %llu hits, %llu misses, %llu wrong, mean %.1f us, longest %llu us\n",
                  (unsigned long long)r.hits, (unsigned long long)r.misses, (unsigned long long)r.wrong,
                  (double)r.total_us / (double)(r.hits + r.misses + 1), (unsigned long long)r.longest_us);
    assert_true(stats.file_bytes <= max);
    assert_int_equal(s->failed, 0);
    assert_int_equal(r.wrong, 0);
    assert_true(r.hits > 0);
    /* The store is the one that was begun first: of a killed writer only what it had under way may have been
     * counted by one of the two. */
    assert_in_range(stats.stored, s->stored, s->stored + (kills + WRITERS) * QUEUED_MAX);
    cache_lmdb_close(&store);
    buf_free(&out);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(at_its_bound_under_load_and_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
