/*
 * A view of bytes that somebody else owns.
 *
 * A slice is never NUL-terminated by promise and never owns memory. It is valid as long as the bytes
 * behind it are; a function that keeps one says so. An empty slice may have a NULL pointer.
 */
#ifndef SLUICE_SLICE_H
#define SLUICE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE_LITERAL(text) ((struct slice){(text), sizeof(text) - 1})

static inline struct slice slice_make(const void *ptr, size_t len)
{
    return (struct slice){(const char *)ptr, len};
}

/* NULL gives the empty slice. */
static inline struct slice slice_from_text(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline bool slice_equals(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case does not count. */
static inline bool slice_equals_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_equals_text(struct slice a, const char *text)
{
    return slice_equals(a, slice_from_text(text));
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline bool slice_starts_with_nocase(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || strncasecmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* What is left after the first n bytes; n beyond the end gives the empty slice. */
static inline struct slice slice_skip(struct slice s, size_t n)
{
    return n >= s.len ? (struct slice){NULL, 0} : (struct slice){s.ptr + n, s.len - n};
}

static inline struct slice slice_take(struct slice s, size_t n)
{
    return (struct slice){s.ptr, n < s.len ? n : s.len};
}

static inline bool slice_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without blanks, tabs, CR and LF at both ends. */
static inline struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && slice_is_blank(s.ptr[0]))
        s = (struct slice){s.ptr + 1, s.len - 1};
    while (s.len > 0 && slice_is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

#endif
