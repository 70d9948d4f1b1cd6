/*
 * The canonical form: it is its own form, and does not change when white space is added, escapes are written
 * differently, numbers are written differently, or members are turned round. Where jansson holds both texts,
 * two forms are equal exactly where their values are.
 */
#include "fuzz.h"

#include "sluice/canonical.h"
#include "sluice/json_scan.h"

#include <jansson.h>

enum { FORM_MAX = 1024 * 1024 };

static bool form(struct slice json, struct buf *out)
{
    buf_init(out, FORM_MAX);
    enum canonical_result result = canonical_write(json, NULL, out);
    struct json_value value;
    FUZZ_ASSERT(result == CANONICAL_OK || out->len == 0);
    FUZZ_ASSERT((result == CANONICAL_NOT_JSON) == !json_value_read(json, &value));
    return result == CANONICAL_OK;
}

static void put_escaped(struct slice inner, struct buf *out)
{
    while (inner.len > 0) {
        char piece[4];
        bool escaped = inner.ptr[0] == '\\';
        size_t n = json_scan_decode(&inner, piece);
        if (n == 1 && (unsigned char)piece[0] < 0x80)
            buf_printf(out, "\\u%04X", piece[0]);
        else if (escaped || n == 1)
            buf_append(out, piece, n);
    }
}

/* The same value, written as differently as can be. */
static void disguise(struct json_value value, struct buf *out, int depth)
{
    struct json_items items;
    struct json_value child;
    struct slice name;
    buf_append_text(out, " \n");
    if (value.kind == JSON_KIND_STRING) {
        buf_append_char(out, '"');
        put_escaped(json_value_inner(value), out);
        buf_append_char(out, '"');
    } else if (value.kind == JSON_KIND_NUMBER && !memchr(value.raw.ptr, 'e', value.raw.len) &&
               !memchr(value.raw.ptr, 'E', value.raw.len)) {
        buf_append_slice(out, value.raw);
        buf_append_text(out, memchr(value.raw.ptr, '.', value.raw.len) ? "00E+0" : ".0e-0");
    } else if (json_items_begin(&items, value)) {
        bool comma = false;
        buf_append_char(out, value.raw.ptr[0]);
        while (json_items_next(&items, &name, &child)) {
            buf_append_text(out, comma ? "\t,\r" : " ");
            comma = true;
            if (value.kind == JSON_KIND_OBJECT) {
                buf_append_char(out, '"');
                put_escaped(name, out);
                buf_append_text(out, "\" : ");
            }
            disguise(child, out, depth + 1);
        }
        buf_append_char(out, value.raw.ptr[value.raw.len - 1]);
    } else {
        buf_append_slice(out, value.raw);
    }
    buf_append_text(out, "  ");
}

static void check_disguised(struct slice text, struct slice expected)
{
    struct json_value value;
    struct buf other, its_form;
    buf_init(&other, FORM_MAX);
    FUZZ_ASSERT(json_value_read(text, &value));
    disguise(value, &other, 0);
    if (other.len + 100 < FORM_MAX) {
        FUZZ_ASSERT(form(buf_slice(&other), &its_form));
        FUZZ_ASSERT(slice_equals(buf_slice(&its_form), expected));
        buf_free(&its_form);
    }
    buf_free(&other);
}

/* Of two texts. jansson rounds, so that equal values may have different forms, but never the other way round.
 */
static void check_pair(struct slice a, struct slice b)
{
    struct buf x, y;
    bool both = form(a, &x);
    both = form(b, &y) && both;
    if (both && slice_equals(buf_slice(&x), buf_slice(&y))) {
        json_t *p =
            json_loadb(a.ptr, a.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        json_t *q =
            json_loadb(b.ptr, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        FUZZ_ASSERT(!p || !q || json_equal(p, q));
        json_decref(p);
        json_decref(q);
    }
    buf_free(&x);
    buf_free(&y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct buf first, second;
    if (form(text, &first)) {
        FUZZ_ASSERT(form(buf_slice(&first), &second));
        FUZZ_ASSERT(slice_equals(buf_slice(&first), buf_slice(&second)));
        check_disguised(text, buf_slice(&first));
        buf_free(&second);
    }
    buf_free(&first);
    const char *border = size > 0 ? memchr(data, '\0', size) : NULL;
    if (border) {
        size_t n = (size_t)(border - (const char *)data);
        check_pair(slice_take(text, n), slice_skip(text, n + 1));
    }
    return 0;
}
