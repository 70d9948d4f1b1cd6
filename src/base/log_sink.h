/*
 * Where the log's lines go, without ever waiting for it. Private to the log.
 *
 * A file of a disk takes a line at once. A pipe, a terminal or a socket may be full as its reader is slow or stopped: then
 * the line is dropped. Such a descriptor is written to without blocking, but O_NONBLOCK belongs to the open file, which the
 * web server or the shell that gave it to us shares: therefore it is opened again through /proc/self/fd, as a file of our
 * own; a socket is sent to with MSG_DONTWAIT; and where neither can be, poll(2) is asked before each line, and a line that
 * a pipe may take in part only (PIPE_BUF) is dropped.
 *
 * What a line was cut by is kept, and goes first the next time: a reader never sees half a line followed by another.
 */
#ifndef SLUICE_LOG_SINK_H
#define SLUICE_LOG_SINK_H

#include "sluice/buf.h"

enum log_sink_kind {
    LOG_SINK_FILE,   /* of a disk */
    LOG_SINK_READY,  /* it does not block */
    LOG_SINK_SOCKET,
    LOG_SINK_POLLED
};

enum { LOG_SINK_REST_MAX = 64 * 1024 };

struct log_sink {
    int fd;
    bool owned; /* closed by us */
    enum log_sink_kind kind;
    struct buf rest; /* of a line that was taken in part */
};

/* A file's descriptor, opened for appending; -1 with errno. A FIFO that nobody reads is opened all the same. */
int log_sink_open(const char *path);

/* The descriptor that /dev/stdout or /dev/stderr stands for, where it is open; -1: it is none of them. Opening these names
 * needs the right to open what stands behind them, which a user that root has become may lack, and is no way to a socket. */
int log_sink_standard(const char *path);

/* Replaces what the sink was. */
void log_sink_use(struct log_sink *s, int fd, bool owned);

/* False: the line was dropped. */
bool log_sink_write(struct log_sink *s, struct slice line);

void log_sink_close(struct log_sink *s);

#endif
