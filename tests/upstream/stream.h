/* Event producers: each call to next() appends one whole SSE event (or one piece of a binary body). */
#ifndef SIM_STREAM_H
#define SIM_STREAM_H

#include "directive.h"

#include <jansson.h>

struct stream {
    /* Appends one event; false when there is none left (then nothing was appended). */
    bool (*next)(struct stream *s, struct buf *out);
    const struct directive *dir;
    bool paced;     /* out: the pace applies before the event after this one */
    bool is_event;  /* out: counts as an SSE event ([DONE] does not) */
    bool has_token; /* out: the event carried a completion token */
    bool last;      /* out: nothing follows; lets a known length end with its last byte */
    bool sse;
    bool named_events; /* with "event:" lines, as the responses endpoint sends */
    bool prompt_counted;
    bool include_usage;
    bool chat;
    uint64_t step;
    uint64_t tokens;
    uint64_t choices;
    uint64_t prompt_tokens;
    uint64_t left; /* bytes left of a binary body */
    uint64_t sequence;
    struct buf prefix, suffix, text;
    const struct typed *typed; /* which of the streams of typed.c */
    char *tool_name;
};

struct stream *stream_new(const struct directive *dir, bool (*next)(struct stream *, struct buf *));
void stream_free(struct stream *s);

/* The text of token number i, JSON-safe, written with a leading space when i > 0. */
void stream_put_token(struct stream *s, uint64_t i, struct buf *out);
void stream_put_words(uint64_t tokens, struct buf *out);

/* A binary body of the given size in a fixed pattern: byte i is i % 251. */
struct stream *stream_new_binary(const struct directive *dir, uint64_t size);

#endif
