/*
 * The key table: open addressing over digests.
 *
 * The place of a digest is its own first bytes: they are as good as random, and an attacker cannot choose them
 * without trying keys. The table is at most half full, so that a search ends after a few steps.
 */
#include "sluice/keys.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

struct keys {
    struct client_key *slots; /* count 0: empty */
    size_t mask;              /* slots - 1, a power of two less one */
    size_t count;
    struct upstream_key *upstreams;
    size_t upstream_count;
};

static size_t keys_place(const struct keys *k, const struct digest *d)
{
    uint64_t place;
    memcpy(&place, d->bytes, sizeof place);
    return (size_t)place & k->mask;
}

/* The slot that holds the digest, or the empty one where it belongs. */
static struct client_key *keys_slot(const struct keys *k, const struct digest *d)
{
    for (size_t i = keys_place(k, d);; i = (i + 1) & k->mask)
        if (k->slots[i].count == 0 || digest_equals(&k->slots[i].digest, d))
            return &k->slots[i];
}

static bool keys_fingerprint(struct slice secret, struct digest *d, char out[KEY_FINGERPRINT_SIZE])
{
    if (!digest_sha256(secret, d))
        return false;
    digest_hex(d->bytes, (KEY_FINGERPRINT_SIZE - 1) / 2, out);
    return true;
}

/* The first mapping of a key wins, so that the explicit ones are added first. */
static bool keys_add(struct keys *k, const char *secret, size_t first, size_t count)
{
    struct client_key key = {.first = first, .count = count};
    if (!keys_fingerprint(slice_from_text(secret), &key.digest, key.fingerprint))
        return false;
    memcpy(key.name, key.fingerprint, sizeof key.fingerprint);
    struct client_key *slot = keys_slot(k, &key.digest);
    if (slot->count > 0)
        return true;
    *slot = key;
    k->count++;
    return true;
}

static char *keys_header(const char *prefix, const char *value)
{
    char *line;
    return asprintf(&line, "%s%s", prefix, value) < 0 ? NULL : line;
}

static bool keys_add_upstream(struct keys *k, const char *secret, const char *organization, const char *project)
{
    struct upstream_key *u = &k->upstreams[k->upstream_count++];
    struct digest ignored;
    u->authorization = keys_header("Authorization: Bearer ", secret);
    u->organization = organization ? keys_header("OpenAI-Organization: ", organization) : NULL;
    u->project = project ? keys_header("OpenAI-Project: ", project) : NULL;
    bool ok = u->authorization && (!organization || u->organization) && (!project || u->project);
    return ok && keys_fingerprint(slice_from_text(secret), &ignored, u->fingerprint);
}

static bool keys_fill_mapped(struct keys *k, const struct config_mappings *mappings)
{
    for (size_t i = 0; i < mappings->count; i++) {
        const struct config_mapping *m = &mappings->items[i];
        size_t index = k->upstream_count;
        if (!keys_add_upstream(k, m->api_key, m->organization, m->project) || !keys_add(k, m->client_key, index, 1))
            return false;
    }
    return true;
}

static bool keys_fill_shared(struct keys *k, const struct config *c)
{
    size_t first = k->upstream_count, count = c->openai_api_keys.count;
    for (size_t i = 0; i < count; i++)
        if (!keys_add_upstream(k, c->openai_api_keys.items[i], NULL, NULL))
            return false;
    for (size_t i = 0; count > 0 && i < c->client_api_keys.count; i++)
        if (!keys_add(k, c->client_api_keys.items[i], first, count))
            return false;
    return true;
}

static void keys_fill_names(struct keys *k, const struct config_aliases *aliases)
{
    for (size_t i = 0; i < aliases->count; i++) {
        struct client_key *slot = keys_slot(k, &aliases->items[i].client_key);
        if (slot->count > 0)
            snprintf(slot->name, sizeof slot->name, "%s", aliases->items[i].name);
    }
}

struct keys *keys_new(const struct config *c)
{
    struct keys *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    size_t wanted = 2 * (c->client_api_keys.count + c->api_key_mapping.count) + 2, slots = 4;
    while (slots < wanted)
        slots *= 2;
    k->mask = slots - 1;
    k->slots = calloc(slots, sizeof *k->slots);
    k->upstreams = calloc(c->api_key_mapping.count + c->openai_api_keys.count + 1, sizeof *k->upstreams);
    if (!k->slots || !k->upstreams || !keys_fill_mapped(k, &c->api_key_mapping) || !keys_fill_shared(k, c))
        keys_free(&k);
    if (k)
        keys_fill_names(k, &c->key_aliases);
    return k;
}

void keys_free(struct keys **keys)
{
    struct keys *k = *keys;
    *keys = NULL;
    if (!k)
        return;
    for (size_t i = 0; i < k->upstream_count; i++) {
        struct upstream_key *u = &k->upstreams[i];
        if (u->authorization)
            OPENSSL_cleanse(u->authorization, strlen(u->authorization));
        free(u->authorization);
        free(u->organization);
        free(u->project);
    }
    free(k->upstreams);
    free(k->slots);
    free(k);
}

size_t keys_count(const struct keys *k)
{
    return k->count;
}

size_t keys_upstream_count(const struct keys *k)
{
    return k->upstream_count;
}

const struct upstream_key *keys_upstream(const struct keys *k, size_t index)
{
    return &k->upstreams[index];
}

bool keys_find(const struct keys *k, struct slice secret, const struct client_key **key)
{
    struct digest d;
    *key = NULL;
    if (!digest_sha256(secret, &d))
        return false;
    const struct client_key *slot = keys_slot(k, &d);
    if (slot->count > 0)
        *key = slot;
    return true;
}
