/*
 * What a request has cost, by the prices of the configuration.
 *
 * The upstream's own count is priced, or, of a stream that ended before it came, what was delivered: the upstream charges
 * for that too. What has no tokens (speech by the second) or names no model has no cost here. An answer from the cache, or of
 * another's request, costs nothing.
 */
#include "exchange.h"

#include "sluice/price.h"

/* False: nothing was used, or nobody knows how much. */
static bool cost_usage(const struct exchange *x, struct usage *out)
{
    *out = x->usage;
    if (!x->usage.known && x->usage_source == EXCHANGE_USAGE_DELTAS && x->delivered_tokens > 0)
        *out = (struct usage){.input_tokens = x->estimated_input, .output_tokens = (int64_t)x->delivered_tokens};
    return out->input_tokens > 0 || out->output_tokens > 0;
}

static bool cost_is_free(const struct exchange *x)
{
    return x->cache_result == EXCHANGE_CACHE_HIT || x->cache_result == EXCHANGE_CACHE_COALESCED;
}

void cost_settle(struct exchange *x)
{
    const struct config_prices *prices = &x->proxy->config->prices;
    struct usage usage = {0};
    bool served = x->attempts > 0 && x->upstream_status >= 200 && x->upstream_status < 300;
    if (prices->count == 0 || !x->key || !x->fields.model[0])
        return;
    if (!cost_is_free(x) && !(served && cost_usage(x, &usage)))
        return;
    const struct config_price *price = price_find(prices, slice_from_text(x->fields.model));
    if (price)
        x->cost = (struct cost){EXCHANGE_COST_KNOWN, price_cost(price, &usage)};
    else if (!cost_is_free(x))
        x->cost.state = EXCHANGE_COST_UNPRICED;
}
