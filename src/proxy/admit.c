/*
 * Admission: the rate limits of the client's key, before anything is spent for it; and their settlement behind it.
 *
 * An admission reserves an estimate. What was really used settles it, in either direction: the upstream's own count
 * where it gave one, else the input's estimate and what was delivered, counted from the deltas. x->usage_source says
 * which of them it was.
 */
#include "exchange.h"

#include "sluice/estimate.h"
#include "sluice/ratelimit.h"
#include "sluice/stream_usage.h"

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

/* Only what is held can be looked into; an endpoint without usage uses no tokens. */
static void admit_estimate(struct exchange *x)
{
    if (x->body_mode != EXCHANGE_BODY_HELD)
        return;
    struct estimate e = estimate_request(buf_slice(&x->body), x->endpoint->fields);
    if (e.output_tokens < 0)
        e.output_tokens = x->endpoint->stream == ENDPOINT_STREAM_OTHER
                              ? 0
                              : limits_learned_output(x->proxy->limits, x->key) * e.choices;
    x->estimated_input = e.input_tokens;
    x->estimated_tokens = e.input_tokens + e.output_tokens;
}

static void admit_refuse(struct exchange *x, const struct limits_decision *d)
{
    struct ratelimit_refusal text;
    struct openai_error error = {.id = OPENAI_ERROR_RATE_REQUESTS};
    if (d->verdict == LIMITS_REFUSED_TOKENS)
        error.id = OPENAI_ERROR_RATE_TOKENS;
    else if (d->verdict == LIMITS_REFUSED_CONCURRENT)
        error.id = OPENAI_ERROR_RATE_CONCURRENT;
    ratelimit_describe(d, x->fields.model, &text);
    for (size_t i = 0; i < OPENAI_ERROR_ARGS; i++)
        error.args[i] = slice_from_text(text.args[i]);
    x->retry_after_us = d->retry_after_us;
    answer_error(x, EXCHANGE_REFUSED, &error);
}

static void admit_on_decision(void *user, const struct limits_decision *d)
{
    struct exchange *x = user;
    x->limits = *d;
    x->has_limits = true;
    if (d->verdict == LIMITS_ADMITTED)
        cache_request(x);
    else
        admit_refuse(x, d);
}

void admit_request(struct exchange *x)
{
    admit_ask_for_usage(x);
    admit_estimate(x);
    limits_admit(x->proxy->limits, x->key, x->estimated_tokens, &x->reservation, admit_on_decision, x);
}
