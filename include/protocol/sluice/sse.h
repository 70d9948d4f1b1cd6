/*
 * Server-sent events (WHATWG HTML, 9.2.6), cut out of a stream of bytes at any split.
 *
 * Each whole event is handed on as it came, byte for byte, with its terminating blank line: comments and unknown
 * fields are part of the raw bytes. A part of an event is held until the rest arrives, up to a cap; an event
 * beyond the cap is an error of the stream.
 */
#ifndef SLUICE_SSE_H
#define SLUICE_SSE_H

#include "sluice/buf.h"

#include <stdint.h>

struct sse_event {
    struct slice raw;  /* as received, blank line included */
    struct slice type; /* of the last "event:" line; empty: "message" */
    struct slice data; /* of the "data:" lines, joined by LF; valid until the next call */
    bool has_data;     /* false: a comment or an empty event, which no client dispatches */
};

struct sse_parser {
    struct buf held;   /* the beginning of an event whose end has not come */
    struct buf joined; /* data of several lines */
    size_t max_event;
    size_t line;       /* in held: start of the first line without an end */
    size_t scanned;    /* in held: bytes of that line that were looked at */
    bool failed;
};

/* false from the callback stops the parsing: sse_feed() then answers false. */
typedef bool (*sse_event_fn)(void *ctx, const struct sse_event *event);

/* max_event is in bytes. */
void sse_init(struct sse_parser *p, size_t max_event);
void sse_free(struct sse_parser *p);

/* Calls fn for each event that these bytes complete, in order. False: the cap was passed or fn said stop. */
bool sse_feed(struct sse_parser *p, struct slice bytes, sse_event_fn fn, void *ctx);

/* The stream has ended: an event whose last byte is a CR that waited for its LF is whole after all. What is held
 * afterwards is an event without an end, which no client dispatches. */
bool sse_end(struct sse_parser *p, sse_event_fn fn, void *ctx);

/* Bytes of an event that has not ended. */
static inline size_t sse_held(const struct sse_parser *p)
{
    return p->held.len;
}

#endif
