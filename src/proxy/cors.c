/*
 * Cross-origin requests of browsers (WHATWG Fetch, 3.2): off unless origins are allowed.
 *
 * A preflight comes without a key and is answered here. The key itself is what protects the API, and it is no
 * cookie: credentials in the sense of that standard are never allowed.
 */
#include "exchange.h"

#include "sluice/http_response.h"

static bool cors_allows(const struct config_list *origins, struct slice origin)
{
    for (size_t i = 0; i < origins->count; i++)
        if (slice_equals_text(origin, origins->items[i]) || strcmp(origins->items[i], "*") == 0)
            return true;
    return false;
}

bool cors_put_headers(const struct exchange *x, struct buf *head)
{
    return !x->cors_origin ||
           (http_response_header(head, SLICE_LITERAL("Access-Control-Allow-Origin"), slice_from_text(x->cors_origin)) &&
            http_response_header(head, SLICE_LITERAL("Access-Control-Expose-Headers"), SLICE_LITERAL("*")) &&
            http_response_header(head, SLICE_LITERAL("Vary"), SLICE_LITERAL("Origin")));
}

static void cors_answer_preflight(struct exchange *x)
{
    struct slice headers = http_request_variable(&x->http, "HTTP_ACCESS_CONTROL_REQUEST_HEADERS");
    answer_put_header(x, SLICE_LITERAL("Access-Control-Allow-Methods"),
                      SLICE_LITERAL("GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"));
    if (headers.len > 0)
        answer_put_header(x, SLICE_LITERAL("Access-Control-Allow-Headers"), headers);
    answer_put_header(x, SLICE_LITERAL("Access-Control-Max-Age"), SLICE_LITERAL("600"));
    if (answer_head(x, 204, -1))
        answer_complete(x, EXCHANGE_LOCAL);
}

bool cors_handle(struct exchange *x)
{
    struct slice origin = x->http.origin;
    if (origin.len == 0 || !cors_allows(&x->proxy->config->cors_allow_origins, origin))
        return false;
    x->cors_origin = arena_copy(&x->memory, origin);
    if (!slice_equals_text(x->http.method, "OPTIONS") ||
        http_request_variable(&x->http, "HTTP_ACCESS_CONTROL_REQUEST_METHOD").len == 0)
        return false;
    cors_answer_preflight(x);
    return true;
}
