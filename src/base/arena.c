/* A request's memory, in chunks. */
#include "sluice/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

enum { ARENA_CHUNK_SIZE = 2000 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t size;
    alignas(max_align_t) char bytes[];
};

struct arena_cleanup {
    struct arena_cleanup *next;
    void (*fn)(void *arg);
    void *arg;
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_free(struct arena *a)
{
    for (struct arena_cleanup *c = a->cleanups; c; c = c->next)
        c->fn(c->arg);
    while (a->chunks) {
        struct arena_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        free(chunk);
    }
    arena_init(a, a->max);
}

static struct arena_chunk *arena_add_chunk(struct arena *a, size_t size)
{
    size_t payload = size > ARENA_CHUNK_SIZE ? size : ARENA_CHUNK_SIZE;
    struct arena_chunk *chunk = malloc(sizeof *chunk + payload);
    if (!chunk)
        return NULL;
    *chunk = (struct arena_chunk){.next = a->chunks, .size = payload};
    a->chunks = chunk;
    return chunk;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > a->max - a->used || size > SIZE_MAX - align)
        return NULL;
    size_t rounded = (size + align - 1) / align * align;
    struct arena_chunk *chunk = a->chunks;
    if (!chunk || chunk->size - chunk->used < rounded)
        chunk = arena_add_chunk(a, rounded);
    if (!chunk)
        return NULL;
    void *p = chunk->bytes + chunk->used;
    chunk->used += rounded;
    a->used = a->used + rounded < a->max ? a->used + rounded : a->max;
    return memset(p, 0, size);
}

char *arena_copy(struct arena *a, struct slice text)
{
    if (text.len == SIZE_MAX)
        return NULL;
    char *copy = arena_alloc(a, text.len + 1);
    if (copy && text.len > 0)
        memcpy(copy, text.ptr, text.len);
    return copy;
}

bool arena_on_free(struct arena *a, void (*fn)(void *arg), void *arg)
{
    struct arena_cleanup *c = arena_alloc(a, sizeof *c);
    if (!c)
        return false;
    *c = (struct arena_cleanup){a->cleanups, fn, arg};
    a->cleanups = c;
    return true;
}
