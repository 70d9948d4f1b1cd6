/*
 * A ring of pointers. The loop adds at one end and counts up `added`; the thread works through it and counts
 * up `settled`; the loop takes out and counts up `reaped`. Each number has one writer, and what lies below it
 * is visible to whoever has read it.
 */
#include "sluice/cache_writer.h"

#include "sluice/clock.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CACHE_WRITER_BUCKETS = 1024,
    CACHE_WRITER_PAUSE_US = CLOCK_US_PER_MS, /* before a store that was busy or full is tried again */
    CACHE_WRITER_NOTICE_MAX = 1024
};

struct cache_writer_entry {
    struct cache_writer_entry *next; /* older, in its bucket; the loop's */
    struct digest key;
    struct cache_owner owner;
    int64_t expires_us; /* wall clock */
    struct buf record;
    bool is_mending;               /* there is no record */
    enum cache_lmdb_result result; /* these two are the thread's, until it has settled the entry */
    struct buf notice;
};

enum cache_writer_phase { CACHE_WRITER_RUNS, CACHE_WRITER_ENDED, CACHE_WRITER_LEFT };

struct cache_writer {
    struct cache_lmdb *store;
    struct cache_writer_entry *ring[CACHE_WRITER_ENTRIES_MAX];
    _Atomic uint64_t added, settled;
    uint64_t reaped;
    size_t bytes; /* of memory of the records that are not reaped */
    bool mending; /* one is queued */
    struct cache_writer_entry *buckets[CACHE_WRITER_BUCKETS];
    bool started;
    pthread_t thread;
    int64_t busy_us; /* since when nothing could be written; 0: something could. The thread's */
    sem_t work;
    _Atomic int64_t end_us; /* what is not written then is given up; 0: it is not to end */
    _Atomic int phase;
};

static struct cache_writer_entry **cache_writer_slot(struct cache_writer *w, uint64_t number)
{
    return &w->ring[number % CACHE_WRITER_ENTRIES_MAX];
}

/* ---- the thread -------------------------------------------------------------------------------------- */

/* A store that was busy all the time. One that was not, but for a moment, is worth another try: whoever else
 * writes lets go after each entry. */
static bool cache_writer_gives_up(struct cache_writer *w)
{
    int64_t now = clock_monotonic_us(), end = w->end_us;
    if (w->busy_us == 0)
        w->busy_us = now;
    return now - w->busy_us > CACHE_WRITER_PATIENCE_MS * (int64_t)CLOCK_US_PER_MS || (end != 0 && now >= end);
}

static enum cache_lmdb_result cache_writer_try(struct cache_lmdb *store, const struct cache_writer_entry *e)
{
    return e->is_mending ? cache_lmdb_mend(store)
                         : cache_lmdb_put(store, &e->key, &e->owner, e->expires_us, buf_slice(&e->record));
}

static bool cache_writer_is_busy(enum cache_lmdb_result result)
{
    return result == CACHE_LMDB_BUSY || result == CACHE_LMDB_FULL;
}

static void cache_writer_settle(struct cache_writer *w, struct cache_writer_entry *e)
{
    e->result = cache_writer_try(w->store, e);
    while (cache_writer_is_busy(e->result) && !cache_writer_gives_up(w)) {
        usleep(CACHE_WRITER_PAUSE_US);
        e->result = cache_writer_try(w->store, e);
    }
    if (!cache_writer_is_busy(e->result))
        w->busy_us = 0;
    cache_lmdb_take_notice(w->store, &e->notice);
}

static void cache_writer_free_entry(struct cache_writer_entry *e)
{
    buf_free(&e->record);
    buf_free(&e->notice);
    free(e);
}

static void cache_writer_dispose(struct cache_writer *w)
{
    while (w->reaped < w->added)
        cache_writer_free_entry(*cache_writer_slot(w, w->reaped++));
    cache_lmdb_close(&w->store);
    sem_destroy(&w->work);
    free(w);
}

/* After the time for the end, what is left is settled by nobody. */
static bool cache_writer_is_over(const struct cache_writer *w)
{
    int64_t end = w->end_us;
    return end != 0 && clock_monotonic_us() >= end;
}

static void *cache_writer_run(void *arg)
{
    struct cache_writer *w = arg;
    for (uint64_t next = 0;;) {
        bool ends = w->end_us != 0; /* before the look into the queue, to which nothing is added after it */
        for (; next < w->added && !cache_writer_is_over(w); w->settled = ++next)
            cache_writer_settle(w, *cache_writer_slot(w, next));
        if (ends)
            break;
        w->busy_us = 0;
        while (sem_wait(&w->work) != 0 && errno == EINTR)
            ;
    }
    if (atomic_exchange(&w->phase, CACHE_WRITER_ENDED) == CACHE_WRITER_LEFT)
        cache_writer_dispose(w);
    return NULL;
}

/* Signals are for the loop's thread. */
static bool cache_writer_start(struct cache_writer *w)
{
    sigset_t all, before;
    if (w->started)
        return true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->started = pthread_create(&w->thread, NULL, cache_writer_run, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->started;
}

/* ---- making and ending ------------------------------------------------------------------------------- */

struct cache_writer *cache_writer_new(struct cache_lmdb *store)
{
    struct cache_writer *w = calloc(1, sizeof *w);
    if (w && sem_init(&w->work, 0, 0) != 0) {
        free(w);
        w = NULL;
    }
    if (w)
        w->store = store;
    return w;
}

/* Whether the thread has ended in time. If not, it is told that nobody waits for it any longer. */
static bool cache_writer_await_end(struct cache_writer *w)
{
    int64_t until = clock_monotonic_us() + CACHE_WRITER_END_MS * (int64_t)CLOCK_US_PER_MS;
    int runs = CACHE_WRITER_RUNS;
    while (w->phase == CACHE_WRITER_RUNS && clock_monotonic_us() < until)
        usleep(CACHE_WRITER_PAUSE_US);
    return !atomic_compare_exchange_strong(&w->phase, &runs, CACHE_WRITER_LEFT);
}

void cache_writer_free(struct cache_writer **writer)
{
    struct cache_writer *w = *writer;
    *writer = NULL;
    if (!w)
        return;
    if (w->started) {
        pthread_t thread = w->thread;
        w->end_us = clock_monotonic_us() + CACHE_WRITER_DRAIN_MS * (int64_t)CLOCK_US_PER_MS;
        sem_post(&w->work);
        if (!cache_writer_await_end(w)) {
            pthread_detach(thread);
            return;
        }
        pthread_join(thread, NULL);
    }
    cache_writer_dispose(w);
}

/* ---- the loop's side --------------------------------------------------------------------------------- */

static struct cache_writer_entry **cache_writer_bucket(struct cache_writer *w, const struct digest *key)
{
    uint32_t number;
    memcpy(&number, key->bytes, sizeof number);
    return &w->buckets[number % CACHE_WRITER_BUCKETS];
}

static bool cache_writer_push(struct cache_writer *w, const struct cache_writer_entry *entry)
{
    bool has_room = w->added - w->reaped < CACHE_WRITER_ENTRIES_MAX &&
                    entry->record.size <= CACHE_WRITER_BYTES_MAX - w->bytes;
    struct cache_writer_entry *e = has_room && cache_writer_start(w) ? malloc(sizeof *e) : NULL;
    if (!e)
        return false;
    *e = *entry;
    buf_init(&e->notice, CACHE_WRITER_NOTICE_MAX);
    if (!e->is_mending) {
        struct cache_writer_entry **bucket = cache_writer_bucket(w, &e->key);
        e->next = *bucket;
        *bucket = e;
    }
    w->bytes += e->record.size;
    *cache_writer_slot(w, w->added) = e;
    w->added++;
    sem_post(&w->work);
    return true;
}

bool cache_writer_add(struct cache_writer *w, const struct digest *key, const struct cache_owner *owner,
                      int64_t expires_us, struct buf *record)
{
    struct cache_writer_entry entry = {
        .key = *key, .owner = *owner, .expires_us = expires_us, .record = *record};
    if (!cache_writer_push(w, &entry))
        return false;
    buf_init(record, record->max);
    return true;
}

void cache_writer_mend(struct cache_writer *w)
{
    struct cache_writer_entry entry = {.is_mending = true};
    if (!w->mending)
        w->mending = cache_writer_push(w, &entry);
}

bool cache_writer_find(const struct cache_writer *w, const struct digest *key, struct slice *record)
{
    const struct cache_writer_entry *e = *cache_writer_bucket((struct cache_writer *)(uintptr_t)w, key);
    while (e && !digest_equals(&e->key, key))
        e = e->next;
    if (e)
        *record = buf_slice(&e->record);
    return e != NULL;
}

static void cache_writer_unlink(struct cache_writer *w, const struct cache_writer_entry *e)
{
    struct cache_writer_entry **at = cache_writer_bucket(w, &e->key);
    while (*at && *at != e)
        at = &(*at)->next;
    if (*at)
        *at = e->next;
}

bool cache_writer_reap(struct cache_writer *w, struct cache_writer_done *done)
{
    if (w->reaped == w->settled)
        return false;
    struct cache_writer_entry *e = *cache_writer_slot(w, w->reaped++);
    *done = (struct cache_writer_done){e->result, !e->is_mending, e->notice};
    buf_init(&e->notice, CACHE_WRITER_NOTICE_MAX);
    w->mending = w->mending && !e->is_mending;
    w->bytes -= e->record.size;
    if (!e->is_mending)
        cache_writer_unlink(w, e);
    cache_writer_free_entry(e);
    return true;
}

uint64_t cache_writer_added(const struct cache_writer *w)
{
    return w->added;
}

uint64_t cache_writer_reaped(const struct cache_writer *w)
{
    return w->reaped;
}
