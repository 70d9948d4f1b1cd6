/* Parts of a key, each with its length before it. */
#include "sluice/cache_key.h"

enum { CACHE_KEY_PLACE_MAX = 16 * 1024 };

/* To be changed with everything that changes what a key stands for. */
static const char cache_key_version[] = "sluice-cache-key-1";

static const char *const cache_key_ignored[] = {
    "user",
    "stream",
    "stream_options",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    NULL,
};

/* What is above, and what differs between the items or is no part of the vector. */
static const char *const cache_key_frame_ignored[] = {
    "user",
    "stream",
    "stream_options",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "input",
    "encoding_format",
    NULL,
};

static bool cache_key_part(struct buf *b, struct slice part)
{
    return buf_append_int(b, (int64_t)part.len) && buf_append_char(b, ':') && buf_append_slice(b, part);
}

bool cache_key_place(const struct cache_key_place *p, struct digest *out)
{
    const struct slice parts[] = {slice_from_text(cache_key_version),
                                  p->scope,
                                  p->scope_id,
                                  p->base_url,
                                  p->endpoint,
                                  p->path,
                                  p->query,
                                  p->beta,
                                  p->organization,
                                  p->project};
    struct buf b;
    bool ok = true;
    buf_init(&b, CACHE_KEY_PLACE_MAX);
    for (size_t i = 0; ok && i < sizeof parts / sizeof *parts; i++)
        ok = cache_key_part(&b, parts[i]);
    ok = ok && digest_sha256(buf_slice(&b), out);
    buf_free(&b);
    return ok;
}

/* The place or frame, and one letter that keeps kinds of keys apart. */
struct cache_key_prefix {
    uint8_t bytes[DIGEST_SIZE + 1];
};

static struct cache_key_prefix cache_key_prefix(const struct digest *digest, char kind)
{
    struct cache_key_prefix prefix;
    memcpy(prefix.bytes, digest->bytes, DIGEST_SIZE);
    prefix.bytes[DIGEST_SIZE] = (uint8_t)kind;
    return prefix;
}

bool cache_key_get(const struct digest *place, struct digest *key)
{
    struct cache_key_prefix prefix = cache_key_prefix(place, 'G');
    return digest_sha256(slice_make(&prefix, sizeof prefix), key);
}

enum canonical_result cache_key_request(const struct digest *place, struct slice body, struct digest *key)
{
    struct cache_key_prefix prefix = cache_key_prefix(place, 'R');
    return canonical_digest(slice_make(&prefix, sizeof prefix), body, cache_key_ignored, key);
}

enum canonical_result cache_key_frame(const struct digest *place, struct slice body, struct digest *frame)
{
    struct cache_key_prefix prefix = cache_key_prefix(place, 'F');
    return canonical_digest(slice_make(&prefix, sizeof prefix), body, cache_key_frame_ignored, frame);
}

enum canonical_result cache_key_item(const struct digest *frame, struct slice item, struct digest *key)
{
    struct cache_key_prefix prefix = cache_key_prefix(frame, 'I');
    return canonical_digest(slice_make(&prefix, sizeof prefix), item, NULL, key);
}
