/*
 * Who may see the metrics and the status page: those whose address is allowed, and those with a token.
 *
 * The address is REMOTE_ADDR, as the web server says it. Where a request came through another proxy, that proxy's address
 * stands there and tells nothing of who asks: then only the token counts.
 */
#include "exchange.h"

#include "sluice/network.h"

/* An empty header counts, too: it may be the client's, who hides the proxy's own behind it. */
static bool access_came_through_a_proxy(const struct exchange *x)
{
    return http_request_variable(&x->http, "HTTP_X_FORWARDED_FOR").ptr ||
           http_request_variable(&x->http, "HTTP_FORWARDED").ptr || http_request_variable(&x->http, "HTTP_X_REAL_IP").ptr;
}

static bool access_by_address(const struct exchange *x)
{
    const struct config_list *allow = &x->proxy->config->metrics_allow;
    struct network network;
    for (size_t i = 0; i < allow->count; i++)
        if (network_parse(slice_from_text(allow->items[i]), &network) &&
            network_contains(&network, x->http.remote_addr))
            return !access_came_through_a_proxy(x);
    return false;
}

/* All digests are compared, each in constant time. */
static bool access_by_token(const struct exchange *x)
{
    const struct config_list *tokens = &x->proxy->config->metrics_tokens;
    struct slice token = http_request_bearer(&x->http);
    struct digest given, wanted;
    bool good = false;
    if (token.len == 0 || !digest_sha256(token, &given))
        return false;
    for (size_t i = 0; i < tokens->count; i++)
        if (digest_sha256(slice_from_text(tokens->items[i]), &wanted) && digest_equals(&given, &wanted))
            good = true;
    return good;
}

bool access_is_open(struct exchange *x)
{
    if (access_by_address(x) || access_by_token(x))
        return true;
    struct openai_error error = {.id = OPENAI_ERROR_METRICS, .args = {x->http.method, x->http.path}};
    answer_error(x, EXCHANGE_REFUSED, &error);
    return false;
}
