/* The record's bytes, and its checksum. */
#include "sluice/cache_record.h"

#include <endian.h>

enum {
    CACHE_RECORD_FLAGS = 4,
    CACHE_RECORD_SUM = 8,
    CACHE_RECORD_CREATED = 16,
    CACHE_RECORD_EXPIRES = 24,
    CACHE_RECORD_OWNER = 32,
    CACHE_RECORD_TYPE_LEN = 38,
    CACHE_RECORD_BODY_LEN = 40,
};

static const char cache_record_magic[4] = {'S', 'L', 'C', '1'};

static void cache_put16(char *at, uint16_t value)
{
    value = htole16(value);
    memcpy(at, &value, sizeof value);
}

static void cache_put32(char *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof value);
}

static void cache_put64(char *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

static uint16_t cache_get16(const char *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return le16toh(value);
}

static uint32_t cache_get32(const char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint64_t cache_get64(const char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

/* For each word a step that can be undone: two texts that differ in one word always differ in their sums,
 * others but for one in 2^64. It guards against accidents, not against somebody who can write into the store.
 */
static uint64_t cache_sum_words(uint64_t sum, const char *bytes, size_t len)
{
    const uint64_t factor = UINT64_C(0x9E3779B97F4A7C15);
    sum = (sum ^ len) * factor;
    for (; len >= 8; bytes += 8, len -= 8) {
        sum = (sum ^ cache_get64(bytes)) * factor;
        sum ^= sum >> 32;
    }
    char rest[8] = {0};
    memcpy(rest, bytes, len);
    sum = (sum ^ cache_get64(rest)) * factor;
    return sum ^ sum >> 29;
}

static uint64_t cache_record_sum(const struct digest *key, const char *head, struct slice rest)
{
    char covered[CACHE_RECORD_HEAD_SIZE];
    memcpy(covered, head, sizeof covered);
    cache_put64(covered + CACHE_RECORD_SUM, 0);
    uint64_t sum = cache_sum_words(0, (const char *)key->bytes, DIGEST_SIZE);
    sum = cache_sum_words(sum, covered, sizeof covered);
    return rest.len ? cache_sum_words(sum, rest.ptr, rest.len) : sum;
}

bool cache_record_write(struct buf *out, const struct digest *key, const struct cache_entry *e)
{
    size_t len = CACHE_RECORD_HEAD_SIZE + e->content_type.len + e->body.len;
    if (e->content_type.len > CACHE_CONTENT_TYPE_MAX || e->body.len > UINT32_MAX)
        return false;
    char *head = buf_reserve(out, len);
    if (!head)
        return false;
    memset(head, 0, CACHE_RECORD_HEAD_SIZE);
    memcpy(head, cache_record_magic, sizeof cache_record_magic);
    cache_put32(head + CACHE_RECORD_FLAGS, e->flags);
    cache_put64(head + CACHE_RECORD_CREATED, (uint64_t)e->created_us);
    cache_put64(head + CACHE_RECORD_EXPIRES, (uint64_t)e->expires_us);
    memcpy(head + CACHE_RECORD_OWNER, e->owner.bytes, CACHE_OWNER_SIZE);
    cache_put16(head + CACHE_RECORD_TYPE_LEN, (uint16_t)e->content_type.len);
    cache_put32(head + CACHE_RECORD_BODY_LEN, (uint32_t)e->body.len);
    char *rest = head + CACHE_RECORD_HEAD_SIZE;
    if (e->content_type.len > 0)
        memcpy(rest, e->content_type.ptr, e->content_type.len);
    if (e->body.len > 0)
        memcpy(rest + e->content_type.len, e->body.ptr, e->body.len);
    cache_put64(head + CACHE_RECORD_SUM,
                cache_record_sum(key, head, slice_make(rest, e->content_type.len + e->body.len)));
    buf_commit(out, len);
    return true;
}

bool cache_record_read(struct slice bytes, const struct digest *key, struct cache_entry *out)
{
    *out = (struct cache_entry){0};
    if (bytes.len < CACHE_RECORD_HEAD_SIZE ||
        memcmp(bytes.ptr, cache_record_magic, sizeof cache_record_magic) != 0)
        return false;
    const char *head = bytes.ptr;
    struct slice rest = slice_skip(bytes, CACHE_RECORD_HEAD_SIZE);
    size_t type = cache_get16(head + CACHE_RECORD_TYPE_LEN), body = cache_get32(head + CACHE_RECORD_BODY_LEN);
    if (rest.len != type + body || type > CACHE_CONTENT_TYPE_MAX ||
        cache_get64(head + CACHE_RECORD_SUM) != cache_record_sum(key, head, rest))
        return false;
    out->flags = cache_get32(head + CACHE_RECORD_FLAGS);
    out->created_us = (int64_t)cache_get64(head + CACHE_RECORD_CREATED);
    out->expires_us = (int64_t)cache_get64(head + CACHE_RECORD_EXPIRES);
    memcpy(out->owner.bytes, head + CACHE_RECORD_OWNER, CACHE_OWNER_SIZE);
    out->content_type = slice_take(rest, type);
    out->body = slice_skip(rest, type);
    return true;
}

static int cache_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cache_owner_parse(struct slice text, struct cache_owner *out)
{
    if (text.len != 2 * CACHE_OWNER_SIZE)
        return false;
    for (size_t i = 0; i < CACHE_OWNER_SIZE; i++) {
        int high = cache_hex_digit(text.ptr[2 * i]), low = cache_hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
