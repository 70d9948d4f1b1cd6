#include "multipart.h"

#include <string.h>

static struct slice quoted_after(struct slice head, const char *mark)
{
    const char *at = memmem(head.p, head.n, mark, strlen(mark));
    if (!at) {
        return (struct slice){0};
    }
    at += strlen(mark);
    const char *end = memchr(at, '"', (size_t)(head.p + head.n - at));
    return end ? (struct slice){at, (size_t)(end - at)} : (struct slice){0};
}

/* The delimiter between parts, "\r\n--boundary", into out. */
static bool delimiter_put(const struct request *r, struct buf *out)
{
    struct slice type = r->content_type;
    const char *at = slice_starts(type, "multipart/") ? memmem(type.p, type.n, "boundary=", 9) : NULL;
    if (!at) {
        return false;
    }
    at += 9;
    size_t n = (size_t)(type.p + type.n - at);
    const char *semicolon = memchr(at, ';', n);
    n = semicolon ? (size_t)(semicolon - at) : n;
    if (n > 1 && at[0] == '"') {
        at++;
        n -= 2;
    }
    BUF_LIT(out, "\r\n--");
    buf_add(out, at, n);
    return true;
}

static bool part_read(struct slice body, const struct buf *delimiter, size_t *cursor,
                      struct multipart_part *part)
{
    const char *from = body.p + *cursor;
    size_t left = body.n - *cursor;
    const char *head_end = memmem(from, left, "\r\n\r\n", 4);
    if (!head_end) {
        return false;
    }
    struct slice head = {from, (size_t)(head_end - from)};
    const char *data = head_end + 4;
    /* An empty part's delimiter may begin with the line end that closes its head. */
    const char *end = memmem(head_end + 2, left - head.n - 2, delimiter->data, delimiter->len);
    if (!end) {
        return false;
    }
    part->name = quoted_after(head, " name=\"");
    part->filename = quoted_after(head, "filename=\"");
    part->data = (struct slice){data, end > data ? (size_t)(end - data) : 0};
    *cursor = (size_t)(end - body.p) + delimiter->len;
    return true;
}

bool multipart_next(const struct request *r, size_t *cursor, struct multipart_part *part)
{
    struct buf delimiter = {0};
    struct slice body = {r->body.data, r->body.len};
    bool found = body.n && delimiter_put(r, &delimiter);
    if (found && *cursor == 0) { /* the first delimiter has no line end before it */
        found = body.n >= delimiter.len && memcmp(body.p, delimiter.data + 2, delimiter.len - 2) == 0;
        *cursor = delimiter.len - 2;
    }
    found = found && part_read(body, &delimiter, cursor, part);
    buf_free(&delimiter);
    return found;
}

struct multipart_part multipart_file(const struct request *r)
{
    struct multipart_part part;
    size_t cursor = 0;
    while (multipart_next(r, &cursor, &part)) {
        if (part.filename.p) {
            return part;
        }
    }
    return (struct multipart_part){0};
}

struct slice multipart_field(const struct request *r, const char *name)
{
    struct multipart_part part;
    size_t cursor = 0;
    while (multipart_next(r, &cursor, &part)) {
        if (!part.filename.p && slice_equals(part.name, name)) {
            return part.data;
        }
    }
    return (struct slice){0};
}
