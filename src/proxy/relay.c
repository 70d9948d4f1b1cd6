/*
 * What comes back from the upstream goes to the client.
 *
 * An event stream is passed event by event, as each arrives. Any other answer is held until it is complete, so
 * that a failure in its middle can still be told as an error; one that is too large to hold flows on. Behind a
 * client that reads slowly the upstream is held back.
 */
#include "exchange.h"

#include "sluice/clock.h"
#include "sluice/http_response.h"
#include "sluice/json_scan.h"
#include "sluice/stream_usage.h"

/* ---- the head ----------------------------------------------------------------------------------------------- */

void relay_begin(struct exchange *x)
{
    sse_free(&x->sse);
    answer_clear_headers(x);
    buf_clear(&x->held);
    x->upstream_status = 0;
    x->upstream_length = -1;
    x->upstream_request_id = NULL;
    x->streaming = false;
    x->encoded = false;
}

void relay_header(struct exchange *x, struct slice name, struct slice value)
{
    if (slice_equals_nocase(name, SLICE_LITERAL("x-request-id")))
        x->upstream_request_id = arena_copy(&x->memory, slice_take(value, EXCHANGE_ID_MAX));
    if (slice_equals_nocase(name, SLICE_LITERAL("content-type")))
        x->streaming = slice_starts_with_nocase(value, SLICE_LITERAL("text/event-stream"));
    if (slice_equals_nocase(name, SLICE_LITERAL("content-encoding")))
        x->encoded = !slice_equals_nocase(value, SLICE_LITERAL("identity"));
    if (http_response_passes(name) && !admit_hides_header(x, name))
        answer_put_header(x, name, value);
}

void relay_head(struct exchange *x, int status, int64_t length)
{
    x->upstream_status = status;
    x->upstream_length = length;
    x->upstream_head_us = clock_monotonic_us();
    trace_stage(x, "upstream_head", NULL);
    if (!x->upstream_request_id)
        answer_put_header(x, SLICE_LITERAL("x-request-id"), slice_from_text(x->request_id));
    if (x->encoded)
        x->streaming = false; /* events cannot be told apart: it passes like a file */
    if (x->streaming) {
        sse_init(&x->sse, EXCHANGE_EVENT_MAX);
        answer_put_header(x, SLICE_LITERAL("X-Accel-Buffering"), SLICE_LITERAL("no"));
    }
}

/* ---- an event stream ---------------------------------------------------------------------------------------- */

static bool relay_is_last_choice_event(struct slice data, const struct stream_event *said)
{
    return said->finishes || slice_equals_text(data, "[DONE]") || slice_starts_with(data, SLICE_LITERAL("{\"error\""));
}

static bool relay_is_last_response_event(struct slice type)
{
    return slice_equals_text(type, "response.completed") || slice_equals_text(type, "response.incomplete") ||
           slice_equals_text(type, "response.failed") || slice_equals_text(type, "error");
}

/* Whether this event may be a stream's last one. A stream of an unknown kind ends when the upstream ends it. */
static bool relay_is_last_event(const struct exchange *x, const struct sse_event *event,
                                const struct stream_event *said)
{
    switch (x->endpoint->stream) {
    case ENDPOINT_STREAM_CHOICES:
        return relay_is_last_choice_event(event->data, said);
    case ENDPOINT_STREAM_RESPONSES:
        return relay_is_last_response_event(event->type);
    case ENDPOINT_STREAM_OTHER:
        break;
    }
    return true;
}

static bool relay_is_very_last_event(const struct exchange *x, const struct sse_event *event)
{
    return slice_equals_text(event->data, "[DONE]") ||
           (x->endpoint->stream == ENDPOINT_STREAM_RESPONSES && relay_is_last_response_event(event->type));
}

/* Where it is new: that of a stored object was counted when the model worked for it. */
static void relay_take_usage(struct exchange *x, struct slice text)
{
    if (endpoint_uses_tokens(x->endpoint, x->http.method))
        usage_find(text, &x->usage);
}

static void relay_look_at_event(struct exchange *x, const struct sse_event *event, const struct stream_event *said)
{
    x->stream_is_whole = x->stream_is_whole || relay_is_very_last_event(x, event);
    if (!x->stream_ended)
        x->stream_ended = relay_is_last_event(x, event, said);
    if (said->has_usage)
        relay_take_usage(x, event->data);
    x->delivered_tokens += said->delta_tokens;
}

/* Whether the part is of these bytes: an event whose data stands in several lines was put together elsewhere. */
static bool relay_is_part(struct slice raw, struct slice part)
{
    return part.len > 0 && part.ptr >= raw.ptr && part.ptr + part.len <= raw.ptr + raw.len;
}

/* The raw event without its "usage":null. */
static bool relay_give_without(struct exchange *x, struct slice raw, struct slice part)
{
    struct slice head = slice_take(raw, (size_t)(part.ptr - raw.ptr));
    return answer_body(x, head) && answer_body(x, slice_skip(raw, head.len + part.len));
}

bool relay_give_event(struct exchange *x, const struct sse_event *event, const struct stream_event *hide_usage)
{
    if (hide_usage && hide_usage->has_usage && stream_usage_is_extra(event->data))
        return true;
    x->events += event->has_data;
    x->sent_us = clock_monotonic_us();
    if (event->has_data)
        record_event(x, x->sent_us);
    if (hide_usage && relay_is_part(event->raw, hide_usage->null_usage))
        return relay_give_without(x, event->raw, hide_usage->null_usage);
    return answer_body(x, event->raw);
}

static bool relay_on_event(void *ctx, const struct sse_event *event)
{
    struct exchange *x = ctx;
    if (x->status == 0 && !answer_head(x, x->upstream_status, -1))
        return false;
    struct stream_event said;
    stream_event_read(event->data, &said);
    if (event->has_data)
        relay_look_at_event(x, event, &said);
    cache_take_event(x, event);
    return relay_give_event(x, event, x->usage_asked ? &said : NULL);
}

static bool relay_stream_piece(struct exchange *x, struct slice bytes)
{
    if (!sse_feed(&x->sse, bytes, relay_on_event, x) && !x->answered) {
        upstream_cancel(x);
        record_upstream_error(x, "garbage");
        answer_error_event(x, EXCHANGE_CUT, OPENAI_ERROR_UPSTREAM_GARBAGE);
        return true;
    }
    return answer_pending(x) <= FCGI_HIGH_WATER;
}

/* "data: [DONE]" without its blank line at the very end is what it looks like; any other rest is a broken event. */
static void relay_finish_events(struct exchange *x)
{
    static const struct slice done = {"data: [DONE]", 12};
    sse_end(&x->sse, relay_on_event, x);
    if (slice_starts_with(buf_slice(&x->sse.held), done) && sse_held(&x->sse) <= done.len + 2)
        sse_feed(&x->sse, SLICE_LITERAL("\n\n"), relay_on_event, x);
}

static void relay_fail(struct exchange *x, enum transfer_result result, const char *detail);

/* ---- any other answer --------------------------------------------------------------------------------------- */

/* Keeps the end of an answer that flows by, for its usage. */
static void relay_keep_tail(struct exchange *x, struct slice bytes)
{
    if (bytes.len >= EXCHANGE_TAIL_SIZE) {
        buf_clear(&x->held);
        bytes = slice_skip(bytes, bytes.len - EXCHANGE_TAIL_SIZE);
    } else if (x->held.len + bytes.len > EXCHANGE_TAIL_SIZE) {
        buf_consume(&x->held, x->held.len + bytes.len - EXCHANGE_TAIL_SIZE);
    }
    buf_append_slice(&x->held, bytes);
}

/* The answer is larger than is held: from here on it flows. */
static bool relay_start_flowing(struct exchange *x)
{
    if (x->sent_body) { /* only a part was asked for: without the rest it is no answer */
        relay_fail(x, TRANSFER_GARBAGE, "the answer is too large to be put together");
        return false;
    }
    cache_take_failure(x);
    x->flowing = true;
    if (!answer_head(x, x->upstream_status, x->upstream_length) || !answer_body(x, buf_slice(&x->held)))
        return false;
    buf_free(&x->held);
    return true;
}

static bool relay_plain_piece(struct exchange *x, struct slice bytes)
{
    if (!x->flowing && buf_append_slice(&x->held, bytes))
        return true;
    if (x->status != 0 && !x->flowing)
        return true; /* comment lines have begun a stream: what does not fit an event is not said */
    if (!x->flowing && !relay_start_flowing(x))
        return true;
    if (!answer_body(x, bytes))
        return true;
    relay_keep_tail(x, bytes);
    return answer_pending(x) <= FCGI_HIGH_WATER;
}

bool relay_body(struct exchange *x, struct slice bytes)
{
    if (x->answered || x->upstream_status == 401)
        return true;
    return x->streaming ? relay_stream_piece(x, bytes) : relay_plain_piece(x, bytes);
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

static enum openai_error_id relay_error_of(enum transfer_result result)
{
    switch (result) {
    case TRANSFER_UNREACHABLE:
        return OPENAI_ERROR_UPSTREAM_UNREACHABLE;
    case TRANSFER_TLS_FAILED:
        return OPENAI_ERROR_UPSTREAM_TLS;
    case TRANSFER_OK: /* a stream without an end */
    case TRANSFER_CUT:
        return OPENAI_ERROR_UPSTREAM_CUT;
    case TRANSFER_GARBAGE:
        return OPENAI_ERROR_UPSTREAM_GARBAGE;
    case TRANSFER_CONNECT_TIMEOUT:
        return OPENAI_ERROR_UPSTREAM_CONNECT_TIMEOUT;
    case TRANSFER_FIRST_BYTE_TIMEOUT:
        return OPENAI_ERROR_UPSTREAM_FIRST_BYTE_TIMEOUT;
    case TRANSFER_IDLE_TIMEOUT:
        return OPENAI_ERROR_UPSTREAM_IDLE_TIMEOUT;
    case TRANSFER_TOTAL_TIMEOUT:
        return OPENAI_ERROR_UPSTREAM_TOTAL_TIMEOUT;
    case TRANSFER_INTERNAL:
        break;
    }
    return OPENAI_ERROR_INTERNAL;
}

static void relay_fail(struct exchange *x, enum transfer_result result, const char *detail)
{
    cache_take_failure(x);
    enum openai_error_id id = relay_error_of(result);
    x->detail = detail && *detail ? arena_copy(&x->memory, slice_from_text(detail)) : NULL;
    if (x->status == 0)
        answer_error_id(x, EXCHANGE_UPSTREAM_FAILED, id);
    else if (!x->flowing)
        answer_error_event(x, EXCHANGE_CUT, id);
    else {
        x->error = openai_error_info(id)->name;
        answer_abort(x, EXCHANGE_CUT);
    }
}

/* What the upstream says to a stream that comment lines have begun. Only an error can be told in an event. */
static void relay_finish_behind_comments(struct exchange *x)
{
    struct json_value body, error;
    if (json_value_read(buf_slice(&x->held), &body) && json_value_find(body, "error", &error)) {
        answer_upstream_error_event(x, EXCHANGE_COMPLETE, buf_slice(&x->held));
        return;
    }
    record_upstream_error(x, "garbage");
    answer_error_event(x, EXCHANGE_CUT, OPENAI_ERROR_UPSTREAM_GARBAGE);
}

static void relay_finish_plain(struct exchange *x)
{
    bool bodiless = x->upstream_status == 204 || x->upstream_status == 304;
    bool head_only = slice_equals_text(x->http.method, "HEAD");
    relay_take_usage(x, buf_slice(&x->held));
    admit_settle(x);
    if (!x->flowing && !cache_take_answer(x, &x->held)) {
        relay_fail(x, TRANSFER_GARBAGE, "the answer has not the items that were asked for");
        return;
    }
    if (x->flowing) {
        answer_complete(x, EXCHANGE_COMPLETE);
        return;
    }
    if (x->status != 0) {
        relay_finish_behind_comments(x);
        return;
    }
    int64_t length = head_only ? x->upstream_length : (int64_t)x->held.len;
    if (x->no_more_retries)
        answer_put_header(x, SLICE_LITERAL("x-should-retry"), SLICE_LITERAL("false"));
    if (answer_head(x, x->upstream_status, bodiless ? -1 : length) && answer_body(x, buf_slice(&x->held)))
        answer_complete(x, EXCHANGE_COMPLETE);
}

static void relay_finish_stream(struct exchange *x)
{
    relay_finish_events(x);
    if (x->answered)
        return;
    if (!x->stream_ended && x->upstream_status == 200) {
        record_upstream_error(x, "cut");
        relay_fail(x, TRANSFER_OK, "the stream ended without its last event");
    } else if (x->status != 0 || answer_head(x, x->upstream_status, -1)) {
        cache_take_stream_end(x);
        answer_complete(x, EXCHANGE_COMPLETE);
    }
}

/* The upstream's own 401 would show the client a part of a key that is not the client's. */
static void relay_refuse_upstream_key(struct exchange *x)
{
    answer_error_id(x, EXCHANGE_UPSTREAM_FAILED, OPENAI_ERROR_UPSTREAM_KEY);
}

void relay_end(struct exchange *x, enum transfer_result result, const char *detail)
{
    if (x->answered)
        return;
    if (x->upstream_status != 401) /* its text shows a part of the key */
        trace_body(x, "upstream_body", buf_slice(&x->held));
    if (x->upstream_status == 401) {
        cache_take_failure(x);
        relay_refuse_upstream_key(x);
    } else if (result != TRANSFER_OK) {
        if (x->streaming)
            relay_finish_events(x);
        if (x->stream_is_whole)
            answer_complete(x, EXCHANGE_COMPLETE); /* nothing is missing but the end of the connection's framing */
        else
            relay_fail(x, result, detail);
    } else if (x->streaming)
        relay_finish_stream(x);
    else
        relay_finish_plain(x);
}
