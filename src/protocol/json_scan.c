/*
 * The tokenizer: one state, one bit a level, no recursion.
 *
 * A name is taken together with its colon, so that every state is either before a value, before a name, or
 * behind a value.
 */
#include "sluice/json_scan.h"

#include "sluice/eight.h"
#include "sluice/utf8.h"

enum json_expect {
    JSON_EXPECT_VALUE,
    JSON_EXPECT_FIRST_ELEMENT, /* or the end of the array */
    JSON_EXPECT_NAME,
    JSON_EXPECT_FIRST_NAME, /* or the end of the object */
    JSON_EXPECT_AFTER,      /* a comma, an end, or the end of the text */
    JSON_EXPECT_NOTHING     /* after an error */
};

void json_scan_init(struct json_scan *s, struct slice text)
{
    static const char nothing[1];
    *s = (struct json_scan){.at = text.len ? text.ptr : nothing, .expect = JSON_EXPECT_VALUE};
    s->end = s->at + text.len;
}

static enum json_kind json_scan_fail(struct json_scan *s)
{
    s->expect = JSON_EXPECT_NOTHING;
    return JSON_KIND_ERROR;
}

static inline void json_scan_skip_blank(struct json_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

static inline bool json_scan_in_object(const struct json_scan *s)
{
    unsigned level = s->depth - 1;
    return s->objects[level / 64] >> (level % 64) & 1;
}

/* ---- strings ----------------------------------------------------------------------------------------- */

static int json_hex_digit(char c)
{
    unsigned digit = (unsigned char)c - '0', letter = ((unsigned char)c | 0x20u) - 'a';
    return digit < 10 ? (int)digit : letter < 6 ? (int)letter + 10 : -1;
}

/* Four hex digits at p; -1 where they are not. */
static long json_hex4(const char *p, const char *end)
{
    long value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = json_hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The code point of \uXXXX at p (behind the u), of two where they are a surrogate pair; *len: bytes taken.
 * -1: wrong. */
static long json_unicode(const char *p, const char *end, size_t *len)
{
    long high = json_hex4(p, end);
    *len = 4;
    if (high < 0xD800 || high > 0xDFFF)
        return high;
    if (high > 0xDBFF || end - p < 10 || p[4] != '\\' || p[5] != 'u')
        return -1;
    long low = json_hex4(p + 6, end);
    *len = 10;
    if (low < 0xDC00 || low > 0xDFFF)
        return -1;
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

static bool json_is_escape(char c)
{
    switch (c) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return true;
    default:
        return false;
    }
}

/* Moves behind the escape at s->at. */
static bool json_scan_escape(struct json_scan *s)
{
    size_t len;
    s->escaped = true;
    if (s->end - s->at < 2)
        return false;
    char c = s->at[1];
    s->at += 2;
    if (c != 'u')
        return json_is_escape(c);
    if (json_unicode(s->at, s->end, &len) < 0)
        return false;
    s->at += len;
    return true;
}

/* Moves behind a run of characters beyond ASCII. */
static bool json_scan_high(struct json_scan *s)
{
    while (s->at < s->end && (unsigned char)*s->at >= 0x80) {
        size_t n = utf8_length((const unsigned char *)s->at, (size_t)(s->end - s->at));
        if (n == 0)
            return false;
        s->at += n;
    }
    return true;
}

static bool json_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Moves behind a run of what stands for itself in a string: most of a prompt, so that it is looked at in
 * eights. */
static void json_scan_plain(struct json_scan *s)
{
    while (s->end - s->at >= 8) {
        uint64_t v = eight_load(s->at);
        size_t n =
            eight_before(eight_below(v, 0x20) | eight_equal(v, '"') | eight_equal(v, '\\') | eight_high(v));
        s->at += n;
        if (n < 8)
            return;
    }
    while (s->at < s->end && json_is_plain((unsigned char)*s->at))
        s->at++;
}

/* s->at is behind the opening quote; is left behind the closing one. */
static bool json_scan_string(struct json_scan *s, struct slice *token)
{
    const char *from = s->at;
    s->escaped = false;
    for (;;) {
        json_scan_plain(s);
        if (s->at == s->end)
            return false;
        if (*s->at == '"') {
            *token = slice_make(from, (size_t)(s->at++ - from));
            return true;
        }
        bool ok = *s->at == '\\' ? json_scan_escape(s) : (unsigned char)*s->at >= 0x80 && json_scan_high(s);
        if (!ok)
            return false;
    }
}

static size_t json_decode_escape(struct slice *text, char out[4])
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (text->ptr[1] != 'u') {
        out[0] = meanings[strchr(letters, text->ptr[1]) - letters];
        *text = slice_skip(*text, 2);
        return 1;
    }
    size_t len;
    long c = json_unicode(text->ptr + 2, text->ptr + text->len, &len);
    *text = slice_skip(*text, 2 + len);
    return utf8_put(out, (unsigned long)c);
}

size_t json_scan_decode(struct slice *text, char out[4])
{
    if (text->len == 0)
        return 0;
    if (text->ptr[0] == '\\')
        return json_decode_escape(text, out);
    out[0] = text->ptr[0];
    *text = slice_skip(*text, 1);
    return 1;
}

/* One decoded byte at a time, from a text whose escapes may give several. */
struct json_bytes {
    struct slice rest;
    char piece[4];
    size_t at, len;
};

static int json_bytes_next(struct json_bytes *b)
{
    if (b->at == b->len) {
        b->at = 0;
        b->len = json_scan_decode(&b->rest, b->piece);
    }
    return b->len == 0 ? -1 : (unsigned char)b->piece[b->at++];
}

bool json_scan_text_says(struct slice inner, const char *text)
{
    if (inner.len == 0 || !memchr(inner.ptr, '\\', inner.len))
        return slice_equals_text(inner, text);
    struct json_bytes bytes = {.rest = inner};
    for (; *text; text++)
        if (json_bytes_next(&bytes) != (unsigned char)*text)
            return false;
    return json_bytes_next(&bytes) < 0;
}

/* ---- numbers and words ------------------------------------------------------------------------------- */

static size_t json_scan_digits(struct json_scan *s)
{
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - from);
}

static inline bool json_scan_take(struct json_scan *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool json_scan_number(struct json_scan *s, struct slice *token)
{
    const char *from = s->at;
    json_scan_take(s, '-');
    if (!json_scan_take(s, '0') && json_scan_digits(s) == 0)
        return false;
    if (json_scan_take(s, '.') && json_scan_digits(s) == 0)
        return false;
    if (json_scan_take(s, 'e') || json_scan_take(s, 'E')) {
        if (!json_scan_take(s, '+'))
            json_scan_take(s, '-');
        if (json_scan_digits(s) == 0)
            return false;
    }
    *token = slice_make(from, (size_t)(s->at - from));
    return true;
}

static bool json_scan_word(struct json_scan *s, const char *word, struct slice *token)
{
    *token = slice_make(s->at, strlen(word));
    if (!slice_starts_with(slice_make(s->at, (size_t)(s->end - s->at)), slice_from_text(word)))
        return false;
    s->at += token->len;
    return true;
}

/* ---- structure --------------------------------------------------------------------------------------- */

static enum json_kind json_scan_open(struct json_scan *s, struct slice *token, bool object)
{
    unsigned level = s->depth;
    if (level == JSON_SCAN_DEPTH_MAX)
        return json_scan_fail(s);
    uint64_t bit = UINT64_C(1) << (level % 64);
    s->objects[level / 64] = object ? s->objects[level / 64] | bit : s->objects[level / 64] & ~bit;
    s->depth++;
    *token = slice_make(s->at++, 1);
    s->expect = object ? JSON_EXPECT_FIRST_NAME : JSON_EXPECT_FIRST_ELEMENT;
    return object ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
}

static enum json_kind json_scan_scalar(struct json_scan *s, struct slice *token)
{
    s->expect = JSON_EXPECT_AFTER;
    switch (*s->at) {
    case '"':
        s->at++;
        return json_scan_string(s, token) ? JSON_KIND_STRING : json_scan_fail(s);
    case 't':
        return json_scan_word(s, "true", token) ? JSON_KIND_TRUE : json_scan_fail(s);
    case 'f':
        return json_scan_word(s, "false", token) ? JSON_KIND_FALSE : json_scan_fail(s);
    case 'n':
        return json_scan_word(s, "null", token) ? JSON_KIND_NULL : json_scan_fail(s);
    default:
        return json_scan_number(s, token) ? JSON_KIND_NUMBER : json_scan_fail(s);
    }
}

static enum json_kind json_scan_value(struct json_scan *s, struct slice *token)
{
    if (s->at == s->end)
        return json_scan_fail(s);
    if (*s->at == '{' || *s->at == '[')
        return json_scan_open(s, token, *s->at == '{');
    return json_scan_scalar(s, token);
}

static enum json_kind json_scan_name(struct json_scan *s, struct slice *token)
{
    if (!json_scan_take(s, '"') || !json_scan_string(s, token))
        return json_scan_fail(s);
    json_scan_skip_blank(s);
    if (!json_scan_take(s, ':'))
        return json_scan_fail(s);
    s->expect = JSON_EXPECT_VALUE;
    return JSON_KIND_NAME;
}

static enum json_kind json_scan_close(struct json_scan *s, struct slice *token)
{
    *token = slice_make(s->at++, 1);
    s->depth--;
    s->expect = JSON_EXPECT_AFTER;
    return JSON_KIND_END;
}

static enum json_kind json_scan_after(struct json_scan *s, struct slice *token)
{
    if (s->depth == 0)
        return s->at == s->end ? JSON_KIND_DONE : json_scan_fail(s);
    bool object = json_scan_in_object(s);
    if (s->at < s->end && *s->at == (object ? '}' : ']'))
        return json_scan_close(s, token);
    if (!json_scan_take(s, ','))
        return json_scan_fail(s);
    json_scan_skip_blank(s);
    return object ? json_scan_name(s, token) : json_scan_value(s, token);
}

enum json_kind json_scan_next(struct json_scan *s, struct slice *token)
{
    *token = (struct slice){NULL, 0};
    json_scan_skip_blank(s);
    switch (s->expect) {
    case JSON_EXPECT_VALUE:
        return json_scan_value(s, token);
    case JSON_EXPECT_FIRST_ELEMENT:
        return s->at < s->end && *s->at == ']' ? json_scan_close(s, token) : json_scan_value(s, token);
    case JSON_EXPECT_NAME:
        return json_scan_name(s, token);
    case JSON_EXPECT_FIRST_NAME:
        return s->at < s->end && *s->at == '}' ? json_scan_close(s, token) : json_scan_name(s, token);
    case JSON_EXPECT_AFTER:
        return json_scan_after(s, token);
    default:
        return JSON_KIND_ERROR;
    }
}

void json_scan_leave(struct json_scan *s, const char *end)
{
    s->at = end;
    s->depth--;
    s->expect = JSON_EXPECT_AFTER;
}
