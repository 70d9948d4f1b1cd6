/* What an exchange leaves in the metrics. A request that nobody asked for numbers of still counts: nothing here fails. */
#include "exchange.h"

#include "sluice/clock.h"
#include "sluice/json_out.h"

#include <stdio.h>

enum { RECORD_DETAIL_MAX = 120, RECORD_NAME_MAX = 64 };

static struct metrics *record_metrics(const struct exchange *x)
{
    return x->proxy->recorder.metrics;
}

/* ---- on the way --------------------------------------------------------------------------------------------- */

void record_active(struct proxy *p)
{
    metrics_set(p->recorder.metrics, METRICS_REQUESTS_IN_PROGRESS, (int64_t)p->active);
}

static struct slice record_endpoint(const struct exchange *x)
{
    if (x->record.place)
        return slice_from_text(x->record.place);
    if (x->endpoint)
        return slice_from_text(x->endpoint->name);
    return slice_from_text(x->api_path.len > 1 ? endpoint_find(x->api_path)->name : "none");
}

void record_received(struct exchange *x)
{
    x->record.received_us = clock_monotonic_us();
    trace_stage(x, "received", NULL);
    trace_body(x, "request_body", buf_slice(&x->body));
}

static void record_first_event(struct exchange *x, int64_t now_us)
{
    struct recorder *r = &x->proxy->recorder;
    struct metrics_values endpoint = {{record_endpoint(x)}};
    x->record.first_us = now_us;
    x->record.stream = true;
    x->record.gaps = metrics_find(r->metrics, METRICS_INTER_TOKEN, &endpoint);
    metrics_observe(metrics_find(r->metrics, METRICS_FIRST_TOKEN, &endpoint), now_us - x->started_us);
    metrics_set(r->metrics, METRICS_STREAMS_OPEN, (int64_t)++r->streams);
    trace_stage(x, "first_event", NULL);
}

void record_event(struct exchange *x, int64_t now_us)
{
    if (x->record.event_us != 0)
        metrics_observe(x->record.gaps, now_us - x->record.event_us);
    else
        record_first_event(x, now_us);
    x->record.event_us = now_us;
}

/* ---- upstream, cache and limits ----------------------------------------------------------------------------- */

static void record_failure(struct exchange *x, const char *kind, int status)
{
    char number[16] = "";
    if (status > 0)
        snprintf(number, sizeof number, "%d", status);
    metrics_count(record_metrics(x), METRICS_UPSTREAM_ERRORS,
                  &(struct metrics_values){{slice_from_text(kind), slice_from_text(number)}}, 1);
}

void record_upstream_error(struct exchange *x, const char *kind)
{
    record_failure(x, kind, 0);
}

void record_attempt(struct exchange *x, enum transfer_result result, const char *detail, int64_t pause_us)
{
    if (result != TRANSFER_OK)
        record_failure(x, transfer_result_name(result), 0);
    else if (x->upstream_status >= 400)
        record_failure(x, "status", x->upstream_status);
    if (pause_us >= 0)
        metrics_count(record_metrics(x), METRICS_UPSTREAM_RETRIES, NULL, 1);
    trace_stage(x, pause_us >= 0 ? "retry" : "upstream_done",
                detail && *detail ? detail : result != TRANSFER_OK ? transfer_result_name(result) : NULL);
}

void record_cache(struct exchange *x, const char *result)
{
    x->record.cache_asked = strcmp(result, "bypass") != 0;
    x->record.cache_hit = x->record.cache_asked && strcmp(result, "miss") != 0;
    metrics_count(record_metrics(x), METRICS_CACHE_REQUESTS, &(struct metrics_values){{slice_from_text(result)}}, 1);
    trace_stage(x, "cache", result);
}

void record_refusal(struct exchange *x, const char *kind)
{
    metrics_count(record_metrics(x), METRICS_RATE_LIMIT_REFUSALS, &(struct metrics_values){{slice_from_text(kind)}}, 1);
    trace_stage(x, "refused", kind);
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

/* Bounded, whatever the client calls its method. */
static struct slice record_method(const struct exchange *x)
{
    static const char *const known[] = {"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_equals_text(x->http.method, known[i]))
            return x->http.method;
    return SLICE_LITERAL("other");
}

static void record_request(struct exchange *x, struct slice endpoint, const char *end)
{
    char status[16] = "none";
    struct metrics *m = record_metrics(x);
    if (x->status > 0)
        snprintf(status, sizeof status, "%d", x->status);
    metrics_count(m, METRICS_REQUESTS,
                  &(struct metrics_values){{endpoint, record_method(x), slice_from_text(status)}}, 1);
    metrics_count(m, METRICS_REQUEST_ENDS, &(struct metrics_values){{slice_from_text(end)}}, 1);
    if (x->error)
        metrics_count(m, METRICS_ERRORS, &(struct metrics_values){{slice_from_text(x->error)}}, 1);
    metrics_count(m, METRICS_STREAM_EVENTS, NULL, x->cache_result ? x->events : 0);
}

/* Not where a part of the time was another's: a retry's pause, a slow client's body, an answer that flowed by. */
static void record_overhead(struct exchange *x, struct slice endpoint)
{
    const struct record *r = &x->record;
    if (x->attempts != 1 || r->stream || x->flowing || r->received_us == 0 || x->upstream_done_us == 0 ||
        x->first_byte_us < x->upstream_done_us)
        return;
    metrics_observe(metrics_find(record_metrics(x), METRICS_OVERHEAD, &(struct metrics_values){{endpoint}}),
                    x->upstream_started_us - r->received_us + x->first_byte_us - x->upstream_done_us);
}

static const char *record_operation(const struct exchange *x)
{
    switch (x->endpoint ? x->endpoint->fields : ENDPOINT_FIELDS_NONE) {
    case ENDPOINT_FIELDS_CHAT:
    case ENDPOINT_FIELDS_RESPONSES:
        return "chat";
    case ENDPOINT_FIELDS_COMPLETIONS:
        return "text_completion";
    case ENDPOINT_FIELDS_EMBEDDINGS:
        return "embeddings";
    default:
        return NULL;
    }
}

static void record_genai_tokens(struct exchange *x, struct slice operation, struct slice model)
{
    static const char *const types[] = {"input", "output"};
    const int64_t counts[] = {x->usage.input_tokens, x->usage.output_tokens};
    for (size_t i = 0; x->usage.known && i < 2; i++)
        metrics_observe(metrics_find(record_metrics(x), METRICS_GENAI_TOKENS,
                                     &(struct metrics_values){{operation, model, slice_from_text(types[i])}}),
                        counts[i]);
}

static void record_genai_stream(struct exchange *x, struct slice operation, struct slice model)
{
    struct metrics_values values = {{operation, model}};
    const struct record *r = &x->record;
    metrics_observe(metrics_find(record_metrics(x), METRICS_GENAI_FIRST_TOKEN, &values), r->first_us - x->started_us);
    if (x->usage.known && x->usage.output_tokens > 1)
        metrics_observe(metrics_find(record_metrics(x), METRICS_GENAI_OUTPUT_TOKEN, &values),
                        (r->event_us - r->first_us) / (x->usage.output_tokens - 1));
}

/* OpenTelemetry, "Semantic conventions for generative AI metrics". */
static void record_genai(struct exchange *x, struct slice model, int64_t now_us)
{
    const char *name = record_operation(x);
    char status[16] = "";
    if (!name || !x->proxy->config->metrics_genai || x->attempts == 0)
        return;
    struct slice operation = slice_from_text(name);
    if (x->status >= 400)
        snprintf(status, sizeof status, "%d", x->status);
    metrics_observe(metrics_find(record_metrics(x), METRICS_GENAI_DURATION,
                                 &(struct metrics_values){
                                     {operation, model, slice_from_text(x->error ? x->error : status)}}),
                    now_us - x->started_us);
    record_genai_tokens(x, operation, model);
    if (x->record.stream && !x->error)
        record_genai_stream(x, operation, model);
}

static void record_cost(struct exchange *x, struct slice model)
{
    struct metrics *m = record_metrics(x);
    if (x->cost.state == EXCHANGE_COST_UNPRICED)
        metrics_count(m, METRICS_UNPRICED, &(struct metrics_values){{model}}, 1);
    else if (x->cost.nano_usd > 0)
        metrics_count(m, METRICS_COST, &(struct metrics_values){{model, metrics_key(m, slice_from_text(x->key->name))}},
                      x->cost.nano_usd);
}

/* Names are taken only once the upstream has served them: what a client makes up does not fill the table. */
static void record_tokens(struct exchange *x, int64_t now_us)
{
    struct metrics *m = record_metrics(x);
    bool served = x->attempts > 0 && x->upstream_status >= 200 && x->upstream_status < 300;
    struct slice model = served ? metrics_model(m, slice_from_text(x->fields.model)) : SLICE_LITERAL("");
    if (served && x->usage.known && x->key)
        metrics_count_tokens(m, model, metrics_key(m, slice_from_text(x->key->name)), &x->usage);
    if (served)
        record_cost(x, model);
    record_genai(x, model, now_us);
}

static void record_moment(struct exchange *x, int64_t now_us)
{
    const struct record *r = &x->record;
    metrics_note_moment(record_metrics(x), &(struct metrics_moment){
        .failed = x->status == 0 || x->status >= 500,
        .refused = x->status == 429,
        .cache_asked = r->cache_asked,
        .cache_hit = r->cache_hit,
        .duration_us = now_us - x->started_us,
        .first_token_us = r->stream ? r->first_us - x->started_us : -1,
        .tokens = x->attempts > 0 && x->usage.known ? x->usage.total_tokens : 0,
    });
}

static void record_put(struct buf *b, const char *name, const char *text, size_t max)
{
    if (text && *text)
        json_put_member_string(b, name, slice_take(slice_from_text(text), max));
}

/* What a person wants to see of an error: the page shows the last ones. */
static void record_error(struct exchange *x, struct slice endpoint, const char *end)
{
    struct buf b;
    buf_init(&b, METRICS_ERROR_SIZE - 1);
    buf_append_char(&b, '{');
    json_put_member_int(&b, "time_ms", clock_wall_us() / CLOCK_US_PER_MS);
    json_put_member_string(&b, "endpoint", endpoint);
    json_put_member_int(&b, "status", x->status);
    record_put(&b, "end", end, RECORD_NAME_MAX);
    record_put(&b, "error", x->error, RECORD_NAME_MAX);
    record_put(&b, "model", x->fields.model, RECORD_NAME_MAX);
    record_put(&b, "key", x->key ? x->key->name : NULL, RECORD_NAME_MAX);
    b.max--;
    record_put(&b, "request_id", x->request_id, RECORD_NAME_MAX);
    record_put(&b, "detail", x->detail, RECORD_DETAIL_MAX);
    b.max++;
    if (buf_append_char(&b, '}'))
        metrics_note_error(record_metrics(x), buf_slice(&b));
    buf_free(&b);
}

static void record_close_stream(struct exchange *x)
{
    struct recorder *r = &x->proxy->recorder;
    if (x->record.stream)
        metrics_set(r->metrics, METRICS_STREAMS_OPEN, (int64_t)--r->streams);
}

void record_end(struct exchange *x, const char *end, bool bad)
{
    int64_t now = clock_monotonic_us();
    struct slice endpoint = record_endpoint(x);
    record_close_stream(x);
    trace_stage(x, "end", end);
    if (!record_metrics(x))
        return;
    record_request(x, endpoint, end);
    metrics_observe(metrics_find(record_metrics(x), METRICS_REQUEST_DURATION, &(struct metrics_values){{endpoint}}),
                    now - x->started_us);
    if (x->record.place)
        return;
    record_overhead(x, endpoint);
    record_tokens(x, now);
    record_moment(x, now);
    if (bad || x->status >= 400)
        record_error(x, endpoint, end);
}
