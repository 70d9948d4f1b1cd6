/*
 * The files of the embedded store: opened, judged, moved aside, and locked among processes.
 *
 *   STATE_DIR/cache-v1.lock   flock(2): whoever opens, closes or writes
 *   STATE_DIR/cache-v1/       data.mdb, lock.mdb: LMDB's
 *   STATE_DIR/cache-v1/boot   the boot of the machine at which the store was begun
 *   STATE_DIR/cache-v1.bad/   what was moved aside last
 *
 * In the data file: "log" holds the records in pieces, in the order of their arrival, "index" finds the
 * arrival by a key, "expiry" orders the arrivals by the end of their time. The main table holds the state,
 * beside LMDB's own notes of those three.
 */
#ifndef SLUICE_CACHE_LMDB_FILE_H
#define SLUICE_CACHE_LMDB_FILE_H

#include "sluice/cache_lmdb.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { CACHE_LMDB_TROUBLE_MAX = 256, CACHE_LMDB_NOTICE_MAX = 512 };

/* The value of "state". As these are one machine's files, numbers are kept as they are in memory. */
struct cache_lmdb_state {
    char magic[8];
    uint64_t piece; /* bytes of a piece; the last one of a record may be shorter */
    uint64_t next_arrival;
    uint64_t entries, stored, evicted, expired;
};

/* The gate lies between the thread that reads and the one that writes. Who reads holds it for the time of the
 * call, and does not wait for it. Who writes takes it for what a reader must not see half done: opening
 * again, another size of the map, the text of a failure. What is opened changes under it and by the writing
 * thread only, which may therefore look at it without. */
struct cache_lmdb {
    char *dir;
    size_t max_bytes;
    int lock_fd;
    bool locked;
    pthread_mutex_t gate;
    MDB_env *env;    /* NULL: not open; the next write tries again */
    MDB_txn *reader; /* reset between reads */
    MDB_dbi log, index, expiry, main;
    size_t piece;
    size_t page_size;
    dev_t device; /* of the data file that is open */
    ino_t inode;
    int64_t looked_us;   /* when it was last seen that this is still the one */
    atomic_bool damaged; /* to be moved aside by the next write */
    atomic_bool resized; /* another process has made it larger: so is the map, by the next write */
    atomic_bool mending; /* reading needs one of these, or a store at all */
    unsigned writes;
    int64_t stuck_us;         /* since when nothing could be removed for any write; 0: it can */
    struct digest clear_from; /* where a clear by owner goes on */
    bool clearing;
    char trouble[CACHE_LMDB_TROUBLE_MAX];
    char notice[CACHE_LMDB_NOTICE_MAX]; /* empty: none */
    struct cache_lmdb *left;            /* the one that was left open before this one */
};

/* Without waiting; false: another process has it. */
bool cache_lmdb_lock(struct cache_lmdb *s);
void cache_lmdb_unlock(struct cache_lmdb *s);

/* With the lock and the gate: closes what is open, moves it aside where it is damaged, and opens or begins
 * the store. */
bool cache_lmdb_reopen(struct cache_lmdb *s, struct buf *notice);

/* Whether the data file is still the one that is open. Another process may have begun a new one. */
bool cache_lmdb_is_current(const struct cache_lmdb *s);

/* The map as large as the store is now; gives LMDB's code. By the thread that writes, outside of a
 * transaction. */
int cache_lmdb_resize(struct cache_lmdb *s);

/* Notes what failed, with the gate; gives the result for the caller. */
enum cache_lmdb_result cache_lmdb_fail(struct cache_lmdb *s, const char *what, int rc);

/* The same for the thread that writes, which does not have the gate. */
enum cache_lmdb_result cache_lmdb_fail_writing(struct cache_lmdb *s, const char *what, int rc);

#endif
