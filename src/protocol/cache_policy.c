/* Rules, one by one; the first that forbids gives the reason. */
#include "sluice/cache_policy.h"

#include "sluice/clock.h"
#include "sluice/json_scan.h"

static struct cache_verdict cache_refuse(const char *reason)
{
    return (struct cache_verdict){CACHE_KIND_NONE, reason};
}

/* The members of a request that decide. */
enum cache_field {
    CACHE_FIELD_TEMPERATURE,
    CACHE_FIELD_SEED,
    CACHE_FIELD_STORE,
    CACHE_FIELD_BACKGROUND,
    CACHE_FIELD_PREVIOUS,
    CACHE_FIELD_CONVERSATION,
    CACHE_FIELD_SEARCH,
    CACHE_FIELD_MODEL,
    CACHE_FIELD_TOOLS,
    CACHE_FIELD_AUDIO,
    CACHE_FIELD_MODALITIES,
    CACHE_FIELD_PROMPT,
    CACHE_FIELDS
};

static const char *const cache_field_names[CACHE_FIELDS] = {
    [CACHE_FIELD_TEMPERATURE] = "temperature",
    [CACHE_FIELD_SEED] = "seed",
    [CACHE_FIELD_STORE] = "store",
    [CACHE_FIELD_BACKGROUND] = "background",
    [CACHE_FIELD_PREVIOUS] = "previous_response_id",
    [CACHE_FIELD_CONVERSATION] = "conversation",
    [CACHE_FIELD_SEARCH] = "web_search_options",
    [CACHE_FIELD_MODEL] = "model",
    [CACHE_FIELD_TOOLS] = "tools",
    [CACHE_FIELD_AUDIO] = "audio",
    [CACHE_FIELD_MODALITIES] = "modalities",
    [CACHE_FIELD_PROMPT] = "prompt",
};

/* null counts as absent: that is how the API takes it. */
static bool cache_is_given(struct json_value value)
{
    return value.kind != JSON_KIND_ERROR && value.kind != JSON_KIND_NULL;
}

static bool cache_is_true(struct json_value value)
{
    return cache_is_given(value) && value.kind != JSON_KIND_FALSE;
}

/* A tool that the client runs itself. */
static bool cache_tool_is_local(struct json_value tool)
{
    struct json_value type;
    return json_value_find(tool, "type", &type) &&
           (json_value_is_text(type, "function") || json_value_is_text(type, "custom"));
}

static bool cache_output_is_text(struct json_value modality)
{
    return json_value_is_text(modality, "text");
}

/* Whether the value is absent, or an array whose elements all pass. */
static bool cache_all(struct json_value array, bool (*passes)(struct json_value))
{
    struct json_value one;
    struct json_items items;
    if (!cache_is_given(array))
        return true;
    if (array.kind != JSON_KIND_ARRAY || !json_items_begin(&items, array))
        return false;
    while (json_items_next(&items, NULL, &one))
        if (!passes(one))
            return false;
    return true;
}

/* Models that search the web without being asked to. */
static bool cache_model_searches(struct json_value model)
{
    static const char search[] = "-search";
    struct slice name = json_value_inner(model);
    return name.len > 0 && memmem(name.ptr, name.len, search, sizeof search - 1);
}

static const char *cache_side_effect(const struct json_value *field)
{
    if (cache_is_true(field[CACHE_FIELD_STORE]))
        return "store";
    if (cache_is_true(field[CACHE_FIELD_BACKGROUND]))
        return "background";
    if (cache_is_given(field[CACHE_FIELD_PREVIOUS]) || cache_is_given(field[CACHE_FIELD_CONVERSATION]))
        return "conversation";
    if (cache_is_given(field[CACHE_FIELD_SEARCH]) || cache_model_searches(field[CACHE_FIELD_MODEL]))
        return "web_search";
    if (!cache_all(field[CACHE_FIELD_TOOLS], cache_tool_is_local))
        return "hosted_tool";
    if (cache_is_given(field[CACHE_FIELD_AUDIO]) || !cache_all(field[CACHE_FIELD_MODALITIES], cache_output_is_text))
        return "audio_output";
    return NULL;
}

static const char *cache_not_repeatable(const struct json_value *field)
{
    if (!json_value_is_zero(field[CACHE_FIELD_TEMPERATURE]))
        return "temperature";
    return cache_is_given(field[CACHE_FIELD_SEED]) ? NULL : "seed";
}

static bool cache_prompt_is_template(const struct endpoint *endpoint, struct json_value prompt)
{
    return endpoint->fields == ENDPOINT_FIELDS_CHAT ? cache_is_given(prompt) : prompt.kind == JSON_KIND_OBJECT;
}

/* Most requests do not say one, and need not be read for that. One whose name is written with escapes is not found, and
 * goes upstream. */
static bool cache_may_say_temperature(const struct endpoint *endpoint, struct slice text)
{
    static const char name[] = "\"temperature\"";
    return endpoint->fields == ENDPOINT_FIELDS_EMBEDDINGS ||
           (text.len > 0 && memmem(text.ptr, text.len, name, sizeof name - 1));
}

static struct cache_verdict cache_judge_body(const struct endpoint *endpoint, struct slice text)
{
    struct json_value field[CACHE_FIELDS];
    const char *reason;
    if (!cache_may_say_temperature(endpoint, text))
        return cache_refuse("temperature");
    if (!json_object_find_all(text, cache_field_names, CACHE_FIELDS, field))
        return cache_refuse("not_json");
    if (endpoint->fields == ENDPOINT_FIELDS_EMBEDDINGS)
        return (struct cache_verdict){CACHE_KIND_EMBEDDINGS, NULL};
    if ((reason = cache_not_repeatable(field)) || (reason = cache_side_effect(field)))
        return cache_refuse(reason);
    if (cache_prompt_is_template(endpoint, field[CACHE_FIELD_PROMPT]))
        return cache_refuse("prompt_template");
    return (struct cache_verdict){CACHE_KIND_COMPLETION, NULL};
}

struct cache_verdict cache_policy_request(const struct endpoint *endpoint, struct slice method,
                                          struct slice body)
{
    bool post = slice_equals_text(method, "POST");
    if (slice_equals_text(method, "GET") && strcmp(endpoint->name, "models") == 0)
        return (struct cache_verdict){CACHE_KIND_MODELS, NULL};
    if (post &&
        (endpoint->fields == ENDPOINT_FIELDS_CHAT || endpoint->fields == ENDPOINT_FIELDS_COMPLETIONS ||
         endpoint->fields == ENDPOINT_FIELDS_EMBEDDINGS))
        return cache_judge_body(endpoint, body);
    return cache_refuse("endpoint");
}

/* ---- answers ----------------------------------------------------------------------------------------- */

static bool cache_has(struct json_value body, const char *name)
{
    struct json_value value;
    return json_value_find(body, name, &value) && cache_is_given(value);
}

static bool cache_finish_is_normal(struct json_value choice)
{
    static const char *const normal[] = {"stop", "length", "tool_calls", "function_call"};
    struct json_value finish;
    json_value_find(choice, "finish_reason", &finish);
    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++)
        if (json_value_is_text(finish, normal[i]))
            return true;
    return false;
}

static const char *cache_judge_choices(struct json_value body)
{
    struct json_value choices, choice;
    struct json_items items;
    size_t count = 0;
    if (!json_value_find(body, "choices", &choices) || choices.kind != JSON_KIND_ARRAY ||
        !json_items_begin(&items, choices))
        return "no_choices";
    for (; json_items_next(&items, NULL, &choice); count++)
        if (!cache_finish_is_normal(choice))
            return "finish_reason";
    return count > 0 ? NULL : "no_choices";
}

const char *cache_policy_answer(enum cache_kind kind, int status, struct slice text)
{
    struct json_value body;
    if (kind == CACHE_KIND_NONE || status != 200)
        return "status";
    if (!json_value_read(text, &body) || body.kind != JSON_KIND_OBJECT)
        return "not_json";
    if (cache_has(body, "error"))
        return "error";
    if (kind == CACHE_KIND_COMPLETION)
        return cache_judge_choices(body);
    return kind == CACHE_KIND_EMBEDDINGS && !cache_has(body, "data") ? "no_data" : NULL;
}

/* ---- Cache-Control ----------------------------------------------------------------------------------- */

static int64_t cache_control_seconds(struct slice text)
{
    int64_t seconds = 0;
    text = slice_trim(text);
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"')
        text = slice_take(slice_skip(text, 1), text.len - 2);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return 0;
        seconds = seconds * 10 + (text.ptr[i] - '0');
        seconds = seconds < INT32_MAX ? seconds : INT32_MAX;
    }
    return seconds;
}

static void cache_control_take(struct cache_control *c, struct slice directive)
{
    const char *equals = directive.len ? memchr(directive.ptr, '=', directive.len) : NULL;
    size_t len = equals ? (size_t)(equals - directive.ptr) : directive.len;
    struct slice name = slice_trim(slice_take(directive, len));
    if (slice_equals_nocase(name, SLICE_LITERAL("no-store")))
        c->no_store = true;
    else if (slice_equals_nocase(name, SLICE_LITERAL("no-cache")))
        c->no_cache = true;
    else if (slice_equals_nocase(name, SLICE_LITERAL("only-if-cached")))
        c->only_if_cached = true;
    else if (slice_equals_nocase(name, SLICE_LITERAL("max-age")))
        c->max_age_s = cache_control_seconds(slice_skip(directive, len + 1));
}

struct cache_control cache_control_parse(struct slice value)
{
    struct cache_control c = {.max_age_s = -1};
    while (value.len > 0) {
        const char *comma = memchr(value.ptr, ',', value.len);
        size_t len = comma ? (size_t)(comma - value.ptr) : value.len;
        cache_control_take(&c, slice_trim(slice_take(value, len)));
        value = slice_skip(value, len + 1);
    }
    return c;
}

bool cache_control_allows(const struct cache_control *c, int64_t age_us)
{
    if (c->no_store || c->no_cache)
        return false;
    return c->max_age_s < 0 || age_us <= c->max_age_s * CLOCK_US_PER_SECOND;
}
