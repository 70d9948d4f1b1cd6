/*
 * The proxy of one worker: requests come in by FastCGI, go upstream, and their answers come back.
 *
 * It owns its connections and transfers; configuration and keys are lent to it and must outlive it.
 */
#ifndef SLUICE_PROXY_H
#define SLUICE_PROXY_H

#include "sluice/config.h"
#include "sluice/handover.h"
#include "sluice/keys.h"
#include "sluice/metrics.h"
#include "sluice/pool.h"

#include <event2/event.h>

struct proxy;

/* max_requests: how many may be under way at once; the next is answered 503. NULL without memory or descriptors. */
struct proxy *proxy_new(struct event_base *base, int listen_fd, const struct config *config,
                        const struct keys *keys, struct pool_shared *health, size_t max_requests);

/* What happens is counted there from now on, and shown at /metrics. Lent, until proxy_free(). False without memory. */
__attribute__((warn_unused_result)) bool proxy_use_metrics(struct proxy *p, struct metrics *metrics);

/* How a proxy ends. */
enum proxy_drain_mode {
    PROXY_REFUSE, /* what comes now is answered 503: nobody else will answer at this socket */
    PROXY_LEAVE,  /* what comes now is left in the socket's backlog for a successor */
    PROXY_RETIRE  /* the same, and idle connections are handed to the successor */
};

/* Lets what is under way finish. on_idle is called, once, from the loop when nothing is left; it may free the proxy.
 * handover is lent, and used by PROXY_RETIRE. */
void proxy_drain(struct proxy *p, enum proxy_drain_mode mode, const struct handover *handover,
                 void (*on_idle)(void *ctx), void *ctx);

/* Takes a connection that another process handed over; closes it where the proxy is ending itself. */
void proxy_adopt(struct proxy *p, int fd);

/* Calls fn, once, from within the loop, when so many requests have been served. 0: never. */
void proxy_set_limit(struct proxy *p, int64_t requests, void (*fn)(void *ctx), void *ctx);

/* Ends what is still under way: streams with an error event, others with a 503. on_idle follows. */
void proxy_end_all(struct proxy *p);

size_t proxy_active(const struct proxy *p);

void proxy_free(struct proxy **proxy);

#endif
