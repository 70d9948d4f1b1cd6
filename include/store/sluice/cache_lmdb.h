/*
 * The embedded store: LMDB in STATE_DIR/cache-v1, shared by all processes that open it.
 *
 * To be opened after fork(2), once in a process. Of an open store one thread at a time reads (get, stats) and
 * one writes (put, remove, clear, mend); they may be two. Opening and closing are for when nobody else does
 * anything.
 *
 * Bounded in time. Reading waits for nobody: while the writing thread opens the store again it is BUSY.
 * Writing takes an flock(2) of STATE_DIR/cache-v1.lock without waiting: where another process holds it the
 * answer is BUSY, even if that process was stopped, and LMDB's own lock, which would wait, is only taken by
 * who holds this one. But a write may wait for the disk, and for a foreign program that took LMDB's lock: it
 * is nothing for a loop (cache_writer.h). A call removes a bounded number of old entries.
 *
 * Bounded in size. Records are cut into pieces that fit a page twice, kept in the order of their arrival:
 * there are no runs of pages, so that the file does not fragment and the oldest records always make room for
 * new ones. An eighth of the file is left to LMDB's copying of what it changes.
 *
 * Safe. Nothing is synced to the disk. When a process dies, even in the middle of a write, the store is as it
 * was before or after that write: the kernel holds the pages, and LMDB switches to new ones last. When the
 * machine goes down, it may be torn: a store that was written before the machine's present boot is thrown
 * away at the opening. What is foreign, damaged, or of another size is moved aside to cache-v1.bad (or
 * removed, where only the size differs), and a new one is begun.
 */
#ifndef SLUICE_CACHE_LMDB_H
#define SLUICE_CACHE_LMDB_H

#include "sluice/cache_record.h"

enum { CACHE_LMDB_BYTES_MIN = 4 * 1024 * 1024 };

struct cache_lmdb;

enum cache_lmdb_result {
    CACHE_LMDB_OK,
    CACHE_LMDB_MISS,
    CACHE_LMDB_BUSY,      /* another process writes, or the store is being opened again: try again later */
    CACHE_LMDB_TOO_LARGE, /* the record is longer than an eighth of the store */
    CACHE_LMDB_FULL,      /* not enough was removed for the record in one call: the next one goes on */
    CACHE_LMDB_FAILED     /* of the system, or damage: cache_lmdb_trouble() */
};

/* Waits at most a fifth of a second for another process that opens or writes; where that does not go on, the
 * store is opened by a later write or mend, and until then it knows nothing. max_bytes: of the data file.
 * NULL: error tells why. notice: what was moved aside, if anything was. */
struct cache_lmdb *cache_lmdb_open(const char *state_dir, size_t max_bytes, struct buf *notice,
                                   struct buf *error);
void cache_lmdb_close(struct cache_lmdb **store);

/* Whether a record of so many bytes is taken at all. From any thread. */
bool cache_lmdb_takes(const struct cache_lmdb *store, size_t record);

/* Reading has found that the store must be opened again, as another process has begun a new one:
 * cache_lmdb_mend() does it. From any thread. */
bool cache_lmdb_wants_mending(const struct cache_lmdb *store);
enum cache_lmdb_result cache_lmdb_mend(struct cache_lmdb *store);

/* What was moved aside by a call of the writing thread since the last one of these; false: nothing. */
bool cache_lmdb_take_notice(struct cache_lmdb *store, struct buf *out);

/* Appends the record. An expired one is a MISS. */
enum cache_lmdb_result cache_lmdb_get(struct cache_lmdb *store, const struct digest *key, struct buf *out);

/* Replaces what the key had. Removes what has expired, a few each time. */
enum cache_lmdb_result cache_lmdb_put(struct cache_lmdb *store, const struct digest *key,
                                      const struct cache_owner *owner, int64_t expires_us,
                                      struct slice record);

enum cache_lmdb_result cache_lmdb_remove(struct cache_lmdb *store, const struct digest *key);

/* Removes some entries, of one owner or, with NULL, of all; adds their number to *removed. OK: there may be
 * more, call again; MISS: none is left. */
enum cache_lmdb_result cache_lmdb_clear(struct cache_lmdb *store, const struct cache_owner *owner,
                                        uint64_t *removed);

struct cache_lmdb_stats {
    uint64_t entries;
    uint64_t used_bytes; /* pages that hold something */
    uint64_t file_bytes;
    uint64_t max_bytes;
    uint64_t stored, evicted, expired; /* since the store was begun */
    int64_t oldest_us;                 /* when the oldest entry came; 0: none */
};

enum cache_lmdb_result cache_lmdb_stats(struct cache_lmdb *store, struct cache_lmdb_stats *out);

/* What went wrong last, in words. While no other thread uses the store. */
const char *cache_lmdb_trouble(const struct cache_lmdb *store);

#endif
