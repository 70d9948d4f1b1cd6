/* Files that processes map together: made whole, checked, and moved aside where they are not ours. */
#include "sluice/shared_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SHARED_FILE_MODE = 0600,
    SHARED_FILE_OTHERS = 0077,
    SHARED_FILE_ROUNDS = 8, /* between processes that make, move and remove the same file */
    SHARED_FILE_LOCK_TRIES = 500,
    SHARED_FILE_LOCK_WAIT_MS = 10
};

#define SHARED_FILE_MAGIC "sluice shared\n"
#define SHARED_FILE_ORDER UINT32_C(0x01020304) /* reads otherwise on a machine with another byte order */

/* The beginning of the file's first page; the data begins at the second. */
struct shared_file_header {
    char magic[16];
    uint32_t order;
    uint32_t version;
    uint64_t file_size;
    char name[SHARED_FILE_NAME_MAX];
};

struct shared_file_request {
    const char *directory, *name;
    uint32_t version;
    size_t file_size;
    struct buf *message;
    char path[PATH_MAX];
    char aside[PATH_MAX];
};

static enum shared_file_result shared_file_fail(const struct shared_file_request *r, const char *what)
{
    buf_printf(r->message, "%s: %s", r->path, what);
    return SHARED_FILE_FAILED;
}

static enum shared_file_result shared_file_fail_errno(const struct shared_file_request *r, const char *doing)
{
    buf_printf(r->message, "%s: %s: %s", r->path, doing, strerror(errno));
    return SHARED_FILE_FAILED;
}

static void shared_file_fill_header(const struct shared_file_request *r, struct shared_file_header *h)
{
    *h = (struct shared_file_header){.magic = SHARED_FILE_MAGIC,
                                     .order = SHARED_FILE_ORDER,
                                     .version = r->version,
                                     .file_size = r->file_size};
    snprintf(h->name, sizeof h->name, "%s", r->name);
}

/* ---- what is there
 * ------------------------------------------------------------------------------------------- */

enum shared_file_state {
    SHARED_FILE_STATE_SOUND,
    SHARED_FILE_STATE_ABSENT,
    SHARED_FILE_STATE_DAMAGED, /* a regular file of this user, but not one that we made */
    SHARED_FILE_STATE_REFUSED  /* message says why */
};

static enum shared_file_state shared_file_refuse(const struct shared_file_request *r, const char *what)
{
    shared_file_fail(r, what);
    return SHARED_FILE_STATE_REFUSED;
}

static enum shared_file_state shared_file_check(const struct shared_file_request *r, int fd)
{
    struct stat info;
    struct shared_file_header wanted, got;
    if (fstat(fd, &info) != 0) {
        shared_file_fail_errno(r, "cannot be looked at");
        return SHARED_FILE_STATE_REFUSED;
    }
    if (!S_ISREG(info.st_mode))
        return shared_file_refuse(r, "is not a regular file; remove it");
    if (info.st_uid != geteuid())
        return shared_file_refuse(r, "belongs to another user; remove it, or run as that user");
    if (info.st_mode & SHARED_FILE_OTHERS && fchmod(fd, SHARED_FILE_MODE) != 0)
        return shared_file_refuse(r, "is open to other users; its mode must be 0600");
    shared_file_fill_header(r, &wanted);
    bool same = info.st_size == (off_t)r->file_size &&
                pread(fd, &got, sizeof got, 0) == (ssize_t)sizeof got &&
                memcmp(&got, &wanted, sizeof got) == 0;
    return same ? SHARED_FILE_STATE_SOUND : SHARED_FILE_STATE_DAMAGED;
}

/* A descriptor in *fd only where the file is sound. */
static enum shared_file_state shared_file_find(const struct shared_file_request *r, int *fd)
{
    *fd = open(r->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd < 0 && errno == ENOENT)
        return SHARED_FILE_STATE_ABSENT;
    if (*fd < 0 && errno == ELOOP)
        return shared_file_refuse(r, "is a symbolic link; remove it");
    if (*fd < 0 && (errno == EISDIR || errno == ENXIO || errno == ENODEV))
        return shared_file_refuse(r, "is not a regular file; remove it");
    if (*fd < 0) {
        shared_file_fail_errno(r, "cannot be opened");
        return SHARED_FILE_STATE_REFUSED;
    }
    enum shared_file_state state = shared_file_check(r, *fd);
    if (state != SHARED_FILE_STATE_SOUND)
        close(*fd);
    return state;
}

/* ---- making it
 * ----------------------------------------------------------------------------------------------- */

/* Fills a new file; false with errno. */
static bool shared_file_fill(const struct shared_file_request *r, int fd)
{
    struct shared_file_header header;
    shared_file_fill_header(r, &header);
    int wrong = posix_fallocate(fd, 0, (off_t)r->file_size);
    if (wrong != 0) {
        errno = wrong;
        return false;
    }
    return pwrite(fd, &header, sizeof header, 0) == (ssize_t)sizeof header;
}

/* True also where another process was faster. */
static bool shared_file_make(const struct shared_file_request *r, bool *ours)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX", r->path);
    int fd = n > 0 && (size_t)n < sizeof temporary ? mkostemp(temporary, O_CLOEXEC) : -1;
    if (fd < 0) {
        shared_file_fail_errno(r, "cannot be made");
        return false;
    }
    bool ok = shared_file_fill(r, fd);
    if (!ok)
        shared_file_fail_errno(r, errno == ENOSPC ? "there is no room for it" : "cannot be filled");
    *ours = ok && link(temporary, r->path) == 0;
    if (ok && !*ours && errno != EEXIST) {
        shared_file_fail_errno(r, "cannot be made");
        ok = false;
    }
    unlink(temporary);
    close(fd);
    return ok;
}

/* ---- moving a damaged one aside
 * ------------------------------------------------------------------------------ */

/* The directory's lock, so that nobody moves aside what another has just made. The system frees it with the
 * process that holds it; the wait is bounded. -1 with a message. */
static int shared_file_lock(const struct shared_file_request *r)
{
    int fd = open(r->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < SHARED_FILE_LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        nanosleep(&(struct timespec){.tv_nsec = SHARED_FILE_LOCK_WAIT_MS * 1000000L}, NULL);
    }
    shared_file_fail_errno(r, "the directory cannot be locked");
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool shared_file_move_aside(const struct shared_file_request *r, bool *moved)
{
    int lock = shared_file_lock(r), fd;
    if (lock < 0)
        return false;
    enum shared_file_state state = shared_file_find(r, &fd);
    bool ok = state != SHARED_FILE_STATE_REFUSED;
    if (state == SHARED_FILE_STATE_SOUND)
        close(fd);
    if (state == SHARED_FILE_STATE_DAMAGED) {
        ok = rename(r->path, r->aside) == 0;
        *moved = *moved || ok;
        if (ok)
            buf_printf(r->message,
                       "%s: was damaged, or is no file of this program; it is now %s, and begun anew",
                       r->path, r->aside);
        else
            shared_file_fail_errno(r, "is damaged and cannot be moved aside");
    }
    close(lock);
    return ok;
}

/* ---- the whole
 * ----------------------------------------------------------------------------------------------- */

static bool shared_file_name_is_good(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return len > 0 && name[len] == '\0' && len < SHARED_FILE_NAME_MAX;
}

static bool shared_file_prepare(struct shared_file_request *r)
{
    int n = snprintf(r->path, sizeof r->path, "%s/%s.v%u", r->directory, r->name, (unsigned)r->version);
    int m = snprintf(r->aside, sizeof r->aside, "%s/%s.v%u.bad", r->directory, r->name, (unsigned)r->version);
    bool fits = n > 0 && m > 0 && (size_t)m < sizeof r->aside;
    if (!fits || !shared_file_name_is_good(r->name))
        shared_file_fail(r, "is no name for a shared file");
    return fits && shared_file_name_is_good(r->name);
}

static bool shared_file_map(const struct shared_file_request *r, struct shared_file *f, int fd)
{
    void *map = mmap(NULL, r->file_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    bool ok = map != MAP_FAILED;
    if (ok)
        *f = (struct shared_file){.data = (char *)map + SHARED_FILE_ALIGNMENT,
                                  .size = r->file_size - SHARED_FILE_ALIGNMENT,
                                  .map = map,
                                  .map_size = r->file_size};
    else
        shared_file_fail_errno(r, "cannot be mapped");
    close(fd);
    return ok;
}

enum shared_file_result shared_file_open(struct shared_file *f, const char *directory, const char *name,
                                         uint32_t version, size_t size, struct buf *message)
{
    struct shared_file_request r = {directory, name, version, size + SHARED_FILE_ALIGNMENT, message, "", ""};
    *f = (struct shared_file){0};
    bool made = false, moved = false;
    if (!shared_file_prepare(&r))
        return SHARED_FILE_FAILED;
    for (int i = 0; i < SHARED_FILE_ROUNDS; i++) {
        int fd;
        enum shared_file_state state = shared_file_find(&r, &fd);
        if (state == SHARED_FILE_STATE_SOUND && !shared_file_map(&r, f, fd))
            return SHARED_FILE_FAILED;
        if (state == SHARED_FILE_STATE_SOUND)
            return moved ? SHARED_FILE_REBUILT : made ? SHARED_FILE_MADE : SHARED_FILE_FOUND;
        if (state == SHARED_FILE_STATE_REFUSED ||
            (state == SHARED_FILE_STATE_ABSENT && !shared_file_make(&r, &made)) ||
            (state == SHARED_FILE_STATE_DAMAGED && !shared_file_move_aside(&r, &moved)))
            return SHARED_FILE_FAILED;
    }
    return shared_file_fail(&r, "is being changed by somebody else all the time");
}

bool shared_file_open_existing(struct shared_file *f, const char *directory, const char *name,
                               uint32_t version, size_t size, struct buf *message)
{
    struct shared_file_request r = {directory, name, version, size + SHARED_FILE_ALIGNMENT, message, "", ""};
    int fd;
    *f = (struct shared_file){0};
    if (!shared_file_prepare(&r))
        return false;
    enum shared_file_state state = shared_file_find(&r, &fd);
    if (state == SHARED_FILE_STATE_SOUND)
        return shared_file_map(&r, f, fd);
    if (state != SHARED_FILE_STATE_REFUSED)
        shared_file_fail(&r, state == SHARED_FILE_STATE_ABSENT ? "is not there: nothing has been counted yet"
                                                               : "is damaged, or no file of this program");
    return false;
}

void shared_file_close(struct shared_file *f)
{
    if (f->map)
        munmap(f->map, f->map_size);
    *f = (struct shared_file){0};
}
