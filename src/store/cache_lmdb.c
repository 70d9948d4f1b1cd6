/*
 * Writing and removing, each in one transaction. Writing appends to the log, and room is made at its
 * beginning: both ends of the tree are all that changes.
 */
#include "cache_lmdb_tables.h"

#include "sluice/clock.h"

#include <endian.h>
#include <stdio.h>

enum {
    CACHE_LMDB_EXPIRE_MAX = 16,         /* entries that one write removes as expired */
    CACHE_LMDB_EVICT_PIECES_MAX = 2048, /* pieces that one write removes to make room */
    CACHE_LMDB_CLEAR_MAX = 64,          /* entries that one clear removes */
    CACHE_LMDB_CLEAR_LOOK_MAX = 4096,   /* and looks at */
    CACHE_LMDB_STUCK_SECONDS =
        5, /* a process that is stopped in the middle of a read holds all that was there then */
    CACHE_LMDB_CHECK_WRITES = 128, /* a reader that was killed holds old pages until it is noticed */
    CACHE_LMDB_SLACK_PAGES = 1024,
    CACHE_LMDB_ENTRY_PAGES = 16 /* that a write may take beside the record's own */
};

/* A write under way. */
struct cache_lmdb_write {
    struct cache_lmdb *store;
    MDB_txn *txn;
    struct cache_lmdb_state state;
    size_t pieces; /* removed */
};

/* ---- a write, in general ----------------------------------------------------------------------------- */

static int cache_write_begin(struct cache_lmdb_write *w, struct cache_lmdb *s)
{
    MDB_val key = cache_state_key(), value;
    *w = (struct cache_lmdb_write){.store = s};
    int rc = mdb_txn_begin(s->env, NULL, 0, &w->txn);
    if (rc == MDB_MAP_RESIZED && (rc = cache_lmdb_resize(s)) == 0)
        rc = mdb_txn_begin(s->env, NULL, 0, &w->txn);
    if (rc != 0)
        return rc;
    rc = mdb_get(w->txn, s->main, &key, &value);
    if (rc == 0 && value.mv_size != sizeof w->state)
        rc = MDB_CORRUPTED;
    if (rc == 0)
        memcpy(&w->state, value.mv_data, sizeof w->state);
    else
        mdb_txn_abort(w->txn);
    return rc;
}

/* Commits where all went well so far, and gives back what did not. */
static int cache_write_end(struct cache_lmdb_write *w, int rc)
{
    MDB_val key = cache_state_key(), value = CACHE_VAL(w->state);
    if (rc == 0)
        rc = mdb_put(w->txn, w->store->main, &key, &value, 0);
    if (rc == 0)
        return mdb_txn_commit(w->txn);
    mdb_txn_abort(w->txn);
    return rc;
}

/* ---- removing ---------------------------------------------------------------------------------------- */

/* The key's place in the index, unless a later arrival has it. */
static int cache_drop_index(struct cache_lmdb_write *w, uint64_t arrival, const struct digest *digest)
{
    MDB_val key = cache_key_val(digest);
    uint64_t current;
    int rc = cache_read_arrival(w->store, w->txn, digest, &current);
    if (rc != 0 || current != arrival)
        return cache_ignore_missing(rc);
    return mdb_del(w->txn, w->store->index, &key, NULL);
}

static int cache_drop(struct cache_lmdb_write *w, uint64_t arrival)
{
    struct cache_lmdb *s = w->store;
    struct cache_lmdb_head head;
    int rc = cache_read_head(s, w->txn, arrival, &head);
    if (rc != 0)
        return rc;
    struct cache_lmdb_expiry_key expires = cache_expiry_key(head.expires_us, arrival);
    MDB_val expiry = CACHE_VAL(expires);
    uint32_t pieces = cache_count_pieces(s, head.length);
    rc = cache_drop_index(w, arrival, &head.key);
    if (rc == 0)
        rc = cache_ignore_missing(mdb_del(w->txn, s->expiry, &expiry, NULL));
    for (uint32_t i = 0; rc == 0 && i < pieces; i++) {
        struct cache_lmdb_log_key log = cache_log_key(arrival, i);
        MDB_val key = CACHE_VAL(log);
        rc = mdb_del(w->txn, s->log, &key, NULL);
    }
    w->pieces += pieces;
    w->state.entries -= w->state.entries > 0;
    return rc;
}

static int cache_drop_oldest(struct cache_lmdb_write *w)
{
    struct cache_lmdb_log_key oldest = {0};
    int rc = cache_first_key(w->txn, w->store->log, &oldest, sizeof oldest);
    if (rc != 0)
        return rc;
    w->state.evicted++;
    return cache_drop(w, be64toh(oldest.arrival));
}

static int cache_drop_expired(struct cache_lmdb_write *w)
{
    int64_t now = clock_wall_us();
    for (int i = 0; i < CACHE_LMDB_EXPIRE_MAX && w->pieces < CACHE_LMDB_EVICT_PIECES_MAX; i++) {
        struct cache_lmdb_expiry_key first = {0};
        int rc = cache_first_key(w->txn, w->store->expiry, &first, sizeof first);
        if (rc != 0 || (int64_t)be64toh(first.expires) > now)
            return cache_ignore_missing(rc);
        w->state.expired++;
        rc = cache_drop(w, be64toh(first.arrival));
        if (rc != 0)
            return rc;
    }
    return 0;
}

static size_t cache_pages_of(const struct cache_lmdb *s, size_t record)
{
    return record / (2 * s->piece) + CACHE_LMDB_ENTRY_PAGES;
}

/* An eighth of the file, and of a small one more, is left to LMDB: what changes is copied, and the copied
 * page is free only two transactions later. */
static size_t cache_page_limit(const struct cache_lmdb *s)
{
    size_t all = s->max_bytes / s->page_size, quarter = all / 4;
    size_t least = quarter < CACHE_LMDB_SLACK_PAGES ? quarter : CACHE_LMDB_SLACK_PAGES;
    return all - (all / 8 > least ? all / 8 : least);
}

static bool cache_has_room(const struct cache_lmdb_write *w, size_t record)
{
    return cache_used_pages(w->store, w->txn) + cache_pages_of(w->store, record) <=
           cache_page_limit(w->store);
}

/* MDB_MAP_FULL where this call has removed enough and there is no room yet. */
static int cache_make_room(struct cache_lmdb_write *w, size_t record)
{
    while (!cache_has_room(w, record)) {
        if (w->pieces >= CACHE_LMDB_EVICT_PIECES_MAX)
            return MDB_MAP_FULL;
        int rc = cache_drop_oldest(w);
        if (rc != 0)
            return rc == MDB_NOTFOUND ? MDB_MAP_FULL : rc;
    }
    return 0;
}

/* ---- storing ----------------------------------------------------------------------------------------- */

struct cache_lmdb_new {
    struct cache_lmdb_head head;
    struct slice record;
};

/* The first piece begins with the head. */
static int cache_put_piece(struct cache_lmdb_write *w, struct cache_lmdb_log_key log,
                           const struct cache_lmdb_head *head, struct slice bytes)
{
    size_t before = head ? sizeof *head : 0;
    MDB_val key = CACHE_VAL(log), value = {before + bytes.len, NULL};
    int rc = mdb_put(w->txn, w->store->log, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (rc != 0)
        return rc;
    if (head)
        memcpy(value.mv_data, head, before);
    if (bytes.len > 0)
        memcpy((char *)value.mv_data + before, bytes.ptr, bytes.len);
    return 0;
}

static int cache_put_pieces(struct cache_lmdb_write *w, uint64_t arrival, const struct cache_lmdb_new *n)
{
    struct slice rest = n->record, piece = slice_take(rest, w->store->piece - sizeof n->head);
    int rc = cache_put_piece(w, cache_log_key(arrival, 0), &n->head, piece);
    for (uint32_t i = 1; rc == 0 && rest.len > piece.len; i++) {
        rest = slice_skip(rest, piece.len);
        piece = slice_take(rest, w->store->piece);
        rc = cache_put_piece(w, cache_log_key(arrival, i), NULL, piece);
    }
    return rc;
}

static int cache_insert(struct cache_lmdb_write *w, struct cache_lmdb_new *n)
{
    struct cache_lmdb *s = w->store;
    uint64_t arrival = w->state.next_arrival++;
    struct cache_lmdb_expiry_key expires = cache_expiry_key(n->head.expires_us, arrival);
    MDB_val index_key = cache_key_val(&n->head.key), place = CACHE_VAL(arrival);
    MDB_val expiry_key = CACHE_VAL(expires), nothing = {0, NULL};
    int rc = cache_put_pieces(w, arrival, n);
    if (rc == 0)
        rc = mdb_put(w->txn, s->index, &index_key, &place, 0);
    if (rc == 0)
        rc = mdb_put(w->txn, s->expiry, &expiry_key, &nothing, 0);
    w->state.entries++;
    w->state.stored++;
    return rc == MDB_KEYEXIST ? MDB_CORRUPTED : rc;
}

static int cache_drop_key(struct cache_lmdb_write *w, const struct digest *key)
{
    uint64_t arrival;
    int rc = cache_read_arrival(w->store, w->txn, key, &arrival);
    return rc == 0 ? cache_drop(w, arrival) : rc;
}

/* All in one transaction. *removed: entries went, but there is still no room. */
static int cache_put_once(struct cache_lmdb *s, struct cache_lmdb_new *n, bool *removed)
{
    struct cache_lmdb_write w;
    int rc = cache_write_begin(&w, s);
    if (rc != 0)
        return rc;
    rc = cache_ignore_missing(cache_drop_key(&w, &n->head.key));
    if (rc == 0)
        rc = cache_drop_expired(&w);
    if (rc == 0)
        rc = cache_make_room(&w, n->record.len);
    *removed = rc == MDB_MAP_FULL && w.pieces >= CACHE_LMDB_EVICT_PIECES_MAX;
    if (rc == 0)
        rc = cache_insert(&w, n);
    return cache_write_end(&w, *removed ? 0 : rc);
}

/* When LMDB itself found no page: only takes away, as taking away needs fewer pages than replacing. */
static int cache_only_remove(struct cache_lmdb *s, size_t record)
{
    struct cache_lmdb_write w;
    size_t pieces = 2 * cache_count_pieces(s, record) + CACHE_LMDB_ENTRY_PAGES;
    int dead;
    mdb_reader_check(s->env, &dead);
    int rc = cache_write_begin(&w, s);
    if (rc != 0)
        return rc;
    while (rc == 0 && w.pieces < pieces)
        rc = cache_drop_oldest(&w);
    return cache_write_end(&w, cache_ignore_missing(rc));
}

static void cache_note_stuck(struct cache_lmdb *s, bool stuck)
{
    if (!stuck)
        s->stuck_us = 0;
    else if (s->stuck_us == 0)
        s->stuck_us = clock_monotonic_us();
}

static bool cache_is_stuck(const struct cache_lmdb *s)
{
    return s->stuck_us != 0 &&
           clock_monotonic_us() - s->stuck_us > CACHE_LMDB_STUCK_SECONDS * (int64_t)CLOCK_US_PER_SECOND;
}

static enum cache_lmdb_result cache_put_locked(struct cache_lmdb *s, struct cache_lmdb_new *n)
{
    bool removed = false;
    int dead;
    if (++s->writes % CACHE_LMDB_CHECK_WRITES == 0)
        mdb_reader_check(s->env, &dead);
    int rc = cache_put_once(s, n, &removed);
    if (rc == MDB_MAP_FULL) {
        rc = cache_only_remove(s, n->record.len);
        cache_note_stuck(s, rc == MDB_MAP_FULL);
        rc = rc == 0 ? cache_put_once(s, n, &removed) : rc;
    }
    if (rc == MDB_MAP_FULL || (rc == 0 && removed)) {
        if (cache_is_stuck(s)) {
            cache_lmdb_fail_writing(s, "no page could be made free", rc);
            s->damaged = true;
        }
        return CACHE_LMDB_FULL;
    }
    return rc == 0 ? CACHE_LMDB_OK : cache_lmdb_fail_writing(s, "writing", rc);
}

/* Before every write: the lock, and the store that is in place now. */
static enum cache_lmdb_result cache_lmdb_enter(struct cache_lmdb *s)
{
    if (!cache_lmdb_lock(s))
        return CACHE_LMDB_BUSY;
    bool ok = !s->damaged && cache_lmdb_is_current(s);
    if (!ok) {
        pthread_mutex_lock(&s->gate);
        ok = cache_lmdb_reopen(s, NULL);
        pthread_mutex_unlock(&s->gate);
    }
    if (ok)
        return CACHE_LMDB_OK;
    cache_lmdb_unlock(s);
    return CACHE_LMDB_FAILED;
}

enum cache_lmdb_result cache_lmdb_mend(struct cache_lmdb *s)
{
    enum cache_lmdb_result result = cache_lmdb_enter(s);
    if (result == CACHE_LMDB_BUSY)
        return result;
    s->mending = false; /* where it failed, a later read finds it again */
    if (result != CACHE_LMDB_OK)
        return result;
    int rc = s->resized ? cache_lmdb_resize(s) : 0;
    cache_lmdb_unlock(s);
    return rc == 0 ? CACHE_LMDB_OK : cache_lmdb_fail_writing(s, "mapping", rc);
}

enum cache_lmdb_result cache_lmdb_put(struct cache_lmdb *s, const struct digest *key,
                                      const struct cache_owner *owner, int64_t expires_us,
                                      struct slice record)
{
    if (!cache_lmdb_takes(s, record.len))
        return CACHE_LMDB_TOO_LARGE;
    struct cache_lmdb_new n = {{.key = *key,
                                .stored_us = clock_wall_us(),
                                .expires_us = expires_us,
                                .length = record.len,
                                .owner = *owner},
                               record};
    enum cache_lmdb_result result = cache_lmdb_enter(s);
    if (result != CACHE_LMDB_OK)
        return result;
    result = cache_put_locked(s, &n);
    cache_lmdb_unlock(s);
    return result;
}

/* ---- removing, from outside -------------------------------------------------------------------------- */

static enum cache_lmdb_result cache_lmdb_tell(struct cache_lmdb *s, int rc)
{
    if (rc == 0)
        return CACHE_LMDB_OK;
    if (rc == MDB_MAP_FULL)
        return CACHE_LMDB_FULL;
    return rc == MDB_NOTFOUND ? CACHE_LMDB_MISS : cache_lmdb_fail_writing(s, "removing", rc);
}

enum cache_lmdb_result cache_lmdb_remove(struct cache_lmdb *s, const struct digest *key)
{
    struct cache_lmdb_write w;
    enum cache_lmdb_result result = cache_lmdb_enter(s);
    if (result != CACHE_LMDB_OK)
        return result;
    int rc = cache_write_begin(&w, s);
    if (rc == 0)
        rc = cache_write_end(&w, cache_drop_key(&w, key));
    cache_lmdb_unlock(s);
    return cache_lmdb_tell(s, rc);
}

/* The next keys of the index, of which those of this owner are to be removed. *seen: how many were looked at.
 */
static int cache_find_owned(struct cache_lmdb_write *w, const struct cache_owner *owner, struct digest *found,
                            size_t *count, size_t *seen)
{
    struct cache_lmdb *s = w->store;
    MDB_cursor *cursor;
    MDB_val key = cache_key_val(&s->clear_from), value;
    int rc = mdb_cursor_open(w->txn, s->index, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, s->clearing ? MDB_SET_RANGE : MDB_FIRST);
    for (*count = *seen = 0; rc == 0 && *count < CACHE_LMDB_CLEAR_MAX && *seen < CACHE_LMDB_CLEAR_LOOK_MAX;
         ++*seen) {
        struct cache_lmdb_head head;
        uint64_t arrival;
        if (key.mv_size != DIGEST_SIZE || value.mv_size != sizeof arrival) {
            rc = MDB_CORRUPTED;
            break;
        }
        memcpy(&s->clear_from, key.mv_data, DIGEST_SIZE);
        memcpy(&arrival, value.mv_data, sizeof arrival);
        rc = cache_read_head(s, w->txn, arrival, &head);
        if (rc == 0 && memcmp(&head.owner, owner, sizeof *owner) == 0)
            found[(*count)++] = head.key;
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc;
}

static int cache_clear_owned(struct cache_lmdb_write *w, const struct cache_owner *owner, uint64_t *removed)
{
    struct digest found[CACHE_LMDB_CLEAR_MAX];
    size_t count = 0, seen = 0;
    int rc = cache_find_owned(w, owner, found, &count, &seen);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    w->store->clearing = rc == 0;
    bool none = rc == MDB_NOTFOUND && count == 0;
    rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = cache_drop_key(w, &found[i]);
    *removed += rc == 0 ? count : 0;
    return rc == 0 && none ? MDB_NOTFOUND : rc;
}

static int cache_clear_oldest(struct cache_lmdb_write *w, uint64_t *removed)
{
    uint64_t before = w->state.evicted;
    int rc = 0;
    while (rc == 0 && w->pieces < CACHE_LMDB_EVICT_PIECES_MAX)
        rc = cache_drop_oldest(w);
    uint64_t count = w->state.evicted - before;
    w->state.evicted = before;
    *removed += count;
    return rc == MDB_NOTFOUND && count > 0 ? 0 : rc;
}

enum cache_lmdb_result cache_lmdb_clear(struct cache_lmdb *s, const struct cache_owner *owner,
                                        uint64_t *removed)
{
    struct cache_lmdb_write w;
    enum cache_lmdb_result result = cache_lmdb_enter(s);
    if (result != CACHE_LMDB_OK)
        return result;
    int rc = cache_write_begin(&w, s);
    if (rc == 0)
        rc = cache_write_end(&w,
                             owner ? cache_clear_owned(&w, owner, removed) : cache_clear_oldest(&w, removed));
    cache_lmdb_unlock(s);
    return cache_lmdb_tell(s, rc);
}
