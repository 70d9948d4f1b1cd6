/*
 * /status: a page for people, and /status.json, which it asks for every few seconds.
 *
 * The page itself holds no numbers. Where a token is configured everybody may load it, as a browser cannot send the token
 * with its first request: the page asks for it, and sends it for the numbers.
 */
#include "exchange.h"

#include "sluice/http_response.h"
#include "status_page.h"

enum { STATUS_JSON_MAX = 4 * 1024 * 1024 };

static void status_send_page(struct exchange *x)
{
    answer_put_header(x, SLICE_LITERAL("Content-Security-Policy"),
                      SLICE_LITERAL("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                                       "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                                       "frame-ancestors 'none'"));
    answer_put_header(x, SLICE_LITERAL("X-Content-Type-Options"), SLICE_LITERAL("nosniff"));
    answer_put_header(x, SLICE_LITERAL("Referrer-Policy"), SLICE_LITERAL("no-referrer"));
    answer_text(x, 200, "text/html; charset=utf-8", slice_make(status_page, status_page_size));
}

static void status_send_numbers(struct exchange *x)
{
    struct buf json;
    buf_init(&json, STATUS_JSON_MAX);
    record_refresh(x->proxy);
    if (metrics_write_status(x->proxy->recorder.metrics, &json))
        answer_text(x, 200, "application/json", buf_slice(&json));
    else
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
    buf_free(&json);
}

bool status_answer(struct exchange *x, struct slice path)
{
    bool numbers = slice_equals_text(path, "/status.json");
    if (!numbers && !slice_equals_text(path, "/status"))
        return false;
    x->record.place = "status";
    if (!route_is_read(x))
        return true;
    if (numbers && access_is_open(x))
        status_send_numbers(x);
    else if (!numbers && (x->proxy->config->metrics_tokens.count > 0 || access_is_open(x)))
        status_send_page(x);
    return true;
}
