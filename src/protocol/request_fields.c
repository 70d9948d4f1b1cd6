/* Reading the fields that matter out of a request body, with OpenAI's own complaints. */
#include "sluice/request_fields.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

static bool request_fail(struct request_error *error, enum openai_error_id id, const char *param)
{
    error->error = (struct openai_error){.id = id, .param = slice_from_text(param)};
    return false;
}

static void request_fail_detail(struct request_error *error, size_t arg, const char *text)
{
    snprintf(error->details[arg], REQUEST_DETAIL_MAX, "%s", text);
    error->error.args[arg] = slice_from_text(error->details[arg]);
}

/* Integers are read as reals. From 2^53 on every real is one. */
static bool request_is_integer(double number)
{
    static const double exact = 9007199254740992.0;
    return number <= -exact || number >= exact || number == (double)(int64_t)number;
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
    case JSON_REAL:
        return request_is_integer(json_real_value(value)) ? "an integer" : "a decimal";
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
    request_fail_detail(error, 0, param);
    request_fail_detail(error, 1, expected);
    request_fail_detail(error, 2, request_type_name(got));
    return false;
}

static bool request_read_model(const json_t *body, struct request_fields *out, struct request_error *error)
{
    const json_t *model = json_object_get(body, "model");
    if (!model || json_is_null(model))
        return request_fail(error, OPENAI_ERROR_NO_MODEL, NULL);
    if (!json_is_string(model))
        return request_fail_type(error, "model", "a string", model);
    snprintf(out->model, sizeof out->model, "%s", json_string_value(model));
    return json_string_length(model) > 0 || request_fail(error, OPENAI_ERROR_NO_MODEL, NULL);
}

static bool request_read_stream(const json_t *body, struct request_fields *out, struct request_error *error)
{
    const json_t *stream = json_object_get(body, "stream");
    const json_t *options = json_object_get(body, "stream_options");
    if (stream && !json_is_boolean(stream) && !json_is_null(stream))
        return request_fail_type(error, "stream", "a boolean", stream);
    if (options && !json_is_object(options) && !json_is_null(options))
        return request_fail_type(error, "stream_options", "an object", options);
    out->stream = json_is_true(stream);
    out->include_usage = json_is_true(json_object_get(options, "include_usage"));
    return true;
}

static bool request_read_messages(const json_t *body, struct request_error *error)
{
    const json_t *messages = json_object_get(body, "messages");
    if (!messages) {
        request_fail(error, OPENAI_ERROR_MISSING_PARAMETER, "messages");
        request_fail_detail(error, 0, "messages");
        return false;
    }
    if (!json_is_array(messages))
        return request_fail_type(error, "messages", "an array of objects", messages);
    size_t i;
    const json_t *message;
    json_array_foreach((json_t *)messages, i, message)
    {
        char param[REQUEST_DETAIL_MAX];
        snprintf(param, sizeof param, "messages[%zu]", i);
        if (json_is_object(message))
            continue;
        request_fail_type(error, param, "an object", message);
        error->error.param = error->error.args[0];
        return false;
    }
    return true;
}

bool request_fields_read_chat(struct slice body, struct request_fields *out, struct request_error *error)
{
    *out = (struct request_fields){0};
    /* Integers as reals: only so does jansson take integers beyond 64 bits, which are the upstream's to judge. */
    json_t *json = json_loadb(body.len ? body.ptr : "", body.len,
                              JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    if (!json)
        return request_fail(error, OPENAI_ERROR_BAD_JSON, NULL);
    bool ok;
    if (!json_is_object(json)) {
        ok = request_fail(error, OPENAI_ERROR_NOT_OBJECT, NULL);
        request_fail_detail(error, 0, json_is_real(json) ? "a number" : request_type_name(json));
    } else {
        ok = request_read_model(json, out, error) && request_read_stream(json, out, error) &&
             request_read_messages(json, error);
    }
    json_decref(json);
    return ok;
}
