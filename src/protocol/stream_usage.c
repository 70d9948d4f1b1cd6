/* Asking for a stream's usage, and hiding it. */
#include "sluice/stream_usage.h"

#include "sluice/json_scan.h"

static bool stream_usage_put(struct buf *out, struct slice a, const char *text, struct slice b)
{
    size_t before = out->len;
    if (buf_append_slice(out, a) && buf_append_text(out, text) && buf_append_slice(out, b))
        return true;
    out->len = before;
    return false;
}

/* What stands before and behind a part of a text. */
static struct slice stream_usage_head(struct slice text, const char *part)
{
    return slice_take(text, (size_t)(part - text.ptr));
}

static struct slice stream_usage_tail(struct slice text, const char *part_end)
{
    return slice_skip(text, (size_t)(part_end - text.ptr));
}

/* Puts "name":value in front of an object's members. object begins with its bracket, whatever follows it. */
static bool stream_usage_insert(struct buf *out, struct slice text, struct slice object, const char *member,
                                const char *member_comma)
{
    struct slice inside = slice_trim(slice_skip(object, 1));
    const char *at = object.ptr + 1;
    return stream_usage_put(out, stream_usage_head(text, at), inside.ptr[0] == '}' ? member : member_comma,
                            stream_usage_tail(text, at));
}

static bool stream_usage_replace(struct buf *out, struct slice text, struct slice part, const char *with)
{
    return stream_usage_put(out, stream_usage_head(text, part.ptr), with,
                            stream_usage_tail(text, part.ptr + part.len));
}

/* The member of a body that may be large: it is read once. False: the body is no JSON object. */
static bool stream_usage_find_options(struct slice body, struct json_value *options)
{
    struct json_items items;
    struct json_value value;
    struct slice name;
    *options = (struct json_value){JSON_KIND_ERROR, {NULL, 0}};
    if (body.len == 0 || body.ptr[0] != '{' || !json_items_begin(&items, (struct json_value){JSON_KIND_OBJECT, body}))
        return false;
    while (json_items_next(&items, &name, &value))
        if (json_scan_text_is(name, "stream_options"))
            *options = value;
    return !items.failed && json_scan_next(&items.scan, &name) == JSON_KIND_DONE;
}

bool stream_usage_ask(struct slice body, struct buf *out)
{
    struct json_value options, include;
    struct slice object = slice_trim(body);
    if (!stream_usage_find_options(object, &options))
        return false;
    if (options.kind == JSON_KIND_ERROR)
        return stream_usage_insert(out, body, object, "\"stream_options\":{\"include_usage\":true}",
                                   "\"stream_options\":{\"include_usage\":true},");
    if (options.kind == JSON_KIND_NULL)
        return stream_usage_replace(out, body, options.raw, "{\"include_usage\":true}");
    if (options.kind != JSON_KIND_OBJECT)
        return false;
    if (json_value_find(options, "include_usage", &include))
        return stream_usage_replace(out, body, include.raw, "true");
    return stream_usage_insert(out, body, options.raw, "\"include_usage\":true", "\"include_usage\":true,");
}

bool stream_usage_is_extra(struct slice data)
{
    enum { CHOICES, USAGE, MEMBERS };
    static const char *const names[MEMBERS] = {"choices", "usage"};
    struct json_value found[MEMBERS], choice;
    struct json_items choices;
    if (!json_object_find_all(data, names, MEMBERS, found) || found[CHOICES].kind != JSON_KIND_ARRAY ||
        found[USAGE].kind != JSON_KIND_OBJECT)
        return false;
    return json_items_begin(&choices, found[CHOICES]) && !json_items_next(&choices, NULL, &choice);
}
