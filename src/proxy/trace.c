/*
 * A request's way through the stages, in the log at the level debug. With LOG_BODIES its headers and the beginnings of
 * its bodies too: masked are the client's token, the upstream's keys, and what looks like a key.
 */
#include "exchange.h"

#include "sluice/clock.h"
#include "sluice/log.h"
#include "sluice/mask.h"

enum { TRACE_BODY_MAX = 4096, TRACE_HEADERS_MAX = 6 * 1024, TRACE_SECRETS_MAX = 34, TRACE_TEXT_MAX = 8 * 1024 };

static struct buf *trace_begin(const struct exchange *x, const char *event)
{
    struct buf *line = log_begin(LOG_LEVEL_DEBUG, event);
    if (line && x->request_id)
        json_put_member_string(line, "request_id", slice_from_text(x->request_id));
    return line;
}

void trace_stage(const struct exchange *x, const char *stage, const char *cause)
{
    struct buf *line = log_wants(LOG_LEVEL_DEBUG) ? trace_begin(x, "stage") : NULL;
    if (!line)
        return;
    json_put_member_string(line, "stage", slice_from_text(stage));
    if (cause)
        json_put_member_string(line, "cause", slice_from_text(cause));
    if (x->attempts > 0)
        json_put_member_int(line, "attempt", x->attempts);
    if (x->upstream_status > 0)
        json_put_member_int(line, "upstream_status", x->upstream_status);
    json_put_member_int(line, "after_us", clock_monotonic_us() - x->started_us);
    log_end(line);
}

static bool trace_wants_bodies(const struct exchange *x)
{
    return x->proxy->config->log_bodies && log_wants(LOG_LEVEL_DEBUG);
}

/* The secrets that may stand in a text of this request: what the client sent as its key, and the upstream's keys. */
static size_t trace_secrets(const struct exchange *x, struct slice secrets[TRACE_SECRETS_MAX])
{
    static const struct slice header = {"Authorization: Bearer ", 22};
    size_t n = 0;
    secrets[n++] = slice_trim(x->http.authorization);
    secrets[n++] = http_request_bearer(&x->http);
    for (size_t i = 0; i < keys_upstream_count(x->proxy->keys) && n < TRACE_SECRETS_MAX; i++)
        secrets[n++] = slice_skip(slice_from_text(keys_upstream(x->proxy->keys, i)->authorization), header.len);
    return n;
}

static void trace_masked(const struct exchange *x, struct buf *line, const char *name, struct slice text, size_t max)
{
    struct slice secrets[TRACE_SECRETS_MAX];
    struct buf masked;
    buf_init(&masked, TRACE_TEXT_MAX);
    size_t count = trace_secrets(x, secrets);
    mask_put(&masked, text, max, secrets, count);
    json_put_member_string(line, name, buf_slice(&masked));
    buf_free(&masked);
}

void trace_body(const struct exchange *x, const char *event, struct slice body)
{
    if (body.len == 0 || !trace_wants_bodies(x))
        return;
    struct buf *line = trace_begin(x, event);
    json_put_member_int(line, "bytes", (int64_t)body.len);
    trace_masked(x, line, "body", body, TRACE_BODY_MAX);
    log_end(line);
}

void trace_headers(const struct exchange *x)
{
    if (!trace_wants_bodies(x))
        return;
    struct buf text, *line = trace_begin(x, "request_headers");
    buf_init(&text, TRACE_HEADERS_MAX);
    for (const char *const *v = x->http.vars; v && *v; v++) {
        struct slice var = slice_from_text(*v);
        const char *equals = strchr(*v, '=');
        struct slice name = slice_take(var, equals ? (size_t)(equals - *v) : var.len);
        if (!slice_starts_with(var, SLICE_LITERAL("HTTP_")))
            continue;
        buf_append_slice(&text, slice_skip(mask_hides_header(name) ? name : var, strlen("HTTP_")));
        buf_append_text(&text, mask_hides_header(name) ? "=***\n" : "\n");
    }
    trace_masked(x, line, "headers", buf_slice(&text), TRACE_HEADERS_MAX);
    log_end(line);
    buf_free(&text);
}
