/*
 * The one log of the process.
 *
 * The line buffer is reused: log_begin() clears it. A line that exceeds the cap loses the members that did not
 * fit, never its closing brace.
 */
#include "sluice/log.h"

#include "log_sink.h"
#include "sluice/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 16 * 1024, LOG_TAIL_ROOM = 8, LOG_MESSAGE_MAX = 2048, LOG_REPORT_MAX = 256,
       LOG_WAITING_MAX = 48 * 1024 };

static struct {
    struct log_sink sink;
    enum log_level level;
    char *path;
    struct buf line;
    enum log_level line_level;
    struct log_counts counts;
    struct buf waiting; /* whole lines, */
    uint64_t waiting_lines;
    void (*wake)(void *arg);
    void *wake_arg;
    pid_t pid; /* 0: not known */
    bool forgets_pid;
    uint64_t unreported; /* lines dropped that the log does not tell of yet */
} the_log = {.sink = {.fd = STDERR_FILENO, .rest.max = LOG_SINK_REST_MAX},
             .level = LOG_LEVEL_INFO,
             .waiting.max = LOG_WAITING_MAX,
             .line.max = LOG_LINE_MAX};

static const char *const log_level_names[] = {"debug", "info", "warning", "error"};

/* False, with errno, and nothing is changed. */
static bool log_use_file(const char *path)
{
    int standard = log_sink_standard(path), fd = log_sink_open(path);
    if (fd < 0 && standard < 0)
        return false;
    log_flush();
    log_sink_use(&the_log.sink, fd >= 0 ? fd : standard, fd >= 0);
    return true;
}

bool log_open(const char *path, enum log_level level)
{
    if (!path || !*path) {
        free(the_log.path);
        the_log.path = NULL;
        log_flush();
        log_sink_use(&the_log.sink, STDERR_FILENO, false);
        the_log.level = level;
        return true;
    }
    char *copy = strdup(path);
    if (!copy || !log_use_file(path)) {
        int saved = errno;
        free(copy);
        errno = saved;
        return false;
    }
    free(the_log.path);
    the_log.path = copy;
    the_log.level = level;
    return true;
}

bool log_reopen(void)
{
    return !the_log.path || log_use_file(the_log.path);
}

bool log_wants(enum log_level level)
{
    return level >= the_log.level;
}

const struct log_counts *log_counts(void)
{
    return &the_log.counts;
}

static void log_forget_pid(void)
{
    the_log.pid = 0;
}

/* Asked of the kernel once, and again by a child process. */
static pid_t log_pid(void)
{
    if (the_log.pid != 0)
        return the_log.pid;
    if (!the_log.forgets_pid && pthread_atfork(NULL, NULL, log_forget_pid) != 0)
        return getpid();
    the_log.forgets_pid = true;
    the_log.pid = getpid();
    return the_log.pid;
}

static void log_put_begin(struct buf *line, enum log_level level, const char *event)
{
    char now[CLOCK_TEXT_SIZE];
    clock_format_utc(clock_wall_us(), now);
    buf_append_char(line, '{');
    json_put_member_string(line, "time", slice_from_text(now));
    json_put_member_string(line, "level", slice_from_text(log_level_names[level]));
    json_put_member_string(line, "event", slice_from_text(event));
    json_put_member_int(line, "pid", log_pid());
}

struct buf *log_begin(enum log_level level, const char *event)
{
    if (level < the_log.level)
        return NULL;
    buf_clear(&the_log.line);
    the_log.line_level = level;
    the_log.line.max = LOG_LINE_MAX - LOG_TAIL_ROOM;
    log_put_begin(&the_log.line, level, event);
    return &the_log.line;
}

/* Tells of lines that were dropped, before the next one. */
static bool log_report_dropped(void)
{
    struct buf report;
    if (the_log.unreported == 0)
        return true;
    buf_init(&report, LOG_REPORT_MAX);
    log_put_begin(&report, LOG_LEVEL_WARNING, "log_lines_dropped");
    json_put_member_int(&report, "count", (int64_t)the_log.unreported);
    bool ok = buf_append_text(&report, "}\n") && log_sink_write(&the_log.sink, buf_slice(&report));
    buf_free(&report);
    if (ok)
        the_log.unreported = 0;
    return ok;
}

static void log_write(struct slice lines, uint64_t count)
{
    if (log_report_dropped() && log_sink_write(&the_log.sink, lines)) {
        the_log.counts.lines += count;
        return;
    }
    the_log.counts.dropped += count;
    the_log.unreported += count;
}

void log_flush(void)
{
    if (the_log.waiting_lines == 0)
        return;
    uint64_t count = the_log.waiting_lines;
    the_log.waiting_lines = 0;
    log_write(buf_slice(&the_log.waiting), count);
    buf_clear(&the_log.waiting);
}

void log_gather(void (*wake)(void *arg), void *arg)
{
    log_flush();
    the_log.wake = wake;
    the_log.wake_arg = arg;
}

/* False: the line cannot wait. */
static bool log_wait(struct slice line)
{
    if (!the_log.wake || the_log.line_level >= LOG_LEVEL_WARNING || the_log.sink.kind != LOG_SINK_FILE ||
        !buf_append_slice(&the_log.waiting, line))
        return false;
    if (the_log.waiting_lines++ == 0)
        the_log.wake(the_log.wake_arg);
    return true;
}

void log_end(struct buf *line)
{
    line->max = LOG_LINE_MAX;
    if (!buf_append_text(line, "}\n") || log_wait(buf_slice(line)))
        return;
    log_flush();
    log_write(buf_slice(line), 1);
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
    log_gather(NULL, NULL);
    buf_free(&the_log.waiting);
    log_sink_close(&the_log.sink);
    free(the_log.path);
    the_log.path = NULL;
    buf_free(&the_log.line);
}
