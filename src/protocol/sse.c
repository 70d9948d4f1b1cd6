/*
 * Cutting a stream into events.
 *
 * An event ends with a blank line; a line ends with LF, CRLF or CR. A CR at the end of what has arrived is not
 * yet known to be alone, so that the LF which may follow is waited for. Bytes that were looked at once are not
 * looked at again: an event in many small pieces costs no more than one in a single piece.
 */
#include "sluice/sse.h"

#include "sluice/eight.h"

#include <sys/param.h>

void sse_init(struct sse_parser *p, size_t max_event)
{
    *p = (struct sse_parser){.max_event = max_event};
    buf_init(&p->held, max_event + 1); /* a CR at the cap may wait for what follows it */
    buf_init(&p->joined, max_event);
}

void sse_free(struct sse_parser *p)
{
    buf_free(&p->held);
    buf_free(&p->joined);
}

/* The first CR or LF from there on, or the end. Both are looked for at once: a search for LF first would go over a text
 * whose lines end with CR again and again. */
static size_t sse_line_end(struct slice s, size_t from)
{
    size_t i = from;
    while (i + 8 <= s.len) {
        uint64_t v = eight_load(s.ptr + i);
        size_t n = eight_before(eight_equal(v, '\n') | eight_equal(v, '\r'));
        i += n;
        if (n < 8)
            return i;
    }
    while (i < s.len && s.ptr[i] != '\n' && s.ptr[i] != '\r')
        i++;
    return i;
}

/* Where the line that begins before from ends: length with terminator, 0 where its end has not come. *text_len is
 * the length without terminator; *from is moved to what need not be looked at again. */
static size_t sse_line_length(struct slice s, size_t *from, size_t *text_len)
{
    size_t end = sse_line_end(s, *from);
    *from = end;
    if (end == s.len || (s.ptr[end] == '\r' && end + 1 == s.len))
        return 0;
    *text_len = end;
    return s.ptr[end] == '\r' && s.ptr[end + 1] == '\n' ? end + 2 : end + 1;
}

/* The field's value when the line is of this field: one blank after the colon does not count. */
static bool sse_field(struct slice line, struct slice name, struct slice *value)
{
    if (!slice_starts_with(line, name))
        return false;
    struct slice rest = slice_skip(line, name.len);
    if (rest.len == 0) {
        *value = (struct slice){"", 0};
        return true;
    }
    if (rest.ptr[0] != ':')
        return false;
    rest = slice_skip(rest, 1);
    *value = rest.len > 0 && rest.ptr[0] == ' ' ? slice_skip(rest, 1) : rest;
    return true;
}

static bool sse_add_data(struct sse_parser *p, struct sse_event *event, struct slice value)
{
    if (!event->has_data) {
        event->has_data = true;
        event->data = value;
        return true;
    }
    if (p->joined.len == 0 && !buf_append_slice(&p->joined, event->data))
        return false;
    if (!buf_append_char(&p->joined, '\n') || !buf_append_slice(&p->joined, value))
        return false;
    event->data = buf_slice(&p->joined);
    return true;
}

/* Fills in the fields of a whole event. */
static bool sse_read_fields(struct sse_parser *p, struct sse_event *event)
{
    struct slice rest = event->raw, value;
    size_t text_len = 0;
    buf_clear(&p->joined);
    while (rest.len > 0) {
        size_t from = 0;
        size_t line_len = sse_line_length(rest, &from, &text_len);
        struct slice line = line_len ? slice_take(rest, text_len) : rest;
        if (sse_field(line, SLICE_LITERAL("data"), &value)) {
            if (!sse_add_data(p, event, value))
                return false;
        } else if (sse_field(line, SLICE_LITERAL("event"), &value)) {
            event->type = value;
        }
        rest = slice_skip(rest, line_len ? line_len : rest.len);
    }
    return true;
}

/* How far the search for an event's end has come. */
struct sse_position {
    size_t line;    /* start of the first line without an end */
    size_t scanned; /* first byte not looked at, counted from line */
};

/* Length of the event at the front of bytes, blank line included; 0: its end has not come. */
static size_t sse_event_length(struct slice bytes, struct sse_position *at)
{
    size_t text_len = 0;
    for (;;) {
        size_t n = sse_line_length(slice_skip(bytes, at->line), &at->scanned, &text_len);
        if (n == 0)
            return 0;
        at->line += n;
        at->scanned = 0;
        if (text_len == 0)
            return at->line;
    }
}

static bool sse_emit(struct sse_parser *p, struct slice raw, sse_event_fn fn, void *ctx)
{
    struct sse_event event = {.raw = raw};
    return raw.len <= p->max_event && sse_read_fields(p, &event) && fn(ctx, &event);
}

/* Events that lie whole in the given bytes, without a copy. Gives what is left. */
static struct slice sse_emit_whole(struct sse_parser *p, struct slice bytes, sse_event_fn fn, void *ctx)
{
    while (bytes.len > 0) {
        struct sse_position at = {0, 0};
        size_t n = sse_event_length(bytes, &at);
        p->line = at.line;
        p->scanned = at.scanned;
        if (n == 0)
            break;
        if (!sse_emit(p, slice_take(bytes, n), fn, ctx)) {
            p->failed = true;
            break;
        }
        bytes = slice_skip(bytes, n);
    }
    return bytes;
}

/* Adds bytes to a held beginning; gives those that are not part of the event that this ends. */
static struct slice sse_finish_held(struct sse_parser *p, struct slice bytes, sse_event_fn fn, void *ctx)
{
    size_t before = p->held.len;
    size_t take = MIN(bytes.len, buf_room(&p->held));
    struct sse_position at = {p->line, p->scanned};
    if (take == 0 || !buf_append(&p->held, bytes.ptr, take)) {
        p->failed = true;
        return bytes;
    }
    size_t n = sse_event_length(buf_slice(&p->held), &at);
    p->line = at.line;
    p->scanned = at.scanned;
    if (n == 0)
        return slice_skip(bytes, take);
    if (!sse_emit(p, slice_take(buf_slice(&p->held), n), fn, ctx))
        p->failed = true;
    /* The event ends at or behind what was held before: at it where a CR was waiting for its LF. */
    buf_consume(&p->held, p->held.len);
    return slice_skip(bytes, n - before);
}

bool sse_feed(struct sse_parser *p, struct slice bytes, sse_event_fn fn, void *ctx)
{
    while (bytes.len > 0 && !p->failed) {
        if (p->held.len > 0) {
            bytes = sse_finish_held(p, bytes, fn, ctx);
            continue;
        }
        bytes = sse_emit_whole(p, bytes, fn, ctx);
        if (p->failed)
            break;
        if (bytes.len > 0 && !buf_append_slice(&p->held, bytes))
            p->failed = true;
        break;
    }
    return !p->failed;
}

bool sse_end(struct sse_parser *p, sse_event_fn fn, void *ctx)
{
    struct slice held = buf_slice(&p->held);
    bool blank_line = held.len == p->line + 1 && held.ptr[p->line] == '\r';
    if (p->failed || !blank_line)
        return !p->failed;
    p->failed = !sse_emit(p, held, fn, ctx);
    buf_consume(&p->held, held.len);
    return !p->failed;
}
