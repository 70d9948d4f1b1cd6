/*
 * PRICES: a JSON object from a model's name, or the beginning of one with a * behind it, to an object of prices.
 *
 * Names have only characters that neither JSON nor the .env parser takes for its own.
 */
#include "option_json.h"

#include <ctype.h>
#include <stdlib.h>

/* One of the prices of a model. */
struct option_price {
    const char *name;
    int64_t *field;
};

enum { OPTION_PRICE_UNSAID = -1, OPTION_PRICE_MEMBERS = 3 };

/* What is wrong with a name, as a phrase; NULL for nothing. */
static const char *option_check_model(struct slice model)
{
    if (model.len > CONFIG_PRICE_MODEL_MAX)
        return "is longer than 128 bytes";
    for (size_t i = 0; i < model.len; i++) {
        if (model.ptr[i] == '*')
            return "has a * that is not at its end";
        if (!isalnum((unsigned char)model.ptr[i]) && !strchr("-_.:/@+", model.ptr[i]))
            return "has another character than letters, digits and - _ . : / @ +";
    }
    return NULL;
}

/* In millionths. What a double cannot say of six decimals is far smaller than the seventh. */
static const char *option_read_price(const json_t *json, int64_t *out)
{
    double units = json_number_value(json) * (double)CONFIG_PRICE_UNITS;
    if (!json_is_number(json))
        return "is not a number";
    if (!(units >= 0) || units > (double)CONFIG_PRICE_MAX)
        return "is not from 0 to 100000";
    *out = (int64_t)(units + 0.5);
    double rest = units - (double)*out;
    return rest > 0.01 || rest < -0.01 ? "has more than six decimals" : NULL;
}

static bool option_read_price_member(const struct option_value *v, const char *model, const struct option_price *members,
                                     const char *name, const json_t *json)
{
    size_t i = 0;
    while (i < OPTION_PRICE_MEMBERS && strcmp(members[i].name, name) != 0)
        i++;
    if (i == OPTION_PRICE_MEMBERS)
        return option_reject(v, "the prices of \"%s\" have an unknown member", model);
    const char *wrong = option_read_price(json, members[i].field);
    return !wrong || option_reject(v, "the %s of \"%s\" %s", name, model, wrong);
}

static bool option_read_price_object(const struct option_value *v, const char *model, json_t *json,
                                     struct config_price *out)
{
    const struct option_price members[OPTION_PRICE_MEMBERS] = {
        {"input", &out->input}, {"output", &out->output}, {"cached_input", &out->cached_input}};
    const char *name;
    json_t *member;
    bool ok = true;
    json_object_foreach(json, name, member)
    {
        if (!option_read_price_member(v, model, members, name, member))
            ok = false;
    }
    for (size_t i = 0; i < 2; i++)
        if (!json_object_get(json, members[i].name))
            ok = option_reject(v, "the prices of \"%s\" have no \"%s\"", model, members[i].name);
    if (out->cached_input == OPTION_PRICE_UNSAID)
        out->cached_input = out->input;
    return ok;
}

static bool option_read_model(const struct option_value *v, size_t place, const char *name, json_t *json,
                              struct config_price *out)
{
    size_t len = strlen(name);
    struct slice model = slice_make(name, len > 0 && name[len - 1] == '*' ? len - 1 : len);
    const char *wrong = len > 0 ? option_check_model(model) : "is empty";
    if (wrong)
        return option_reject(v, "the name of model %zu %s", place, wrong);
    if (!json_is_object(json))
        return option_reject(v, "the value of \"%s\" is not an object", name);
    *out = (struct config_price){arena_copy(&v->config->memory, model), OPTION_PRICE_UNSAID, OPTION_PRICE_UNSAID,
                                 OPTION_PRICE_UNSAID};
    return out->model ? option_read_price_object(v, name, json, out) : option_reject_memory(v);
}

static int option_compare_prices(const void *a, const void *b)
{
    return strcmp(((const struct config_price *)a)->model, ((const struct config_price *)b)->model);
}

static bool option_is_pattern(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && name[len - 1] == '*';
}

static size_t option_count_whole(json_t *json)
{
    const char *name;
    json_t *value;
    size_t whole = 0;
    json_object_foreach(json, name, value)
        whole += !option_is_pattern(name);
    return whole;
}

static bool option_read_prices(const struct option_value *v, json_t *json, struct config_prices *field)
{
    size_t count = json_object_size(json), whole = option_count_whole(json), place = 0, places[2] = {0, whole};
    if (count > CONFIG_PRICES_MAX)
        return option_reject(v, "there are %zu models", count);
    struct config_price *items = arena_alloc(&v->config->memory, count * sizeof *items);
    if (!items)
        return option_reject_memory(v);
    const char *name;
    json_t *value;
    bool ok = true;
    json_object_foreach(json, name, value)
    {
        if (!option_read_model(v, ++place, name, value, &items[places[option_is_pattern(name)]++]))
            ok = false;
    }
    if (!ok)
        return false;
    qsort(items, whole, sizeof *items, option_compare_prices);
    qsort(items + whole, count - whole, sizeof *items, option_compare_prices);
    *field = (struct config_prices){count, whole, count > 0 ? items : NULL};
    return true;
}

bool option_set_prices(const struct option_value *v, struct config_prices *field)
{
    json_t *json = option_load_object(v);
    bool ok = json && option_read_prices(v, json, field);
    json_decref(json);
    return ok;
}
