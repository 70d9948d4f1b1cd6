/*
 * Writes to the embedded store, by a thread of their own: a write may wait for the disk, for another process,
 * and for memory that the kernel must find first, and the loop may not.
 *
 * Entries go through a queue with one end for each side, in order, and without a lock: no side ever waits for
 * the other. What an entry holds does not change while it is queued; both sides read it. It is the loop's
 * memory from beginning to end: the thread tells that it has settled an entry, and does not look at it again.
 * Until then the loop finds the entry here, so that what was just stored is found by the process that stored
 * it. Other processes find it when it is committed.
 *
 * An entry that finds the store busy is tried again, and given up when the store has been busy for
 * CACHE_WRITER_PATIENCE_MS without a break.
 *
 * All calls are the loop's. After fork(2); a process with a writer must not fork.
 */
#ifndef SLUICE_CACHE_WRITER_H
#define SLUICE_CACHE_WRITER_H

#include "sluice/cache_lmdb.h"

enum {
    CACHE_WRITER_ENTRIES_MAX = 4096, /* that wait: twice what one embeddings request may bring */
    CACHE_WRITER_BYTES_MAX = 32 * 1024 * 1024,
    CACHE_WRITER_PATIENCE_MS = 2000,
    CACHE_WRITER_DRAIN_MS = 1000, /* how long the end waits for what is queued, */
    CACHE_WRITER_END_MS = 1500    /* and then for the thread */
};

struct cache_writer;

/* The store becomes the writer's, except for reading. The thread begins with the first write. NULL without
 * memory: the store is the caller's then. */
struct cache_writer *cache_writer_new(struct cache_lmdb *store);

/* Writes what is queued, and closes the store; within CACHE_WRITER_END_MS. A thread that does not come back
 * in that time, as LMDB waits for a lock that a foreign program holds or the disk does not answer, is left
 * alone with all that it uses: it tidies up when it comes back, or the process ends before, which leaves the
 * store whole. */
void cache_writer_free(struct cache_writer **writer);

/* Takes the record over; *record is empty then. False: it was not taken, as there is no room or no thread. */
bool cache_writer_add(struct cache_writer *writer, const struct digest *key, const struct cache_owner *owner,
                      int64_t expires_us, struct buf *record);

/* The newest record of the key that is not settled; valid until the next call. Whether it has expired is for
 * the caller to see. */
bool cache_writer_find(const struct cache_writer *writer, const struct digest *key, struct slice *record);

/* Lets the thread see to a store that wants mending. Does nothing while that is queued. */
void cache_writer_mend(struct cache_writer *writer);

struct cache_writer_done {
    enum cache_lmdb_result result; /* BUSY or FULL: given up */
    bool was_record;               /* and not a mending */
    struct buf notice;             /* what was moved aside; the caller frees it */
};

/* Takes the oldest entry that is settled out of the queue; false: there is none. */
bool cache_writer_reap(struct cache_writer *writer, struct cache_writer_done *done);

/* How many were ever added, and how many of them reaped: they are in order. */
uint64_t cache_writer_added(const struct cache_writer *writer);
uint64_t cache_writer_reaped(const struct cache_writer *writer);

#endif
