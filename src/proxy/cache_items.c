/*
 * Embeddings, item by item: each input is an entry of its own. What is missing goes upstream in one request; the answer
 * is put together in the order of the inputs, with the usage of what was really used.
 */
#include "caching.h"

#include "sluice/cache_key.h"

#include <stdlib.h>

static const struct slice cache_items_type = {"application/x-sluice-embedding", 30};
static const struct slice cache_items_json = {"application/json", 16};

bool cache_items_prepare(struct exchange *x, const struct digest *place)
{
    struct caching_items *items = arena_alloc(&x->memory, sizeof *items);
    if (!items || cache_key_frame(place, buf_slice(&x->body), &items->frame) != CANONICAL_OK ||
        !embeddings_request_read(buf_slice(&x->body), &items->request))
        return false;
    items->items = calloc(items->request.count, sizeof *items->items);
    if (!items->items) {
        embeddings_request_free(&items->request);
        return false;
    }
    x->caching->items = items;
    items->missing = items->request.count; /* until it is looked up, which no-cache forbids */
    for (size_t i = 0; i < items->request.count; i++) {
        items->items[i].exchange = x;
        buf_init(&items->items[i].bytes, (size_t)x->proxy->config->cache_max_entry_bytes);
        if (cache_key_item(&items->frame, items->request.items[i], &items->items[i].key) != CANONICAL_OK)
            return false;
    }
    return true;
}

static struct embedding *cache_items_found(const struct caching_items *items)
{
    struct embedding *found = calloc(items->request.count, sizeof *found);
    for (size_t i = 0; found && i < items->request.count; i++)
        found[i] = items->items[i].found;
    return found;
}

static bool cache_items_write(const struct caching_items *items, struct slice usage, struct buf *out)
{
    struct embedding *found = cache_items_found(items);
    bool ok = found && embeddings_answer_write(&items->request, found, usage, out);
    free(found);
    return ok;
}

static void cache_items_give(struct exchange *x)
{
    struct buf answer;
    buf_init(&answer, CACHING_HOLD_MAX);
    if (cache_items_write(x->caching->items, (struct slice){NULL, 0}, &answer))
        cache_give(x, buf_slice(&answer), cache_items_json, 0);
    else
        cache_miss(x);
    buf_free(&answer);
}

/* Only the missing ones go upstream: the body is what is sent. */
static bool cache_items_reduce(struct exchange *x)
{
    struct caching_items *items = x->caching->items;
    bool *missing = calloc(items->request.count, sizeof *missing);
    struct buf body;
    buf_init(&body, x->body.max);
    for (size_t i = 0; missing && i < items->request.count; i++)
        missing[i] = items->items[i].found.vector.len == 0;
    bool ok = missing && embeddings_request_write_missing(&items->request, missing, &body);
    free(missing);
    if (ok) {
        buf_free(&items->reduced);
        items->reduced = body;
        x->sent_body = &items->reduced;
    } else {
        buf_free(&body);
    }
    return ok;
}

/* All are asked for: none may keep its place when the answer is taken apart. */
static void cache_items_forget(struct caching_items *items)
{
    items->missing = items->request.count;
    for (size_t i = 0; i < items->request.count; i++)
        items->items[i].found = (struct embedding){0};
}

static void cache_items_all_known(struct exchange *x)
{
    struct caching_items *items = x->caching->items;
    items->missing = 0;
    for (size_t i = 0; i < items->request.count; i++)
        items->missing += items->items[i].found.vector.len == 0;
    if (items->missing == 0) {
        cache_items_give(x);
        return;
    }
    x->sent_body = NULL; /* of an earlier look */
    if (items->missing < items->request.count && !cache_items_reduce(x))
        cache_items_forget(items);
    cache_miss(x);
}

static void cache_items_done(struct exchange *x)
{
    if (--x->caching->items->waiting == 0)
        cache_items_all_known(x);
}

static void cache_items_on_lookup(void *user, const struct cache_entry *entry)
{
    struct caching_item *item = user;
    item->lookup = NULL;
    buf_clear(&item->bytes);
    if (cache_is_fresh(item->exchange, entry) && buf_append_slice(&item->bytes, entry->body) &&
        !embedding_unpack(buf_slice(&item->bytes), &item->found))
        item->found = (struct embedding){0};
    cache_items_done(item->exchange);
}

void cache_items_look_up(struct exchange *x)
{
    struct caching_items *items = x->caching->items;
    items->waiting = items->request.count + 1;
    for (size_t i = 0; i < items->request.count; i++) {
        struct caching_item *item = &items->items[i];
        item->found = (struct embedding){0};
        struct cache_lookup *lookup = cache_lookup(x->proxy->cache, &item->key, cache_items_on_lookup, item);
        if (lookup)
            item->lookup = lookup;
    }
    cache_items_done(x);
}

static void cache_items_store(struct exchange *x, const struct caching_item *item)
{
    struct buf bytes;
    buf_init(&bytes, (size_t)x->proxy->config->cache_max_entry_bytes);
    if (embedding_pack(&item->found, &bytes))
        cache_put(x, &item->key, buf_slice(&bytes), cache_items_type);
    buf_free(&bytes);
}

/* Puts the upstream's items in the places of those that were missing. */
static void cache_items_merge(struct exchange *x, const struct embedding *got)
{
    struct caching_items *items = x->caching->items;
    for (size_t i = 0, n = 0; i < items->request.count; i++) {
        if (items->items[i].found.vector.len > 0)
            continue;
        items->items[i].found = got[n++];
        cache_items_store(x, &items->items[i]);
    }
}

bool cache_items_complete(struct exchange *x, struct buf *body)
{
    struct caching_items *items = x->caching->items;
    struct embedding *got = calloc(items->missing + 1, sizeof *got);
    struct slice usage;
    struct buf whole;
    buf_init(&whole, CACHING_HOLD_MAX);
    bool ok = got && embeddings_answer_read(buf_slice(body), items->missing, got, &usage);
    if (ok)
        cache_items_merge(x, got);
    if (ok && x->sent_body) { /* otherwise the answer is whole, and stays as the upstream wrote it */
        ok = cache_items_write(items, usage, &whole);
        for (size_t i = 0; ok && i < items->request.count; i++)
            items->items[i].found = (struct embedding){0}; /* they point into what goes now */
        buf_free(body);
        *body = whole;
    }
    free(got);
    return ok;
}

void cache_items_free(struct exchange *x)
{
    struct caching_items *items = x->caching->items;
    if (!items)
        return;
    for (size_t i = 0; i < items->request.count; i++) {
        cache_lookup_cancel(&items->items[i].lookup);
        buf_free(&items->items[i].bytes);
    }
    buf_free(&items->reduced);
    free(items->items);
    embeddings_request_free(&items->request);
    x->caching->items = NULL;
}
