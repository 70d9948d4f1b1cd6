/* Reading the limits in Redis: SCAN for the keys, then the script for each. */
#include "limits_view_sides.h"

#include "limits_script.h"
#include "sluice/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMITS_VIEW_KEYS_MAX = 1000000, LIMITS_VIEW_ARGS = 8 };

#define LIMITS_VIEW_TIMEOUT_US INT64_C(5000000)

struct limits_view_keys {
    char (*names)[KEY_FINGERPRINT_SIZE];
    size_t count, room;
};

struct limits_view_link {
    struct event_base *base;
    struct redis *redis;
    struct buf *message;
    bool done, ok;
    char cursor[32]; /* of SCAN; "0": the end */
    struct limits_view_keys keys;
    int64_t requests_wait, tokens_wait, concurrent;
};

static bool limits_view_connect(struct limits_view_link *v, const struct config *c, struct buf *message)
{
    struct redis_url url;
    *v = (struct limits_view_link){.message = message};
    if (redis_url_parse(slice_from_text(c->cache_redis_url), &url))
        return false;
    v->base = event_base_new();
    v->redis = v->base ? redis_new(v->base, &url, LIMITS_VIEW_TIMEOUT_US) : NULL;
    explicit_bzero(&url, sizeof url);
    if (!v->redis)
        buf_append_text(message, "there is not enough memory");
    return v->redis != NULL;
}

static void limits_view_close(struct limits_view_link *v)
{
    redis_free(&v->redis);
    if (v->base)
        event_base_free(v->base);
    free(v->keys.names);
}

/* Waits for the answer. */
static bool limits_view_ask(struct limits_view_link *v, int argc, const char *const *argv,
                            redis_callback *callback)
{
    v->done = v->ok = false;
    redis_command_argv(v->redis, argc, argv, NULL, callback, v);
    while (!v->done && event_base_loop(v->base, EVLOOP_ONCE) == 0)
        continue;
    if (!v->ok)
        buf_printf(v->message, "CACHE__REDIS_URL: Redis did not answer: %s", redis_trouble(v->redis));
    return v->ok;
}

/* The fingerprint in sluice:{FINGERPRINT}:buckets. */
static bool limits_view_read_name(struct slice key, char out[KEY_FINGERPRINT_SIZE])
{
    struct slice name = slice_skip(key, strlen(LIMITS_REDIS_PREFIX "{"));
    snprintf(out, KEY_FINGERPRINT_SIZE, "%.*s", (int)slice_take(name, KEY_FINGERPRINT_SIZE - 1).len,
             name.ptr ? name.ptr : "");
    return limits_view_is_fingerprint(out);
}

static bool limits_view_add(struct limits_view_keys *k, struct slice key)
{
    if (k->count == k->room) {
        size_t room = k->room ? 2 * k->room : 64;
        void *more =
            room <= 2 * (size_t)LIMITS_VIEW_KEYS_MAX ? realloc(k->names, room * sizeof *k->names) : NULL;
        if (!more)
            return false;
        k->names = more;
        k->room = room;
    }
    k->count += limits_view_read_name(key, k->names[k->count]);
    return true;
}

static void limits_view_on_scan(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct limits_view_link *v = user;
    struct slice cursor = redis_reply_text(redis_reply_item(reply, 0));
    const struct redis_reply *names = redis_reply_item(reply, 1);
    v->done = true;
    v->ok = status == REDIS_STATUS_OK && cursor.len > 0;
    snprintf(v->cursor, sizeof v->cursor, "%.*s", (int)cursor.len, cursor.ptr ? cursor.ptr : "0");
    for (size_t i = 0; v->ok && i < redis_reply_count(names); i++)
        v->ok = limits_view_add(&v->keys, redis_reply_text(redis_reply_item(names, i)));
}

static int limits_view_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* SCAN may name a key more than once. */
static bool limits_view_scan(struct limits_view_link *v)
{
    snprintf(v->cursor, sizeof v->cursor, "0");
    do {
        const char *const argv[] = {"SCAN",  v->cursor, "MATCH", LIMITS_REDIS_PREFIX "{*}:buckets",
                                    "COUNT", "1000"};
        if (!limits_view_ask(v, 6, argv, limits_view_on_scan))
            return false;
    } while (strcmp(v->cursor, "0") != 0);
    if (v->keys.count > 0)
        qsort(v->keys.names, v->keys.count, sizeof *v->keys.names, limits_view_compare);
    return true;
}

static void limits_view_on_script(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct limits_view_link *v = user;
    v->done = true;
    v->ok = status == REDIS_STATUS_OK && redis_reply_count(reply) == 4;
    v->requests_wait = redis_reply_integer(redis_reply_item(reply, 1));
    v->tokens_wait = redis_reply_integer(redis_reply_item(reply, 2));
    v->concurrent = redis_reply_integer(redis_reply_item(reply, 3));
}

static bool limits_view_run(struct limits_view_link *v, const char *fingerprint, const char *op)
{
    char keys[2][LIMITS_NAME_SIZE];
    snprintf(keys[0], sizeof keys[0], LIMITS_REDIS_PREFIX "{%s}:buckets", fingerprint);
    snprintf(keys[1], sizeof keys[1], LIMITS_REDIS_PREFIX "{%s}:leases", fingerprint);
    const char *const argv[LIMITS_VIEW_ARGS] = {"EVAL", limits_script, "2", keys[0], keys[1], op, "", ""};
    return limits_view_ask(v, LIMITS_VIEW_ARGS, argv, limits_view_on_script);
}

static bool limits_view_show(struct limits_view_link *v, const struct config *c, const char *fingerprint,
                             limits_view_callback *callback, void *user)
{
    struct limits_rates rates = limits_view_rates(c, fingerprint);
    struct limits_decision d = {0};
    if (!limits_view_run(v, fingerprint, "look"))
        return false;
    limits_describe(&rates, v->requests_wait, v->tokens_wait, &d);
    struct limits_view_row row = {.requests = d.requests,
                                  .tokens = d.tokens,
                                  .concurrent_limit = rates.concurrent,
                                  .concurrent = v->concurrent,
                                  .learned_output = -1};
    memcpy(row.fingerprint, fingerprint, sizeof row.fingerprint);
    callback(user, &row);
    return true;
}

bool limits_view_redis_list(const struct config *c, limits_view_callback *callback, void *user,
                            struct buf *message)
{
    struct limits_view_link v;
    bool ok = limits_view_connect(&v, c, message) && limits_view_scan(&v);
    for (size_t i = 0; ok && i < v.keys.count; i++)
        if (i == 0 || strcmp(v.keys.names[i - 1], v.keys.names[i]) != 0)
            ok = limits_view_show(&v, c, v.keys.names[i], callback, user);
    limits_view_close(&v);
    return ok;
}

static void limits_view_on_exists(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct limits_view_link *v = user;
    v->done = true;
    v->ok = status == REDIS_STATUS_OK;
    v->concurrent = redis_reply_integer(reply);
}

bool limits_view_redis_reset(const struct config *c, const char *fingerprint, struct buf *message)
{
    struct limits_view_link v;
    char key[LIMITS_NAME_SIZE];
    snprintf(key, sizeof key, LIMITS_REDIS_PREFIX "{%s}:buckets", fingerprint);
    const char *const argv[] = {"EXISTS", key};
    bool ok = limits_view_connect(&v, c, message) && limits_view_ask(&v, 2, argv, limits_view_on_exists);
    if (ok && v.concurrent == 0)
        buf_printf(message, "no key with the fingerprint %s has been seen lately", fingerprint);
    ok = ok && v.concurrent > 0 && limits_view_run(&v, fingerprint, "reset");
    limits_view_close(&v);
    return ok;
}
