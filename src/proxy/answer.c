/*
 * Every answer goes out here.
 *
 * An exchange has one answer: the calls after answer_complete() and answer_abort() do nothing.
 */
#include "exchange.h"

#include "sluice/clock.h"
#include "sluice/http_response.h"

#include <stdio.h>

enum { ANSWER_ERROR_MAX = 16 * 1024, ANSWER_NUMBER_MAX = 24 };

static void answer_fail(struct exchange *x)
{
    answer_abort(x, EXCHANGE_FAILED);
}

static bool answer_write(struct exchange *x, struct slice bytes)
{
    if (x->answered)
        return false;
    if (!x->fcgi)
        return true; /* nobody is there to hear it */
    if (x->first_byte_us == 0)
        x->first_byte_us = clock_monotonic_us();
    if (fcgi_request_write(x->fcgi, bytes))
        return true;
    answer_fail(x);
    return false;
}

static bool answer_put_cache_header(const struct exchange *x, struct buf *head)
{
    static const char *const texts[] = {NULL, "HIT", "MISS", "COALESCED", "BYPASS"};
    const char *text = texts[x->cache_result];
    return !text || http_response_header(head, SLICE_LITERAL("X-Cache"), slice_from_text(text));
}

size_t answer_pending(const struct exchange *x)
{
    return x->fcgi ? fcgi_request_pending(x->fcgi) : 0;
}

void answer_clear_headers(struct exchange *x)
{
    buf_clear(&x->head);
    x->head_is_short = false;
}

void answer_put_header(struct exchange *x, struct slice name, struct slice value)
{
    bool fits = name.len + value.len + 4 <= buf_room(&x->head);
    if (!http_response_header(&x->head, name, value) && fits)
        x->head_is_short = true;
}

bool answer_head(struct exchange *x, int status, int64_t length)
{
    struct buf head;
    buf_init(&head, EXCHANGE_HEAD_MAX + 1024);
    bool ok = !x->head_is_short && http_response_begin(&head, status) && buf_append_slice(&head, buf_slice(&x->head)) &&
              cors_put_headers(x, &head) && admit_put_headers(x, &head) && answer_put_cache_header(x, &head);
    if (ok && length >= 0)
        ok = buf_append_text(&head, "Content-Length: ") && buf_append_int(&head, length) &&
             buf_append_text(&head, "\r\n");
    ok = ok && http_response_end(&head);
    x->status = status;
    if (ok)
        ok = answer_write(x, buf_slice(&head));
    else
        answer_fail(x);
    buf_free(&head);
    buf_free(&x->head);
    return ok;
}

bool answer_body(struct exchange *x, struct slice bytes)
{
    if (!answer_write(x, bytes))
        return false;
    x->bytes_out += bytes.len;
    return true;
}

void answer_complete(struct exchange *x, enum exchange_end end)
{
    if (x->answered)
        return;
    x->answered = true;
    x->end = end;
    if (x->fcgi)
        fcgi_request_end(x->fcgi);
    else
        event_active(&x->orphan_event, EV_TIMEOUT, 0);
}

void answer_abort(struct exchange *x, enum exchange_end end)
{
    if (x->answered)
        return;
    x->answered = true;
    x->end = end;
    if (x->fcgi)
        fcgi_request_abort(x->fcgi);
    else
        event_active(&x->orphan_event, EV_TIMEOUT, 0);
}

static void answer_own_headers(struct exchange *x)
{
    answer_clear_headers(x);
    answer_put_header(x, SLICE_LITERAL("Content-Type"), SLICE_LITERAL("application/json"));
    if (x->request_id)
        answer_put_header(x, SLICE_LITERAL("x-request-id"), slice_from_text(x->request_id));
}

void answer_json(struct exchange *x, int status, struct slice json)
{
    answer_own_headers(x);
    if (answer_head(x, status, (int64_t)json.len) && answer_body(x, json))
        answer_complete(x, EXCHANGE_LOCAL);
}

void answer_text(struct exchange *x, int status, const char *type, struct slice text)
{
    bool head_only = slice_equals_text(x->http.method, "HEAD");
    answer_put_header(x, SLICE_LITERAL("Content-Type"), slice_from_text(type));
    answer_put_header(x, SLICE_LITERAL("Cache-Control"), SLICE_LITERAL("no-store"));
    answer_put_header(x, SLICE_LITERAL("x-request-id"), slice_from_text(x->request_id));
    if (answer_head(x, status, (int64_t)text.len) && (head_only || answer_body(x, text)))
        answer_complete(x, EXCHANGE_LOCAL);
}

/* The official clients try again by themselves: what Sluice has tried often enough, they shall not multiply. */
static void answer_retry_headers(struct exchange *x, bool retry)
{
    char number[ANSWER_NUMBER_MAX];
    answer_put_header(x, SLICE_LITERAL("x-should-retry"),
                      retry && !x->no_more_retries ? SLICE_LITERAL("true") : SLICE_LITERAL("false"));
    if (x->retry_after_us == 0)
        return;
    snprintf(number, sizeof number, "%lld",
             (long long)((x->retry_after_us + CLOCK_US_PER_SECOND - 1) / CLOCK_US_PER_SECOND));
    answer_put_header(x, SLICE_LITERAL("Retry-After"), slice_from_text(number));
    snprintf(number, sizeof number, "%lld", (long long)((x->retry_after_us + 999) / CLOCK_US_PER_MS));
    answer_put_header(x, SLICE_LITERAL("retry-after-ms"), slice_from_text(number));
}

/* Where the head has gone out, the error is an event: an answer that has begun is a stream here. */
void answer_error(struct exchange *x, enum exchange_end end, const struct openai_error *error)
{
    const struct openai_error_info *info = openai_error_info(error->id);
    struct buf body;
    if (x->answered)
        return;
    if (x->status != 0) {
        answer_error_event(x, end, error->id);
        return;
    }
    buf_init(&body, ANSWER_ERROR_MAX);
    x->error = info->name;
    answer_own_headers(x);
    answer_retry_headers(x, info->retry);
    if (!openai_error_write(&body, error))
        answer_fail(x);
    else if (answer_head(x, info->status, (int64_t)body.len) && answer_body(x, buf_slice(&body)))
        answer_complete(x, end);
    buf_free(&body);
}

void answer_error_id(struct exchange *x, enum exchange_end end, enum openai_error_id id)
{
    struct openai_error error = {.id = id};
    answer_error(x, end, &error);
}

void answer_upstream_error(struct exchange *x, int status, struct slice json)
{
    if (x->status != 0) {
        answer_upstream_error_event(x, EXCHANGE_CACHED, json);
        return;
    }
    answer_own_headers(x);
    if (answer_head(x, status, (int64_t)json.len) && answer_body(x, json))
        answer_complete(x, EXCHANGE_CACHED);
}

void answer_too_large(struct exchange *x, int64_t size)
{
    char limit[ANSWER_NUMBER_MAX], got[ANSWER_NUMBER_MAX];
    snprintf(limit, sizeof limit, "%lld", (long long)x->proxy->config->max_body_bytes);
    snprintf(got, sizeof got, "%lld", (long long)size);
    struct openai_error error = {.id = OPENAI_ERROR_BODY_TOO_LARGE,
                                 .args = {slice_from_text(limit), slice_from_text(got)}};
    answer_error(x, EXCHANGE_REFUSED, &error);
}

void answer_unavailable(struct exchange *x, enum openai_error_id id, int64_t retry_after_us)
{
    x->retry_after_us = retry_after_us;
    answer_error_id(x, EXCHANGE_UPSTREAM_FAILED, id);
}

bool answer_stream_head(struct exchange *x)
{
    answer_clear_headers(x);
    answer_put_header(x, SLICE_LITERAL("Content-Type"), SLICE_LITERAL("text/event-stream; charset=utf-8"));
    answer_put_header(x, SLICE_LITERAL("Cache-Control"), SLICE_LITERAL("no-cache"));
    answer_put_header(x, SLICE_LITERAL("X-Accel-Buffering"), SLICE_LITERAL("no"));
    answer_put_header(x, SLICE_LITERAL("x-request-id"), slice_from_text(x->request_id));
    return answer_head(x, 200, -1);
}

/* An error object as the event that clients of the endpoint raise: Responses has typed events (OpenAI reference,
 * "error"), everything else a bare data line. json is one line. */
static bool answer_put_error_event(struct exchange *x, struct buf *event, struct slice json)
{
    static const struct slice open = {"{\"error\":{", 10};
    bool typed = x->endpoint && x->endpoint->stream == ENDPOINT_STREAM_RESPONSES;
    if (!typed || !slice_starts_with(json, open))
        return buf_append_text(event, "data: ") && buf_append_slice(event, json) && buf_append_text(event, "\n\n");
    struct slice inner = slice_skip(json, open.len);
    inner = slice_take(inner, inner.len - 2);
    return buf_append_text(event, "event: error\ndata: {\"sequence_number\":") &&
           buf_printf(event, "%zu,\"error\":{", x->events) && buf_append_slice(event, inner) &&
           buf_append_text(event, "},") && buf_append_slice(event, inner) &&
           buf_append_text(event, "}\n\n");
}

static void answer_send_error_event(struct exchange *x, enum exchange_end end, struct slice json)
{
    struct buf event;
    buf_init(&event, 2 * EXCHANGE_HOLD_MAX + ANSWER_ERROR_MAX);
    if (!answer_put_error_event(x, &event, json))
        answer_fail(x);
    else if (answer_body(x, buf_slice(&event)))
        answer_complete(x, end);
    buf_free(&event);
}

void answer_error_event(struct exchange *x, enum exchange_end end, enum openai_error_id id)
{
    struct openai_error error = {.id = id};
    struct buf json;
    buf_init(&json, ANSWER_ERROR_MAX);
    x->error = openai_error_info(id)->name;
    if (openai_error_write(&json, &error))
        answer_send_error_event(x, end, buf_slice(&json));
    else
        answer_fail(x);
    buf_free(&json);
}

/* JSON has no line end that could not be a blank. */
void answer_upstream_error_event(struct exchange *x, enum exchange_end end, struct slice json)
{
    struct buf line;
    buf_init(&line, EXCHANGE_HOLD_MAX);
    buf_append_slice(&line, slice_trim(json));
    for (size_t i = 0; i < line.len; i++)
        if (strchr("\r\n", line.mem[line.start + i]) && line.mem[line.start + i])
            line.mem[line.start + i] = ' ';
    answer_send_error_event(x, end, buf_slice(&line));
    buf_free(&line);
}
