/*
 * RATE_LIMIT__OVERRIDES: a JSON object from client key to an object of limits.
 *
 * Of a client key only its digest is kept. Messages name it by its place.
 */
#include "option_json.h"
#include "option_keys.h"

enum { OPTION_OVERRIDE_UNSAID = -1 };

struct option_limit {
    const char *name;
    int64_t max;
    int64_t *field;
};

static bool option_set_limit(const struct option_value *v, size_t place, const struct option_limit *limit,
                             const json_t *json)
{
    json_int_t value = json_integer_value(json);
    if (json_is_integer(json) && value >= 0 && value <= limit->max) {
        *limit->field = value;
        return true;
    }
    return option_reject(v, "the %s of client key %zu is not a whole number from 0 to %lld", limit->name,
                         place, (long long)limit->max);
}

static bool option_read_override(const struct option_value *v, size_t place, json_t *json,
                                 struct config_override *out)
{
    const struct option_limit limits[] = {
        {"requests_per_minute", CONFIG_LIMIT_MAX, &out->requests_per_minute},
        {"tokens_per_minute", CONFIG_LIMIT_MAX, &out->tokens_per_minute},
        {"concurrent_requests", CONFIG_CONCURRENT_MAX, &out->concurrent_requests},
    };
    const char *name;
    json_t *member;
    bool ok = true;
    json_object_foreach(json, name, member)
    {
        size_t i = 0;
        while (i < 3 && strcmp(limits[i].name, name) != 0)
            i++;
        if (i == 3)
            ok = option_reject(v, "the object of client key %zu has an unknown member", place);
        else if (!option_set_limit(v, place, &limits[i], member))
            ok = false;
    }
    return ok;
}

static bool option_read_override_of(const struct option_value *v, size_t place, const char *client_key, json_t *json,
                                    void *item)
{
    struct config_override *out = item;
    const char *wrong = option_check_key(client_key);
    *out = (struct config_override){.requests_per_minute = OPTION_OVERRIDE_UNSAID,
                                    .tokens_per_minute = OPTION_OVERRIDE_UNSAID,
                                    .concurrent_requests = OPTION_OVERRIDE_UNSAID};
    if (wrong)
        return option_reject(v, "client key %zu %s", place, wrong);
    if (!json_is_object(json))
        return option_reject(v, "the value of client key %zu is not an object", place);
    return (digest_sha256(slice_from_text(client_key), &out->client_key) || option_reject_memory(v)) &&
           option_read_override(v, place, json, out);
}

bool option_set_overrides(const struct option_value *v, struct config_overrides *field)
{
    struct option_members all;
    json_t *json = option_load_object(v);
    bool ok = json && option_read_members(v, json, sizeof *field->items, option_read_override_of, &all);
    if (ok)
        *field = (struct config_overrides){all.count, all.items};
    json_decref(json);
    return ok;
}
