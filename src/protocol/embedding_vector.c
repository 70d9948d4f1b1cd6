/*
 * A vector as numbers and as base64 (RFC 4648, section 4, with padding) of little-endian IEEE 754 floats.
 *
 * Numbers are written with nine significant digits, by integer arithmetic where a double can tell them
 * exactly: a batch may have millions.
 */
#include "sluice/embeddings.h"

#include <endian.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { VECTOR_DIGITS = 9, VECTOR_NUMBER_MAX = 32 };

static bool vector_put_slowly(float value, struct buf *out)
{
    char text[VECTOR_NUMBER_MAX];
    snprintf(text, sizeof text, "%.9g", (double)value);
    bool whole = !strpbrk(text, ".e");
    return buf_append_text(out, text) && (!whole || buf_append_text(out, ".0"));
}

/* digits / 10^places, without zeros at its end. */
static bool vector_put_digits(bool negative, uint64_t digits, unsigned places, struct buf *out)
{
    char text[VECTOR_NUMBER_MAX], *at = text + sizeof text;
    unsigned left = places;
    for (; left > 1 && digits % 10 == 0; left--)
        digits /= 10;
    for (; left > 0; left--, digits /= 10)
        *--at = (char)('0' + digits % 10);
    *--at = '.';
    do
        *--at = (char)('0' + digits % 10);
    while ((digits /= 10) > 0);
    if (negative)
        *--at = '-';
    return buf_append(out, at, (size_t)(text + sizeof text - at));
}

static bool vector_put_float(float value, struct buf *out)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
    double size = fabs((double)value);
    unsigned places = VECTOR_DIGITS - 1;
    if (size == 0)
        return buf_append_text(out, signbit(value) ? "-0.0" : "0.0");
    if (!(size >= 1e-5 && size < 1e7))
        return vector_put_slowly(value, out);
    for (double x = size; x < 1; x *= 10)
        places++;
    for (double x = size; x >= 10; x /= 10)
        places--;
    double digits = floor(size * powers[places] + 0.5);
    if ((float)(digits / powers[places]) != (float)size)
        return vector_put_slowly(value, out);
    return vector_put_digits(value < 0, (uint64_t)digits, places, out);
}

/* ---- base64 ------------------------------------------------------------------------------------------ */

static int vector_sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static size_t vector_padding(struct slice text)
{
    size_t n = 0;
    while (n < 2 && n < text.len && text.ptr[text.len - 1 - n] == '=')
        n++;
    return n;
}

/* Bytes come out of groups of four letters; four bytes are a number. */
static bool vector_put_numbers(struct slice text, struct buf *out)
{
    size_t padding = vector_padding(text), count = 0;
    uint64_t bits = 0;
    unsigned held = 0; /* of bits */
    bool ok = text.len % 4 == 0 && buf_append_char(out, '[');
    uint32_t number = 0;
    unsigned bytes = 0;
    for (size_t i = 0; ok && i < text.len - padding; i++) {
        int sextet = vector_sextet(text.ptr[i]);
        if (sextet < 0)
            return false;
        bits = bits << 6 | (uint64_t)sextet;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        number |= (uint32_t)(bits >> held & 0xFF) << (8 * bytes++);
        if (bytes < sizeof number)
            continue;
        float value;
        memcpy(&value, &number, sizeof value);
        ok = isfinite(value) && count++ < EMBEDDINGS_DIMENSIONS_MAX &&
             (count == 1 || buf_append_char(out, ',')) && vector_put_float(value, out);
        number = 0;
        bytes = 0;
    }
    return ok && bytes == 0 && count > 0 && (bits & ((1u << held) - 1)) == 0 && buf_append_char(out, ']');
}

static void vector_encode_group(const unsigned char *from, size_t n, char to[4])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)from[0] << 16 | (n > 1 ? (uint32_t)from[1] << 8 : 0) | (n > 2 ? from[2] : 0);
    to[0] = letters[bits >> 18];
    to[1] = letters[bits >> 12 & 63];
    to[2] = n > 1 ? letters[bits >> 6 & 63] : '=';
    to[3] = n > 2 ? letters[bits & 63] : '=';
}

static bool vector_put_encoded(const unsigned char *bytes, size_t len, struct buf *out)
{
    size_t size = (len + 2) / 3 * 4;
    char *to = buf_reserve(out, size + 2);
    if (!to)
        return false;
    *to++ = '"';
    for (size_t i = 0; i < len; i += 3, to += 4)
        vector_encode_group(bytes + i, len - i, to);
    *to = '"';
    buf_commit(out, size + 2);
    return true;
}

/* The numbers of an array; how many, 0 where they cannot be told. */
static size_t vector_read_numbers(struct slice array, uint32_t *to)
{
    struct json_items items;
    struct json_value element;
    size_t count = 0;
    json_items_begin(&items, (struct json_value){JSON_KIND_ARRAY, array});
    while (json_items_next(&items, NULL, &element)) {
        if (element.kind != JSON_KIND_NUMBER || count == EMBEDDINGS_DIMENSIONS_MAX)
            return 0;
        float value = strtof(element.raw.ptr, NULL); /* ends at the comma or bracket behind the number */
        if (!isfinite(value))
            return 0;
        memcpy(&to[count], &value, sizeof value);
        to[count] = htole32(to[count]);
        count++;
    }
    return items.failed ? 0 : count;
}

static bool vector_put_base64(struct slice array, struct buf *out)
{
    uint32_t *numbers = malloc(EMBEDDINGS_DIMENSIONS_MAX * sizeof *numbers);
    size_t count = numbers ? vector_read_numbers(array, numbers) : 0;
    bool ok = count > 0 && vector_put_encoded((const unsigned char *)numbers, count * sizeof *numbers, out);
    free(numbers);
    return ok;
}

bool embedding_put_vector(struct slice vector, bool base64, struct buf *out)
{
    bool is_base64 = vector.len > 1 && vector.ptr[0] == '"';
    size_t before = out->len;
    if (vector.len < 3)
        return false;
    bool ok = is_base64 == base64 ? buf_append_slice(out, vector)
              : base64            ? vector_put_base64(vector, out)
                                  : vector_put_numbers(slice_make(vector.ptr + 1, vector.len - 2), out);
    if (!ok)
        out->len = before;
    return ok;
}
