/* Token counts out of an answer's text, without parsing the whole of it. */
#include "sluice/usage.h"

#include <jansson.h>

enum { USAGE_TRIES = 8 }; /* broken objects looked at, so that no text makes this slow */

static int64_t usage_count(const json_t *object, const char *name, const char *other_name)
{
    const json_t *value = json_object_get(object, name);
    if (!value && other_name)
        value = json_object_get(object, other_name);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return 0;
    return json_integer_value(value);
}

static const json_t *usage_details(const json_t *object, const char *name, const char *other_name)
{
    const json_t *details = json_object_get(object, name);
    return details ? details : json_object_get(object, other_name);
}

static void usage_read(const json_t *object, struct usage *out)
{
    const json_t *input = usage_details(object, "prompt_tokens_details", "input_tokens_details");
    const json_t *output = usage_details(object, "completion_tokens_details", "output_tokens_details");
    *out = (struct usage){
        .known = true,
        .input_tokens = usage_count(object, "prompt_tokens", "input_tokens"),
        .output_tokens = usage_count(object, "completion_tokens", "output_tokens"),
        .total_tokens = usage_count(object, "total_tokens", NULL),
        .cached_tokens = usage_count(input, "cached_tokens", NULL),
        .reasoning_tokens = usage_count(output, "reasoning_tokens", NULL),
    };
    if (out->total_tokens == 0 && out->input_tokens <= INT64_MAX - out->output_tokens)
        out->total_tokens = out->input_tokens + out->output_tokens;
}

/* The object behind a "usage" name, or NULL. rest begins after the name's closing quote. */
static json_t *usage_object_at(struct slice rest)
{
    rest = slice_trim(rest);
    if (rest.len == 0 || rest.ptr[0] != ':')
        return NULL;
    rest = slice_trim(slice_skip(rest, 1));
    if (rest.len == 0 || rest.ptr[0] != '{')
        return NULL;
    return json_loadb(rest.ptr, rest.len, JSON_DISABLE_EOF_CHECK, NULL);
}

bool usage_find(struct slice json, struct usage *out)
{
    static const char name[] = "\"usage\"";
    const size_t name_len = sizeof name - 1;
    int tries = USAGE_TRIES;
    if (json.len < name_len)
        return false;
    for (size_t i = json.len - name_len + 1; i-- > 0;) {
        const char *quote = memrchr(json.ptr, '"', i + 1);
        if (!quote)
            return false;
        i = (size_t)(quote - json.ptr);
        if (memcmp(quote, name, name_len) != 0 || (i > 0 && quote[-1] == '\\'))
            continue;
        json_t *object = usage_object_at(slice_skip(json, i + name_len));
        if (!object && --tries == 0)
            return false;
        if (!object)
            continue;
        usage_read(object, out);
        json_decref(object);
        return true;
    }
    return false;
}
