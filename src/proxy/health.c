/*
 * /health: the process answers. /health/live: the same, with nothing more. /health/ready: whether new requests should come
 * here: not while draining, and not while the upstream is known to serve none.
 */
#include "exchange.h"

#include <stdio.h>

static void health_say(struct exchange *x, int status, const char *word)
{
    char json[64];
    snprintf(json, sizeof json, "{\"status\":\"%s\"}", word);
    answer_json(x, status, slice_from_text(json));
}

static void health_overall(struct exchange *x)
{
    if (x->proxy->draining && x->proxy->drain_mode == PROXY_REFUSE) {
        answer_error_id(x, EXCHANGE_DRAINED, OPENAI_ERROR_DRAINING);
        return;
    }
    bool redis = services_redis_is_connected(x->proxy);
    answer_json(x, 200, redis ? SLICE_LITERAL("{\"status\":\"healthy\",\"redis_connected\":true}")
                              : SLICE_LITERAL("{\"status\":\"healthy\",\"redis_connected\":false}"));
}

static void health_ready(struct exchange *x)
{
    if (x->proxy->draining)
        health_say(x, 503, "draining");
    else if (x->proxy->pool && pool_is_open(x->proxy->pool))
        health_say(x, 503, "upstream_unavailable");
    else
        health_say(x, 200, "ready");
}

bool health_answer(struct exchange *x, struct slice path)
{
    bool overall = slice_equals_text(path, "/health"), ready = slice_equals_text(path, "/health/ready");
    if (!overall && !ready && !slice_equals_text(path, "/health/live"))
        return false;
    x->record.place = "health";
    if (!route_is_read(x))
        return true;
    if (overall)
        health_overall(x);
    else if (ready)
        health_ready(x);
    else
        health_say(x, 200, "alive");
    return true;
}
