#include "buf.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

void buf_grow(struct buf *b, size_t extra)
{
    size_t cap = b->cap ? b->cap * 2 : 512;
    while (cap - b->len < extra) {
        cap *= 2;
    }
    b->data = realloc(b->data, cap);
    if (!b->data) {
        abort();
    }
    b->cap = cap;
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        abort();
    }
    buf_add(b, text, (size_t)len);
    free(text);
}

void buf_put_uint(struct buf *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buf_add(b, digits + at, sizeof digits - at);
}

static const char hex_digits[] = "0123456789abcdef";

void buf_put_hex64(struct buf *b, uint64_t value)
{
    char text[16];
    for (int i = 15; i >= 0; i--) {
        text[i] = hex_digits[value & 15];
        value >>= 4;
    }
    buf_add(b, text, sizeof text);
}

static void buf_put_escape(struct buf *b, unsigned char ch)
{
    static const char named[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *hit = memchr(named, ch, sizeof named - 1);
    char text[6] = {'\\', 'u', '0', '0', hex_digits[ch >> 4], hex_digits[ch & 15]};
    if (hit) {
        text[1] = letters[hit - named];
    }
    buf_add(b, text, hit ? 2 : 6);
}

void buf_put_json(struct buf *b, const char *text, size_t len)
{
    size_t from = 0;
    BUF_LIT(b, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)text[i];
        if (ch >= 0x20 && ch != '"' && ch != '\\') {
            continue;
        }
        buf_add(b, text + from, i - from);
        buf_put_escape(b, ch);
        from = i + 1;
    }
    buf_add(b, text + from, len - from);
    BUF_LIT(b, "\"");
}

void buf_put_base64(struct buf *b, const void *data, size_t len)
{
    buf_reserve(b, (len + 2) / 3 * 4 + 1);
    int done = EVP_EncodeBlock((unsigned char *)b->data + b->len, data, (int)len);
    b->len += (size_t)done;
}

void buf_put_sha256(struct buf *b, const void *data, size_t len)
{
    unsigned char digest[32];
    EVP_Digest(len ? data : "", len, digest, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < sizeof digest; i++) {
        char pair[2] = {hex_digits[digest[i] >> 4], hex_digits[digest[i] & 15]};
        buf_add(b, pair, 2);
    }
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

bool slice_equals(struct slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

bool slice_starts(struct slice s, const char *text)
{
    size_t n = strlen(text);
    return s.n >= n && memcmp(s.p, text, n) == 0;
}

bool slice_equals_nocase(struct slice s, const char *text)
{
    return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

struct slice slice_trim(struct slice s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r')) {
        s.n--;
    }
    return s;
}

static int hex_value(char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

void text_url_decode(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i] == '+' ? ' ' : s.p[i];
        if (ch == '%' && i + 2 < s.n && hex_value(s.p[i + 1]) >= 0 && hex_value(s.p[i + 2]) >= 0) {
            ch = (char)(hex_value(s.p[i + 1]) * 16 + hex_value(s.p[i + 2]));
            i += 2;
        }
        buf_add(out, &ch, 1);
    }
}

/* How many continuation bytes follow the lead byte, or -1 when it cannot lead. */
static int utf8_follow(unsigned char lead)
{
    if (lead < 0x80) {
        return 0;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return 1;
    }
    if ((lead & 0xf0) == 0xe0) {
        return 2;
    }
    return lead >= 0xf0 && lead <= 0xf4 ? 3 : -1;
}

static bool utf8_second_ok(unsigned char lead, unsigned char second)
{
    return !(lead == 0xe0 && second < 0xa0) && !(lead == 0xed && second > 0x9f) &&
           !(lead == 0xf0 && second < 0x90) && !(lead == 0xf4 && second > 0x8f);
}

bool text_is_utf8(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        int follow = utf8_follow(p[i]);
        if (follow < 0 || (size_t)follow >= len - i) {
            return false;
        }
        if (follow && !utf8_second_ok(p[i], p[i + 1])) {
            return false;
        }
        for (int k = 1; k <= follow; k++) {
            if ((p[i + (size_t)k] & 0xc0) != 0x80) {
                return false;
            }
        }
        i += (size_t)follow + 1;
    }
    return true;
}

uint64_t text_hash(uint64_t seed, const void *data, size_t len)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++) {
        seed = (seed ^ p[i]) * 1099511628211ULL;
    }
    return seed;
}

uint64_t text_mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15ULL;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

uint64_t clock_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}
