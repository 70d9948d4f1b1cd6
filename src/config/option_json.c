/* Options whose value is a JSON object. */
#include "option_json.h"

static const char *option_json_mistake(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        return "the same name stands twice in one object";
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_end_of_input_expected:
        return "text follows its end";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "it holds a NUL character";
    case json_error_invalid_utf8:
        return "it is not UTF-8";
    case json_error_numeric_overflow:
        return "a number is too large";
    default:
        return "a quote, comma, colon or bracket is wrong";
    }
}

static json_t *option_load_json(const struct option_value *v)
{
    json_error_t error;
    json_t *json = json_loadb(v->text.ptr, v->text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!json)
        option_reject(v, "the value is not JSON: line %d, column %d: %s", error.line, error.column,
                      option_json_mistake(&error));
    return json;
}

json_t *option_load_object(const struct option_value *v)
{
    json_t *json = v->text.len > 0 ? option_load_json(v) : json_object();
    if (!json) {
        if (v->text.len == 0)
            option_reject_memory(v);
        return NULL;
    }
    if (json_is_object(json))
        return json;
    json_decref(json);
    option_reject(v, "the value is JSON, but not an object");
    return NULL;
}

bool option_read_members(const struct option_value *v, json_t *json, size_t size, option_read_member *read,
                         struct option_members *out)
{
    size_t count = json_object_size(json), place = 0;
    char *items = arena_alloc(&v->config->memory, count * size);
    if (!items)
        return option_reject_memory(v);
    const char *name;
    json_t *member;
    bool ok = true;
    json_object_foreach(json, name, member)
    {
        if (!read(v, place + 1, name, member, items + place * size))
            ok = false;
        place++;
    }
    *out = (struct option_members){count, count > 0 ? items : NULL};
    return ok;
}
