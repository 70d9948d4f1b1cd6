/* Sends one response, with the faults and the pace its directive asks for. */
#ifndef SIM_REPLY_H
#define SIM_REPLY_H

#include "stream.h"

#include <zlib.h>

struct conn;

enum reply_phase {
    REPLY_IDLE,
    REPLY_DELAY,
    REPLY_HEAD,
    REPLY_SLOW_HEAD,
    REPLY_ENDLESS,
    REPLY_FIRST,
    REPLY_BODY,
    REPLY_SHAPE,
    REPLY_END,
    REPLY_DRAIN,
    REPLY_HUNG,
};

struct reply {
    enum reply_phase phase;
    int status;
    const char *content_type;
    struct stream *stream;
    struct buf head;
    struct buf body; /* payload waiting to be framed, from body_at on */
    size_t body_at;
    struct buf wire; /* framed bytes ready for the socket */
    z_stream *gzip;
    uint64_t body_sent;
    uint64_t events;
    uint64_t due_us; /* when the next paced event should go; 0: at once */
    uint64_t last_due_us;
    size_t slow_at;
    uint64_t completion_tokens, prompt_tokens;
    int64_t stated_length; /* -1: not known before */
    bool chunked, close, cut, cut_after, streaming, produced_all, wait_drain;
};

/* A whole response; takes over body's storage. */
void reply_send(struct conn *c, int status, const char *content_type, struct buf *body);
void reply_send_stream(struct conn *c, const char *content_type, struct stream *stream, int64_t length);

/* Goes on until it must wait; called on timers and when output has drained. */
void reply_advance(struct conn *c);
void reply_reset(struct reply *r);

#endif
