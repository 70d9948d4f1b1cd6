/* Byte buffers with a cap: see the header for what always holds. */
#include "sluice/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BUF_FIRST_SIZE = 256,
    BUF_KEEP_WHEN_EMPTY = 16 * 1024 /* an idle stream should not hold what one burst needed */
};

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    free(b->mem);
    *b = (struct buf){.max = b->max};
}

/* Room for len bytes behind the content, by moving it to the front or by growing. One spare byte is always
 * kept, for buf_text(). */
static bool buf_make_room(struct buf *b, size_t len)
{
    if (b->start + b->len + len < b->size)
        return true;
    if (b->start > 0 && b->len + len < b->size && b->start >= b->len) {
        memmove(b->mem, b->mem + b->start, b->len);
        b->start = 0;
        return true;
    }
    size_t need = b->len + len + 1;
    size_t size = b->size ? b->size : BUF_FIRST_SIZE;
    while (size < need)
        size *= 2;
    if (size > b->max + 1 && need <= b->max + 1)
        size = b->max + 1;
    char *mem = malloc(size);
    if (!mem)
        return false;
    if (b->len > 0)
        memcpy(mem, b->mem + b->start, b->len);
    free(b->mem);
    b->mem = mem;
    b->start = 0;
    b->size = size;
    return true;
}

char *buf_reserve(struct buf *b, size_t len)
{
    if (len > buf_room(b) || !buf_make_room(b, len))
        return NULL;
    return b->mem + b->start + b->len;
}

bool buf_append(struct buf *b, const void *bytes, size_t len)
{
    if (len == 0)
        return true;
    char *to = buf_reserve(b, len);
    if (!to)
        return false;
    memcpy(to, bytes, len);
    b->len += len;
    return true;
}

bool buf_append_text(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_append_slice(struct buf *b, struct slice s)
{
    return buf_append(b, s.ptr, s.len);
}

bool buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

bool buf_append_int(struct buf *b, int64_t value)
{
    char digits[24], *at = digits + sizeof digits;
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        *--at = '-';
    return buf_append(b, at, (size_t)(digits + sizeof digits - at));
}

/* Formats into the room there is, which mostly is enough; where it is not, once more into what was needed. */
bool buf_printf(struct buf *b, const char *format, ...)
{
    size_t room = b->size - b->start - b->len;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int need = vsnprintf(b->mem ? b->mem + b->start + b->len : NULL, room, format, args);
    va_end(args);
    bool ok = need >= 0 && (size_t)need <= buf_room(b);
    if (ok && (size_t)need >= room) {
        char *to = buf_reserve(b, (size_t)need);
        ok = to && vsnprintf(to, (size_t)need + 1, format, again) == need;
    }
    va_end(again);
    if (ok)
        b->len += (size_t)need;
    return ok;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n < b->len) {
        b->start += n;
        b->len -= n;
        return;
    }
    buf_clear(b);
    if (b->size > BUF_KEEP_WHEN_EMPTY)
        buf_free(b);
}

const char *buf_text(struct buf *b)
{
    if (!buf_make_room(b, 0))
        return NULL;
    b->mem[b->start + b->len] = '\0';
    return b->mem + b->start;
}
