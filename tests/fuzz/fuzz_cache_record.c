/*
 * What a store gives back for a cached answer: bytes are a record only if writing what was read gives them again; a
 * record that was written is read as it was; and where one byte of it or of its key is another, or it is cut, or has
 * more behind it, it is none.
 */
#include "fuzz.h"

#include "sluice/cache_record.h"

#include <string.h>

enum { RECORD_MAX = 64 * 1024, FINGERPRINT_SIZE = 2 * CACHE_OWNER_SIZE + 1 };

static void check_any(struct slice bytes, const struct digest *key)
{
    struct cache_entry entry;
    struct buf again;
    if (!cache_record_read(bytes, key, &entry)) {
        FUZZ_ASSERT(entry.body.len == 0 && entry.content_type.len == 0);
        return;
    }
    buf_init(&again, RECORD_MAX);
    FUZZ_ASSERT(cache_record_write(&again, key, &entry) && slice_equals(buf_slice(&again), bytes));
    buf_free(&again);
}

static void check_owner(struct slice text)
{
    struct cache_owner owner;
    char hex[FINGERPRINT_SIZE];
    if (!cache_owner_parse(text, &owner))
        return;
    digest_hex(owner.bytes, sizeof owner.bytes, hex);
    FUZZ_ASSERT(slice_equals_text(text, hex));
}

static bool is_read(struct slice bytes, const struct digest *key)
{
    struct cache_entry entry;
    return cache_record_read(bytes, key, &entry);
}

static void check_read(struct slice bytes, const struct digest *key, const struct cache_entry *wanted)
{
    struct cache_entry e;
    FUZZ_ASSERT(cache_record_read(bytes, key, &e));
    FUZZ_ASSERT(e.flags == wanted->flags && e.created_us == wanted->created_us && e.expires_us == wanted->expires_us);
    FUZZ_ASSERT(memcmp(&e.owner, &wanted->owner, sizeof e.owner) == 0);
    FUZZ_ASSERT(slice_equals(e.content_type, wanted->content_type) && slice_equals(e.body, wanted->body));
}

/* One byte of the record, or of its key, becomes another. */
static void check_damage(struct slice record, struct digest key, size_t at, uint8_t change)
{
    char *copy = malloc(record.len);
    FUZZ_ASSERT(copy);
    memcpy(copy, record.ptr, record.len);
    copy[at % record.len] ^= (char)change;
    FUZZ_ASSERT(!is_read(slice_make(copy, record.len), &key));
    copy[at % record.len] ^= (char)change;
    FUZZ_ASSERT(!is_read(slice_make(copy, at % record.len), &key));
    free(copy);
    key.bytes[at % DIGEST_SIZE] ^= change;
    FUZZ_ASSERT(!is_read(record, &key));
}

static struct slice take(struct slice *rest, void *to, size_t n)
{
    struct slice taken = slice_take(*rest, n);
    if (to && taken.len > 0)
        memcpy(to, taken.ptr, taken.len);
    *rest = slice_skip(*rest, n);
    return taken;
}

/* The input is a record as it is, and then what to make one of. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_make(data, size);
    struct digest key = {{0}};
    struct cache_entry entry = {0};
    struct buf record;
    uint16_t at = 0;
    uint8_t change = 0, type = 0;
    check_any(rest, &key);
    check_owner(rest);
    take(&rest, key.bytes, 8);
    check_any(rest, &key);
    take(&rest, &at, sizeof at);
    take(&rest, &change, sizeof change);
    take(&rest, &type, sizeof type);
    take(&rest, &entry.created_us, sizeof entry.created_us);
    take(&rest, &entry.expires_us, sizeof entry.expires_us);
    take(&rest, &entry.flags, sizeof entry.flags);
    take(&rest, &entry.owner, sizeof entry.owner);
    entry.content_type = take(&rest, NULL, type);
    entry.body = rest;
    buf_init(&record, RECORD_MAX);
    if (cache_record_write(&record, &key, &entry)) {
        check_read(buf_slice(&record), &key, &entry);
        check_damage(buf_slice(&record), key, at, change ? change : 1);
        FUZZ_ASSERT(buf_append_char(&record, 0) && !is_read(buf_slice(&record), &key));
    }
    buf_free(&record);
    return 0;
}
