/*
 * The cache in a request's life: behind admission, before the upstream.
 *
 * What may be cached is looked up; a hit is answered here. A miss goes upstream, alone or for all who ask the same at
 * the same time (flight.c), and its answer is stored where it is complete and ended normally. A hit costs no tokens.
 */
#include "caching.h"

#include "sluice/cache_key.h"
#include "sluice/cached_answer.h"
#include "sluice/clock.h"
#include "sluice/http_response.h"

#include <stdio.h>

static const struct slice cache_json = {"application/json", 16};

/* ---- the key ------------------------------------------------------------------------------------------------- */

static struct slice cache_scope_id(const struct exchange *x)
{
    switch ((enum config_cache_scope)x->proxy->config->cache_scope) {
    case CONFIG_CACHE_CLIENT:
        return slice_make(x->key->digest.bytes, DIGEST_SIZE);
    case CONFIG_CACHE_UPSTREAM:
        return slice_from_text(keys_upstream(x->proxy->keys, x->key->first)->authorization);
    case CONFIG_CACHE_SHARED:
        break;
    }
    return (struct slice){NULL, 0};
}

/* As it goes upstream: the mapped key's, else the client's. */
static struct slice cache_header(const struct exchange *x, const char *mapped, const char *variable)
{
    return mapped ? slice_from_text(mapped) : http_request_variable(&x->http, variable);
}

static bool cache_place(const struct exchange *x, struct digest *out)
{
    static const char *const scopes[] = {"client", "upstream", "shared"};
    const struct upstream_key *key = keys_upstream(x->proxy->keys, x->key->first);
    struct cache_key_place place = {
        .scope = slice_from_text(scopes[x->proxy->config->cache_scope]),
        .scope_id = cache_scope_id(x),
        .base_url = slice_from_text(x->proxy->config->openai_base_url),
        .endpoint = slice_from_text(x->endpoint->name),
        .path = x->api_path,
        .query = x->http.query,
        .beta = http_request_variable(&x->http, "HTTP_OPENAI_BETA"),
        .organization = cache_header(x, key->organization, "HTTP_OPENAI_ORGANIZATION"),
        .project = cache_header(x, key->project, "HTTP_OPENAI_PROJECT"),
    };
    return cache_key_place(&place, out);
}

static bool cache_make_key(struct exchange *x)
{
    struct caching *c = x->caching;
    struct digest place;
    if (!cache_place(x, &place))
        return false;
    if (c->kind == CACHE_KIND_MODELS)
        return cache_key_get(&place, &c->key);
    return cache_key_request(&place, buf_slice(&x->body), &c->key) == CANONICAL_OK &&
           (c->kind != CACHE_KIND_EMBEDDINGS || cache_items_prepare(x, &place));
}

/* ---- giving -------------------------------------------------------------------------------------------------- */

static void cache_put_headers(struct exchange *x, struct slice type, int64_t age_us)
{
    char age[24];
    answer_clear_headers(x);
    answer_put_header(x, SLICE_LITERAL("Content-Type"), type);
    answer_put_header(x, SLICE_LITERAL("x-request-id"), slice_from_text(x->request_id));
    if (age_us < 0)
        return;
    snprintf(age, sizeof age, "%lld", (long long)(age_us / CLOCK_US_PER_SECOND));
    answer_put_header(x, SLICE_LITERAL("Age"), slice_from_text(age));
}

/* Comment lines may have begun the answer already. */
static bool cache_begin_stream(struct exchange *x, int64_t age_us)
{
    if (x->status != 0)
        return true;
    cache_put_headers(x, SLICE_LITERAL("text/event-stream; charset=utf-8"), age_us);
    answer_put_header(x, SLICE_LITERAL("X-Accel-Buffering"), SLICE_LITERAL("no"));
    x->streaming = true;
    return answer_head(x, 200, -1);
}

/* Each ends in an empty line, and none is within one: the JSON is compact. */
static uint64_t cache_count_events(struct slice events)
{
    uint64_t n = 0;
    for (const char *at = events.ptr, *end = at + events.len; (at = memmem(at, (size_t)(end - at), "\n\n", 2)); at += 2)
        n++;
    return n;
}

static void cache_give_stream(struct exchange *x, struct slice object, int64_t age_us)
{
    struct buf events;
    buf_init(&events, 4 * object.len + EXCHANGE_HOLD_MAX);
    if (!cached_answer_stream(object, x->fields.include_usage, &events))
        cache_go_upstream(x); /* no answer that can be told as a stream */
    else if (cache_begin_stream(x, age_us) && answer_body(x, buf_slice(&events))) {
        x->events += cache_count_events(buf_slice(&events));
        answer_complete(x, EXCHANGE_CACHED);
    }
    buf_free(&events);
}

static void cache_give_one(struct exchange *x, struct slice object, struct slice type, int64_t age_us)
{
    x->cache_result = x->caching->joined ? EXCHANGE_CACHE_COALESCED : EXCHANGE_CACHE_HIT;
    admit_settle_cached(x);
    if (x->fields.stream && x->caching->kind == CACHE_KIND_COMPLETION) {
        cache_give_stream(x, object, age_us);
        return;
    }
    cache_put_headers(x, type, age_us);
    if (answer_head(x, 200, (int64_t)object.len) && answer_body(x, object))
        answer_complete(x, EXCHANGE_CACHED);
}

void cache_give(struct exchange *x, struct slice object, struct slice type, int64_t age_us)
{
    flight_land(x, object, type);
    if (!x->answered)
        cache_give_one(x, object, type, age_us);
}

void cache_give_event(struct exchange *x, const struct sse_event *event)
{
    x->cache_result = EXCHANGE_CACHE_COALESCED;
    event_del(&x->caching->timer); /* what has begun is not waited for any longer */
    struct stream_event said;
    stream_event_read(event->data, &said);
    if (cache_begin_stream(x, -1))
        relay_give_event(x, event, x->fields.include_usage ? NULL : &said);
}

/* ---- looking up ---------------------------------------------------------------------------------------------- */

void cache_go_upstream(struct exchange *x)
{
    x->cache_result = EXCHANGE_CACHE_MISS;
    upstream_begin(x);
}

void cache_miss(struct exchange *x)
{
    if (!x->caching->control.only_if_cached)
        flight_enter(x);
    else if (!flight_await_store(x))
        answer_error_id(x, EXCHANGE_REFUSED, OPENAI_ERROR_NOT_CACHED);
}

bool cache_is_fresh(const struct exchange *x, const struct cache_entry *entry)
{
    return entry && cache_control_allows(&x->caching->control, clock_wall_us() - entry->created_us);
}

static void cache_on_lookup(void *user, const struct cache_entry *entry)
{
    struct exchange *x = user;
    x->caching->lookup = NULL;
    if (cache_is_fresh(x, entry))
        cache_give(x, entry->body, entry->content_type, clock_wall_us() - entry->created_us);
    else
        cache_miss(x);
}

void cache_look_up(struct exchange *x)
{
    struct caching *c = x->caching;
    if (c->control.no_cache && !c->joined) {
        cache_miss(x);
        return;
    }
    if (c->items) {
        cache_items_look_up(x);
        return;
    }
    /* The answer may come within the call, and x may have been given it: only a handle that waits is kept. */
    struct cache_lookup *lookup = cache_lookup(x->proxy->cache, &c->key, cache_on_lookup, x);
    if (lookup)
        c->lookup = lookup;
}

static struct caching *cache_new_part(struct exchange *x, enum cache_kind kind, const struct cache_control *control)
{
    struct caching *c = arena_alloc(&x->memory, sizeof *c);
    if (!c)
        return NULL;
    c->kind = kind;
    c->control = *control;
    buf_init(&c->told, (size_t)x->proxy->config->cache_max_entry_bytes);
    return c;
}

/* Whether the request may be answered from the cache at all; x->caching is then set. */
static bool cache_takes(struct exchange *x, const struct cache_control *control)
{
    if (!x->proxy->cache || x->body_mode == EXCHANGE_BODY_STREAMED || control->no_store)
        return false;
    struct cache_verdict verdict = cache_policy_request(x->endpoint, x->http.method, buf_slice(&x->body));
    if (verdict.kind == CACHE_KIND_NONE)
        return false;
    x->caching = cache_new_part(x, verdict.kind, control);
    if (x->caching && cache_make_key(x))
        return true;
    cache_end(x);
    return false;
}

void cache_request(struct exchange *x)
{
    struct cache_control control = cache_control_parse(http_request_variable(&x->http, "HTTP_CACHE_CONTROL"));
    if (cache_takes(x, &control)) {
        size_t entry = (size_t)x->proxy->config->cache_max_entry_bytes;
        x->held.max = x->caching->items ? CACHING_HOLD_MAX : entry > EXCHANGE_HOLD_MAX ? entry : EXCHANGE_HOLD_MAX;
        cache_look_up(x);
        return;
    }
    x->cache_result = EXCHANGE_CACHE_BYPASS;
    if (control.only_if_cached)
        answer_error_id(x, EXCHANGE_REFUSED, OPENAI_ERROR_NOT_CACHED);
    else
        upstream_begin(x);
}

/* ---- storing ------------------------------------------------------------------------------------------------- */

/* Whose it is, for who clears the cache by a key's fingerprint: the OpenAI key's where all who use it share the entry, else
 * the client's. */
static void cache_put_owner(const struct exchange *x, struct cache_owner *out)
{
    const char *upstream = keys_upstream(x->proxy->keys, x->key->first)->fingerprint;
    if (x->proxy->config->cache_scope != CONFIG_CACHE_UPSTREAM || !cache_owner_parse(slice_from_text(upstream), out))
        memcpy(out->bytes, x->key->digest.bytes, sizeof out->bytes);
}

void cache_put(struct exchange *x, const struct digest *key, struct slice body, struct slice type)
{
    const struct config *config = x->proxy->config;
    int64_t now = clock_wall_us();
    bool models = x->caching->kind == CACHE_KIND_MODELS;
    struct cache_entry entry = {
        .created_us = now,
        .expires_us = now + (models ? config->cache_models_ttl_us : config->cache_ttl_us),
        .content_type = type,
        .body = body,
    };
    cache_put_owner(x, &entry.owner);
    cache_store(x->proxy->cache, key, &entry);
}

void cache_take_event(struct exchange *x, const struct sse_event *event)
{
    struct caching *c = x->caching;
    if (!c || c->kind != CACHE_KIND_COMPLETION || !event->has_data)
        return;
    if (!c->fold)
        c->fold = stream_fold_new((size_t)x->proxy->config->cache_max_entry_bytes);
    if (c->fold)
        stream_fold_feed(c->fold, event->data);
    flight_tell(x, event);
}

/* A complete answer of the upstream. Stores it, and gives it to all who wait. */
static void cache_take_object(struct exchange *x, struct slice object)
{
    struct caching *c = x->caching;
    if (!c->items && !cache_policy_answer(c->kind, 200, object))
        cache_put(x, &c->key, object, cache_json);
    flight_land(x, object, cache_json);
}

/* Whether all who ask the same would be refused the same way. */
static bool cache_is_final_refusal(int status)
{
    return status >= 400 && status < 500 && status != 401 && status != 408 && status != 409 && status != 429;
}

bool cache_take_answer(struct exchange *x, struct buf *body)
{
    struct caching *c = x->caching;
    if (!c)
        return true;
    if (x->encoded) { /* compressed for this client, and nobody else knows how */
        flight_fail(x);
        return !x->sent_body;
    }
    if (x->upstream_status == 200 && c->items && !cache_items_complete(x, body) && x->sent_body) {
        flight_fail(x);
        return false;
    }
    if (x->upstream_status == 200)
        cache_take_object(x, buf_slice(body));
    else if (cache_is_final_refusal(x->upstream_status))
        flight_share_error(x, buf_slice(body));
    else
        flight_fail(x);
    return true;
}

void cache_take_stream_end(struct exchange *x)
{
    struct caching *c = x->caching;
    struct buf object;
    if (!c)
        return;
    buf_init(&object, (size_t)x->proxy->config->cache_max_entry_bytes);
    if (c->fold && x->upstream_status == 200 && stream_fold_write(c->fold, &object))
        cache_take_object(x, buf_slice(&object));
    else
        flight_fail(x);
    buf_free(&object);
}

void cache_take_failure(struct exchange *x)
{
    if (x->caching)
        flight_fail(x);
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

bool cache_is_wanted(const struct exchange *x)
{
    return x->caching && x->caching->role == CACHING_LEADER && x->caching->followers;
}

void cache_end(struct exchange *x)
{
    struct caching *c = x->caching;
    if (!c)
        return;
    cache_lookup_cancel(&c->lookup);
    cache_items_free(x);
    flight_leave(x);
    stream_fold_free(&c->fold);
    buf_free(&c->told);
    x->caching = NULL;
}
