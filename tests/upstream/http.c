#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool request_line_parse(struct request *r, struct slice line)
{
    const char *a = memchr(line.p, ' ', line.n);
    const char *b = memrchr(line.p, ' ', line.n);
    if (!a || a == b) {
        return false;
    }
    r->method = (struct slice){line.p, (size_t)(a - line.p)};
    r->target = (struct slice){a + 1, (size_t)(b - a - 1)};
    struct slice version = {b + 1, (size_t)(line.p + line.n - b - 1)};
    if (!slice_starts(version, "HTTP/1.") || version.n != 8 || !r->target.n) {
        return false;
    }
    r->http11 = version.p[7] != '0';
    r->keep_alive = r->http11;
    const char *mark = memchr(r->target.p, '?', r->target.n);
    r->path = (struct slice){r->target.p, mark ? (size_t)(mark - r->target.p) : r->target.n};
    if (mark) {
        r->query = (struct slice){mark + 1, r->target.n - r->path.n - 1};
    }
    return true;
}

static void header_apply(struct request *r, struct slice name, struct slice value)
{
    if (slice_equals_nocase(name, "content-length")) {
        r->content_length = strtoull(value.p, NULL, 10);
        r->has_length = true;
    } else if (slice_equals_nocase(name, "transfer-encoding")) {
        r->chunked = memmem(value.p, value.n, "chunked", 7) != NULL;
    } else if (slice_equals_nocase(name, "content-type")) {
        r->content_type = value;
    } else if (slice_equals_nocase(name, "authorization")) {
        r->authorization = value;
    } else if (slice_equals_nocase(name, "expect")) {
        r->expect = slice_equals_nocase(value, "100-continue");
    } else if (slice_equals_nocase(name, "connection")) {
        r->keep_alive =
            r->http11 ? !slice_equals_nocase(value, "close") : slice_equals_nocase(value, "keep-alive");
    }
}

static struct slice line_at(const struct request *r, size_t at)
{
    const char *p = r->head.data + at;
    const char *end = memchr(p, '\n', r->head.len - at);
    return (struct slice){p, end ? (size_t)(end - p) : r->head.len - at};
}

bool http_header_next(const struct request *r, size_t *cursor, struct slice *name, struct slice *value)
{
    if (*cursor == 0) {
        *cursor = line_at(r, 0).n + 1;
    }
    if (*cursor >= r->head.len) {
        return false;
    }
    struct slice line = line_at(r, *cursor);
    *cursor += line.n + 1;
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon) {
        return false;
    }
    *name = (struct slice){line.p, (size_t)(colon - line.p)};
    *value = slice_trim((struct slice){colon + 1, line.n - name->n - 1});
    return true;
}

struct request *http_request_new(const char *head, size_t len)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r) {
        abort();
    }
    r->refs = 1;
    r->arrived_us = clock_now_us();
    buf_add(&r->head, head, len);
    if (!request_line_parse(r, slice_trim(line_at(r, 0)))) {
        http_request_unref(r);
        return NULL;
    }
    size_t cursor = 0;
    struct slice name, value;
    while (http_header_next(r, &cursor, &name, &value)) {
        header_apply(r, name, value);
    }
    return r;
}

void http_request_unref(struct request *r)
{
    if (r && --r->refs == 0) {
        buf_free(&r->head);
        buf_free(&r->body);
        free(r);
    }
}

bool http_query_get(const struct request *r, const char *name, struct buf *out)
{
    struct slice rest = r->query;
    size_t name_len = strlen(name);
    while (rest.n) {
        const char *amp = memchr(rest.p, '&', rest.n);
        size_t n = amp ? (size_t)(amp - rest.p) : rest.n;
        if (n > name_len && rest.p[name_len] == '=' && memcmp(rest.p, name, name_len) == 0) {
            text_url_decode(out, (struct slice){rest.p + name_len + 1, n - name_len - 1});
            return true;
        }
        n += amp ? 1 : 0;
        rest.p += n;
        rest.n -= n;
    }
    return false;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } names[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Payload Too Large"},
        {422, "Unprocessable Entity"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].status == status) {
            return names[i].text;
        }
    }
    return "Status";
}
