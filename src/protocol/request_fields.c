/*
 * Reading the fields that matter out of a request body, with OpenAI's own complaints.
 *
 * What is checked stands in tables, a row a field: its type and its range. Only what OpenAI itself refuses is refused.
 * The body is read once, in place, however large it is: the values of interest are noted on the way and checked behind
 * its end, so that a body that is no JSON is told as that.
 */
#include "sluice/request_fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

enum { REQUEST_RULES_MAX = 32 };

#define REQUEST_RULES_FIT(rules) _Static_assert(sizeof(rules) / sizeof *(rules) <= REQUEST_RULES_MAX, #rules)
REQUEST_RULES_FIT(request_chat_rules);
REQUEST_RULES_FIT(request_completions_rules);
REQUEST_RULES_FIT(request_embeddings_rules);
REQUEST_RULES_FIT(request_responses_rules);

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

/* A member's value; JSON_KIND_ERROR: there is none. */
struct request_value {
    struct json_value value;
    struct json_value other; /* of an array: the first element that is no object */
    size_t other_index;
};

/* What was noted of a body. */
struct request_body {
    struct json_value model, stream, stream_options, background;
    struct request_value required;
    struct json_value ruled[REQUEST_RULES_MAX]; /* in the order of the shape's rules */
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

/* The byte behind a number ends it for strtod, too: the members of an object are followed by one. A number beyond all
 * doubles is infinite. */
static double request_number(struct json_value value)
{
    return strtod(value.raw.ptr, NULL);
}

static bool request_is_whole(struct json_value value)
{
    return value.kind == JSON_KIND_NUMBER && floor(request_number(value)) == request_number(value);
}

/* As the API names what it got. */
static const char *request_type_name(struct json_value value)
{
    switch (value.kind) {
    case JSON_KIND_OBJECT:
        return "an object";
    case JSON_KIND_ARRAY:
        return "an array";
    case JSON_KIND_STRING:
        return "a string";
    case JSON_KIND_NUMBER:
        return request_is_whole(value) ? "an integer" : "a decimal";
    case JSON_KIND_TRUE:
    case JSON_KIND_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static bool request_fail_type(struct request_error *error, const char *param, const char *expected,
                              struct json_value got)
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

static bool request_has_type(struct json_value value, unsigned types)
{
    switch (value.kind) {
    case JSON_KIND_TRUE:
    case JSON_KIND_FALSE:
        return types & REQUEST_BOOLEAN;
    case JSON_KIND_NUMBER:
        return types & REQUEST_NUMBER || (types & REQUEST_INTEGER && request_is_whole(value));
    case JSON_KIND_STRING:
        return types & REQUEST_STRING;
    case JSON_KIND_ARRAY:
        return types & REQUEST_ARRAY;
    case JSON_KIND_OBJECT:
        return types & REQUEST_OBJECT;
    default:
        return false;
    }
}

static bool request_check_rule(struct json_value value, const struct request_rule *rule, struct request_error *error)
{
    if (value.kind == JSON_KIND_ERROR || value.kind == JSON_KIND_NULL)
        return true;
    if (!request_has_type(value, rule->types))
        return request_fail_type(error, rule->name, rule->expected, value);
    if (rule->min == rule->max || value.kind != JSON_KIND_NUMBER)
        return true;
    double got = request_number(value);
    return (got >= rule->min && got <= rule->max) || request_fail_range(error, rule, got);
}

static bool request_check_messages(const struct request_value *messages, struct request_error *error)
{
    char param[REQUEST_DETAIL_MAX];
    if (messages->value.kind != JSON_KIND_ARRAY)
        return request_fail_type(error, "messages", "an array of objects", messages->value);
    if (messages->other.kind == JSON_KIND_ERROR)
        return true;
    snprintf(param, sizeof param, "messages[%zu]", messages->other_index);
    return request_fail_type(error, param, "an object", messages->other);
}

static bool request_check_required(const struct request_body *body, const struct request_shape *shape,
                                   struct request_error *error)
{
    if (!shape->required)
        return true;
    if (body->required.value.kind == JSON_KIND_ERROR)
        return request_fail_missing(error, shape->required);
    return strcmp(shape->required, "messages") != 0 || request_check_messages(&body->required, error);
}

static bool request_check_model(const struct request_body *body, const struct request_fields *fields,
                                const struct request_shape *shape, struct request_error *error)
{
    struct json_value model = body->model;
    if (model.kind != JSON_KIND_ERROR && model.kind != JSON_KIND_NULL && model.kind != JSON_KIND_STRING)
        return request_fail_type(error, "model", "a string", model);
    return fields->model[0] || !shape->model_required || request_fail(error, OPENAI_ERROR_NO_MODEL, NULL);
}

static bool request_check_all(const struct request_body *body, const struct request_fields *fields,
                              const struct request_shape *shape, struct request_error *error)
{
    if (!request_check_model(body, fields, shape, error) || !request_check_required(body, shape, error))
        return false;
    for (size_t i = 0; shape->rules && shape->rules[i].name; i++)
        if (!request_check_rule(body->ruled[i], &shape->rules[i], error))
            return false;
    return true;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static bool request_is_container(enum json_kind kind)
{
    return kind == JSON_KIND_OBJECT || kind == JSON_KIND_ARRAY;
}

/* A value as written, from its first token to where the reader stands. */
static struct json_value request_value_of(const struct json_scan *s, enum json_kind kind, struct slice token)
{
    const char *from = kind == JSON_KIND_STRING ? token.ptr - 1 : token.ptr;
    return (struct json_value){kind, slice_make(from, (size_t)(s->at - from))};
}

/* The rest of an array or object, whose opening was read. An opening bracket stands for an element's value. */
static bool request_read_container(struct json_scan *s, struct request_value *out, bool array)
{
    unsigned depth = s->depth;
    size_t elements = 0;
    while (s->depth >= depth) {
        struct slice token;
        enum json_kind kind = json_scan_next(s, &token);
        if (kind == JSON_KIND_ERROR)
            return false;
        bool begins = s->depth == depth + request_is_container(kind) && kind != JSON_KIND_END;
        if (!array || !begins)
            continue;
        if (kind != JSON_KIND_OBJECT && out->other.kind == JSON_KIND_ERROR) {
            out->other = request_value_of(s, kind, token);
            out->other_index = elements;
        }
        elements++;
    }
    return true;
}

static bool request_read_value(struct json_scan *s, struct request_value *out)
{
    struct slice token;
    enum json_kind kind = json_scan_next(s, &token);
    *out = (struct request_value){0};
    if (kind == JSON_KIND_ERROR)
        return false;
    if (request_is_container(kind) && !request_read_container(s, out, kind == JSON_KIND_ARRAY))
        return false;
    out->value = request_value_of(s, kind, token);
    return true;
}

/* Of two members with one name the last counts, as it does upstream. */
static void request_note(struct request_body *body, const struct request_shape *shape, struct slice name,
                         const struct request_value *value)
{
    if (json_scan_text_is(name, "model"))
        body->model = value->value;
    if (json_scan_text_is(name, "stream"))
        body->stream = value->value;
    if (json_scan_text_is(name, "stream_options"))
        body->stream_options = value->value;
    if (json_scan_text_is(name, "background"))
        body->background = value->value;
    if (shape->required && json_scan_text_is(name, shape->required))
        body->required = *value;
    for (size_t i = 0; shape->rules && shape->rules[i].name; i++)
        if (json_scan_text_is(name, shape->rules[i].name))
            body->ruled[i] = value->value;
}

/* Reads a whole text. False: it is not JSON. Another value than an object notes nothing. */
static bool request_read_body(struct slice text, const struct request_shape *shape, struct request_body *body,
                              struct json_value *whole)
{
    struct json_scan s;
    struct slice token, name;
    struct request_value value;
    json_scan_init(&s, text);
    enum json_kind kind = json_scan_next(&s, &token);
    if (kind != JSON_KIND_OBJECT)
        return json_value_read(text, whole);
    *whole = (struct json_value){JSON_KIND_OBJECT, text};
    while ((kind = json_scan_next(&s, &name)) == JSON_KIND_NAME) {
        if (!request_read_value(&s, &value))
            return false;
        request_note(body, shape, name, &value);
    }
    return kind == JSON_KIND_END && json_scan_next(&s, &token) == JSON_KIND_DONE;
}

/* Cut where it is too long, or holds what no C string does. */
static void request_take_model(struct slice inner, struct request_fields *out)
{
    char piece[4];
    size_t n, len = 0;
    while ((n = json_scan_decode(&inner, piece)) > 0 && piece[0] != '\0' && len + n < sizeof out->model) {
        memcpy(out->model + len, piece, n);
        len += n;
    }
    out->model[len] = '\0';
}

static void request_take(const struct request_body *body, struct slice path_model, struct request_fields *out)
{
    struct json_value include_usage;
    if (body->model.kind == JSON_KIND_STRING)
        request_take_model(json_value_inner(body->model), out);
    else if (path_model.len > 0)
        snprintf(out->model, sizeof out->model, "%.*s", (int)path_model.len, path_model.ptr);
    out->stream = body->stream.kind == JSON_KIND_TRUE;
    out->background = body->background.kind == JSON_KIND_TRUE;
    out->include_usage = json_value_find(body->stream_options, "include_usage", &include_usage) &&
                         include_usage.kind == JSON_KIND_TRUE;
}

bool request_fields_read(struct slice body, enum endpoint_fields fields, struct slice path_model,
                         enum request_check check, struct request_fields *out, struct request_error *error)
{
    const struct request_shape *shape = &request_shapes[fields];
    struct request_body noted = {0};
    struct json_value whole;
    *out = (struct request_fields){0};
    if (!request_read_body(body, shape, &noted, &whole))
        return request_fail(error, OPENAI_ERROR_BAD_JSON, NULL);
    if (whole.kind != JSON_KIND_OBJECT) {
        request_fail(error, OPENAI_ERROR_NOT_OBJECT, NULL);
        request_fail_detail(error, 0, "%s", whole.kind == JSON_KIND_NUMBER ? "a number" : request_type_name(whole));
        return false;
    }
    request_take(&noted, path_model, out);
    return check == REQUEST_CHECK_OBJECT || request_check_all(&noted, out, shape, error);
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
