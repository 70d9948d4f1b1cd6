/* Keys, and the small reads of which both sides are made. */
#include "cache_lmdb_tables.h"

#include <endian.h>

struct cache_lmdb_log_key cache_log_key(uint64_t arrival, uint32_t piece)
{
    return (struct cache_lmdb_log_key){htobe64(arrival), htobe32(piece)};
}

struct cache_lmdb_expiry_key cache_expiry_key(int64_t expires_us, uint64_t arrival)
{
    return (struct cache_lmdb_expiry_key){htobe64((uint64_t)expires_us), htobe64(arrival)};
}

MDB_val cache_key_val(const struct digest *key)
{
    return (MDB_val){DIGEST_SIZE, (void *)(uintptr_t)key->bytes};
}

uint32_t cache_count_pieces(const struct cache_lmdb *s, uint64_t length)
{
    return (uint32_t)((sizeof(struct cache_lmdb_head) + length + s->piece - 1) / s->piece);
}

MDB_val cache_state_key(void)
{
    return (MDB_val){5, (void *)(uintptr_t) "state"};
}

int cache_read_arrival(const struct cache_lmdb *s, MDB_txn *txn, const struct digest *key, uint64_t *arrival)
{
    MDB_val index = cache_key_val(key), value;
    int rc = mdb_get(txn, s->index, &index, &value);
    if (rc != 0)
        return rc;
    if (value.mv_size != sizeof *arrival)
        return MDB_CORRUPTED;
    memcpy(arrival, value.mv_data, sizeof *arrival);
    return 0;
}

int cache_read_head(const struct cache_lmdb *s, MDB_txn *txn, uint64_t arrival, struct cache_lmdb_head *head)
{
    struct cache_lmdb_log_key log = cache_log_key(arrival, 0);
    MDB_val key = CACHE_VAL(log), value;
    int rc = mdb_get(txn, s->log, &key, &value);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    if (value.mv_size < sizeof *head)
        return MDB_CORRUPTED;
    memcpy(head, value.mv_data, sizeof *head);
    return head->length <= s->max_bytes ? 0 : MDB_CORRUPTED;
}

/* The first key of a table. */
int cache_first_key(MDB_txn *txn, MDB_dbi table, void *out, size_t size)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, table, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (rc == 0 && key.mv_size != size)
        rc = MDB_CORRUPTED;
    if (rc == 0)
        memcpy(out, key.mv_data, size);
    mdb_cursor_close(cursor);
    return rc;
}

/* Pages that hold something now. */
size_t cache_used_pages(const struct cache_lmdb *s, MDB_txn *txn)
{
    const MDB_dbi tables[] = {0, s->main, s->log, s->index, s->expiry}; /* 0: LMDB's list of free pages */
    size_t pages = 2;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        MDB_stat info;
        if (mdb_stat(txn, tables[i], &info) == 0)
            pages += info.ms_branch_pages + info.ms_leaf_pages + info.ms_overflow_pages;
    }
    return pages;
}

int cache_ignore_missing(int rc)
{
    return rc == MDB_NOTFOUND ? 0 : rc;
}
