/*
 * Comment lines for a stream that is silent: front servers and clients give up a silent connection.
 *
 * A line is ": keep-alive" with one newline: official clients take an empty line after it for an event without data,
 * which some of them do not survive. It goes out between events only; relay.c gives out whole events. Before the
 * upstream's first byte it begins the answer, with status 200: only after a whole period, so that a fast failure
 * keeps its true status.
 */
#include "exchange.h"

#include "sluice/clock.h"

static void keepalive_arm(struct exchange *x)
{
    int64_t period = x->proxy->config->stream_keepalive_us;
    int64_t wait = x->sent_us + period - clock_monotonic_us();
    wait = wait > 0 ? wait : period;
    struct timeval after = {wait / CLOCK_US_PER_SECOND, wait % CLOCK_US_PER_SECOND};
    event_add(&x->keepalive_timer, &after);
}

/* Nothing is owed to a client that has not taken what it was given, or whose answer is no stream. */
static bool keepalive_is_due(const struct exchange *x)
{
    if (x->sent_us + x->proxy->config->stream_keepalive_us > clock_monotonic_us())
        return false;
    if (answer_pending(x) > 0 || x->flowing)
        return false;
    return x->upstream_status == 0 || x->streaming;
}

static void keepalive_on_timer(evutil_socket_t fd, short what, void *arg)
{
    static const struct slice comment = {": keep-alive\n", 13};
    struct exchange *x = arg;
    (void)fd;
    (void)what;
    if (x->answered)
        return;
    if (keepalive_is_due(x) && (x->status != 0 || answer_stream_head(x)) && answer_body(x, comment))
        x->sent_us = clock_monotonic_us();
    if (!x->answered)
        keepalive_arm(x);
}

void keepalive_start(struct exchange *x)
{
    if (!x->fields.stream || x->proxy->config->stream_keepalive_us == 0 || event_initialized(&x->keepalive_timer))
        return;
    x->sent_us = clock_monotonic_us();
    event_assign(&x->keepalive_timer, x->proxy->base, -1, 0, keepalive_on_timer, x);
    keepalive_arm(x);
}

void keepalive_stop(struct exchange *x)
{
    if (event_initialized(&x->keepalive_timer))
        event_del(&x->keepalive_timer);
}
