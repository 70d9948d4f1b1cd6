/*
 * The state directory. It holds what processes share and what outlives them: whoever can write there can change
 * limits and cached answers, so that it must be this user's alone.
 */
#include "sluice/daemon.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATE_DIR_MODE = 0700, STATE_DIR_OTHERS = 0077 };

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

static bool state_dir_is_ours(const char *path, const struct stat *info, struct buf *error)
{
    if (S_ISLNK(info->st_mode))
        return state_dir_fail(error, path, "is a symbolic link; name the directory itself");
    if (!S_ISDIR(info->st_mode))
        return state_dir_fail(error, path, "is not a directory");
    if (info->st_uid != geteuid()) {
        buf_printf(error, "STATE_DIR: %s: belongs to user %ld, and this process runs as user %ld", path,
                   (long)info->st_uid, (long)geteuid());
        return false;
    }
    if (info->st_mode & STATE_DIR_OTHERS && chmod(path, STATE_DIR_MODE) != 0)
        return state_dir_fail(error, path, "is open to other users; its mode must be 0700");
    return access(path, R_OK | W_OK | X_OK) == 0 || state_dir_fail(error, path, "is not writable");
}

bool state_dir_prepare(const char *path, struct buf *error)
{
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
    return state_dir_is_ours(path, &info, error);
}
