/*
 * The one log of the process.
 *
 * The line buffer is reused: log_begin() clears it. A line that exceeds the cap loses the members that did not
 * fit, never its closing brace.
 */
#include "sluice/log.h"

#include "sluice/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 16 * 1024, LOG_TAIL_ROOM = 8, LOG_MESSAGE_MAX = 2048 };

static struct {
    int fd;
    enum log_level level;
    char *path;
    struct buf line;
} the_log = {STDERR_FILENO, LOG_LEVEL_INFO, NULL, {NULL, 0, 0, 0, LOG_LINE_MAX}};

static const char *const log_level_names[] = {"debug", "info", "warning", "error"};

static int log_open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
}

static void log_use_fd(int fd)
{
    if (the_log.fd != STDERR_FILENO)
        close(the_log.fd);
    the_log.fd = fd;
}

bool log_open(const char *path, enum log_level level)
{
    if (!path || !*path) {
        free(the_log.path);
        the_log.path = NULL;
        log_use_fd(STDERR_FILENO);
        the_log.level = level;
        return true;
    }
    char *copy = strdup(path);
    int fd = copy ? log_open_file(path) : -1;
    if (fd < 0) {
        int saved = errno;
        free(copy);
        errno = saved;
        return false;
    }
    free(the_log.path);
    the_log.path = copy;
    log_use_fd(fd);
    the_log.level = level;
    return true;
}

bool log_reopen(void)
{
    if (!the_log.path)
        return true;
    int fd = log_open_file(the_log.path);
    if (fd < 0)
        return false;
    log_use_fd(fd);
    return true;
}

struct buf *log_begin(enum log_level level, const char *event)
{
    if (level < the_log.level)
        return NULL;
    struct buf *line = &the_log.line;
    char now[CLOCK_TEXT_SIZE];
    clock_format_utc(clock_wall_us(), now);
    buf_clear(line);
    line->max = LOG_LINE_MAX - LOG_TAIL_ROOM;
    buf_append_char(line, '{');
    json_put_member_string(line, "time", slice_from_text(now));
    json_put_member_string(line, "level", slice_from_text(log_level_names[level]));
    json_put_member_string(line, "event", slice_from_text(event));
    json_put_member_int(line, "pid", getpid());
    return line;
}

void log_end(struct buf *line)
{
    line->max = LOG_LINE_MAX;
    if (!buf_append_text(line, "}\n"))
        return;
    ssize_t written;
    do
        written = write(the_log.fd, buf_data(line), line->len);
    while (written < 0 && errno == EINTR);
}

void log_message(enum log_level level, const char *event, const char *format, ...)
{
    struct buf *line = log_begin(level, event);
    if (!line)
        return;
    char text[LOG_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_put_member_string(line, "message", slice_from_text(text));
    log_end(line);
}

void log_close(void)
{
    log_use_fd(STDERR_FILENO);
    free(the_log.path);
    the_log.path = NULL;
    buf_free(&the_log.line);
}
