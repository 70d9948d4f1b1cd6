/*
 * Reading the fields that matter out of a request body, with OpenAI's own complaints.
 *
 * What is checked stands in tables, a row a field: its type and its range. Only what OpenAI itself refuses is refused.
 */
#include "sluice/request_fields.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum request_type {
    REQUEST_BOOLEAN = 1,
    REQUEST_INTEGER = 2,
    REQUEST_NUMBER = 4,
    REQUEST_STRING = 8,
    REQUEST_ARRAY = 16,
    REQUEST_OBJECT = 32
};

struct request_rule {
    const char *name;
    unsigned types;       /* a sum of enum request_type */
    const char *expected; /* as the API says it */
    double min, max;      /* of a number; equal: no range */
};

#define AN_INTEGER REQUEST_INTEGER, "an integer"
#define A_NUMBER REQUEST_NUMBER, "a decimal"
#define A_BOOLEAN REQUEST_BOOLEAN, "a boolean"
#define A_STRING REQUEST_STRING, "a string"
#define AN_OBJECT REQUEST_OBJECT, "an object"
#define AN_ARRAY REQUEST_ARRAY, "an array"
#define STRING_OR_ARRAY REQUEST_STRING | REQUEST_ARRAY, "one of a string or array of strings"
#define STRING_OR_OBJECT REQUEST_STRING | REQUEST_OBJECT, "one of a string or object"
#define NO_MAX HUGE_VAL

static const struct request_rule request_chat_rules[] = {
    {"temperature", A_NUMBER, 0, 2},
    {"top_p", A_NUMBER, 0, 1},
    {"n", AN_INTEGER, 1, 128},
    {"max_tokens", AN_INTEGER, 1, NO_MAX},
    {"max_completion_tokens", AN_INTEGER, 1, NO_MAX},
    {"frequency_penalty", A_NUMBER, -2, 2},
    {"presence_penalty", A_NUMBER, -2, 2},
    {"top_logprobs", AN_INTEGER, 0, 20},
    {"logprobs", A_BOOLEAN, 0, 0},
    {"seed", AN_INTEGER, 0, 0},
    {"stream", A_BOOLEAN, 0, 0},
    {"stream_options", AN_OBJECT, 0, 0},
    {"stop", STRING_OR_ARRAY, 0, 0},
    {"store", A_BOOLEAN, 0, 0},
    {"user", A_STRING, 0, 0},
    {"metadata", AN_OBJECT, 0, 0},
    {"logit_bias", AN_OBJECT, 0, 0},
    {"tools", AN_ARRAY, 0, 0},
    {"tool_choice", STRING_OR_OBJECT, 0, 0},
    {"parallel_tool_calls", A_BOOLEAN, 0, 0},
    {"response_format", AN_OBJECT, 0, 0},
    {"modalities", AN_ARRAY, 0, 0},
    {NULL, 0, NULL, 0, 0},
};

static const struct request_rule request_completions_rules[] = {
    {"prompt", STRING_OR_ARRAY, 0, 0},
    {"temperature", A_NUMBER, 0, 2},
    {"top_p", A_NUMBER, 0, 1},
    {"n", AN_INTEGER, 1, 128},
    {"best_of", AN_INTEGER, 0, 20},
    {"max_tokens", AN_INTEGER, 0, NO_MAX},
    {"frequency_penalty", A_NUMBER, -2, 2},
    {"presence_penalty", A_NUMBER, -2, 2},
    {"logprobs", AN_INTEGER, 0, 5},
    {"echo", A_BOOLEAN, 0, 0},
    {"seed", AN_INTEGER, 0, 0},
    {"stream", A_BOOLEAN, 0, 0},
    {"stream_options", AN_OBJECT, 0, 0},
    {"stop", STRING_OR_ARRAY, 0, 0},
    {"suffix", A_STRING, 0, 0},
    {"user", A_STRING, 0, 0},
    {"logit_bias", AN_OBJECT, 0, 0},
    {NULL, 0, NULL, 0, 0},
};

static const struct request_rule request_embeddings_rules[] = {
    {"input", STRING_OR_ARRAY, 0, 0},
    {"dimensions", AN_INTEGER, 1, NO_MAX},
    {"encoding_format", A_STRING, 0, 0},
    {"user", A_STRING, 0, 0},
    {NULL, 0, NULL, 0, 0},
};

static const struct request_rule request_responses_rules[] = {
    {"input", STRING_OR_ARRAY, 0, 0},
    {"instructions", A_STRING, 0, 0},
    {"temperature", A_NUMBER, 0, 2},
    {"top_p", A_NUMBER, 0, 1},
    {"top_logprobs", AN_INTEGER, 0, 20},
    {"max_output_tokens", AN_INTEGER, 16, NO_MAX},
    {"max_tool_calls", AN_INTEGER, 0, 0},
    {"stream", A_BOOLEAN, 0, 0},
    {"store", A_BOOLEAN, 0, 0},
    {"background", A_BOOLEAN, 0, 0},
    {"parallel_tool_calls", A_BOOLEAN, 0, 0},
    {"previous_response_id", A_STRING, 0, 0},
    {"tools", AN_ARRAY, 0, 0},
    {"tool_choice", STRING_OR_OBJECT, 0, 0},
    {"text", AN_OBJECT, 0, 0},
    {"reasoning", AN_OBJECT, 0, 0},
    {"metadata", AN_OBJECT, 0, 0},
    {NULL, 0, NULL, 0, 0},
};

struct request_shape {
    const struct request_rule *rules;
    const char *required; /* beside the model; NULL: none */
    bool model_required;
};

static const struct request_shape request_shapes[] = {
    [ENDPOINT_FIELDS_NONE] = {NULL, NULL, false},
    [ENDPOINT_FIELDS_CHAT] = {request_chat_rules, "messages", true},
    [ENDPOINT_FIELDS_COMPLETIONS] = {request_completions_rules, NULL, true},
    [ENDPOINT_FIELDS_EMBEDDINGS] = {request_embeddings_rules, "input", true},
    [ENDPOINT_FIELDS_RESPONSES] = {request_responses_rules, NULL, false},
    [ENDPOINT_FIELDS_MODEL] = {NULL, NULL, false},
};

/* ---- complaints --------------------------------------------------------------------------------------------- */

static bool request_fail(struct request_error *error, enum openai_error_id id, const char *param)
{
    *error = (struct request_error){.error.id = id};
    if (param) {
        snprintf(error->param, sizeof error->param, "%s", param);
        error->error.param = slice_from_text(error->param);
    }
    return false;
}

static void request_fail_detail(struct request_error *error, size_t arg, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void request_fail_detail(struct request_error *error, size_t arg, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->details[arg], REQUEST_DETAIL_MAX, format, args);
    va_end(args);
    error->error.args[arg] = slice_from_text(error->details[arg]);
}

static bool request_is_whole(const json_t *value)
{
    return json_is_real(value) && floor(json_real_value(value)) == json_real_value(value);
}

/* As the API names what it got. */
static const char *request_type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return request_is_whole(value) ? "an integer" : "a decimal";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static bool request_fail_type(struct request_error *error, const char *param, const char *expected,
                              const json_t *got)
{
    request_fail(error, OPENAI_ERROR_INVALID_TYPE, param);
    request_fail_detail(error, 0, "%s", param);
    request_fail_detail(error, 1, "%s", expected);
    request_fail_detail(error, 2, "%s", request_type_name(got));
    return false;
}

static bool request_fail_range(struct request_error *error, const struct request_rule *rule, double got)
{
    bool integer = rule->types & REQUEST_INTEGER, above = got > rule->max;
    enum openai_error_id id = integer ? (above ? OPENAI_ERROR_INTEGER_ABOVE : OPENAI_ERROR_INTEGER_BELOW)
                                      : (above ? OPENAI_ERROR_DECIMAL_ABOVE : OPENAI_ERROR_DECIMAL_BELOW);
    request_fail(error, id, rule->name);
    request_fail_detail(error, 0, "%s", rule->name);
    request_fail_detail(error, 1, "%.12g", above ? rule->max : rule->min);
    request_fail_detail(error, 2, !integer && floor(got) == got ? "%.1f" : "%.12g", got);
    return false;
}

static bool request_fail_missing(struct request_error *error, const char *param)
{
    request_fail(error, OPENAI_ERROR_MISSING_PARAMETER, param);
    request_fail_detail(error, 0, "%s", param);
    return false;
}

/* ---- checks ------------------------------------------------------------------------------------------------- */

static bool request_has_type(const json_t *value, unsigned types)
{
    return (types & REQUEST_BOOLEAN && json_is_boolean(value)) ||
           (types & REQUEST_INTEGER && request_is_whole(value)) || (types & REQUEST_NUMBER && json_is_real(value)) ||
           (types & REQUEST_STRING && json_is_string(value)) || (types & REQUEST_ARRAY && json_is_array(value)) ||
           (types & REQUEST_OBJECT && json_is_object(value));
}

static bool request_check_rule(const json_t *body, const struct request_rule *rule, struct request_error *error)
{
    const json_t *value = json_object_get(body, rule->name);
    if (!value || json_is_null(value))
        return true;
    if (!request_has_type(value, rule->types))
        return request_fail_type(error, rule->name, rule->expected, value);
    if (rule->min == rule->max || !json_is_real(value))
        return true;
    double got = json_real_value(value);
    return (got >= rule->min && got <= rule->max) || request_fail_range(error, rule, got);
}

static bool request_check_messages(const json_t *messages, struct request_error *error)
{
    if (!json_is_array(messages))
        return request_fail_type(error, "messages", "an array of objects", messages);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        char param[REQUEST_DETAIL_MAX];
        if (json_is_object(json_array_get(messages, i)))
            continue;
        snprintf(param, sizeof param, "messages[%zu]", i);
        return request_fail_type(error, param, "an object", json_array_get(messages, i));
    }
    return true;
}

static bool request_check_required(const json_t *body, const struct request_shape *shape, struct request_error *error)
{
    const json_t *value = shape->required ? json_object_get(body, shape->required) : NULL;
    if (!shape->required)
        return true;
    if (!value)
        return request_fail_missing(error, shape->required);
    return strcmp(shape->required, "messages") != 0 || request_check_messages(value, error);
}

static bool request_check_model(const json_t *body, const struct request_fields *fields,
                                const struct request_shape *shape, struct request_error *error)
{
    const json_t *model = json_object_get(body, "model");
    if (model && !json_is_null(model) && !json_is_string(model))
        return request_fail_type(error, "model", "a string", model);
    return fields->model[0] || !shape->model_required || request_fail(error, OPENAI_ERROR_NO_MODEL, NULL);
}

static bool request_check_all(const json_t *body, const struct request_fields *fields,
                              const struct request_shape *shape, struct request_error *error)
{
    if (!request_check_model(body, fields, shape, error) || !request_check_required(body, shape, error))
        return false;
    for (const struct request_rule *rule = shape->rules; rule && rule->name; rule++)
        if (!request_check_rule(body, rule, error))
            return false;
    return true;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static void request_take(const json_t *body, struct slice path_model, struct request_fields *out)
{
    const json_t *model = json_object_get(body, "model");
    if (json_is_string(model))
        snprintf(out->model, sizeof out->model, "%s", json_string_value(model));
    else if (path_model.len > 0)
        snprintf(out->model, sizeof out->model, "%.*s", (int)path_model.len, path_model.ptr);
    out->stream = json_is_true(json_object_get(body, "stream"));
    out->include_usage = json_is_true(json_object_get(json_object_get(body, "stream_options"), "include_usage"));
}

bool request_fields_read(struct slice body, enum endpoint_fields fields, struct slice path_model,
                         enum request_check check, struct request_fields *out, struct request_error *error)
{
    *out = (struct request_fields){0};
    /* Integers as reals: only so does jansson take integers beyond 64 bits, which are the upstream's to judge. */
    json_t *json = json_loadb(body.len ? body.ptr : "", body.len,
                              JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    if (!json)
        return request_fail(error, OPENAI_ERROR_BAD_JSON, NULL);
    bool ok = json_is_object(json);
    if (!ok) {
        request_fail(error, OPENAI_ERROR_NOT_OBJECT, NULL);
        request_fail_detail(error, 0, "%s", json_is_real(json) ? "a number" : request_type_name(json));
    } else {
        request_take(json, path_model, out);
        ok = check == REQUEST_CHECK_OBJECT || request_check_all(json, out, &request_shapes[fields], error);
    }
    json_decref(json);
    return ok;
}

/* Behind the field's name="…" (not filename="…"); empty where it is not there. */
static struct slice request_find_field(struct slice body, const char *name)
{
    char head[REQUEST_DETAIL_MAX];
    int len = snprintf(head, sizeof head, "name=\"%s\"", name);
    const char *at;
    while (body.len > 0 && (at = memmem(body.ptr, body.len, head, (size_t)len))) {
        bool whole = at > body.ptr && (at[-1] == ' ' || at[-1] == ';');
        body = slice_skip(body, (size_t)(at - body.ptr) + (size_t)len);
        if (whole)
            return body;
    }
    return (struct slice){NULL, 0};
}

struct slice request_form_field(struct slice body, const char *name)
{
    struct slice rest = request_find_field(body, name);
    const char *value = rest.len ? memmem(rest.ptr, rest.len, "\r\n\r\n", 4) : NULL;
    if (!value)
        return (struct slice){NULL, 0};
    rest = slice_skip(rest, (size_t)(value - rest.ptr) + 4);
    const char *end = rest.len ? memmem(rest.ptr, rest.len, "\r\n", 2) : NULL;
    return end ? slice_take(rest, (size_t)(end - rest.ptr)) : (struct slice){NULL, 0};
}
