/*
 * CGI variables to a request: every field lies within its variable, what is accepted holds no control
 * character that could become a line, and a length is a number.
 */
#include "fuzz.h"

#include "sluice/http_request.h"

enum { VARIABLES_MAX = 100 };

static bool is_within(struct slice s, const char *from, size_t size)
{
    return s.len == 0 || slice_equals_text(s, "/") || (s.ptr >= from && s.ptr + s.len <= from + size);
}

static bool is_clean(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] >= 0 && s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7F)
            return false;
    return true;
}

static void check_accepted(const struct http_request *r)
{
    FUZZ_ASSERT(r->method.len > 0 && r->path.len > 0);
    FUZZ_ASSERT(!memchr(r->path.ptr, '?', r->path.len));
    FUZZ_ASSERT(r->content_length >= -1);
    FUZZ_ASSERT(r->header_bytes <= HTTP_HEADERS_MAX_BYTES);
    const struct slice fields[] = {r->method,        r->path,       r->query, r->content_type,
                                   r->authorization, r->request_id, r->origin};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        FUZZ_ASSERT(is_clean(fields[i]));
    for (const char *const *v = r->vars; *v; v++)
        FUZZ_ASSERT(strncmp(*v, "HTTP_", 5) != 0 || is_clean(slice_from_text(*v)));
}

/* The input is the variables, each ended by a NUL or a line's end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *vars[VARIABLES_MAX + 1];
    size_t count = 0;
    struct http_request r;
    char *text = malloc(size + 1);
    FUZZ_ASSERT(text);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    bool lines = size > 0 && !memchr(text, '\0', size);
    for (size_t i = 0; lines && i < size; i++)
        if (text[i] == '\n')
            text[i] = '\0';
    for (size_t at = 0; at <= size && count < VARIABLES_MAX; at += strlen(text + at) + 1)
        vars[count++] = text + at;
    vars[count] = NULL;
    enum http_request_result result = http_request_parse(vars, &r);
    const struct slice fields[] = {r.method,       r.path,          r.query,
                                   r.content_type, r.authorization, r.request_id,
                                   r.origin,       r.remote_addr,   http_request_bearer(&r)};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        FUZZ_ASSERT(is_within(fields[i], text, size));
    struct slice bearer = http_request_bearer(&r);
    FUZZ_ASSERT(bearer.len == 0 || slice_equals(bearer, slice_trim(bearer)));
    if (result == HTTP_REQUEST_OK)
        check_accepted(&r);
    free(text);
    return 0;
}
