/*
 * What the exchanges of a worker share beside its connections: limits, and the link to Redis.
 *
 * None of it is needed to serve: without Redis, or where a file of the state directory cannot be used, a warning says
 * so, and the proxy works without. Only the limits must be there: an error there is an error.
 */
#include "exchange.h"

#include "sluice/clock.h"
#include "sluice/log.h"
#include "sluice/redis_url.h"

enum { SERVICES_MESSAGE_MAX = 1024 };

static bool services_want_redis(const struct config *c)
{
    return c->rate_limit_backend == CONFIG_LIMIT_REDIS;
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

bool services_open(struct proxy *p)
{
    struct buf message;
    buf_init(&message, SERVICES_MESSAGE_MAX);
    services_open_redis(p);
    bool ok = services_open_limits(p, &message);
    buf_free(&message);
    return ok;
}

void services_close(struct proxy *p)
{
    limits_free(&p->limits);
    redis_free(&p->redis);
}

bool services_redis_is_connected(const struct proxy *p)
{
    return p->redis && redis_is_connected(p->redis);
}
