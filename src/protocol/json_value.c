/* Whole values: what most readers of a JSON text need of the tokenizer. */
#include "sluice/json_scan.h"

/* The rest of the value whose first token was just read. */
static bool json_value_finish(struct json_scan *s, enum json_kind kind, struct slice token,
                              struct json_value *out)
{
    const char *from = kind == JSON_KIND_STRING ? token.ptr - 1 : token.ptr;
    unsigned depth = s->depth;
    bool container = kind == JSON_KIND_OBJECT || kind == JSON_KIND_ARRAY;
    *out = (struct json_value){JSON_KIND_ERROR, {NULL, 0}};
    if (kind == JSON_KIND_ERROR)
        return false;
    while (container && s->depth >= depth)
        if (json_scan_next(s, &token) == JSON_KIND_ERROR)
            return false;
    *out = (struct json_value){kind, slice_make(from, (size_t)(s->at - from))};
    return true;
}

bool json_value_read(struct slice text, struct json_value *out)
{
    struct json_scan s;
    struct slice token;
    json_scan_init(&s, text);
    enum json_kind kind = json_scan_next(&s, &token);
    bool ok = json_value_finish(&s, kind, token, out) && json_scan_next(&s, &token) == JSON_KIND_DONE;
    if (!ok)
        out->kind = JSON_KIND_ERROR;
    return ok;
}

bool json_items_begin(struct json_items *items, struct json_value container)
{
    struct slice token;
    json_scan_init(&items->scan, container.raw);
    enum json_kind kind = json_scan_next(&items->scan, &token);
    items->failed = kind != JSON_KIND_OBJECT && kind != JSON_KIND_ARRAY;
    return !items->failed;
}

bool json_items_next(struct json_items *items, struct slice *name, struct json_value *value)
{
    struct slice token;
    if (name)
        *name = (struct slice){NULL, 0};
    *value = (struct json_value){JSON_KIND_ERROR, {NULL, 0}};
    if (items->failed)
        return false;
    enum json_kind kind = json_scan_next(&items->scan, &token);
    if (kind == JSON_KIND_END || kind == JSON_KIND_DONE)
        return false;
    if (kind == JSON_KIND_NAME) {
        if (name)
            *name = token;
        kind = json_scan_next(&items->scan, &token);
    }
    items->failed = !json_value_finish(&items->scan, kind, token, value);
    return !items->failed;
}

bool json_value_find(struct json_value object, const char *name, struct json_value *out)
{
    struct json_items items;
    struct json_value value;
    struct slice found;
    *out = (struct json_value){JSON_KIND_ERROR, {NULL, 0}};
    if (object.kind != JSON_KIND_OBJECT || !json_items_begin(&items, object))
        return false;
    while (json_items_next(&items, &found, &value))
        if (json_scan_text_is(found, name))
            *out = value;
    return out->kind != JSON_KIND_ERROR;
}

/* Leaves items behind the object's end. */
static bool json_items_find_all(struct json_items *items, struct slice object, const char *const *names, size_t count,
                                struct json_value *out)
{
    struct json_value value;
    struct slice found;
    for (size_t i = 0; i < count; i++)
        out[i] = (struct json_value){JSON_KIND_ERROR, {NULL, 0}};
    if (!json_items_begin(items, (struct json_value){JSON_KIND_OBJECT, object}))
        return false;
    while (json_items_next(items, &found, &value))
        for (size_t i = 0; i < count; i++)
            if (json_scan_text_is(found, names[i])) {
                out[i] = value;
                break;
            }
    return !items->failed;
}

bool json_value_find_all(struct json_value object, const char *const *names, size_t count, struct json_value *out)
{
    struct json_items items;
    struct slice raw = object.kind == JSON_KIND_OBJECT ? object.raw : (struct slice){NULL, 0};
    return json_items_find_all(&items, raw, names, count, out);
}

bool json_object_find_all(struct slice text, const char *const *names, size_t count, struct json_value *out)
{
    struct json_items items;
    struct slice token;
    text = slice_trim(text);
    if (!slice_starts_with(text, SLICE_LITERAL("{")))
        text = (struct slice){NULL, 0};
    return json_items_find_all(&items, text, names, count, out) &&
           json_scan_next(&items.scan, &token) == JSON_KIND_DONE;
}

bool json_value_find_path(struct json_value object, const char *const *names, struct json_value *out)
{
    *out = object;
    for (; *names; names++)
        if (!json_value_find(*out, *names, out))
            return false;
    return true;
}

struct slice json_value_inner(struct json_value string)
{
    if (string.kind != JSON_KIND_STRING)
        return (struct slice){NULL, 0};
    return slice_make(string.raw.ptr + 1, string.raw.len - 2);
}

bool json_value_is_text(struct json_value value, const char *text)
{
    return value.kind == JSON_KIND_STRING && json_scan_text_is(json_value_inner(value), text);
}

bool json_value_is_zero(struct json_value value)
{
    if (value.kind != JSON_KIND_NUMBER)
        return false;
    for (size_t i = 0; i < value.raw.len && value.raw.ptr[i] != 'e' && value.raw.ptr[i] != 'E'; i++)
        if (value.raw.ptr[i] >= '1' && value.raw.ptr[i] <= '9')
            return false;
    return true;
}

bool json_value_int(struct json_value value, int64_t *out)
{
    enum { DIGITS_MAX = 18 };
    bool negative = value.raw.len > 0 && value.raw.ptr[0] == '-';
    struct slice digits = slice_skip(value.raw, negative ? 1 : 0);
    *out = 0;
    if (value.kind != JSON_KIND_NUMBER || digits.len == 0 || digits.len > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        *out = *out * 10 + (digits.ptr[i] - '0');
    }
    *out = negative ? -*out : *out;
    return true;
}

/* Bytes up to the next blank or quote. */
static size_t json_outer_run(struct slice s)
{
    size_t i = 0;
    while (i < s.len && s.ptr[i] != ' ' && s.ptr[i] != '\n' && s.ptr[i] != '\r' && s.ptr[i] != '\t' &&
           s.ptr[i] != '"')
        i++;
    return i;
}

/* A string's bytes, with both quotes. A quote that an odd number of backslashes stands before is escaped. */
static size_t json_string_run(struct slice s)
{
    const char *from = s.ptr + 1, *end = s.ptr + s.len, *quote;
    while ((quote = memchr(from, '"', (size_t)(end - from)))) {
        const char *run = quote;
        while (run > from && run[-1] == '\\')
            run--;
        from = quote + 1;
        if ((quote - run) % 2 == 0)
            return (size_t)(from - s.ptr);
    }
    return s.len;
}

bool json_scan_put_compact(struct buf *out, struct slice json)
{
    while (json.len > 0) {
        size_t n = json_outer_run(json);
        if (n == 0 && json.ptr[0] == '"')
            n = json_string_run(json);
        if (!buf_append(out, json.ptr, n))
            return false;
        json = slice_skip(json, n > 0 ? n : 1);
    }
    return true;
}
