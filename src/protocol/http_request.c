/* CGI variables to a request. */
#include "sluice/http_request.h"

#include "sluice/http_text.h"

static struct slice http_variable_value(const char *var, const char *name, size_t name_len)
{
    if (var[0] != name[0] || strncmp(var, name, name_len) != 0 || var[name_len] != '=')
        return (struct slice){NULL, 0};
    return slice_from_text(var + name_len + 1);
}

struct slice http_request_variable(const struct http_request *r, const char *name)
{
    size_t name_len = strlen(name);
    for (const char *const *v = r->vars; v && *v; v++) {
        struct slice value = http_variable_value(*v, name, name_len);
        if (value.ptr)
            return value;
    }
    return (struct slice){NULL, 0};
}

/* A variable that comes again. One that the web server makes may be in its configuration twice, by an included file and
 * beside it: that is no harm where both say the same. For REQUEST_URI it is how nginx's users overrule what was included. */
enum http_again { HTTP_AGAIN_LAST, HTTP_AGAIN_SAME, HTTP_AGAIN_NEVER };

/* Where each wanted variable goes. */
struct http_wanted {
    const char *name;
    size_t name_len;
    size_t offset;
    enum http_again again;
};

#define HTTP_WANTED(name, field, again) {name, sizeof(name) - 1, offsetof(struct http_request, field), HTTP_AGAIN_##again}

static const struct http_wanted http_wanted[] = {
    HTTP_WANTED("REQUEST_METHOD", method, SAME),
    HTTP_WANTED("REQUEST_URI", uri, LAST),
    HTTP_WANTED("CONTENT_TYPE", content_type, SAME),
    HTTP_WANTED("CONTENT_LENGTH", length, SAME),
    HTTP_WANTED("HTTP_AUTHORIZATION", authorization, NEVER),
    HTTP_WANTED("REMOTE_ADDR", remote_addr, SAME),
    HTTP_WANTED("HTTP_X_REQUEST_ID", request_id, LAST),
    HTTP_WANTED("HTTP_ORIGIN", origin, LAST),
};

static bool http_may_come_again(enum http_again again, struct slice before, struct slice now)
{
    return !before.ptr || again == HTTP_AGAIN_LAST || (again == HTTP_AGAIN_SAME && slice_equals(before, now));
}

/* False where it must not be repeated and is. */
static bool http_request_take(struct http_request *out, struct slice var)
{
    const char *equals = var.len > 0 ? memchr(var.ptr, '=', var.len) : NULL;
    size_t name_len = equals ? (size_t)(equals - var.ptr) : 0;
    for (size_t i = 0; i < sizeof http_wanted / sizeof *http_wanted; i++) {
        if (http_wanted[i].name_len != name_len || memcmp(var.ptr, http_wanted[i].name, name_len) != 0)
            continue;
        struct slice *field = (struct slice *)(void *)((char *)out + http_wanted[i].offset);
        struct slice before = *field;
        *field = slice_make(equals + 1, var.len - name_len - 1);
        return http_may_come_again(http_wanted[i].again, before, *field);
    }
    return true;
}

/* Whether a variable is text of the client's that may become a header line of ours or of the upstream request. */
static bool http_request_is_outside(struct slice var)
{
    return slice_starts_with(var, SLICE_LITERAL("CONTENT_")) || slice_starts_with(var, SLICE_LITERAL("REQUEST_"));
}

/* -1: not a number. Absent and empty are handled by the caller. */
static int64_t http_parse_length(struct slice text)
{
    int64_t n = 0;
    if (text.len == 0 || text.len > 18)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return -1;
        n = n * 10 + (text.ptr[i] - '0');
    }
    return n;
}

/* An absolute-form target (RFC 9112, 3.2.2) loses its scheme and authority. */
static struct slice http_origin_form(struct slice uri)
{
    if (uri.len == 0 || uri.ptr[0] == '/')
        return uri;
    const char *authority = memmem(uri.ptr, uri.len, "://", 3);
    if (!authority)
        return uri;
    struct slice rest = slice_skip(uri, (size_t)(authority - uri.ptr) + 3);
    const char *path = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
    return path ? slice_skip(rest, (size_t)(path - rest.ptr)) : SLICE_LITERAL("/");
}

static void http_request_split_uri(struct http_request *out, struct slice uri)
{
    uri = http_origin_form(uri);
    const char *mark = uri.len ? memchr(uri.ptr, '?', uri.len) : NULL;
    out->path = mark ? slice_take(uri, (size_t)(mark - uri.ptr)) : uri;
    out->query = mark ? slice_skip(uri, out->path.len + 1) : (struct slice){NULL, 0};
}

/* A blank would end it on the request line, and a number sign begins what no server is sent. */
static bool http_target_is_sound(struct slice uri)
{
    return uri.len > 0 && !memchr(uri.ptr, ' ', uri.len) && !memchr(uri.ptr, '\t', uri.len) &&
           !memchr(uri.ptr, '#', uri.len);
}

/* Letters, and the signs that methods are known to have: RFC 9110 (9.1) allows more. */
static bool http_method_is_sound(struct slice method)
{
    for (size_t i = 0; i < method.len; i++) {
        char c = method.ptr[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && c != '-' && c != '_')
            return false;
    }
    return method.len > 0;
}

enum http_request_result http_request_parse(const char *const *vars, struct http_request *out)
{
    *out = (struct http_request){.vars = vars, .content_length = -1};
    bool clean = true, single = true;
    for (const char *const *v = vars; *v; v++) {
        struct slice var = slice_from_text(*v);
        bool header = slice_starts_with(var, SLICE_LITERAL("HTTP_"));
        if (header)
            out->header_bytes += var.len;
        if (header || http_request_is_outside(var))
            clean = clean && http_text_is_clean(var);
        single = http_request_take(out, var) && single;
    }
    http_request_split_uri(out, out->uri);
    if (out->header_bytes > HTTP_HEADERS_MAX_BYTES)
        return HTTP_REQUEST_HEADERS_TOO_LARGE;
    if (!clean || !http_method_is_sound(out->method) || !http_target_is_sound(out->uri) || out->path.len == 0)
        return HTTP_REQUEST_BAD_VARIABLE;
    if (!single)
        return HTTP_REQUEST_REPEATED;
    if (out->length.len == 0)
        return HTTP_REQUEST_OK;
    out->content_length = http_parse_length(out->length);
    return out->content_length < 0 ? HTTP_REQUEST_BAD_LENGTH : HTTP_REQUEST_OK;
}

struct slice http_request_bearer(const struct http_request *r)
{
    static const struct slice scheme = {"Bearer ", 7};
    struct slice value = slice_trim(r->authorization);
    if (!slice_starts_with_nocase(value, scheme))
        return (struct slice){NULL, 0};
    return slice_trim(slice_skip(value, scheme.len));
}
