/* /metrics: what is counted, for Prometheus. */
#include "exchange.h"

enum { METRICS_PAGE_MAX = 16 * 1024 * 1024 };

static void metrics_send(struct exchange *x)
{
    enum exposition_format format = exposition_choose(http_request_variable(&x->http, "HTTP_ACCEPT"));
    struct buf page;
    buf_init(&page, METRICS_PAGE_MAX);
    record_refresh(x->proxy);
    if (metrics_write(x->proxy->recorder.metrics, format, &page))
        answer_text(x, 200, exposition_content_type(format), buf_slice(&page));
    else
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
    buf_free(&page);
}

bool metrics_answer(struct exchange *x, struct slice path)
{
    if (!slice_equals_text(path, "/metrics"))
        return false;
    x->record.place = "metrics";
    if (route_is_read(x) && access_is_open(x))
        metrics_send(x);
    return true;
}
