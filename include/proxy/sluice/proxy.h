/*
 * The proxy of one worker: requests come in by FastCGI, go upstream, and their answers come back.
 *
 * It owns its connections and transfers; configuration and keys are lent to it and must outlive it.
 */
#ifndef SLUICE_PROXY_H
#define SLUICE_PROXY_H

#include "sluice/config.h"
#include "sluice/keys.h"

#include <event2/event.h>

struct proxy;

/* max_requests: how many may be under way at once; the next is answered 503. NULL without memory or descriptors. */
struct proxy *proxy_new(struct event_base *base, int listen_fd, const struct config *config,
                        const struct keys *keys, size_t max_requests);

/* No new connections; what is under way goes on. on_idle is called, once, from the loop when nothing is left; it
 * may free the proxy. */
void proxy_drain(struct proxy *p, void (*on_idle)(void *ctx), void *ctx);

/* Ends what is still under way: streams with an error event, others with a 503. on_idle follows. */
void proxy_end_all(struct proxy *p);

size_t proxy_active(const struct proxy *p);

void proxy_free(struct proxy **proxy);

#endif
