/* An HTTP/1.1 reply read piece by piece, and the events in it. Only what the load generator must know. */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REPLY_LINE_MAX = 1024 }; /* what is beyond it in a line is dropped */

enum reply_state {
    REPLY_STATUS,
    REPLY_HEADER,
    REPLY_BODY,     /* until left is 0 */
    REPLY_TO_CLOSE, /* until the connection ends */
    REPLY_CHUNK_SIZE,
    REPLY_CHUNK,     /* until left is 0 */
    REPLY_CHUNK_END, /* the empty line behind a chunk */
    REPLY_TRAILER,
    REPLY_DONE
};

struct reply_line {
    size_t len;
    char text[REPLY_LINE_MAX];
};

struct reply {
    enum reply_state state;
    int status;
    bool chunked, close, broken;
    int64_t length; /* -1: not said */
    uint64_t left;
    uint64_t body_bytes;
    struct reply_line line;  /* of the head or of chunk framing */
    struct reply_line event; /* of an event stream */
    bool events_wanted;
    bool done_event; /* "[DONE]" came */
    uint64_t events; /* data lines, without "[DONE]" */
};

/* What one call found: timestamps out of contents are told one by one. */
struct reply_watch {
    void (*stamp)(void *arg, int64_t sent_us);
    void *arg;
};

void reply_start(struct reply *r, bool events_wanted);

/* Takes bytes; gives how many belonged to this reply. Then look at state and broken. */
size_t reply_feed(struct reply *r, const char *bytes, size_t len, const struct reply_watch *watch);

/* The connection has ended: whether the reply is whole. */
bool reply_end(struct reply *r);

#endif
