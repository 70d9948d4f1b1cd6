/*
 * Request bodies: whatever the bytes, the answer is the same each time, is bounded, and an error can be
 * written as JSON. What every check accepts is a JSON object for the weaker check, too, with the same fields. What is
 * JSON is what another reader takes for it.
 */
#include "fuzz.h"

#include "sluice/request_fields.h"

#include <jansson.h>

static void check_error(const struct request_error *error)
{
    struct buf text;
    buf_init(&text, 64 * 1024);
    FUZZ_ASSERT(error->error.id < OPENAI_ERROR_COUNT);
    FUZZ_ASSERT(openai_error_info(error->error.id)->status == 400);
    FUZZ_ASSERT(openai_error_write(&text, &error->error));
    json_t *json = json_loadb(buf_data(&text), text.len, 0, NULL);
    FUZZ_ASSERT(json);
    json_decref(json);
    buf_free(&text);
}

static void check_same(const struct request_fields *a, const struct request_fields *b)
{
    FUZZ_ASSERT(strcmp(a->model, b->model) == 0);
    FUZZ_ASSERT(a->stream == b->stream && a->include_usage == b->include_usage);
}

static bool is_deep(struct slice body)
{
    size_t brackets = 0;
    for (size_t i = 0; i < body.len; i++)
        brackets += body.ptr[i] == '{' || body.ptr[i] == '[';
    return brackets > REQUEST_DEPTH_MAX;
}

/* jansson refuses numbers that no double holds, and names with a NUL; it takes a NUL for the text's end. */
static void check_against_json(struct slice body, bool bad)
{
    json_error_t why;
    json_t *json = json_loadb(body.ptr, body.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &why);
    if (json)
        FUZZ_ASSERT(!bad || is_deep(body) || memchr(body.ptr, '\0', body.len));
    else if (!bad)
        FUZZ_ASSERT(json_error_code(&why) == json_error_numeric_overflow ||
                    json_error_code(&why) == json_error_null_byte_in_key);
    json_decref(json);
}

static void check_form(struct slice body)
{
    struct slice value = request_form_field(body, "model");
    if (value.len == 0)
        return;
    FUZZ_ASSERT(value.ptr > body.ptr && value.ptr + value.len < body.ptr + body.len);
    FUZZ_ASSERT(!memmem(value.ptr, value.len, "\r\n", 2));
}

/* The first byte chooses the endpoint's fields and whether a model stands in the path. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request_fields first, second;
    struct request_error error;
    if (size == 0)
        return 0;
    enum endpoint_fields kind = (enum endpoint_fields)(data[0] % (ENDPOINT_FIELDS_MODEL + 1));
    struct slice path_model = data[0] & 0x80 ? SLICE_LITERAL("path-model") : (struct slice){NULL, 0};
    struct slice body = slice_make(data + 1, size - 1);
    bool ok = request_fields_read(body, kind, path_model, REQUEST_CHECK_FIELDS, &first, &error);
    if (!ok)
        check_error(&error);
    FUZZ_ASSERT(memchr(first.model, '\0', sizeof first.model));
    bool object = request_fields_read(body, kind, path_model, REQUEST_CHECK_OBJECT, &second, &error);
    FUZZ_ASSERT(object || !ok);
    check_same(&first, &second);
    if (!object)
        check_error(&error);
    check_against_json(body, !object && error.error.id == OPENAI_ERROR_BAD_JSON);
    check_form(body);
    return 0;
}
