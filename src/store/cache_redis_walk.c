/*
 * All entries in Redis, by SCAN: a few hundred names, then what is to be done with each, then the next names.
 *
 * The walk lives until its last command was answered. An owner stands in the head of a record: those bytes
 * are all that is read of one.
 */
#include "sluice/cache_redis.h"

#include "cache_redis_name.h"

#include <stdio.h>
#include <stdlib.h>

enum { WALK_CURSOR_MAX = 32, WALK_OWNER_AT = 32 };

struct cache_walk {
    struct redis *link;
    bool remove, owned;
    struct cache_owner owner;
    char cursor[WALK_CURSOR_MAX];
    size_t waiting; /* commands without an answer */
    bool scanned;   /* the last names have come */
    bool failed;
    int64_t entries;
    cache_redis_walked_fn *done;
    void *user;
};

struct cache_walk_name {
    struct cache_walk *walk;
    char text[CACHE_REDIS_NAME_SIZE];
};

static void walk_scan(struct cache_walk *w);

static void walk_end(struct cache_walk *w)
{
    cache_redis_walked_fn *done = w->done;
    void *user = w->user;
    int64_t entries = w->failed ? -1 : w->entries;
    free(w);
    done(user, entries);
}

/* A command was answered, or the names of one scan have been looked at. */
static void walk_next(struct cache_walk *w)
{
    if (--w->waiting > 0)
        return;
    if (w->scanned || w->failed)
        walk_end(w);
    else
        walk_scan(w);
}

static void walk_on_removed(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct cache_walk *w = user;
    w->failed |= status != REDIS_STATUS_OK;
    w->entries += redis_reply_integer(reply);
    walk_next(w);
}

static void walk_remove(struct cache_walk *w, const char *name)
{
    const char *argv[] = {"UNLINK", name};
    const size_t lens[] = {6, CACHE_REDIS_NAME_SIZE - 1};
    w->waiting++;
    redis_command_argv(w->link, 2, argv, lens, walk_on_removed, w);
}

static void walk_on_owner(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct cache_walk_name *name = user;
    struct cache_walk *w = name->walk;
    struct slice owner = redis_reply_text(reply);
    w->failed |= status == REDIS_STATUS_TIMEOUT || status == REDIS_STATUS_UNAVAILABLE;
    if (status == REDIS_STATUS_OK && slice_equals(owner, slice_make(&w->owner, sizeof w->owner)))
        walk_remove(w, name->text);
    free(name);
    walk_next(w);
}

static void walk_ask_owner(struct cache_walk *w, struct slice text)
{
    char from[8], to[8];
    struct cache_walk_name *name = malloc(sizeof *name);
    if (!name) {
        w->failed = true;
        return;
    }
    name->walk = w;
    memcpy(name->text, text.ptr, CACHE_REDIS_NAME_SIZE - 1);
    name->text[CACHE_REDIS_NAME_SIZE - 1] = '\0';
    int a = snprintf(from, sizeof from, "%d", WALK_OWNER_AT);
    int b = snprintf(to, sizeof to, "%d", WALK_OWNER_AT + CACHE_OWNER_SIZE - 1);
    const char *argv[] = {"GETRANGE", name->text, from, to};
    const size_t lens[] = {8, CACHE_REDIS_NAME_SIZE - 1, (size_t)a, (size_t)b};
    w->waiting++;
    redis_command_argv(w->link, 4, argv, lens, walk_on_owner, name);
}

static void walk_take(struct cache_walk *w, struct slice name)
{
    if (name.len != CACHE_REDIS_NAME_SIZE - 1)
        return;
    if (!w->remove)
        w->entries++;
    else if (w->owned)
        walk_ask_owner(w, name);
    else
        walk_remove(w, name.ptr);
}

static void walk_on_scan(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct cache_walk *w = user;
    struct slice cursor = redis_reply_text(redis_reply_item(reply, 0));
    const struct redis_reply *names = redis_reply_item(reply, 1);
    w->failed |= status != REDIS_STATUS_OK || cursor.len == 0 || cursor.len >= WALK_CURSOR_MAX;
    if (!w->failed) {
        memcpy(w->cursor, cursor.ptr, cursor.len);
        w->cursor[cursor.len] = '\0';
        w->scanned = strcmp(w->cursor, "0") == 0;
        for (size_t i = 0; i < redis_reply_count(names); i++)
            walk_take(w, redis_reply_text(redis_reply_item(names, i)));
    }
    walk_next(w);
}

static void walk_scan(struct cache_walk *w)
{
    const char *argv[] = {"SCAN", w->cursor, "MATCH", CACHE_REDIS_PREFIX "*", "COUNT", "500"};
    const size_t lens[] = {4, strlen(w->cursor), 5, sizeof CACHE_REDIS_PREFIX, 5, 3};
    w->waiting++;
    redis_command_argv(w->link, 6, argv, lens, walk_on_scan, w);
}

static void walk_start(const struct cache_walk *how)
{
    struct cache_walk *w = malloc(sizeof *w);
    if (!w) {
        how->done(how->user, -1);
        return;
    }
    *w = *how;
    strcpy(w->cursor, "0");
    walk_scan(w);
}

void cache_redis_clear(struct redis *link, const struct cache_owner *owner, cache_redis_walked_fn *done,
                       void *user)
{
    struct cache_walk w = {.link = link, .remove = true, .owned = owner != NULL, .done = done, .user = user};
    if (owner)
        w.owner = *owner;
    walk_start(&w);
}

void cache_redis_count(struct redis *link, cache_redis_walked_fn *done, void *user)
{
    struct cache_walk w = {.link = link, .done = done, .user = user};
    walk_start(&w);
}
