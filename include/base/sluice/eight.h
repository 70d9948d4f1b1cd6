/*
 * Eight bytes of a text looked at as one number, for searches of bytes that are rare in it.
 *
 * A search gives a mark for each byte that is searched for. Only the first mark is exact: behind it there may be marks
 * too many. Marks of several searches may be joined by |.
 */
#ifndef SLUICE_EIGHT_H
#define SLUICE_EIGHT_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EIGHT_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The byte at p is the lowest. */
static inline uint64_t eight_load(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

/* Bytes below limit, which is 0x80 at most. */
static inline uint64_t eight_below(uint64_t v, unsigned limit)
{
    return (v - EIGHT_EACH(limit)) & ~v & EIGHT_EACH(0x80);
}

static inline uint64_t eight_equal(uint64_t v, unsigned byte)
{
    return eight_below(v ^ EIGHT_EACH(byte), 1);
}

/* Bytes that are not ASCII; each mark is exact. */
static inline uint64_t eight_high(uint64_t v)
{
    return v & EIGHT_EACH(0x80);
}

/* How many bytes stand before the first mark; 8 where there is none. */
static inline size_t eight_before(uint64_t marks)
{
    return marks ? (size_t)__builtin_ctzll(marks) / 8 : 8;
}

#endif
