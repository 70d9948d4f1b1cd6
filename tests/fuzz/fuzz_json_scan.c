/*
 * The tokenizer against jansson: both accept the same texts, but for what jansson itself cannot hold (numbers
 * beyond a double, NUL in a name, its own limit of depth), for the tokenizer's limit of depth, and for NUL
 * bytes, which jansson partly takes for the end. What is accepted is read whole, compacted, and means the
 * same.
 */
#include "fuzz.h"

#include "sluice/buf.h"
#include "sluice/json_scan.h"

#include <jansson.h>

/* Every value is within the text, and can be read again by itself. */
static void walk(struct json_value value, int depth)
{
    struct json_items items;
    struct json_value child, again;
    struct slice name;
    FUZZ_ASSERT(depth <= JSON_SCAN_DEPTH_MAX);
    FUZZ_ASSERT(value.raw.len > 0);
    if (!json_items_begin(&items, value))
        return;
    while (json_items_next(&items, &name, &child)) {
        FUZZ_ASSERT(child.raw.ptr > value.raw.ptr);
        FUZZ_ASSERT(child.raw.ptr + child.raw.len < value.raw.ptr + value.raw.len);
        if (depth < 8) {
            FUZZ_ASSERT(json_value_read(child.raw, &again) && again.kind == child.kind);
            walk(child, depth + 1);
        }
    }
    FUZZ_ASSERT(!items.failed);
}

static void check_compact(struct slice text)
{
    struct json_value value;
    struct buf compact, twice;
    buf_init(&compact, text.len);
    buf_init(&twice, text.len);
    FUZZ_ASSERT(json_scan_put_compact(&compact, text));
    FUZZ_ASSERT(json_value_read(buf_slice(&compact), &value));
    FUZZ_ASSERT(slice_equals(value.raw, buf_slice(&compact)));
    FUZZ_ASSERT(json_scan_put_compact(&twice, buf_slice(&compact)));
    FUZZ_ASSERT(slice_equals(buf_slice(&twice), buf_slice(&compact)));
    buf_free(&compact);
    buf_free(&twice);
}

/* Too deep for us; or with a NUL, at which jansson may take the text for ended. */
static bool is_excused(struct slice text)
{
    size_t opened = 0;
    if (memchr(text.ptr, '\0', text.len))
        return true;
    for (size_t i = 0; i < text.len; i++)
        opened += text.ptr[i] == '[' || text.ptr[i] == '{';
    return opened > JSON_SCAN_DEPTH_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct json_value value;
    json_error_t error;
    bool ours = json_value_read(text, &value);
    json_t *json = json_loadb(size ? (const char *)data : "", size,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (ours && !json) {
        enum json_error_code code = json_error_code(&error);
        FUZZ_ASSERT(code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
                    code == json_error_stack_overflow);
    }
    if (!ours && json)
        FUZZ_ASSERT(is_excused(text));
    if (ours) {
        walk(value, 1);
        check_compact(text);
    }
    json_decref(json);
    return 0;
}
