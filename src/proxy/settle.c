/* The end of an exchange: its line in the log, and its memory. */
#include "exchange.h"

#include "sluice/clock.h"
#include "sluice/log.h"
#include "sluice/mask.h"

static const char *const settle_end_names[] = {
    [EXCHANGE_COMPLETE] = "complete",
    [EXCHANGE_CACHED] = "cached",
    [EXCHANGE_LOCAL] = "local",
    [EXCHANGE_REFUSED] = "refused",
    [EXCHANGE_UPSTREAM_FAILED] = "upstream_failed",
    [EXCHANGE_CUT] = "cut",
    [EXCHANGE_CLIENT_LEFT] = "client_left",
    [EXCHANGE_CLIENT_STALLED] = "client_stalled",
    [EXCHANGE_PEER_BROKE] = "peer_broke",
    [EXCHANGE_DRAINED] = "drained",
    [EXCHANGE_FAILED] = "failed",
};

/* What the FastCGI side saw counts more than what the answer was meant to be. */
static enum exchange_end settle_reason(const struct exchange *x, enum fcgi_outcome outcome)
{
    switch (outcome) {
    case FCGI_CLIENT_LEFT:
        return EXCHANGE_CLIENT_LEFT;
    case FCGI_PEER_BROKE:
        return EXCHANGE_PEER_BROKE;
    case FCGI_STALLED:
        return EXCHANGE_CLIENT_STALLED;
    case FCGI_ABORTED:
        return x->answered ? x->end : EXCHANGE_DRAINED;
    case FCGI_DELIVERED:
        break;
    }
    return x->end;
}

static void settle_put_ms(struct buf *line, const char *name, int64_t from_us, int64_t to_us)
{
    if (from_us == 0 || to_us == 0)
        return;
    json_put_member_thousandths(line, name, to_us - from_us);
}

static void settle_put_text(struct buf *line, const char *name, const char *text)
{
    if (text && *text)
        json_put_member_string(line, name, slice_from_text(text));
}

static const char *settle_cache_name(const struct exchange *x)
{
    static const char *const names[] = {NULL, "hit", "miss", "coalesced", "bypass"};
    return names[x->cache_result];
}

static void settle_put_usage_source(struct buf *line, const struct exchange *x)
{
    static const char *const names[] = {NULL, "upstream", "deltas", "estimate"};
    settle_put_text(line, "usage_source", names[x->usage_source]);
}

static void settle_put_usage(struct buf *line, const struct usage *u)
{
    size_t before = line->len;
    if (!u->known)
        return;
    if (!json_put_name(line, "usage") || !buf_append_char(line, '{') ||
        !json_put_member_int(line, "input_tokens", u->input_tokens) ||
        !json_put_member_int(line, "output_tokens", u->output_tokens) ||
        !json_put_member_int(line, "total_tokens", u->total_tokens) ||
        !json_put_member_int(line, "cached_tokens", u->cached_tokens) ||
        !json_put_member_int(line, "reasoning_tokens", u->reasoning_tokens) || !buf_append_char(line, '}'))
        line->len = before;
}

static void settle_put_request(struct buf *line, const struct exchange *x)
{
    settle_put_text(line, "request_id", x->request_id);
    settle_put_text(line, "upstream_request_id", x->upstream_request_id);
    struct slice trace = mask_trace_id(http_request_variable(&x->http, "HTTP_TRACEPARENT"));
    if (trace.len > 0)
        json_put_member_string(line, "trace_id", trace);
    if (x->key)
        settle_put_text(line, "key", x->key->name);
    json_put_member_string(line, "method", x->http.method);
    json_put_member_string(line, "path", slice_take(x->http.path, 512));
    if (x->endpoint)
        settle_put_text(line, "endpoint", x->endpoint->name);
    settle_put_text(line, "model", x->fields.model);
    json_put_member_bool(line, "stream", x->fields.stream);
}

static void settle_put_times(struct buf *line, const struct exchange *x, int64_t now)
{
    settle_put_ms(line, "upstream_head_ms", x->upstream_started_us, x->upstream_head_us);
    settle_put_ms(line, "upstream_ms", x->upstream_started_us, x->upstream_done_us ? x->upstream_done_us : now);
    settle_put_ms(line, "first_byte_ms", x->started_us, x->first_byte_us);
    settle_put_ms(line, "duration_ms", x->started_us, now);
}

static bool settle_is_bad(enum exchange_end end)
{
    return end == EXCHANGE_UPSTREAM_FAILED || end == EXCHANGE_CUT || end == EXCHANGE_FAILED;
}

/* A health check every second would drown the rest: it is for debug. */
static enum log_level settle_level(enum exchange_end end)
{
    if (end == EXCHANGE_LOCAL)
        return LOG_LEVEL_DEBUG;
    return settle_is_bad(end) ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
}

static void settle_log(const struct exchange *x, enum exchange_end end)
{
    struct buf *line = log_begin(settle_level(end), "request");
    if (!line)
        return;
    settle_put_request(line, x);
    json_put_member_int(line, "status", x->status);
    json_put_member_string(line, "end", slice_from_text(settle_end_names[end]));
    settle_put_text(line, "error", x->error);
    settle_put_text(line, "detail", x->detail);
    if (x->upstream_status)
        json_put_member_int(line, "upstream_status", x->upstream_status);
    if (x->attempts > 0)
        json_put_member_int(line, "attempts", x->attempts);
    json_put_member_int(line, "bytes_in", (int64_t)x->bytes_in);
    json_put_member_int(line, "bytes_out", (int64_t)x->bytes_out);
    if (x->streaming)
        json_put_member_int(line, "events", (int64_t)x->events);
    settle_put_times(line, x, clock_monotonic_us());
    settle_put_text(line, "cache", settle_cache_name(x));
    settle_put_usage_source(line, x);
    settle_put_usage(line, &x->usage);
    if (x->cost.state == EXCHANGE_COST_KNOWN)
        json_put_member_billionths(line, "cost_usd", x->cost.nano_usd);
    log_end(line);
}

void settle_exchange(struct exchange *x, enum fcgi_outcome outcome)
{
    upstream_cancel(x);
    keepalive_stop(x);
    cache_end(x);
    admit_settle(x);
    cost_settle(x);
    limits_cancel(&x->reservation);
    diagnose_settle(x, outcome);
    enum exchange_end end = settle_reason(x, outcome);
    settle_log(x, end);
    if (settle_cache_name(x))
        record_cache(x, settle_cache_name(x));
    record_end(x, settle_end_names[end], settle_is_bad(end));
    sse_free(&x->sse);
    buf_free(&x->body);
    buf_free(&x->head);
    buf_free(&x->held);
    arena_free(&x->memory);
}
