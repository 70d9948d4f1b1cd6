/*
 * Prices: found in a sorted table, multiplied by usage.
 *
 * The longest pattern is found without looking at all of them: of the names up to the model's in order, the last one
 * either begins the model, or shares a shorter beginning with it. No pattern that begins the model can then be longer
 * than what they share: the search goes on with that.
 */
#include "sluice/price.h"

enum { PRICE_UNITS_PER_NANO = 1000 };

static int price_compare(const struct config_price *p, struct slice model)
{
    struct slice name = slice_from_text(p->model);
    size_t len = name.len < model.len ? name.len : model.len;
    int order = len > 0 ? memcmp(name.ptr, model.ptr, len) : 0;
    return order != 0 ? order : (name.len > model.len) - (name.len < model.len);
}

/* The last of the sorted names that is not behind the model; NULL: all are. */
static const struct config_price *price_not_behind(const struct config_price *items, size_t count, struct slice model)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (price_compare(&items[middle], model) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &items[low - 1] : NULL;
}

static size_t price_shared(const struct config_price *p, struct slice model)
{
    size_t n = 0;
    while (n < model.len && p->model[n] == model.ptr[n] && p->model[n])
        n++;
    return n;
}

static const struct config_price *price_find_beginning(const struct config_price *items, size_t count,
                                                       struct slice model)
{
    for (;;) {
        const struct config_price *p = price_not_behind(items, count, model);
        size_t shared = p ? price_shared(p, model) : 0;
        if (!p || !p->model[shared])
            return p;
        model = slice_take(model, shared);
    }
}

const struct config_price *price_find(const struct config_prices *prices, struct slice model)
{
    if (prices->count == 0 || model.len == 0)
        return NULL;
    const struct config_price *p = price_not_behind(prices->items, prices->whole, model);
    if (p && price_compare(p, model) == 0)
        return p;
    return price_find_beginning(prices->items + prices->whole, prices->count - prices->whole, model);
}

static uint64_t price_add(uint64_t sum, int64_t tokens, int64_t price)
{
    uint64_t part;
    if (tokens <= 0)
        return sum;
    bool over = __builtin_mul_overflow((uint64_t)tokens, (uint64_t)price, &part) || __builtin_add_overflow(sum, part, &sum);
    return over ? UINT64_MAX : sum;
}

uint64_t price_cost(const struct config_price *price, const struct usage *usage)
{
    int64_t input = usage->input_tokens > 0 ? usage->input_tokens : 0, cached = usage->cached_tokens;
    cached = cached < 0 ? 0 : cached > input ? input : cached;
    uint64_t sum = price_add(0, input - cached, price->input);
    sum = price_add(sum, cached, price->cached_input);
    sum = price_add(sum, usage->output_tokens, price->output);
    return sum / PRICE_UNITS_PER_NANO + (sum % PRICE_UNITS_PER_NANO >= PRICE_UNITS_PER_NANO / 2);
}
