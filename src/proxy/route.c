/*
 * Where a request goes, by the path as the client sent it.
 *
 * Served are BASE_PATH/v1/… and what is about Sluice itself: /health, /metrics and /status, with the prefix and without
 * it, for a monitor that asks the machine itself. A path with "." or ".." segments is never passed on, however they and
 * the slashes around them are written: what an upstream would make of it is not ours to guess.
 */
#include "exchange.h"

/* Without the prefix; a path that does not have it stays as it is, with *matched false. */
static struct slice route_strip(struct slice path, struct slice prefix, bool *matched)
{
    struct slice rest = slice_skip(path, prefix.len);
    *matched = slice_starts_with(path, prefix) && (rest.len == 0 || rest.ptr[0] == '/');
    return *matched ? rest : path;
}

/* A segment that is "." or "..", its dots written plainly or as %2e; parameters behind a semicolon do not count. */
static bool route_is_dot_segment(struct slice segment)
{
    size_t dots = 0;
    while (segment.len > 0) {
        if (segment.ptr[0] == '.')
            segment = slice_skip(segment, 1);
        else if (slice_starts_with_nocase(segment, SLICE_LITERAL("%2e")))
            segment = slice_skip(segment, 3);
        else if (segment.ptr[0] == ';')
            break;
        else
            return false;
        dots++;
    }
    return dots == 1 || dots == 2;
}

/* How many bytes at the front some reader takes for the end of a segment; 0: none. */
static size_t route_separator(struct slice path)
{
    if (path.ptr[0] == '/' || path.ptr[0] == '\\')
        return 1;
    bool encoded = path.ptr[0] == '%' && (slice_starts_with_nocase(path, SLICE_LITERAL("%2f")) ||
                                          slice_starts_with_nocase(path, SLICE_LITERAL("%5c")));
    return encoded ? 3 : 0;
}

static bool route_has_dot_segments(struct slice path)
{
    size_t begin = 0, i = 0;
    while (i < path.len) {
        size_t skip = route_separator(slice_skip(path, i));
        if (skip > 0 && route_is_dot_segment(slice_take(slice_skip(path, begin), i - begin)))
            return true;
        i += skip > 0 ? skip : 1;
        begin = skip > 0 ? i : begin;
    }
    return route_is_dot_segment(slice_skip(path, begin));
}

static void route_refuse(struct exchange *x, enum openai_error_id id)
{
    struct openai_error error = {.id = id, .args = {x->http.method, x->http.path}};
    answer_error(x, EXCHANGE_REFUSED, &error);
}

bool route_is_read(struct exchange *x)
{
    if (slice_equals_text(x->http.method, "GET") || slice_equals_text(x->http.method, "HEAD"))
        return true;
    route_refuse(x, OPENAI_ERROR_WRONG_METHOD);
    return false;
}

bool route_own(struct exchange *x)
{
    bool ignored;
    struct slice path = route_strip(x->http.path, slice_from_text(x->proxy->config->base_path), &ignored);
    return health_answer(x, path) || metrics_answer(x, path) || status_answer(x, path);
}

/* An upstream that serves them would show what it was sent, with its key, or connect to somebody else. */
static bool route_method_is_closed(struct slice method)
{
    return slice_equals_nocase(method, SLICE_LITERAL("TRACE")) || slice_equals_nocase(method, SLICE_LITERAL("TRACK")) ||
           slice_equals_nocase(method, SLICE_LITERAL("DEBUG")) || slice_equals_nocase(method, SLICE_LITERAL("CONNECT"));
}

/* What is never passed on, whoever asks. */
static bool route_is_closed(struct exchange *x)
{
    if (route_method_is_closed(x->http.method)) {
        route_refuse(x, OPENAI_ERROR_WRONG_METHOD);
        return true;
    }
    struct slice upgrade = http_request_variable(&x->http, "HTTP_UPGRADE");
    bool websocket = slice_equals_text(x->http.method, "GET") &&
                     (endpoint_is_websocket(x->api_path) || slice_equals_nocase(upgrade, SLICE_LITERAL("websocket")));
    if (websocket)
        route_refuse(x, OPENAI_ERROR_WEBSOCKET);
    else if (endpoint_is_admin(x->api_path) && !x->proxy->config->allow_admin_api)
        route_refuse(x, OPENAI_ERROR_ADMIN);
    return x->answered;
}

static void route_refuse_unknown(struct exchange *x)
{
    x->record.place = "unknown";
    route_refuse(x, OPENAI_ERROR_UNKNOWN_URL);
}

void route_request(struct exchange *x)
{
    bool in_base, in_api;
    struct slice path = route_strip(x->http.path, slice_from_text(x->proxy->config->base_path), &in_base);
    if (route_own(x))
        return;
    x->api_path = route_strip(path, SLICE_LITERAL("/v1"), &in_api);
    if (!in_base || !in_api || x->api_path.len < 2 || route_has_dot_segments(x->api_path))
        route_refuse_unknown(x);
    else if (!cors_handle(x) && !route_is_closed(x))
        authenticate_request(x);
}
