/*
 * JSON text (RFC 8259) read in place: tokens and values are slices of the text, numbers keep every digit as
 * written, and nothing is allocated.
 *
 * Strict: no comments, no trailing commas, UTF-8 is checked, and so are escapes (a surrogate without its
 * other half is an error). Containers may be nested JSON_SCAN_DEPTH_MAX deep; what is deeper is an error.
 */
#ifndef SLUICE_JSON_SCAN_H
#define SLUICE_JSON_SCAN_H

#include "sluice/buf.h"

#include <stdint.h>

enum { JSON_SCAN_DEPTH_MAX = 256 };

enum json_kind {
    JSON_KIND_ERROR, /* not JSON, or too deep; every later token is this one too */
    JSON_KIND_OBJECT,
    JSON_KIND_ARRAY,
    JSON_KIND_STRING,
    JSON_KIND_NUMBER,
    JSON_KIND_TRUE,
    JSON_KIND_FALSE,
    JSON_KIND_NULL,
    JSON_KIND_NAME, /* of a member; its value comes next */
    JSON_KIND_END,  /* of the object or array that was opened last */
    JSON_KIND_DONE  /* the value is complete, and nothing but white space follows */
};

/* ---- token by token ---------------------------------------------------------------------------------- */

struct json_scan {
    const char *at, *end;
    unsigned depth;                             /* open containers */
    unsigned expect;                            /* what may come next */
    bool escaped;                               /* the last name or string holds a backslash */
    uint64_t objects[JSON_SCAN_DEPTH_MAX / 64]; /* a bit a level: object or array */
};

void json_scan_init(struct json_scan *s, struct slice text);

/* *token: a string or a name without its quotes, its escapes as written; a number or a word as written; the
 * bracket of a container. */
enum json_kind json_scan_next(struct json_scan *s, struct slice *token);

/* Directly after a container's opening: goes on behind it. end is where its closing bracket ends, as known
 * from an earlier reading; the bytes before it are not looked at. */
void json_scan_leave(struct json_scan *s, const char *end);

/* ---- strings ----------------------------------------------------------------------------------------- */

/* The next piece of a string's inner text, with its escapes decoded: 1 to 4 bytes; 0 at its end. The text
 * must have been accepted by json_scan_next(). */
size_t json_scan_decode(struct slice *text, char out[4]);

/* Whether it says text, its escapes decoded. */
bool json_scan_text_says(struct slice inner, const char *text);

/* The same; most names differ in their first letter, which is looked at in place. */
static inline bool json_scan_text_is(struct slice inner, const char *text)
{
    return (inner.len == 0 || inner.ptr[0] == text[0] || inner.ptr[0] == '\\') && json_scan_text_says(inner, text);
}

/* ---- whole values ------------------------------------------------------------------------------------ */

struct json_value {
    enum json_kind kind;
    struct slice raw; /* as written: with quotes or brackets, without white space around it */
};

/* Reads a text that is one value. False: it is not; out->kind is JSON_KIND_ERROR. */
bool json_value_read(struct slice text, struct json_value *out);

/* Reads the members of an object or the elements of an array one by one. */
struct json_items {
    struct json_scan scan;
    bool failed;
};

/* False where the value is neither; the text is checked as far as it is read. */
bool json_items_begin(struct json_items *items, struct json_value container);

/* name may be NULL; of an element it is empty. False after the last one, or where the text is wrong (failed).
 */
bool json_items_next(struct json_items *items, struct slice *name, struct json_value *value);

/* A member of an object; of several with this name the last. False, and out->kind JSON_KIND_ERROR, where
 * there is none or the value is no object. */
bool json_value_find(struct json_value object, const char *name, struct json_value *out);

/* Several members in one reading of the object: out[i] as above for names[i]. False where it is no sound object. */
bool json_value_find_all(struct json_value object, const char *const *names, size_t count, struct json_value *out);

/* The same of a whole text, which must be an object and nothing else: read once. */
bool json_object_find_all(struct slice text, const char *const *names, size_t count, struct json_value *out);

/* The same through several objects: names in order, NULL at the end. */
bool json_value_find_path(struct json_value object, const char *const *names, struct json_value *out);

/* A string value without its quotes, escapes as written; empty for other values. */
struct slice json_value_inner(struct json_value string);

/* Whether it is a string that says text. */
bool json_value_is_text(struct json_value value, const char *text);

/* A number whose value is zero, however it is written. */
bool json_value_is_zero(struct json_value value);

/* A whole number as plain digits that an int64_t holds. */
bool json_value_int(struct json_value value, int64_t *out);

/* Appends a valid JSON text without the white space between its tokens, and so without line breaks. */
bool json_scan_put_compact(struct buf *out, struct slice json);

#endif
