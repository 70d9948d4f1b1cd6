/* The head of an answer. */
#include "sluice/http_response.h"

#include "sluice/http_text.h"

struct http_reason {
    int status;
    const char *text;
};

static const struct http_reason http_reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {529, "Site is overloaded"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < sizeof http_reasons / sizeof *http_reasons; i++)
        if (http_reasons[i].status == status)
            return http_reasons[i].text;
    return "Status";
}

bool http_response_begin(struct buf *b, int status)
{
    return buf_append_text(b, "Status: ") && buf_append_int(b, status) && buf_append_char(b, ' ') &&
           buf_append_text(b, http_status_text(status)) && buf_append_text(b, "\r\n");
}

static char *http_put(char *to, struct slice text)
{
    if (text.len > 0)
        memcpy(to, text.ptr, text.len);
    return to + text.len;
}

bool http_response_header(struct buf *b, struct slice name, struct slice value)
{
    if (!http_text_is_clean(value) || !http_text_is_clean(name))
        return true;
    char *to = buf_reserve(b, name.len + value.len + 4);
    if (!to)
        return false;
    http_put(http_put(http_put(http_put(to, name), SLICE_LITERAL(": ")), value), SLICE_LITERAL("\r\n"));
    buf_commit(b, name.len + value.len + 4);
    return true;
}

bool http_response_end(struct buf *b)
{
    return buf_append_text(b, "\r\n");
}

#define HTTP_PASSED(name, more) {{name, sizeof(name) - 1}, more}

/* One whose `more` is set stands for all that begin so. */
static const struct http_passed {
    struct slice name;
    bool more;
} http_passed[] = {
    HTTP_PASSED("content-type", false),     HTTP_PASSED("content-disposition", false), HTTP_PASSED("content-encoding", false),
    HTTP_PASSED("content-language", false), HTTP_PASSED("content-range", false),       HTTP_PASSED("accept-ranges", false),
    HTTP_PASSED("cache-control", false),    HTTP_PASSED("etag", false),                HTTP_PASSED("last-modified", false),
    HTTP_PASSED("location", false),         HTTP_PASSED("x-request-id", false),        HTTP_PASSED("x-should-retry", false),
    HTTP_PASSED("openai-", true),           HTTP_PASSED("x-ratelimit-", true),         HTTP_PASSED("retry-after", true),
};

/* All begin with a letter: most others are told by it and by their length. */
static inline bool http_name_passes(struct slice name, const struct http_passed *p)
{
    bool fits = p->more ? name.len >= p->name.len : name.len == p->name.len;
    return fits && (name.ptr[0] | 0x20) == p->name.ptr[0] && strncasecmp(name.ptr, p->name.ptr, p->name.len) == 0;
}

bool http_response_passes(struct slice name)
{
    for (size_t i = 0; i < sizeof http_passed / sizeof *http_passed; i++)
        if (http_name_passes(name, &http_passed[i]))
            return true;
    return false;
}
