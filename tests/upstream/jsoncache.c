#include "jsoncache.h"

#include <string.h>

#define CACHED_MAX 1024 /* larger ones seldom repeat, and hashing them costs */

static json_t *text_parse(struct slice text)
{
    return json_loadb(text.p, text.n, JSON_ALLOW_NUL, NULL);
}

json_t *jsoncache_load(struct jsoncache *cache, struct slice text)
{
    if (text.n > CACHED_MAX) {
        return text_parse(text);
    }
    uint64_t at = text_mix(text_hash(TEXT_HASH_START, text.p, text.n)) % JSONCACHE_SLOTS;
    struct buf *held = &cache->slots[at].text;
    if (held->len != text.n || memcmp(held->data, text.p, text.n) != 0) {
        json_decref(cache->slots[at].json);
        cache->slots[at].json = text_parse(text);
        held->len = 0;
        buf_add(held, text.p, text.n);
    }
    return json_incref(cache->slots[at].json);
}

void jsoncache_clear(struct jsoncache *cache)
{
    for (size_t i = 0; i < JSONCACHE_SLOTS; i++) {
        json_decref(cache->slots[i].json);
        cache->slots[i].json = NULL;
        buf_free(&cache->slots[i].text);
    }
}
