/* Reading: without a lock that others wait with, in a transaction that is kept and renewed. What a read finds
 * in need of being opened again is left to the thread that writes. */
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
    if (!cache_lmdb_is_current(s))
        s->mending = true;
}

/* The place among LMDB's readers is kept, so that this takes no lock. */
static int cache_lmdb_renew(struct cache_lmdb *s)
{
    int rc = mdb_txn_renew(s->reader);
    if (rc == MDB_MAP_RESIZED)
        s->resized = s->mending = true;
    return rc;
}

/* What a read in whole is made of. */
typedef int cache_read_fn(struct cache_lmdb *s, void *ctx);

static enum cache_lmdb_result cache_read(struct cache_lmdb *s, cache_read_fn *fn, void *ctx)
{
    enum cache_lmdb_result result = CACHE_LMDB_FAILED;
    if (pthread_mutex_trylock(&s->gate) != 0)
        return CACHE_LMDB_BUSY;
    cache_lmdb_look(s);
    int rc = s->env ? cache_lmdb_renew(s) : 0;
    if (s->env && rc == 0) {
        rc = fn(s, ctx);
        mdb_txn_reset(s->reader);
    }
    if (rc == MDB_NOTFOUND)
        result = CACHE_LMDB_MISS;
    else if (rc == MDB_MAP_RESIZED)
        result = CACHE_LMDB_BUSY;
    else if (rc != 0)
        cache_lmdb_fail(s, "reading", rc);
    else if (s->env)
        result = CACHE_LMDB_OK;
    pthread_mutex_unlock(&s->gate);
    return result;
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

struct cache_lmdb_wanted {
    const struct digest *key;
    struct buf *out;
};

static int cache_read_record(struct cache_lmdb *s, void *ctx)
{
    struct cache_lmdb_wanted *wanted = ctx;
    struct cache_lmdb_head head;
    uint64_t arrival;
    int rc = cache_read_arrival(s, s->reader, wanted->key, &arrival);
    if (rc == 0)
        rc = cache_read_head(s, s->reader, arrival, &head);
    if (rc != 0)
        return rc;
    if (head.expires_us <= clock_wall_us())
        return MDB_NOTFOUND;
    char *to = buf_reserve(wanted->out, head.length);
    if (!to)
        return MDB_NOTFOUND;
    rc = cache_read_pieces(s, arrival, (struct cache_lmdb_target){to, head.length});
    if (rc == 0)
        buf_commit(wanted->out, head.length);
    return rc;
}

enum cache_lmdb_result cache_lmdb_get(struct cache_lmdb *s, const struct digest *key, struct buf *out)
{
    struct cache_lmdb_wanted wanted = {key, out};
    return cache_read(s, cache_read_record, &wanted);
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

static int cache_read_stats(struct cache_lmdb *s, void *ctx)
{
    struct cache_lmdb_stats *out = ctx;
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
    return cache_read(s, cache_read_stats, out);
}
