/* Token counts out of an answer's text, without parsing the whole of it. */
#include "sluice/usage.h"

#include "sluice/json_scan.h"

enum { USAGE_TRIES = 8 }; /* broken objects looked at, so that no text makes this slow */

enum usage_member {
    USAGE_PROMPT_TOKENS,
    USAGE_INPUT_TOKENS,
    USAGE_COMPLETION_TOKENS,
    USAGE_OUTPUT_TOKENS,
    USAGE_TOTAL_TOKENS,
    USAGE_PROMPT_DETAILS,
    USAGE_INPUT_DETAILS,
    USAGE_COMPLETION_DETAILS,
    USAGE_OUTPUT_DETAILS,
    USAGE_MEMBERS
};

static const char *const usage_names[USAGE_MEMBERS] = {
    [USAGE_PROMPT_TOKENS] = "prompt_tokens",
    [USAGE_INPUT_TOKENS] = "input_tokens",
    [USAGE_COMPLETION_TOKENS] = "completion_tokens",
    [USAGE_OUTPUT_TOKENS] = "output_tokens",
    [USAGE_TOTAL_TOKENS] = "total_tokens",
    [USAGE_PROMPT_DETAILS] = "prompt_tokens_details",
    [USAGE_INPUT_DETAILS] = "input_tokens_details",
    [USAGE_COMPLETION_DETAILS] = "completion_tokens_details",
    [USAGE_OUTPUT_DETAILS] = "output_tokens_details",
};

/* Digits only, in *out. False: it is more than an int64_t holds. */
static bool usage_read_digits(struct slice digits, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < digits.len; i++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, digits.ptr[i] - '0', out))
            return false;
    return true;
}

/* What is no count is 0: another type, a fraction, less than nothing. False for a number that cannot be one. */
static bool usage_count(struct json_value value, int64_t *out)
{
    *out = 0;
    if (value.kind != JSON_KIND_NUMBER || value.raw.ptr[0] == '-')
        return true;
    for (size_t i = 0; i < value.raw.len; i++)
        if (value.raw.ptr[i] < '0' || value.raw.ptr[i] > '9')
            return true;
    return usage_read_digits(value.raw, out);
}

/* The first of two members where it is there, even if it is no count. */
static struct json_value usage_either(const struct json_value *members, enum usage_member a, enum usage_member b)
{
    return members[a].kind != JSON_KIND_ERROR ? members[a] : members[b];
}

static bool usage_detail(struct json_value details, const char *name, int64_t *out)
{
    struct json_value value;
    json_value_find(details, name, &value);
    return usage_count(value, out);
}

/* object is at the front of the text, whatever follows it. False: it is none. */
static bool usage_take_members(struct slice object, struct json_value members[USAGE_MEMBERS])
{
    return json_value_find_all((struct json_value){JSON_KIND_OBJECT, object}, usage_names, USAGE_MEMBERS, members);
}

static bool usage_read(struct slice object, struct usage *out)
{
    struct json_value m[USAGE_MEMBERS];
    struct usage u = {.known = true};
    if (!usage_take_members(object, m) ||
        !usage_count(usage_either(m, USAGE_PROMPT_TOKENS, USAGE_INPUT_TOKENS), &u.input_tokens) ||
        !usage_count(usage_either(m, USAGE_COMPLETION_TOKENS, USAGE_OUTPUT_TOKENS), &u.output_tokens) ||
        !usage_count(m[USAGE_TOTAL_TOKENS], &u.total_tokens) ||
        !usage_detail(usage_either(m, USAGE_PROMPT_DETAILS, USAGE_INPUT_DETAILS), "cached_tokens",
                      &u.cached_tokens) ||
        !usage_detail(usage_either(m, USAGE_COMPLETION_DETAILS, USAGE_OUTPUT_DETAILS), "reasoning_tokens",
                      &u.reasoning_tokens))
        return false;
    if (u.total_tokens == 0 && u.input_tokens <= INT64_MAX - u.output_tokens)
        u.total_tokens = u.input_tokens + u.output_tokens;
    *out = u;
    return true;
}

/* Reads the object behind a "usage" name. rest begins after the name's closing quote. */
static bool usage_read_at(struct slice rest, struct usage *out)
{
    rest = slice_trim(rest);
    if (rest.len == 0 || rest.ptr[0] != ':')
        return false;
    rest = slice_trim(slice_skip(rest, 1));
    return rest.len > 0 && rest.ptr[0] == '{' && usage_read(rest, out);
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
        if (usage_read_at(slice_skip(json, i + name_len), out))
            return true;
        if (--tries == 0)
            return false;
    }
    return false;
}
