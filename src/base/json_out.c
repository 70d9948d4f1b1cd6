/* JSON text into a buffer. */
#include "sluice/json_out.h"

#include "sluice/eight.h"
#include "sluice/utf8.h"

static bool json_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

/* How much at the front is written as it is: mostly all. */
static size_t json_plain_length(const unsigned char *s, size_t len)
{
    size_t i = 0;
    while (i + 8 <= len) {
        uint64_t v = eight_load(s + i);
        size_t n = eight_before(eight_below(v, 0x20) | eight_equal(v, '"') | eight_equal(v, '\\') |
                                eight_equal(v, 0x7F) | eight_high(v));
        i += n;
        if (n < 8)
            return i;
    }
    while (i < len && json_is_plain(s[i]))
        i++;
    return i;
}

static bool json_put_control(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        return buf_append_text(b, "\\\"");
    case '\\':
        return buf_append_text(b, "\\\\");
    case '\n':
        return buf_append_text(b, "\\n");
    case '\r':
        return buf_append_text(b, "\\r");
    case '\t':
        return buf_append_text(b, "\\t");
    default:
        return buf_printf(b, "\\u%04x", c);
    }
}

bool json_put_escaped(struct buf *b, struct slice text)
{
    const unsigned char *s = (const unsigned char *)text.ptr;
    size_t i = 0;
    while (i < text.len) {
        size_t run = i + json_plain_length(s + i, text.len - i);
        if (!buf_append(b, s + i, run - i))
            return false;
        i = run;
        if (i == text.len)
            break;
        size_t n = s[i] < 0x80 ? 0 : utf8_length(s + i, text.len - i);
        bool ok = n > 0           ? buf_append(b, s + i, n)
                  : s[i] >= 0x80  ? buf_append_text(b, "\\ufffd")
                                  : json_put_control(b, s[i]);
        if (!ok)
            return false;
        i += n > 0 ? n : 1;
    }
    return true;
}

/* The text, which needs no escapes, with something before and behind it, in one piece. */
static bool json_put_between(struct buf *b, struct slice before, struct slice text, struct slice after)
{
    char *to = buf_reserve(b, before.len + text.len + after.len);
    if (!to)
        return false;
    memcpy(to, before.ptr, before.len);
    if (text.len > 0)
        memcpy(to + before.len, text.ptr, text.len);
    memcpy(to + before.len + text.len, after.ptr, after.len);
    buf_commit(b, before.len + text.len + after.len);
    return true;
}

bool json_put_string(struct buf *b, struct slice text)
{
    if (json_plain_length((const unsigned char *)text.ptr, text.len) == text.len)
        return json_put_between(b, SLICE_LITERAL("\""), text, SLICE_LITERAL("\""));
    return buf_append_char(b, '"') && json_put_escaped(b, text) && buf_append_char(b, '"');
}

bool json_put_name(struct buf *b, const char *name)
{
    char last = b->len > 0 ? buf_data(b)[b->len - 1] : '{';
    bool first = last == '{' || last == '[';
    return json_put_between(b, first ? SLICE_LITERAL("\"") : SLICE_LITERAL(",\""), slice_from_text(name),
                            SLICE_LITERAL("\":"));
}

/* A member is written whole or not at all, so that a buffer at its cap still holds valid JSON. */
static bool json_end_member(struct buf *b, size_t len_before, bool ok)
{
    if (!ok)
        b->len = len_before;
    return ok;
}

/* ,"name":value or ,"name":"value" in one piece, or nothing; the value needs no escapes. */
static bool json_put_plain_member(struct buf *b, const char *name, struct slice value, bool quoted)
{
    char last = b->len > 0 ? b->mem[b->start + b->len - 1] : '{';
    size_t n = strlen(name), comma = last != '{' && last != '[', quote = quoted;
    char *to = buf_reserve(b, comma + n + value.len + 3 + 2 * quote);
    if (!to)
        return false;
    to[0] = ',';
    to += comma;
    *to++ = '"';
    memcpy(to, name, n);
    memcpy(to += n, "\":", 2);
    to[2] = '"';
    memcpy(to += 2 + quote, value.ptr, value.len);
    if (quoted)
        to[value.len] = '"';
    buf_commit(b, comma + n + value.len + 3 + 2 * quote);
    return true;
}

bool json_put_member_string(struct buf *b, const char *name, struct slice value)
{
    size_t before = b->len;
    if (value.len > 0 && json_plain_length((const unsigned char *)value.ptr, value.len) == value.len)
        return json_put_plain_member(b, name, value, true);
    return json_end_member(b, before, json_put_name(b, name) && json_put_string(b, value));
}

enum { JSON_NUMBER_MAX = 32 };

/* Writes the digits so that they end at end; gives their beginning. least: how many there are at least. */
static char *json_digits(char *end, uint64_t value, int least)
{
    for (; least > 0 || value > 0; value /= 10, least--)
        *--end = (char)('0' + value % 10);
    return end;
}

static uint64_t json_magnitude(int64_t value)
{
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

static bool json_put_number(struct buf *b, const char *name, char *at, const char *end, bool negative)
{
    if (negative)
        *--at = '-';
    return json_put_plain_member(b, name, slice_make(at, (size_t)(end - at)), false);
}

bool json_put_member_int(struct buf *b, const char *name, int64_t value)
{
    char text[JSON_NUMBER_MAX], *end = text + sizeof text;
    return json_put_number(b, name, json_digits(end, json_magnitude(value), 1), end, value < 0);
}

bool json_put_member_thousandths(struct buf *b, const char *name, int64_t value)
{
    char text[JSON_NUMBER_MAX], *end = text + sizeof text;
    char *at = json_digits(end, json_magnitude(value) % 1000, 3);
    *--at = '.';
    return json_put_number(b, name, json_digits(at, json_magnitude(value) / 1000, 1), end, value < 0);
}

const char *json_format_billionths(uint64_t value, char text[JSON_BILLIONTHS_SIZE])
{
    char *at = text + JSON_BILLIONTHS_SIZE - 1;
    uint64_t whole = value / 1000000000, part = value % 1000000000;
    int digits = 9;
    *at = '\0';
    for (; part > 0 && part % 10 == 0; part /= 10)
        digits--;
    if (part > 0) {
        at = json_digits(at, part, digits);
        *--at = '.';
    }
    return json_digits(at, whole, 1);
}

bool json_put_member_billionths(struct buf *b, const char *name, uint64_t value)
{
    char text[JSON_BILLIONTHS_SIZE];
    return json_put_plain_member(b, name, slice_from_text(json_format_billionths(value, text)), false);
}

bool json_put_member_bool(struct buf *b, const char *name, bool value)
{
    return json_put_plain_member(b, name, value ? SLICE_LITERAL("true") : SLICE_LITERAL("false"), false);
}
