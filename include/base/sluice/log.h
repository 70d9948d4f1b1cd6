/*
 * The process's log: one JSON object a line, whole lines in one write(2), so that several processes share a file.
 *
 * No call waits for the log: where a pipe, a terminal or a socket does not take a line at once, the line is dropped,
 * counted, and told of in a line of its own ("log_lines_dropped") as soon as one is taken again.
 *
 * A line begins with "time" (UTC, microseconds), "level", "event" and "pid". No key and no header value that
 * could hold one may be given to a log function: callers pass fingerprints.
 */
#ifndef SLUICE_LOG_H
#define SLUICE_LOG_H

#include "sluice/buf.h"
#include "sluice/json_out.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/* path NULL or empty: stderr. A file is created with mode 0600 and appended to. False, with errno, where it
 * cannot be opened; the log then stays what it was. The log is usable before the first call: stderr, info. */
bool log_open(const char *path, enum log_level level);

/* Opens the file of the last log_open() again, after it was moved away. */
bool log_reopen(void);

/* Whether lines of this level are written. */
bool log_wants(enum log_level level);

/* Lines since the process began, or since its parent did. */
struct log_counts {
    uint64_t lines, dropped;
};
const struct log_counts *log_counts(void);

/* NULL where the level is filtered out. Otherwise a buffer to add members to with json_put_member_…(), to be
 * given to log_end() before the next log call. event names what happened, in snake_case. */
struct buf *log_begin(enum log_level level, const char *event);
void log_end(struct buf *line);

/*
 * For a process with a loop: from now on lines below LOG_LEVEL_WARNING that go to a file of a disk may wait for
 * log_flush(), to be written in one piece. wake is called when the first begins to wait, and must see to it that
 * log_flush() is called in the same turn of the loop. Many lines, a graver one, and another file do not wait for it. wake
 * NULL: what waits is written, and nothing waits any longer.
 */
void log_gather(void (*wake)(void *arg), void *arg);
void log_flush(void);

/* A whole line with one "message". */
void log_message(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Closes the file and frees the line buffer. */
void log_close(void);

#endif
