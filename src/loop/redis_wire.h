/*
 * One connection to a Redis server, and names resolved beside it. Private to the loop layer.
 *
 * Of hiredis only its parser and its formatter are used. Its asynchronous contexts end the process (an
 * assertion) when a server sends a reply that nobody asked for, have no time limits, and free themselves
 * within callbacks.
 */
#ifndef SLUICE_REDIS_WIRE_H
#define SLUICE_REDIS_WIRE_H

#include "sluice/redis.h"

enum { REDIS_ADDRESSES_MAX = 8, REDIS_ADDRESS_SIZE = 64 };

struct redis_addresses {
    size_t count;
    char text[REDIS_ADDRESSES_MAX][REDIS_ADDRESS_SIZE]; /* numeric */
};

/* ---- redis_resolve.c
 * ----------------------------------------------------------------------------------------- */

struct redis_resolver;

/* Resolves a name by a thread; the descriptor becomes readable when that is done. NULL where there is no
 * memory, thread or descriptor. */
struct redis_resolver *redis_resolver_start(const char *host);
int redis_resolver_fd(const struct redis_resolver *r);

/* Once it is done. No address: the name is not known. */
void redis_resolver_take(const struct redis_resolver *r, struct redis_addresses *out);

/* At any time; a thread that still waits ends by itself. */
void redis_resolver_free(struct redis_resolver **r);

/* ---- redis_wire.c
 * -------------------------------------------------------------------------------------------- */

struct redis_wire;

/* All are called from the loop, never from within a call of the functions below. Within them the wire may be
 * closed. */
struct redis_wire_events {
    void (*connected)(void *user);
    void (*reply)(void *user, const struct redis_reply *reply);
    void (*lost)(void *user, const char *why); /* to be closed then */
};

/* address: numeric, or NULL for the url's socket. NULL with errno. */
struct redis_wire *redis_wire_open(struct event_base *base, const struct redis_url *url, const char *address,
                                   const struct redis_wire_events *events, void *user);

/* Nothing is called any more. */
void redis_wire_close(struct redis_wire **w);

/* False without memory or where too much has not been sent yet; nothing is sent then. */
bool redis_wire_send(struct redis_wire *w, const char *bytes, size_t len);

#endif
