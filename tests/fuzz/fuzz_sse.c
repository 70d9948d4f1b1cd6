/*
 * Event streams: a stream in one piece and the same stream in pieces give the same events and the same
 * failures, the raw bytes of all events in a row are the stream, and each event's data is what a plain
 * reading of it gives.
 */
#include "fuzz.h"

#include "sluice/sse.h"

enum { PIECE_MAX = 64 };

struct seen {
    struct buf events; /* of each: lengths of type and data, type, data */
    struct buf raw;
    struct buf data; /* of the last event */
    size_t count, stop_after;
};

/* The data of an event by the book: line by line, with no state between. */
static void read_plainly(struct slice raw, struct buf *data, bool *has_data)
{
    size_t i = 0;
    *has_data = false;
    while (i < raw.len) {
        size_t end = i;
        while (end < raw.len && raw.ptr[end] != '\r' && raw.ptr[end] != '\n')
            end++;
        struct slice line = slice_make(raw.ptr + i, end - i);
        i = end + 1 + (end + 1 < raw.len && raw.ptr[end] == '\r' && raw.ptr[end + 1] == '\n');
        if (!slice_starts_with(line, SLICE_LITERAL("data")) || (line.len > 4 && line.ptr[4] != ':'))
            continue;
        line = slice_skip(line, 5);
        if (line.len > 0 && line.ptr[0] == ' ')
            line = slice_skip(line, 1);
        FUZZ_ASSERT(!*has_data || buf_append_char(data, '\n'));
        FUZZ_ASSERT(buf_append_slice(data, line));
        *has_data = true;
    }
}

static bool note(void *ctx, const struct sse_event *event)
{
    struct seen *s = ctx;
    bool has_data;
    buf_clear(&s->data);
    read_plainly(event->raw, &s->data, &has_data);
    FUZZ_ASSERT(has_data == event->has_data && slice_equals(buf_slice(&s->data), event->data));
    FUZZ_ASSERT(buf_append(&s->events, &event->type.len, sizeof event->type.len));
    FUZZ_ASSERT(buf_append(&s->events, &event->data.len, sizeof event->data.len));
    FUZZ_ASSERT(buf_append_slice(&s->events, event->type) && buf_append_slice(&s->events, event->data));
    FUZZ_ASSERT(buf_append_slice(&s->raw, event->raw));
    return ++s->count != s->stop_after;
}

static void free_seen(struct seen *s)
{
    buf_free(&s->events);
    buf_free(&s->raw);
    buf_free(&s->data);
}

/* Pieces are of 1 to max_piece bytes, as the seed says; 0: one piece. Each ends where its memory ends, so that a read
 * beyond it shows. */
static bool run(struct slice stream, size_t cap, size_t max_piece, size_t stop_after, struct seen *seen)
{
    struct sse_parser p;
    uint32_t random = (uint32_t)stream.len * 2654435761u + 1;
    *seen = (struct seen){.stop_after = stop_after};
    buf_init(&seen->events, SIZE_MAX / 2);
    buf_init(&seen->raw, SIZE_MAX / 2);
    buf_init(&seen->data, SIZE_MAX / 2);
    sse_init(&p, cap);
    bool ok = true;
    char *memory = malloc(PIECE_MAX);
    FUZZ_ASSERT(memory);
    for (struct slice rest = stream; ok && rest.len > 0;) {
        random = random * 1664525u + 1013904223u;
        struct slice piece = slice_take(rest, max_piece ? 1 + (random >> 8) % max_piece : rest.len);
        rest = slice_skip(rest, piece.len);
        if (max_piece)
            piece = slice_make(memcpy(memory + PIECE_MAX - piece.len, piece.ptr, piece.len), piece.len);
        ok = sse_feed(&p, piece, note, seen);
    }
    free(memory);
    FUZZ_ASSERT(sse_held(&p) <= cap + 1);
    ok = ok && sse_end(&p, note, seen);
    if (ok)
        FUZZ_ASSERT(seen->raw.len + sse_held(&p) == stream.len);
    FUZZ_ASSERT(slice_equals(buf_slice(&seen->raw), slice_take(stream, seen->raw.len)));
    sse_free(&p);
    return ok;
}

/* Two bytes of settings, then the stream. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t others[] = {2, 3, 5, 9, PIECE_MAX};
    struct seen whole, split;
    if (size < 2)
        return 0;
    struct slice stream = slice_make(data + 2, size - 2);
    size_t cap = data[0] < 128 ? (size_t)data[0] + 1 : 1 << 20, stop_after = data[1] / 32;
    const size_t pieces[] = {1, others[data[1] % (sizeof others / sizeof *others)]};
    bool whole_ok = run(stream, cap, 0, stop_after, &whole);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        bool ok = run(stream, cap, pieces[i], stop_after, &split);
        FUZZ_ASSERT(ok == whole_ok);
        FUZZ_ASSERT(slice_equals(buf_slice(&whole.events), buf_slice(&split.events)));
        FUZZ_ASSERT(slice_equals(buf_slice(&whole.raw), buf_slice(&split.raw)));
        free_seen(&split);
    }
    free_seen(&whole);
    return 0;
}
