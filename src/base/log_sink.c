/* Writing without waiting. */
#include "log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_SINK_FLAGS = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, LOG_SINK_MODE = 0600 };

/* Where others may write to the directory, a link of theirs must not choose the file. */
static bool log_sink_is_their_link(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode) && info.st_uid != 0 && info.st_uid != geteuid();
}

int log_sink_open(const char *path)
{
    if (log_sink_is_their_link(path)) {
        errno = ELOOP;
        return -1;
    }
    int fd = open(path, O_WRONLY | LOG_SINK_FLAGS, LOG_SINK_MODE);
    return fd < 0 && errno == ENXIO ? open(path, O_RDWR | LOG_SINK_FLAGS, LOG_SINK_MODE) : fd;
}

int log_sink_standard(const char *path)
{
    int fd = strcmp(path, "/dev/stdout") == 0 ? STDOUT_FILENO : strcmp(path, "/dev/stderr") == 0 ? STDERR_FILENO : -1;
    return fd >= 0 && fcntl(fd, F_GETFL) >= 0 ? fd : -1;
}

/* The same pipe, FIFO or terminal as a file of our own; -1 where the system does not let us. */
static int log_sink_reopen(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static bool log_sink_is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && flags & O_NONBLOCK;
}

static void log_sink_adopt(struct log_sink *s, int fd)
{
    int own = log_sink_reopen(fd);
    if (own < 0) {
        s->kind = LOG_SINK_POLLED;
        return;
    }
    if (s->owned)
        close(fd);
    s->fd = own;
    s->owned = true;
}

void log_sink_use(struct log_sink *s, int fd, bool owned)
{
    struct stat info;
    log_sink_close(s);
    s->fd = fd;
    s->owned = owned;
    s->kind = LOG_SINK_FILE;
    if (fstat(fd, &info) != 0 || S_ISREG(info.st_mode))
        return;
    s->kind = LOG_SINK_READY;
    if (S_ISSOCK(info.st_mode))
        s->kind = LOG_SINK_SOCKET;
    else if (!owned || !log_sink_is_nonblocking(fd))
        log_sink_adopt(s, fd);
}

/* How many bytes were taken; 0: none. */
static size_t log_sink_try(const struct log_sink *s, struct slice bytes)
{
    ssize_t n;
    do {
        struct pollfd ready = {.fd = s->fd, .events = POLLOUT};
        if (s->kind == LOG_SINK_POLLED && (bytes.len > PIPE_BUF || poll(&ready, 1, 0) != 1))
            return 0;
        n = s->kind == LOG_SINK_SOCKET ? send(s->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                       : write(s->fd, bytes.ptr, bytes.len);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

bool log_sink_write(struct log_sink *s, struct slice line)
{
    if (s->rest.len > 0)
        buf_consume(&s->rest, log_sink_try(s, buf_slice(&s->rest)));
    if (s->rest.len > 0)
        return false;
    size_t taken = log_sink_try(s, line);
    if (taken == line.len)
        return true;
    return taken > 0 && buf_append_slice(&s->rest, slice_skip(line, taken));
}

void log_sink_close(struct log_sink *s)
{
    if (s->owned)
        close(s->fd);
    s->owned = false;
    s->fd = STDERR_FILENO;
    s->kind = LOG_SINK_READY;
    s->rest.max = LOG_SINK_REST_MAX;
    buf_free(&s->rest);
}
