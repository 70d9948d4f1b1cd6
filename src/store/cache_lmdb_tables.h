/*
 * The tables of the embedded store, and what reading and writing both know of them.
 *
 *   log     (arrival, piece)    ─▶ struct cache_lmdb_head and the record's bytes, cut into pieces
 *   index   key                 ─▶ arrival
 *   expiry  (expires, arrival)  ─▶ nothing
 *
 * Numbers in keys are big-endian, so that their order is that of the numbers. Functions give LMDB's codes.
 */
#ifndef SLUICE_CACHE_LMDB_TABLES_H
#define SLUICE_CACHE_LMDB_TABLES_H

#include "cache_lmdb_file.h"

struct cache_lmdb_head {
    struct digest key;
    int64_t stored_us, expires_us;
    uint64_t length; /* of the record */
    struct cache_owner owner;
    uint8_t unused[2];
};

struct cache_lmdb_log_key {
    uint64_t arrival;
    uint32_t piece;
} __attribute__((packed));

struct cache_lmdb_expiry_key {
    uint64_t expires, arrival;
};

#define CACHE_VAL(object) ((MDB_val){sizeof(object), &(object)})

struct cache_lmdb_log_key cache_log_key(uint64_t arrival, uint32_t piece);
struct cache_lmdb_expiry_key cache_expiry_key(int64_t expires_us, uint64_t arrival);
MDB_val cache_key_val(const struct digest *key);
uint32_t cache_count_pieces(const struct cache_lmdb *s, uint64_t length);
MDB_val cache_state_key(void);
int cache_read_arrival(const struct cache_lmdb *s, MDB_txn *txn, const struct digest *key, uint64_t *arrival);
int cache_read_head(const struct cache_lmdb *s, MDB_txn *txn, uint64_t arrival, struct cache_lmdb_head *head);
/* The first key of a table. */
int cache_first_key(MDB_txn *txn, MDB_dbi table, void *out, size_t size);
/* Pages that hold something now. */
size_t cache_used_pages(const struct cache_lmdb *s, MDB_txn *txn);

/* That there is nothing is no failure. */
int cache_ignore_missing(int rc);

#endif
