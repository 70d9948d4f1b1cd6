#include "reply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char content_name[] = "\"content\":\"";

void reply_start(struct reply *r, bool events_wanted)
{
    r->state = REPLY_STATUS;
    r->status = 0;
    r->chunked = r->close = r->broken = r->done_event = false;
    r->length = -1;
    r->left = r->body_bytes = r->events = 0;
    r->line.len = r->event.len = 0;
    r->events_wanted = events_wanted;
}

/* Adds bytes up to a line's end to the line. True where the end came; the text then ends in a NUL. */
static bool reply_take_line(struct reply_line *line, const char **bytes, const char *end)
{
    const char *lf = memchr(*bytes, '\n', (size_t)(end - *bytes));
    size_t n = (size_t)((lf ? lf : end) - *bytes), room = REPLY_LINE_MAX - 1 - line->len;
    memcpy(line->text + line->len, *bytes, n < room ? n : room);
    line->len += n < room ? n : room;
    *bytes = lf ? lf + 1 : end;
    if (!lf)
        return false;
    if (line->len > 0 && line->text[line->len - 1] == '\r')
        line->len--;
    line->text[line->len] = '\0';
    return true;
}

/* ---- the body
 * ----------------------------------------------------------------------------------------------- */

static void reply_look_at_event(struct reply *r, const struct reply_watch *watch)
{
    if (strncmp(r->event.text, "data: ", 6) != 0)
        return;
    if (strcmp(r->event.text + 6, "[DONE]") == 0) {
        r->done_event = true;
        return;
    }
    r->events++;
    const char *content = strstr(r->event.text, content_name);
    if (content && content[sizeof content_name - 1] != '"')
        watch->stamp(watch->arg, strtoll(content + sizeof content_name - 1, NULL, 10));
}

static void reply_take_body(struct reply *r, const char *bytes, size_t len, const struct reply_watch *watch)
{
    const char *end = bytes + len;
    r->body_bytes += len;
    while (r->events_wanted && bytes < end) {
        if (!reply_take_line(&r->event, &bytes, end))
            return;
        reply_look_at_event(r, watch);
        r->event.len = 0;
    }
}

static const char *reply_take_piece(struct reply *r, const char *bytes, const char *end,
                                    const struct reply_watch *watch)
{
    size_t n = (size_t)(end - bytes);
    if (r->state != REPLY_TO_CLOSE && n > r->left)
        n = r->left;
    reply_take_body(r, bytes, n, watch);
    if (r->state == REPLY_TO_CLOSE)
        return bytes + n;
    r->left -= n;
    if (r->left == 0)
        r->state = r->state == REPLY_CHUNK ? REPLY_CHUNK_END : REPLY_DONE;
    return bytes + n;
}

/* ---- the head and the framing
 * ------------------------------------------------------------------------------- */

static void reply_begin_body(struct reply *r)
{
    if (r->chunked) {
        r->state = REPLY_CHUNK_SIZE;
    } else if (r->length > 0) {
        r->state = REPLY_BODY;
        r->left = (uint64_t)r->length;
    } else {
        r->state = r->length == 0 ? REPLY_DONE : REPLY_TO_CLOSE;
    }
}

static void reply_take_header(struct reply *r)
{
    char *colon = strchr(r->line.text, ':');
    if (r->line.len == 0) {
        reply_begin_body(r);
        return;
    }
    if (!colon) {
        r->broken = true;
        return;
    }
    const char *value = colon + 1 + strspn(colon + 1, " ");
    *colon = '\0';
    if (strcasecmp(r->line.text, "content-length") == 0)
        r->length = strtoll(value, NULL, 10);
    else if (strcasecmp(r->line.text, "transfer-encoding") == 0)
        r->chunked = strcasecmp(value, "chunked") == 0;
    else if (strcasecmp(r->line.text, "connection") == 0)
        r->close = strcasecmp(value, "close") == 0;
}

static void reply_take_status(struct reply *r)
{
    r->broken = strncmp(r->line.text, "HTTP/1.1 ", 9) != 0;
    r->status = r->broken ? 0 : atoi(r->line.text + 9);
    r->state = REPLY_HEADER;
}

static void reply_take_chunk_size(struct reply *r)
{
    char *end;
    r->left = strtoull(r->line.text, &end, 16);
    r->broken = end == r->line.text;
    r->state = r->left > 0 ? REPLY_CHUNK : REPLY_TRAILER;
}

static void reply_use_line(struct reply *r)
{
    switch (r->state) {
    case REPLY_STATUS:
        reply_take_status(r);
        break;
    case REPLY_HEADER:
        reply_take_header(r);
        break;
    case REPLY_CHUNK_SIZE:
        reply_take_chunk_size(r);
        break;
    case REPLY_CHUNK_END:
        r->broken = r->line.len != 0;
        r->state = REPLY_CHUNK_SIZE;
        break;
    default:
        if (r->line.len == 0)
            r->state = REPLY_DONE;
        break;
    }
    r->line.len = 0;
}

size_t reply_feed(struct reply *r, const char *bytes, size_t len, const struct reply_watch *watch)
{
    const char *at = bytes, *end = bytes + len;
    while (at < end && r->state != REPLY_DONE && !r->broken) {
        if (r->state == REPLY_BODY || r->state == REPLY_CHUNK || r->state == REPLY_TO_CLOSE)
            at = reply_take_piece(r, at, end, watch);
        else if (reply_take_line(&r->line, &at, end))
            reply_use_line(r);
    }
    return (size_t)(at - bytes);
}

bool reply_end(struct reply *r)
{
    if (r->state == REPLY_TO_CLOSE)
        r->state = REPLY_DONE;
    r->close = true;
    return r->state == REPLY_DONE;
}
