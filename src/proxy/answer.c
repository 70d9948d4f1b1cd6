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
    if (x->first_byte_us == 0)
        x->first_byte_us = clock_monotonic_us();
    if (fcgi_request_write(x->fcgi, bytes))
        return true;
    answer_fail(x);
    return false;
}

bool answer_head(struct exchange *x, int status, int64_t length)
{
    struct buf head;
    buf_init(&head, EXCHANGE_HEAD_MAX + 1024);
    bool ok = http_response_begin(&head, status) && buf_append_slice(&head, buf_slice(&x->head));
    if (ok && length >= 0)
        ok = buf_printf(&head, "Content-Length: %lld\r\n", (long long)length);
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
    fcgi_request_end(x->fcgi);
}

void answer_abort(struct exchange *x, enum exchange_end end)
{
    if (x->answered)
        return;
    x->answered = true;
    x->end = end;
    fcgi_request_abort(x->fcgi);
}

static void answer_own_headers(struct exchange *x)
{
    buf_clear(&x->head);
    http_response_header(&x->head, SLICE_LITERAL("Content-Type"), SLICE_LITERAL("application/json"));
    if (x->request_id)
        http_response_header(&x->head, SLICE_LITERAL("x-request-id"), slice_from_text(x->request_id));
}

void answer_json(struct exchange *x, int status, struct slice json)
{
    answer_own_headers(x);
    if (answer_head(x, status, (int64_t)json.len) && answer_body(x, json))
        answer_complete(x, EXCHANGE_LOCAL);
}

void answer_error(struct exchange *x, enum exchange_end end, const struct openai_error *error)
{
    const struct openai_error_info *info = openai_error_info(error->id);
    struct buf body;
    if (x->answered)
        return;
    buf_init(&body, ANSWER_ERROR_MAX);
    x->error = info->name;
    answer_own_headers(x);
    http_response_header(&x->head, SLICE_LITERAL("x-should-retry"),
                         info->retry ? SLICE_LITERAL("true") : SLICE_LITERAL("false"));
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

void answer_too_large(struct exchange *x, int64_t size)
{
    char limit[ANSWER_NUMBER_MAX], got[ANSWER_NUMBER_MAX];
    snprintf(limit, sizeof limit, "%lld", (long long)x->proxy->config->max_body_bytes);
    snprintf(got, sizeof got, "%lld", (long long)size);
    struct openai_error error = {.id = OPENAI_ERROR_BODY_TOO_LARGE,
                                 .args = {slice_from_text(limit), slice_from_text(got)}};
    answer_error(x, EXCHANGE_REFUSED, &error);
}

void answer_error_event(struct exchange *x, enum exchange_end end, enum openai_error_id id)
{
    struct openai_error error = {.id = id};
    struct buf event;
    buf_init(&event, ANSWER_ERROR_MAX);
    x->error = openai_error_info(id)->name;
    if (!buf_append_text(&event, "data: ") || !openai_error_write(&event, &error) ||
        !buf_append_text(&event, "\n\n"))
        answer_fail(x);
    else if (answer_body(x, buf_slice(&event)))
        answer_complete(x, end);
    buf_free(&event);
}
