/*
 * The state directory. It holds what processes share and what outlives them: whoever can write there can change
 * limits and cached answers, so that it must be this user's alone.
 */
#include "sluice/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATE_DIR_MODE = 0700, STATE_DIR_OTHERS = 0077, STATE_DIR_OTHERS_WRITE = 0022, STATE_DIR_DEPTH_MAX = 3 };

static bool state_dir_fail(struct buf *error, const char *path, const char *what)
{
    buf_printf(error, "STATE_DIR: %s: %s", path, what);
    return false;
}

/* Its parents too: an option that names a place in a home directory should need no preparation. */
static bool state_dir_make(const char *path)
{
    char copy[4096];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof copy)
        return false;
    memcpy(copy, path, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (copy[i] != '/')
            continue;
        copy[i] = '\0';
        if (mkdir(copy, 0755) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return false;
        copy[i] = '/';
    }
    return mkdir(path, STATE_DIR_MODE) == 0 || errno == EEXIST;
}

/* ---- what is in it ------------------------------------------------------------------------------------------ */

struct state_dir_walk {
    const struct run_as *as;
    const char *path;
    bool gives; /* root's own are given to the user; otherwise others' are refused */
    struct buf *error;
};

static bool state_dir_walk(const struct state_dir_walk *w, int fd, int depth);

static bool state_dir_take_entry(const struct state_dir_walk *w, int fd, const char *name, int depth)
{
    struct stat info;
    if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT; /* removed meanwhile */
    if (!w->gives && info.st_uid != w->as->uid) {
        buf_printf(w->error, "STATE_DIR: %s: was open to other users, and \"%s\" in it is of user %ld; remove it", w->path,
                   name, (long)info.st_uid);
        return false;
    }
    if (S_ISDIR(info.st_mode) && depth < STATE_DIR_DEPTH_MAX) {
        int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0 && !state_dir_walk(w, inner, depth + 1))
            return false;
    }
    if (!w->gives || info.st_uid != geteuid() || fchownat(fd, name, w->as->uid, w->as->gid, AT_SYMLINK_NOFOLLOW) == 0)
        return true;
    buf_printf(w->error, "STATE_DIR: %s: \"%s\" cannot be given to user %s: %s", w->path, name, w->as->name,
               strerror(errno));
    return false;
}

/* Closes fd. */
static bool state_dir_walk(const struct state_dir_walk *w, int fd, int depth)
{
    DIR *dir = fdopendir(fd);
    bool ok = true;
    if (!dir) {
        close(fd);
        return state_dir_fail(w->error, w->path, strerror(errno));
    }
    for (const struct dirent *e; ok && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            ok = state_dir_take_entry(w, dirfd(dir), e->d_name, depth);
    closedir(dir);
    return ok;
}

/* ---- the directory itself ----------------------------------------------------------------------------------- */

static bool state_dir_is_of(const struct state_dir_walk *w, const struct stat *info)
{
    if (info->st_uid == w->as->uid || (w->as->changes && info->st_uid == geteuid()))
        return true;
    buf_printf(w->error, "STATE_DIR: %s: belongs to user %ld, and this process runs as user %ld", w->path,
               (long)info->st_uid, (long)w->as->uid);
    return false;
}

/* Closed first: then nobody else puts anything there while it is looked at. */
static bool state_dir_close_to_others(const struct state_dir_walk *w, int fd, const struct stat *info)
{
    if (info->st_mode & STATE_DIR_OTHERS && fchmod(fd, STATE_DIR_MODE) != 0)
        return state_dir_fail(w->error, w->path, "is open to other users; its mode must be 0700");
    int inner = info->st_mode & STATE_DIR_OTHERS_WRITE ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    struct state_dir_walk look = *w;
    struct run_as owner = {.uid = info->st_uid};
    look.as = &owner;
    if (inner < 0 || state_dir_walk(&look, inner, 0))
        return true;
    fchmod(fd, info->st_mode & 07777); /* refused next time, too */
    return false;
}

static bool state_dir_give(const struct state_dir_walk *w, int fd, const struct stat *info)
{
    if (!w->as->changes || info->st_uid == w->as->uid)
        return true;
    int inner = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct state_dir_walk gift = *w;
    gift.gives = true;
    if (inner < 0)
        return state_dir_fail(w->error, w->path, strerror(errno));
    if (!state_dir_walk(&gift, inner, 0))
        return false;
    return fchown(fd, w->as->uid, w->as->gid) == 0 || state_dir_fail(w->error, w->path, strerror(errno));
}

static bool state_dir_take(const struct state_dir_walk *w, int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return state_dir_fail(w->error, w->path, strerror(errno));
    return state_dir_is_of(w, &info) && state_dir_close_to_others(w, fd, &info) && state_dir_give(w, fd, &info);
}

bool state_dir_prepare(const char *path, const struct run_as *as, struct buf *error)
{
    const struct state_dir_walk walk = {.as = as, .path = path, .error = error};
    struct stat info;
    if (lstat(path, &info) != 0) {
        if (errno != ENOENT)
            return state_dir_fail(error, path, strerror(errno));
        if (!state_dir_make(path) || lstat(path, &info) != 0) {
            buf_printf(error, "STATE_DIR: %s: cannot be made: %s; name a directory that this user may write", path,
                       strerror(errno));
            return false;
        }
    }
    if (S_ISLNK(info.st_mode))
        return state_dir_fail(error, path, "is a symbolic link; name the directory itself");
    if (!S_ISDIR(info.st_mode))
        return state_dir_fail(error, path, "is not a directory");
    if (!state_dir_is_of(&walk, &info))
        return false;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return state_dir_fail(error, path, strerror(errno));
    bool ok = state_dir_take(&walk, fd);
    close(fd);
    return ok;
}

bool state_dir_check(const char *path, struct buf *error)
{
    if (access(path, R_OK | W_OK | X_OK) == 0)
        return true;
    buf_printf(error, "STATE_DIR: %s: is not writable by user %ld: %s; name a directory that is, or another user (RUN_AS)", path,
               (long)geteuid(), strerror(errno));
    return false;
}
