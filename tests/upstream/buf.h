/* A growable byte buffer and the few text helpers everything here is written with. */
#ifndef SIM_BUF_H
#define SIM_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    char *data;
    size_t len;
    size_t cap;
};

struct slice {
    const char *p;
    size_t n;
};

#define BUF_LIT(b, literal) buf_add((b), (literal), sizeof(literal) - 1)

void buf_grow(struct buf *b, size_t extra);

static inline void buf_reserve(struct buf *b, size_t extra)
{
    if (b->cap - b->len < extra) {
        buf_grow(b, extra);
    }
}

static inline void buf_add(struct buf *b, const void *data, size_t len)
{
    if (len) {
        buf_reserve(b, len);
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
}

static inline void buf_puts(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_put_uint(struct buf *b, uint64_t value);
void buf_put_hex64(struct buf *b, uint64_t value);
void buf_put_json(struct buf *b, const char *text, size_t len); /* quoted and escaped */
void buf_put_base64(struct buf *b, const void *data, size_t len);
void buf_put_sha256(struct buf *b, const void *data, size_t len); /* as hex */
void buf_free(struct buf *b);

bool slice_equals(struct slice s, const char *text);
bool slice_starts(struct slice s, const char *text);
bool slice_equals_nocase(struct slice s, const char *text);
struct slice slice_trim(struct slice s);

/* Decodes %XX and '+' from s into out. */
void text_url_decode(struct buf *out, struct slice s);
bool text_is_utf8(const char *text, size_t len);
uint64_t text_hash(uint64_t seed, const void *data, size_t len);
uint64_t text_mix(uint64_t value); /* splitmix64's finaliser */

#define TEXT_HASH_START 1469598103934665603ULL

uint64_t clock_now_us(void); /* CLOCK_MONOTONIC */

#endif
