/*
 * The memory of one request: allocated piece by piece, released at once.
 *
 * What is not memory (a transfer, a lock) registers a cleanup; cleanups run in reverse order, before the memory
 * goes. Nothing from an arena is freed singly. The total is capped: past the cap an allocation gives NULL.
 */
#ifndef SLUICE_ARENA_H
#define SLUICE_ARENA_H

#include "sluice/slice.h"

struct arena_chunk;
struct arena_cleanup;

struct arena {
    struct arena_chunk *chunks;
    struct arena_cleanup *cleanups;
    size_t used; /* bytes given out, and what alignment cost */
    size_t max;
};

/* Allocates nothing. max is in bytes. */
void arena_init(struct arena *a, size_t max);

/* Runs the cleanups, last registered first, then releases everything. The arena can be used again. */
void arena_free(struct arena *a);

/* Zeroed memory, aligned for any type; NULL past the cap or without memory. */
void *arena_alloc(struct arena *a, size_t size);

/* A NUL-terminated copy; NULL past the cap. */
char *arena_copy(struct arena *a, struct slice text);

/* False without memory: the cleanup is then not registered. */
bool arena_on_free(struct arena *a, void (*fn)(void *arg), void *arg);

#endif
