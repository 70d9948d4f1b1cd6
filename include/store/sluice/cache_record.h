/*
 * The bytes that a cached answer is kept in, in Redis and in the embedded store alike.
 *
 * A record checks itself: it holds a checksum over the key and all of its content, so that what is cut,
 * foreign, garbled, or another key's is no record, and never an answer. It tells when it expires.
 *
 *   offset  0  magic "SLC1"
 *           4  flags, 32 bits
 *           8  checksum of the key and of all that follows, 64 bits
 *          16  created, 24 expires: microseconds since 1970
 *          32  owner, 6 bytes
 *          38  length of the content type, 16 bits
 *          40  length of the body, 32 bits
 *          44  content type, body
 *
 * All numbers are little-endian.
 */
#ifndef SLUICE_CACHE_RECORD_H
#define SLUICE_CACHE_RECORD_H

#include "sluice/buf.h"
#include "sluice/digest.h"

enum { CACHE_RECORD_HEAD_SIZE = 44, CACHE_OWNER_SIZE = 6, CACHE_CONTENT_TYPE_MAX = 256 };

/* Whose entry it is: the first bytes of a key's digest, which its fingerprint shows in hex. */
struct cache_owner {
    uint8_t bytes[CACHE_OWNER_SIZE];
};

struct cache_entry {
    int64_t created_us, expires_us; /* wall clock */
    uint32_t flags;                 /* the caller's own */
    struct cache_owner owner;
    struct slice content_type;
    struct slice body;
};

/* False at the buffer's cap, or where the content type is too long. */
bool cache_record_write(struct buf *out, const struct digest *key, const struct cache_entry *entry);

/* False: it is no record of this key. The entry's slices point into bytes. An expired one is read too. */
bool cache_record_read(struct slice bytes, const struct digest *key, struct cache_entry *out);

/* 12 hex digits to an owner; false where they are not. */
bool cache_owner_parse(struct slice fingerprint, struct cache_owner *out);

#endif
