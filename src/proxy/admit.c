/*
 * Admission: the limits of the client's key, before anything is spent for it; and their settlement behind it.
 *
 * An admission reserves an estimate. What was really used settles it, in either direction: the upstream's own count
 * where it gave one, else the input's estimate and what was delivered, counted from the deltas. x->usage_source says
 * which of them it was.
 */
#include "exchange.h"

#include "sluice/estimate.h"
#include "sluice/ratelimit_headers.h"
#include "sluice/stream_usage.h"

#include <stdio.h>

enum { ADMIT_NUMBER_SIZE = 24, ADMIT_FIRST_OUTPUT = 128 };

/* ---- before -------------------------------------------------------------------------------------------------- */

/* A stream's usage comes only if it is asked for. */
static void admit_ask_for_usage(struct exchange *x)
{
    struct buf asked;
    if (!x->fields.stream || x->fields.include_usage || x->endpoint->stream != ENDPOINT_STREAM_CHOICES)
        return;
    buf_init(&asked, x->body.max + 64);
    if (stream_usage_ask(buf_slice(&x->body), &asked)) {
        buf_free(&x->body);
        x->body = asked;
        x->usage_asked = true;
    } else {
        buf_free(&asked);
    }
}

static int64_t admit_learned_output(struct exchange *x)
{
    int64_t learned = limits_learned_output(x->proxy->limits, x->key);
    if (learned > 0)
        return learned;
    /* Nothing was ever learned on this machine: a burst of first requests must not pass for nothing. */
    return x->estimated_input > ADMIT_FIRST_OUTPUT ? x->estimated_input : ADMIT_FIRST_OUTPUT;
}

/* Only what is held can be looked into. A request that does not say how much it may generate is taken for one of its
 * key's recent ones. */
static void admit_estimate(struct exchange *x)
{
    if (x->body_mode != EXCHANGE_BODY_HELD)
        return;
    struct estimate e = estimate_request(buf_slice(&x->body), x->endpoint->fields);
    x->estimated_input = e.input_tokens;
    if (e.output_tokens < 0)
        e.output_tokens = admit_learned_output(x) * e.choices;
    x->estimated_tokens = e.input_tokens + e.output_tokens;
}

/* ---- refusals ------------------------------------------------------------------------------------------------ */

static void admit_answer_refusal(struct exchange *x, enum openai_error_id id, int64_t limit, int64_t used,
                                 int64_t requested)
{
    char numbers[3][ADMIT_NUMBER_SIZE], wait[RATELIMIT_DURATION_SIZE];
    snprintf(numbers[0], ADMIT_NUMBER_SIZE, "%lld", (long long)limit);
    snprintf(numbers[1], ADMIT_NUMBER_SIZE, "%lld", (long long)(used > 0 ? used : 0));
    snprintf(numbers[2], ADMIT_NUMBER_SIZE, "%lld", (long long)requested);
    ratelimit_format_duration(x->limits.retry_after_us, wait);
    struct openai_error error = {
        .id = id,
        .args = {slice_from_text(x->fields.model[0] ? x->fields.model : "this API key"), slice_from_text(numbers[0]),
                 slice_from_text(numbers[1]), slice_from_text(numbers[2]), slice_from_text(wait)}};
    x->retry_after_us = x->limits.retry_after_us;
    answer_error(x, EXCHANGE_REFUSED, &error);
}

static void admit_refuse(struct exchange *x)
{
    const struct limits_decision *d = &x->limits;
    record_refusal(x, d->verdict == LIMITS_REFUSED_TOKENS       ? "tokens"
                      : d->verdict == LIMITS_REFUSED_CONCURRENT ? "concurrent"
                                                                : "requests");
    if (d->verdict == LIMITS_REFUSED_TOKENS)
        admit_answer_refusal(x, OPENAI_ERROR_RATE_TOKENS, d->tokens.limit, d->tokens.limit - d->tokens.remaining,
                             d->requested_tokens);
    else if (d->verdict == LIMITS_REFUSED_CONCURRENT)
        admit_answer_refusal(x, OPENAI_ERROR_RATE_CONCURRENT, d->concurrent_limit, d->concurrent_limit, 1);
    else
        admit_answer_refusal(x, OPENAI_ERROR_RATE_REQUESTS, d->requests.limit, d->requests.limit - d->requests.remaining,
                             1);
}

static void admit_on_decision(void *user, const struct limits_decision *d)
{
    struct exchange *x = user;
    x->limits = *d;
    x->has_limits = true;
    if (d->verdict == LIMITS_ADMITTED)
        cache_request(x);
    else
        admit_refuse(x);
}

void admit_request(struct exchange *x)
{
    admit_ask_for_usage(x);
    admit_estimate(x);
    limits_admit(x->proxy->limits, x->key, x->estimated_tokens, &x->reservation, admit_on_decision, x);
}

/* ---- behind -------------------------------------------------------------------------------------------------- */

/* What the request has used, as far as is known. Nothing went upstream, or it refused: nothing was used. */
static int64_t admit_used_tokens(struct exchange *x)
{
    if (x->usage.known) {
        x->usage_source = EXCHANGE_USAGE_UPSTREAM;
        return x->usage.total_tokens;
    }
    if (x->attempts == 0 || x->upstream_status >= 400 || x->body_mode != EXCHANGE_BODY_HELD)
        return 0;
    if (x->upstream_status == 0 && x->end != EXCHANGE_CLIENT_LEFT && x->answered)
        return 0;
    x->usage_source = x->streaming ? EXCHANGE_USAGE_DELTAS : EXCHANGE_USAGE_ESTIMATE;
    int64_t delivered = x->estimated_input + (int64_t)x->delivered_tokens;
    /* What works on in the background is never told of in an answer that could be known to be its own. */
    return x->fields.background && x->estimated_tokens > delivered ? x->estimated_tokens : delivered;
}

void admit_settle(struct exchange *x)
{
    if (!x->reservation)
        return;
    int64_t used = admit_used_tokens(x);
    limits_settle(&x->reservation, used);
    if (x->usage.known && x->usage.output_tokens > 0)
        limits_learn(x->proxy->limits, x->key, x->usage.output_tokens);
    limits_look(x->proxy->limits, x->key, &x->limits);
}

void admit_settle_cached(struct exchange *x)
{
    if (!x->reservation)
        return;
    if (x->proxy->config->cache_hits_count)
        limits_settle(&x->reservation, 0);
    else
        limits_cancel(&x->reservation);
    limits_look(x->proxy->limits, x->key, &x->limits);
}

/* ---- what the client is told ---------------------------------------------------------------------------------- */

/* Every answer to a known client tells its limits: one that was refused before admission, too. */
bool admit_put_headers(struct exchange *x, struct buf *head)
{
    if (!x->key)
        return true;
    if (!x->has_limits)
        limits_look(x->proxy->limits, x->key, &x->limits);
    x->has_limits = true;
    return ratelimit_put_headers(head, "requests", &x->limits.requests) &&
           ratelimit_put_headers(head, "tokens", &x->limits.tokens);
}

bool admit_hides_header(const struct exchange *x, struct slice name)
{
    return ratelimit_is_header(name) && (x->limits.requests.limit > 0 || x->limits.tokens.limit > 0);
}
