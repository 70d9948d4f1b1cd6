/* Reading: without a lock, in a transaction that is kept and renewed. */
#include "cache_lmdb_tables.h"

#include "sluice/clock.h"

#include <endian.h>

enum { CACHE_LMDB_LOOK_US = CLOCK_US_PER_SECOND };

/* Where a record is read to. */
struct cache_lmdb_target {
    char *at;
    uint64_t left;
};

/* Now and then: a new store may have been begun by another process. */
static void cache_lmdb_look(struct cache_lmdb *s)
{
    int64_t now = clock_monotonic_us();
    if (s->looked_us > 0 && now - s->looked_us < CACHE_LMDB_LOOK_US)
        return;
    s->looked_us = now;
    if (!cache_lmdb_is_current(s) && cache_lmdb_lock(s)) {
        cache_lmdb_reopen(s, NULL);
        cache_lmdb_unlock(s);
    }
}

static int cache_lmdb_renew(struct cache_lmdb *s)
{
    int dead, rc = mdb_txn_renew(s->reader);
    if (rc == MDB_MAP_RESIZED && (rc = mdb_env_set_mapsize(s->env, 0)) == 0)
        rc = mdb_txn_renew(s->reader);
    if (rc == MDB_READERS_FULL && (rc = mdb_reader_check(s->env, &dead)) == 0)
        rc = mdb_txn_renew(s->reader);
    return rc;
}

/* One piece, of which skip bytes are the head. */
static int cache_take_piece(MDB_val piece, size_t skip, struct cache_lmdb_target *to)
{
    if (piece.mv_size < skip || piece.mv_size - skip > to->left || (piece.mv_size == 0 && to->left > 0))
        return MDB_CORRUPTED;
    memcpy(to->at, (char *)piece.mv_data + skip, piece.mv_size - skip);
    to->at += piece.mv_size - skip;
    to->left -= piece.mv_size - skip;
    return 0;
}

static int cache_read_pieces(const struct cache_lmdb *s, uint64_t arrival, struct cache_lmdb_target to)
{
    struct cache_lmdb_log_key first = cache_log_key(arrival, 0);
    MDB_val key = CACHE_VAL(first), value;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(s->reader, s->log, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_KEY);
    if (rc == 0)
        rc = cache_take_piece(value, sizeof(struct cache_lmdb_head), &to);
    while (rc == 0 && to.left > 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        if (rc == 0)
            rc = cache_take_piece(value, 0, &to);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

static int cache_read_record(struct cache_lmdb *s, const struct digest *key, struct buf *out)
{
    struct cache_lmdb_head head;
    uint64_t arrival;
    int rc = cache_read_arrival(s, s->reader, key, &arrival);
    if (rc == 0)
        rc = cache_read_head(s, s->reader, arrival, &head);
    if (rc != 0)
        return rc;
    if (head.expires_us <= clock_wall_us())
        return MDB_NOTFOUND;
    char *to = buf_reserve(out, head.length);
    if (!to)
        return MDB_NOTFOUND;
    rc = cache_read_pieces(s, arrival, (struct cache_lmdb_target){to, head.length});
    if (rc == 0)
        buf_commit(out, head.length);
    return rc;
}

enum cache_lmdb_result cache_lmdb_get(struct cache_lmdb *s, const struct digest *key, struct buf *out)
{
    cache_lmdb_look(s);
    if (!s->env)
        return CACHE_LMDB_FAILED;
    int rc = cache_lmdb_renew(s);
    if (rc == 0) {
        rc = cache_read_record(s, key, out);
        mdb_txn_reset(s->reader);
    }
    if (rc == 0)
        return CACHE_LMDB_OK;
    return rc == MDB_NOTFOUND ? CACHE_LMDB_MISS : cache_lmdb_fail(s, "reading", rc);
}

/* ---- what there is ----------------------------------------------------------------------------------- */

static int cache_read_oldest(struct cache_lmdb *s, int64_t *oldest_us)
{
    struct cache_lmdb_log_key oldest = {0};
    struct cache_lmdb_head head = {0};
    int rc = cache_first_key(s->reader, s->log, &oldest, sizeof oldest);
    if (rc == 0)
        rc = cache_read_head(s, s->reader, be64toh(oldest.arrival), &head);
    *oldest_us = head.stored_us;
    return cache_ignore_missing(rc);
}

static int cache_read_stats(struct cache_lmdb *s, struct cache_lmdb_stats *out)
{
    MDB_val key = cache_state_key(), value;
    struct cache_lmdb_state state;
    MDB_envinfo info;
    int rc = mdb_get(s->reader, s->main, &key, &value);
    if (rc != 0 || value.mv_size != sizeof state)
        return rc != 0 ? rc : MDB_CORRUPTED;
    memcpy(&state, value.mv_data, sizeof state);
    mdb_env_info(s->env, &info);
    *out = (struct cache_lmdb_stats){
        .entries = state.entries,
        .used_bytes = cache_used_pages(s, s->reader) * s->page_size,
        .file_bytes = (info.me_last_pgno + 1) * s->page_size,
        .max_bytes = s->max_bytes,
        .stored = state.stored,
        .evicted = state.evicted,
        .expired = state.expired,
    };
    return cache_read_oldest(s, &out->oldest_us);
}

enum cache_lmdb_result cache_lmdb_stats(struct cache_lmdb *s, struct cache_lmdb_stats *out)
{
    *out = (struct cache_lmdb_stats){0};
    cache_lmdb_look(s);
    if (!s->env)
        return CACHE_LMDB_FAILED;
    int rc = cache_lmdb_renew(s);
    if (rc == 0) {
        rc = cache_read_stats(s, out);
        mdb_txn_reset(s->reader);
    }
    return rc == 0 ? CACHE_LMDB_OK : cache_lmdb_fail(s, "reading", rc);
}
