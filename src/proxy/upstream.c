/*
 * The request goes upstream: its URL, its headers, the client's own bytes as its body; and again, where an attempt
 * failed in a way that another may mend.
 *
 * A retry is made only before the first byte of an answer has gone to the client, while the client is there, within
 * a total time, and never for a body that was streamed and cannot be sent again. Headers are passed by an allow list.
 * The client's Authorization is never among them.
 */
#include "exchange.h"

#include "sluice/clock.h"

#include <ctype.h>

enum { UPSTREAM_HEADERS_MAX = 48, UPSTREAM_REST_US = 5 * CLOCK_US_PER_SECOND };

/* ---- the request's form ------------------------------------------------------------------------------------- */

/* By their CGI names; one that ends in '*' stands for all that begin so. The ten lines X-Stainless-… in which the
 * official clients tell of their machine are for statistics: they change no answer, and cost each request time. */
static const char *const upstream_passed[] = {
    "CONTENT_TYPE", "HTTP_ACCEPT",          "HTTP_ACCEPT_LANGUAGE", "HTTP_USER_AGENT", "HTTP_OPENAI_*",
    "HTTP_RANGE",   "HTTP_IF_*",            "HTTP_IDEMPOTENCY_KEY", "HTTP_TRACEPARENT", "HTTP_TRACESTATE",
    "HTTP_X_CLIENT_REQUEST_ID",
};

struct upstream_headers {
    struct arena *memory;
    const char *lines[UPSTREAM_HEADERS_MAX + 1];
    size_t count;
    bool full;
};

static void upstream_add(struct upstream_headers *h, const char *line)
{
    if (!line || h->count == UPSTREAM_HEADERS_MAX)
        h->full = true;
    else
        h->lines[h->count++] = line;
}

/* What a front server makes of a header's name; another peer could send what is none. */
static bool upstream_is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isupper((unsigned char)name.ptr[i]) && !isdigit((unsigned char)name.ptr[i]) && name.ptr[i] != '_')
            return false;
    return true;
}

static bool upstream_matches(struct slice name, const char *pattern)
{
    enum { FIRST = sizeof "HTTP_" - 1 }; /* the first letter that differs: it decides most of the time */
    if (name.len <= FIRST || name.ptr[FIRST] != pattern[FIRST])
        return false;
    struct slice known = slice_from_text(pattern);
    if (known.ptr[known.len - 1] == '*')
        return slice_starts_with(name, slice_take(known, known.len - 1)) && upstream_is_name(name);
    return slice_equals(name, known);
}

static bool upstream_passes(const struct upstream_key *key, struct slice name)
{
    if ((key->organization && slice_equals_text(name, "HTTP_OPENAI_ORGANIZATION")) ||
        (key->project && slice_equals_text(name, "HTTP_OPENAI_PROJECT")))
        return false;
    for (size_t i = 0; i < sizeof upstream_passed / sizeof *upstream_passed; i++)
        if (upstream_matches(name, upstream_passed[i]))
            return true;
    return false;
}

/* HTTP_OPENAI_BETA=x becomes "Openai-Beta: x": names of headers have no case (RFC 9110, 5.1). */
static const char *upstream_header_line(struct arena *memory, struct slice name, struct slice value)
{
    if (slice_starts_with(name, SLICE_LITERAL("HTTP_")))
        name = slice_skip(name, 5);
    char *line = arena_alloc(memory, name.len + value.len + 3);
    if (!line)
        return NULL;
    bool first = true;
    for (size_t i = 0; i < name.len; i++) {
        int c = (unsigned char)name.ptr[i];
        line[i] = (char)(c == '_' ? '-' : first ? toupper(c) : tolower(c));
        first = c == '_';
    }
    memcpy(line + name.len, ": ", 2);
    if (value.len > 0)
        memcpy(line + name.len + 2, value.ptr, value.len);
    return line;
}

static void upstream_add_clients(struct upstream_headers *h, const struct exchange *x,
                                 const struct upstream_key *key)
{
    for (const char *const *v = x->http.vars; *v; v++) {
        const char *equals = **v == 'H' || **v == 'C' ? strchr(*v, '=') : NULL; /* HTTP_… and CONTENT_TYPE */
        if (!equals || equals[1] == '\0')
            continue;
        struct slice name = slice_make(*v, (size_t)(equals - *v));
        if (upstream_passes(key, name))
            upstream_add(h, upstream_header_line(h->memory, name, slice_from_text(equals + 1)));
    }
}

static void upstream_fill_headers(struct upstream_headers *h, const struct exchange *x,
                                  const struct upstream_key *key)
{
    upstream_add(h, key->authorization);
    if (key->organization)
        upstream_add(h, key->organization);
    if (key->project)
        upstream_add(h, key->project);
    upstream_add(h, upstream_header_line(h->memory, SLICE_LITERAL("X_REQUEST_ID"), slice_from_text(x->request_id)));
    if (x->http.content_type.len == 0)
        upstream_add(h, x->body_mode == EXCHANGE_BODY_HELD ? "Content-Type: application/json" : "Content-Type:");
    upstream_add_clients(h, x, key);
}

/* OPENAI_BASE_URL takes the place of …/v1; path and query stay as the client sent them. */
static const char *upstream_url(struct exchange *x)
{
    struct slice base = slice_from_text(x->proxy->config->openai_base_url);
    struct slice mark = x->http.query.len ? SLICE_LITERAL("?") : (struct slice){"", 0};
    const struct slice parts[] = {base, x->api_path, mark, x->http.query};
    char *url = arena_alloc(&x->memory, base.len + x->api_path.len + mark.len + x->http.query.len + 1);
    char *to = url;
    for (size_t i = 0; url && i < sizeof parts / sizeof *parts; to += parts[i++].len)
        if (parts[i].len > 0)
            memcpy(to, parts[i].ptr, parts[i].len);
    return url; /* with a NUL: the arena's memory is zeroed */
}

/* A method that has a body by its nature says so even where the body is empty. */
static struct slice upstream_body(const struct exchange *x)
{
    bool bodiless = slice_equals_text(x->http.method, "GET") || slice_equals_text(x->http.method, "HEAD") ||
                    slice_equals_text(x->http.method, "DELETE") || slice_equals_text(x->http.method, "OPTIONS");
    if (x->sent_body)
        return buf_slice(x->sent_body);
    if (x->body.len == 0)
        return bodiless ? (struct slice){NULL, 0} : (struct slice){"", 0};
    return buf_slice(&x->body);
}

/* ---- what an attempt's end means ---------------------------------------------------------------------------- */

static bool upstream_status_is_failure(int status)
{
    return status == 500 || status == 502 || status == 503 || status == 504 || status == 529;
}

static enum pool_outcome upstream_outcome(const struct exchange *x, enum transfer_result result)
{
    if (x->upstream_status == 401)
        return POOL_REJECTED;
    if (x->upstream_status == 429)
        return POOL_LIMITED;
    /* An answer that broke off is a failure too; one that took longer than is wanted is none, once it has begun. */
    bool broke = result != TRANSFER_OK && (x->upstream_status == 0 || result != TRANSFER_TOTAL_TIMEOUT);
    return broke || upstream_status_is_failure(x->upstream_status) ? POOL_FAILED : POOL_SUCCEEDED;
}

static void upstream_release(struct exchange *x, enum pool_outcome outcome)
{
    int64_t rest = x->hints.after_us >= 0 ? x->hints.after_us : x->hints.reset_us;
    if (!x->has_slot)
        return;
    x->has_slot = false;
    pool_report(x->proxy->pool, x->key, x->upstream_index, outcome, rest >= 0 ? rest : UPSTREAM_REST_US);
}

static bool upstream_failed_before_an_answer(enum transfer_result result)
{
    return result == TRANSFER_UNREACHABLE || result == TRANSFER_CONNECT_TIMEOUT || result == TRANSFER_CUT;
}

static bool upstream_quota_is_used_up(const struct exchange *x)
{
    static const char code[] = "\"insufficient_quota\"";
    return x->upstream_status == 429 && x->held.len > 0 &&
           memmem(buf_data(&x->held), x->held.len, code, sizeof code - 1);
}

/* What is the key's own fault, where another key is at hand that may be better. */
static bool upstream_wants_another_key(const struct exchange *x)
{
    return (x->upstream_status == 401 || x->upstream_status == 429) && pool_has_another(x->proxy->pool, x->key);
}

/* Whether another attempt may mend it, whatever the time. */
static bool upstream_is_retryable(const struct exchange *x, enum transfer_result result)
{
    if (result != TRANSFER_OK)
        return upstream_failed_before_an_answer(result);
    if (x->hints.should_retry >= 0)
        return x->hints.should_retry == 1;
    if (upstream_wants_another_key(x))
        return true;
    return retry_status_is_retryable(x->upstream_status) && !upstream_quota_is_used_up(x);
}

static bool upstream_may_try_again(const struct exchange *x)
{
    return x->status == 0 && !x->flowing && !x->answered && x->body_mode != EXCHANGE_BODY_STREAMED &&
           !x->proxy->draining;
}

/* The pause before the next attempt; -1: there is none. */
static int64_t upstream_pause(struct exchange *x, enum transfer_result result)
{
    const struct config *c = x->proxy->config;
    uint32_t random = 0;
    if (!upstream_is_retryable(x, result) || !upstream_may_try_again(x))
        return -1;
    if (!digest_random(&random, sizeof random))
        random = UINT32_MAX / 2;
    int64_t pause = retry_pause_us(c->upstream_retry_base_us, x->attempts, random);
    if (x->hints.after_us >= 0 && !upstream_wants_another_key(x)) {
        pause = x->hints.after_us;
        if (pause > c->upstream_max_retry_after_us)
            return -1;
    }
    if (x->attempts <= c->upstream_max_retries && clock_monotonic_us() + pause <= x->started_us + c->upstream_retry_us)
        return pause;
    x->no_more_retries = x->attempts > 1;
    return -1;
}

/* ---- an attempt --------------------------------------------------------------------------------------------- */

static void upstream_on_header(void *user, struct slice name, struct slice value)
{
    struct exchange *x = user;
    struct timeval now;
    event_base_gettimeofday_cached(x->proxy->base, &now); /* of this turn of the loop: no clock is read */
    retry_hints_take(&x->hints, name, value, now.tv_sec);
    relay_header(x, name, value);
}

static void upstream_on_head(void *user, int status, int64_t length)
{
    relay_head(user, status, length);
}

static bool upstream_on_body(void *user, struct slice bytes)
{
    return relay_body(user, bytes);
}

static void upstream_on_done(void *user, enum transfer_result result, const char *detail)
{
    struct exchange *x = user;
    x->transfer = NULL;
    x->upstream_done_us = clock_monotonic_us();
    upstream_release(x, upstream_outcome(x, result));
    int64_t pause = upstream_pause(x, result);
    record_attempt(x, result, detail, pause);
    if (pause < 0) {
        relay_end(x, result, detail);
        return;
    }
    struct timeval after = {pause / CLOCK_US_PER_SECOND, pause % CLOCK_US_PER_SECOND};
    event_add(&x->retry_timer, &after);
}

/* Gives libcurl what has come of a streamed body, and lets more come. */
static size_t upstream_on_read(void *user, char *to, size_t size)
{
    struct exchange *x = user;
    size_t n = x->body.len < size ? x->body.len : size;
    if (n == 0)
        return x->body_done ? 0 : TRANSFER_READ_LATER;
    memcpy(to, buf_data(&x->body), n);
    buf_consume(&x->body, n);
    if (x->body.len < EXCHANGE_BODY_LOW)
        fcgi_request_resume_body(x->fcgi);
    return n;
}

static const struct transfer_events upstream_events = {upstream_on_header, upstream_on_head, upstream_on_body,
                                                       upstream_on_done, upstream_on_read};

/* What a model writes at once. An answer over HTTP/2 cannot be held back (docs/architecture.md). */
static bool upstream_answer_is_small(const struct exchange *x)
{
    enum endpoint_fields fields = x->endpoint->fields;
    bool text = fields == ENDPOINT_FIELDS_CHAT || fields == ENDPOINT_FIELDS_COMPLETIONS || fields == ENDPOINT_FIELDS_RESPONSES;
    return text && x->body_mode == EXCHANGE_BODY_HELD && !x->fields.stream;
}

static bool upstream_start(struct exchange *x)
{
    const struct config *c = x->proxy->config;
    const struct upstream_key *key = keys_upstream(x->proxy->keys, x->upstream_index);
    struct upstream_headers headers = {.memory = &x->memory};
    upstream_fill_headers(&headers, x, key);
    bool streamed = x->body_mode == EXCHANGE_BODY_STREAMED;
    struct transfer_request request = {
        .method = arena_copy(&x->memory, x->http.method),
        .url = upstream_url(x),
        .headers = headers.lines,
        .body = streamed ? (struct slice){NULL, 0} : upstream_body(x),
        .streamed = streamed,
        .length = x->http.content_length,
        .http2 = c->upstream_http2 && upstream_answer_is_small(x),
        .limits = {c->upstream_connect_us, c->upstream_first_byte_us, c->upstream_idle_us, c->upstream_total_us},
    };
    x->upstream_started_us = clock_monotonic_us();
    trace_stage(x, "attempt", key->fingerprint);
    if (request.method && request.url && !headers.full)
        x->transfer = transfer_start(x->proxy->transfers, &request, &upstream_events, x);
    return x->transfer != NULL;
}

static void upstream_refuse(struct exchange *x, const struct pool_choice *choice)
{
    if (choice->refusal == POOL_REFUSED_DISABLED)
        answer_error_id(x, EXCHANGE_UPSTREAM_FAILED, OPENAI_ERROR_UPSTREAM_KEY);
    else
        answer_unavailable(x, OPENAI_ERROR_UPSTREAM_OPEN, choice->retry_after_us);
}

static void upstream_attempt(struct exchange *x)
{
    struct pool_choice choice = pool_choose(x->proxy->pool, x->key);
    if (!choice.chosen) {
        upstream_refuse(x, &choice);
        return;
    }
    x->has_slot = true;
    x->upstream_index = choice.index;
    x->attempts++;
    retry_hints_init(&x->hints);
    relay_begin(x);
    if (upstream_start(x))
        return;
    upstream_release(x, POOL_UNKNOWN);
    answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
}

static void upstream_on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *x = arg;
    (void)fd;
    (void)what;
    if (!x->answered)
        upstream_attempt(x);
}

void upstream_begin(struct exchange *x)
{
    event_assign(&x->retry_timer, x->proxy->base, -1, 0, upstream_on_retry, x);
    keepalive_start(x);
    upstream_attempt(x);
}

void upstream_more_body(struct exchange *x)
{
    if (x->transfer)
        transfer_send_more(x->transfer);
}

void upstream_drained(struct exchange *x)
{
    if (x->transfer)
        transfer_resume(x->transfer);
}

void upstream_cancel(struct exchange *x)
{
    transfer_cancel(&x->transfer);
    upstream_release(x, POOL_UNKNOWN);
    if (event_initialized(&x->retry_timer))
        event_del(&x->retry_timer);
}
