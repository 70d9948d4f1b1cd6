/*
 * What the exchanges of a worker share beside its connections: limits, cache, and the link to Redis.
 *
 * None of it is needed to serve: without Redis, or where a file of the state directory cannot be used, a warning says
 * so, and the proxy works without. Only the limits must be there: an error there is an error.
 */
#include "exchange.h"

#include "sluice/cache.h"
#include "sluice/clock.h"
#include "sluice/log.h"
#include "sluice/redis_url.h"

#include <stdlib.h>

enum { SERVICES_MESSAGE_MAX = 1024 };

static bool services_want_redis(const struct config *c)
{
    return c->cache_enabled || c->rate_limit_backend == CONFIG_LIMIT_REDIS;
}

static void services_open_redis(struct proxy *p)
{
    struct redis_url url;
    if (services_want_redis(p->config) && redis_url_parse(slice_from_text(p->config->cache_redis_url), &url) == NULL)
        p->redis = redis_new(p->base, &url, p->config->redis_timeout_ms * CLOCK_US_PER_MS);
}

static void services_warn(struct buf *message, enum log_level level, const char *event)
{
    if (message->len > 0)
        log_message(level, event, "%.*s", (int)message->len, buf_data(message));
    buf_clear(message);
}

static bool services_open_limits(struct proxy *p, struct buf *message)
{
    struct redis *redis = p->config->rate_limit_backend == CONFIG_LIMIT_REDIS ? p->redis : NULL;
    p->limits = limits_new(p->base, p->config, redis, message);
    services_warn(message, p->limits ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "limits");
    return p->limits != NULL;
}

static void services_open_inflight(struct proxy *p, struct buf *message)
{
    p->inflight = calloc(1, sizeof *p->inflight);
    if (p->inflight && !inflight_open(p->inflight, p->config->state_dir, message)) {
        free(p->inflight);
        p->inflight = NULL;
    }
    services_warn(message, LOG_LEVEL_WARNING, "coalescing");
}

static void services_open_cache(struct proxy *p, struct buf *message)
{
    struct cache_settings settings = {
        .base = p->base,
        .redis = p->redis,
        .state_dir = p->config->state_dir,
        .max_bytes = (size_t)p->config->cache_max_bytes,
        .max_entry_bytes = (size_t)p->config->cache_max_entry_bytes,
    };
    if (!p->config->cache_enabled)
        return;
    p->cache = cache_new(&settings, message);
    services_warn(message, LOG_LEVEL_WARNING, "cache");
    if (p->cache && p->config->cache_coalesce)
        services_open_inflight(p, message);
}

bool services_open(struct proxy *p)
{
    struct buf message;
    buf_init(&message, SERVICES_MESSAGE_MAX);
    services_open_redis(p);
    bool ok = services_open_limits(p, &message);
    if (ok)
        services_open_cache(p, &message);
    buf_free(&message);
    return ok;
}

void services_close(struct proxy *p)
{
    cache_free(&p->cache);
    if (p->inflight)
        inflight_close(p->inflight);
    free(p->inflight);
    p->inflight = NULL;
    limits_free(&p->limits);
    redis_free(&p->redis);
}

bool services_redis_is_connected(const struct proxy *p)
{
    return p->redis && redis_is_connected(p->redis);
}
