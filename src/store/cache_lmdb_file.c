/* Opening is the one place where a store is judged; a damaged one is never repaired, it is only a cache. */
#include "cache_lmdb_file.h"

#include "sluice/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    CACHE_LMDB_READERS_MAX = 1024,
    CACHE_LMDB_OPEN_TRIES = 20,
    CACHE_LMDB_OPEN_PAUSE_US = 10 * CLOCK_US_PER_MS,
    CACHE_LMDB_BOOT_SIZE = 64,
    CACHE_LMDB_PATH_MAX = 4096,
    CACHE_LMDB_NODE_HEAD = 8 + 2, /* LMDB's own bytes of an item: its head, and its place in the page */
    CACHE_LMDB_PAGE_HEAD = 16,
    CACHE_LMDB_LOG_KEY = 12
};

static const char cache_lmdb_magic[8] = "sluice1";
static const char *const cache_lmdb_names[] = {"data.mdb", "lock.mdb", "boot"};

enum cache_lmdb_result cache_lmdb_fail(struct cache_lmdb *s, const char *what, int rc)
{
    snprintf(s->trouble, sizeof s->trouble, "%s: %s", what, mdb_strerror(rc));
    switch (rc) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_INCOMPATIBLE:
    case MDB_PANIC:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        s->damaged = true;
        break;
    default:
        break;
    }
    return CACHE_LMDB_FAILED;
}

enum cache_lmdb_result cache_lmdb_fail_writing(struct cache_lmdb *s, const char *what, int rc)
{
    pthread_mutex_lock(&s->gate);
    enum cache_lmdb_result result = cache_lmdb_fail(s, what, rc);
    pthread_mutex_unlock(&s->gate);
    return result;
}

static bool cache_lmdb_path(const struct cache_lmdb *s, const char *suffix, char out[CACHE_LMDB_PATH_MAX])
{
    int n = snprintf(out, CACHE_LMDB_PATH_MAX, "%s%s", s->dir, suffix);
    return n > 0 && n < CACHE_LMDB_PATH_MAX;
}

/* ---- the lock ---------------------------------------------------------------------------------------- */

bool cache_lmdb_lock(struct cache_lmdb *s)
{
    s->locked = flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0;
    return s->locked;
}

void cache_lmdb_unlock(struct cache_lmdb *s)
{
    if (s->locked)
        flock(s->lock_fd, LOCK_UN);
    s->locked = false;
}

/* For a moment only: a process that was stopped with the lock must not hold up another one's start. */
static bool cache_lmdb_lock_soon(struct cache_lmdb *s)
{
    for (int i = 0; i < CACHE_LMDB_OPEN_TRIES; i++) {
        if (cache_lmdb_lock(s))
            return true;
        usleep(CACHE_LMDB_OPEN_PAUSE_US);
    }
    return false;
}

/* ---- the boot ---------------------------------------------------------------------------------------- */

static bool cache_lmdb_read_text(const char *path, char out[CACHE_LMDB_BOOT_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, out, CACHE_LMDB_BOOT_SIZE - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool cache_lmdb_this_boot(char out[CACHE_LMDB_BOOT_SIZE])
{
    return cache_lmdb_read_text("/proc/sys/kernel/random/boot_id", out);
}

static bool cache_lmdb_is_of_this_boot(const struct cache_lmdb *s)
{
    char path[CACHE_LMDB_PATH_MAX], now[CACHE_LMDB_BOOT_SIZE], then[CACHE_LMDB_BOOT_SIZE];
    if (!cache_lmdb_this_boot(now))
        return true; /* nothing can be told: LMDB's own checks have to do */
    return cache_lmdb_path(s, "/boot", path) && cache_lmdb_read_text(path, then) && strcmp(now, then) == 0;
}

/* Once, as a process may be killed at any moment, and half a boot is another boot. */
static bool cache_lmdb_note_boot(const struct cache_lmdb *s)
{
    char path[CACHE_LMDB_PATH_MAX], now[CACHE_LMDB_BOOT_SIZE];
    if (cache_lmdb_is_of_this_boot(s) || !cache_lmdb_this_boot(now))
        return true;
    int fd = cache_lmdb_path(s, "/boot", path)
                 ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)
                 : -1;
    if (fd < 0)
        return false;
    ssize_t written = write(fd, now, strlen(now));
    return close(fd) == 0 && written == (ssize_t)strlen(now);
}

/* ---- the folder -------------------------------------------------------------------------------------- */

static void cache_lmdb_remove_folder(const struct cache_lmdb *s, const char *suffix)
{
    char path[CACHE_LMDB_PATH_MAX], file[CACHE_LMDB_PATH_MAX];
    for (size_t i = 0; i < sizeof cache_lmdb_names / sizeof *cache_lmdb_names; i++) {
        snprintf(path, sizeof path, "%s/%s", suffix, cache_lmdb_names[i]);
        if (cache_lmdb_path(s, path, file))
            unlink(file);
    }
    if (cache_lmdb_path(s, suffix, path))
        rmdir(path);
}

/* While the store is opened the caller is told what was done; later it is kept until it is asked for. */
static void cache_lmdb_tell(struct cache_lmdb *s, struct buf *notice, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void cache_lmdb_tell(struct cache_lmdb *s, struct buf *notice, const char *format, ...)
{
    char text[CACHE_LMDB_PATH_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (notice)
        buf_append_text(notice, text);
    else
        snprintf(s->notice, sizeof s->notice, "%.*s", CACHE_LMDB_NOTICE_MAX - 1, text);
}

static void cache_lmdb_move_aside(struct cache_lmdb *s, const char *why, struct buf *notice)
{
    char bad[CACHE_LMDB_PATH_MAX];
    cache_lmdb_remove_folder(s, ".bad");
    if (cache_lmdb_path(s, ".bad", bad) && rename(s->dir, bad) == 0) {
        cache_lmdb_tell(s, notice, "the cache in %s was moved to %s and begun anew: %s", s->dir, bad, why);
        return;
    }
    cache_lmdb_remove_folder(s, "");
    cache_lmdb_tell(s, notice, "the cache in %s was removed and begun anew: %s", s->dir, why);
}

/* Decides by the files alone. */
static void cache_lmdb_judge_files(struct cache_lmdb *s, struct buf *notice)
{
    char data[CACHE_LMDB_PATH_MAX];
    struct stat info;
    if (s->damaged)
        cache_lmdb_move_aside(s, s->trouble, notice);
    s->damaged = false;
    if (lstat(s->dir, &info) == 0 && !S_ISDIR(info.st_mode))
        cache_lmdb_move_aside(s, "it was no directory", notice);
    if (!cache_lmdb_path(s, "/data.mdb", data) || lstat(data, &info) != 0)
        return;
    if (!S_ISREG(info.st_mode))
        cache_lmdb_move_aside(s, "data.mdb was no file", notice);
    else if (!cache_lmdb_is_of_this_boot(s) || (uint64_t)info.st_size > s->max_bytes)
        cache_lmdb_remove_folder(s, "");
}

/* ---- opening ----------------------------------------------------------------------------------------- */

static void cache_lmdb_shut(struct cache_lmdb *s)
{
    if (s->reader)
        mdb_txn_abort(s->reader);
    if (s->env)
        mdb_env_close(s->env);
    s->reader = NULL;
    s->env = NULL;
}

static int cache_lmdb_open_tables(struct cache_lmdb *s, MDB_txn *txn, bool create)
{
    unsigned flags = create ? MDB_CREATE : 0;
    int rc = mdb_dbi_open(txn, "log", flags, &s->log);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "index", flags, &s->index);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "expiry", flags, &s->expiry);
    return rc;
}

/* Reads the state, or begins it in an empty store. */
static int cache_lmdb_check_state(struct cache_lmdb *s, MDB_txn *txn, bool create)
{
    struct cache_lmdb_state state = {.piece = s->piece, .next_arrival = 1};
    MDB_val key = {5, (void *)(uintptr_t) "state"}, value = {sizeof state, &state};
    MDB_stat info;
    memcpy(state.magic, cache_lmdb_magic, sizeof state.magic);
    int rc = mdb_stat(txn, s->main, &info);
    if (rc != 0)
        return rc;
    if (info.ms_entries == 0)
        return create ? mdb_put(txn, s->main, &key, &value, 0) : MDB_NOTFOUND;
    rc = mdb_get(txn, s->main, &key, &value);
    if (rc == MDB_NOTFOUND || (rc == 0 && value.mv_size != sizeof state))
        return MDB_INVALID;
    if (rc != 0)
        return rc;
    memcpy(&state, value.mv_data, sizeof state);
    return memcmp(state.magic, cache_lmdb_magic, sizeof state.magic) == 0 && state.piece == s->piece
               ? 0
               : MDB_INVALID;
}

/* The state first: a foreign store must not get tables of ours. */
static int cache_lmdb_prepare_in(struct cache_lmdb *s, bool create)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &s->main);
    if (rc == 0)
        rc = cache_lmdb_check_state(s, txn, create);
    if (rc == 0)
        rc = cache_lmdb_open_tables(s, txn, create);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

/* A store that is there is opened without LMDB's lock for writing, which a foreign program may hold. */
static int cache_lmdb_prepare(struct cache_lmdb *s)
{
    int rc = cache_lmdb_prepare_in(s, false);
    return rc == MDB_NOTFOUND ? cache_lmdb_prepare_in(s, true) : rc;
}

/* A file that was cut would end the process when its missing pages are touched. */
static int cache_lmdb_check_length(struct cache_lmdb *s)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat file;
    mdb_filehandle_t fd;
    mdb_env_info(s->env, &info);
    mdb_env_stat(s->env, &pages);
    if (mdb_env_get_fd(s->env, &fd) != 0 || fstat(fd, &file) != 0)
        return errno;
    s->device = file.st_dev;
    s->inode = file.st_ino;
    s->page_size = pages.ms_psize;
    s->piece = (pages.ms_psize - CACHE_LMDB_PAGE_HEAD) / 2 - CACHE_LMDB_NODE_HEAD - CACHE_LMDB_LOG_KEY;
    s->piece &= ~(size_t)1;
    return (uint64_t)file.st_size >= (info.me_last_pgno + 1) * (uint64_t)pages.ms_psize ? 0 : MDB_CORRUPTED;
}

static int cache_lmdb_open_env(struct cache_lmdb *s)
{
    int dead;
    int rc = mdb_env_create(&s->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(s->env, 4);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(s->env, CACHE_LMDB_READERS_MAX);
    if (rc == 0)
        rc = mdb_env_set_mapsize(s->env, s->max_bytes);
    if (rc == 0)
        rc = mdb_env_open(s->env, s->dir, MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc == 0)
        rc = mdb_reader_check(s->env, &dead);
    if (rc == 0)
        rc = cache_lmdb_check_length(s);
    if (rc == 0)
        rc = cache_lmdb_prepare(s);
    if (rc == 0)
        rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reader);
    if (rc == 0)
        mdb_txn_reset(s->reader);
    return rc;
}

static bool cache_lmdb_try(struct cache_lmdb *s)
{
    int rc = mkdir(s->dir, 0700) != 0 && errno != EEXIST ? errno : 0;
    if (rc == 0 && !cache_lmdb_note_boot(s))
        rc = errno;
    if (rc == 0)
        rc = cache_lmdb_open_env(s);
    if (rc == 0)
        return true;
    cache_lmdb_fail(s, s->dir, rc);
    cache_lmdb_shut(s);
    return false;
}

bool cache_lmdb_reopen(struct cache_lmdb *s, struct buf *notice)
{
    cache_lmdb_shut(s);
    s->stuck_us = 0;
    s->clearing = false;
    s->resized = false;
    for (int attempt = 0; attempt < 2; attempt++) {
        cache_lmdb_judge_files(s, notice);
        if (cache_lmdb_try(s)) {
            s->looked_us = clock_monotonic_us();
            return true;
        }
        if (!s->damaged)
            break;
    }
    return false;
}

bool cache_lmdb_is_current(const struct cache_lmdb *s)
{
    char data[CACHE_LMDB_PATH_MAX];
    struct stat info;
    return s->env && cache_lmdb_path(s, "/data.mdb", data) && stat(data, &info) == 0 &&
           info.st_ino == s->inode && info.st_dev == s->device;
}

int cache_lmdb_resize(struct cache_lmdb *s)
{
    pthread_mutex_lock(&s->gate);
    s->resized = false;
    int rc = mdb_env_set_mapsize(s->env, 0);
    pthread_mutex_unlock(&s->gate);
    return rc;
}

/* ---- from outside ------------------------------------------------------------------------------------ */

static bool cache_lmdb_open_lock(struct cache_lmdb *s)
{
    char path[CACHE_LMDB_PATH_MAX];
    if (!cache_lmdb_path(s, ".lock", path))
        return false;
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    return s->lock_fd >= 0;
}

struct cache_lmdb *cache_lmdb_open(const char *state_dir, size_t max_bytes, struct buf *notice,
                                   struct buf *error)
{
    struct cache_lmdb *s = calloc(1, sizeof *s);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!s || pthread_mutex_init(&s->gate, NULL) != 0 || asprintf(&s->dir, "%s/cache-v1", state_dir) < 0) {
        free(s);
        return NULL;
    }
    s->lock_fd = -1;
    s->max_bytes = (max_bytes < CACHE_LMDB_BYTES_MIN ? CACHE_LMDB_BYTES_MIN : max_bytes) / page * page;
    if (!cache_lmdb_open_lock(s))
        buf_printf(error, "%s.lock: %s", s->dir, strerror(errno));
    else if (!cache_lmdb_lock_soon(s))
        return s; /* a process that was stopped has it: opened later, by a read or a write */
    else if (!cache_lmdb_reopen(s, notice))
        buf_printf(error, "%s", s->trouble);
    cache_lmdb_unlock(s);
    if (!s->env)
        cache_lmdb_close(&s);
    return s;
}

/* Closing might wait for the one that holds the lock. Where that one does not let go, the store stays open
 * until the end of the process, which tidies up; it is kept here, as something that was not lost. */
static struct cache_lmdb *_Atomic cache_lmdb_left_open;

void cache_lmdb_close(struct cache_lmdb **store)
{
    struct cache_lmdb *s = *store;
    *store = NULL;
    if (!s)
        return;
    if (s->lock_fd >= 0 && s->env && !cache_lmdb_lock_soon(s)) {
        s->left = atomic_exchange(&cache_lmdb_left_open, s);
        return;
    }
    cache_lmdb_shut(s);
    cache_lmdb_unlock(s); /* closing is not enough where a child of this process has the descriptor too */
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->gate);
    free(s->dir);
    free(s);
}

bool cache_lmdb_takes(const struct cache_lmdb *s, size_t record)
{
    return record <= s->max_bytes / 8;
}

bool cache_lmdb_wants_mending(const struct cache_lmdb *s)
{
    return s->mending;
}

bool cache_lmdb_take_notice(struct cache_lmdb *s, struct buf *out)
{
    bool any = s->notice[0] != '\0' && buf_append_text(out, s->notice);
    s->notice[0] = '\0';
    return any;
}

const char *cache_lmdb_trouble(const struct cache_lmdb *s)
{
    return s->trouble;
}
