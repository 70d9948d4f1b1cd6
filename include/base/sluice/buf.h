/*
 * A byte buffer that grows up to a cap given at its birth, and is consumed from its front.
 *
 * Every buffer has a cap: an append beyond it fails and changes nothing. The pointer given by buf_data() is
 * valid until the next call that changes the buffer. A zeroed struct is not a buffer: use buf_init().
 */
#ifndef SLUICE_BUF_H
#define SLUICE_BUF_H

#include "sluice/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *mem;    /* NULL until the first append */
    size_t start; /* consumed bytes at the front */
    size_t len;   /* bytes held, after start */
    size_t size;  /* bytes allocated */
    size_t max;   /* len never exceeds this */
};

/* Allocates nothing. max is in bytes. */
void buf_init(struct buf *b, size_t max);

/* Releases the memory; the buffer stays usable, with its cap. */
void buf_free(struct buf *b);

/* Forgets the content, keeps the memory. */
static inline void buf_clear(struct buf *b)
{
    b->start = 0;
    b->len = 0;
}

static inline const char *buf_data(const struct buf *b)
{
    return b->mem ? b->mem + b->start : NULL;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){buf_data(b), b->len};
}

/* How many more bytes fit below the cap. */
static inline size_t buf_room(const struct buf *b)
{
    return b->max - b->len;
}

/* False where the cap or the allocator refuses; the buffer is then unchanged. */
bool buf_append(struct buf *b, const void *bytes, size_t len);
bool buf_append_text(struct buf *b, const char *text);
bool buf_append_slice(struct buf *b, struct slice s);
bool buf_append_char(struct buf *b, char c);
bool buf_append_int(struct buf *b, int64_t value); /* in decimal digits */
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes sure that len more bytes can be written at the returned address; buf_commit() then adds them. */
char *buf_reserve(struct buf *b, size_t len);
static inline void buf_commit(struct buf *b, size_t len)
{
    b->len += len;
}

/* Drops n bytes (at most len) from the front. An emptied buffer of over 16 KiB gives its memory back. */
void buf_consume(struct buf *b, size_t n);

/* The content with a NUL behind it that does not count; NULL where the allocator refuses. */
const char *buf_text(struct buf *b);

#endif
