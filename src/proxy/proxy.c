/*
 * The proxy: where exchanges begin, and what belongs to all of them.
 */
#include "sluice/proxy.h"

#include "exchange.h"
#include "sluice/clock.h"
#include "sluice/heap.h"
#include "sluice/log.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PROXY_HEAD_SECONDS = 30,
    PROXY_BODY_SECONDS = 120,
    PROXY_WRITE_SECONDS = 600,
    PROXY_DRAIN_BODY_SECONDS = 30,
    PROXY_IDLE_LOOK_MS = 20,
    PROXY_PEAK = 256,       /* requests at once whose memory is worth giving back */
    PROXY_CALM_SECONDS = 1, /* without a request */
    PROXY_TIMERS = 6, /* of a request: transfer, retry, keep-alive, waiting; and two of one without a client that it waits for */
    PROXY_SPARE_CONNECTIONS = 64 /* beyond the requests: those that wait or are refused */
};

/* ---- the beginning of an exchange --------------------------------------------------------------------------- */

static bool proxy_id_is_usable(struct slice id)
{
    if (id.len == 0 || id.len > EXCHANGE_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (!isalnum((unsigned char)id.ptr[i]) && !strchr("-_.:", id.ptr[i]))
            return false;
    return true;
}

/* The client's own id where it is harmless, else one of ours, in OpenAI's form. */
static const char *proxy_request_id(struct exchange *x)
{
    enum { RANDOM_SIZE = 16 };
    unsigned char random[RANDOM_SIZE] = {0};
    if (proxy_id_is_usable(x->http.request_id))
        return arena_copy(&x->memory, x->http.request_id);
    char *id = arena_alloc(&x->memory, sizeof "req_" + 2 * RANDOM_SIZE);
    if (!id || !digest_random(random, sizeof random))
        return NULL;
    memcpy(id, "req_", 4);
    digest_hex(random, sizeof random, id + 4);
    return id;
}

static void proxy_refuse_request(struct exchange *x, enum http_request_result result)
{
    static const char limit[] = "65536";
    struct openai_error error = {.id = OPENAI_ERROR_BAD_REQUEST};
    if (result == HTTP_REQUEST_HEADERS_TOO_LARGE) {
        error.id = OPENAI_ERROR_HEADERS_TOO_LARGE;
        error.args[0] = SLICE_LITERAL(limit);
    } else if (result == HTTP_REQUEST_BAD_LENGTH) {
        error.args[0] = SLICE_LITERAL("Content-Length is not a number");
    } else if (result == HTTP_REQUEST_REPEATED) {
        error.args[0] = SLICE_LITERAL("a header that may be sent once, such as Authorization, is there twice (or the web server says two things of one)");
    } else {
        error.args[0] = SLICE_LITERAL("a header holds control characters, or the method or the target is none");
    }
    answer_error(x, EXCHANGE_REFUSED, &error);
}

static void proxy_start(struct exchange *x)
{
    struct proxy *p = x->proxy;
    enum http_request_result result = http_request_parse(fcgi_request_variables(x->fcgi), &x->http);
    if (fcgi_request_head_was_too_large(x->fcgi))
        result = HTTP_REQUEST_HEADERS_TOO_LARGE;
    x->request_id = proxy_request_id(x);
    trace_headers(x);
    if (!x->request_id)
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
    else if (result != HTTP_REQUEST_OK)
        proxy_refuse_request(x, result);
    else if (p->active > p->max_active)
        answer_error_id(x, EXCHANGE_REFUSED, OPENAI_ERROR_OVERLOADED);
    else if (p->draining && p->drain_mode == PROXY_REFUSE && !route_own(x))
        answer_error_id(x, EXCHANGE_DRAINED, OPENAI_ERROR_DRAINING);
    else if (!x->answered)
        route_request(x);
}

static void proxy_link(struct proxy *p, struct exchange *x)
{
    x->next = p->exchanges;
    if (x->next)
        x->next->prev = x;
    p->exchanges = x;
    p->active++;
    p->peak = p->active > p->peak ? p->active : p->peak;
    record_active(p);
}

static void *proxy_on_begin(void *ctx, struct fcgi_request *r)
{
    struct proxy *p = ctx;
    struct exchange *x = calloc(1, sizeof *x);
    if (!x) {
        fcgi_request_abort(r);
        return NULL;
    }
    x->proxy = p;
    x->fcgi = r;
    x->started_us = clock_monotonic_us();
    arena_init(&x->memory, EXCHANGE_MEMORY_MAX);
    buf_init(&x->head, EXCHANGE_HEAD_MAX);
    buf_init(&x->held, EXCHANGE_HOLD_MAX);
    proxy_link(p, x);
    proxy_start(x);
    return x;
}

static void proxy_on_body(void *user, struct slice bytes)
{
    struct exchange *x = user;
    if (x && !x->answered)
        receive_piece(x, bytes);
}

static void proxy_on_body_end(void *user)
{
    struct exchange *x = user;
    if (x && !x->answered)
        receive_end(x);
}

static void proxy_on_body_late(void *user)
{
    struct exchange *x = user;
    if (x && !x->answered)
        answer_error_id(x, EXCHANGE_REFUSED, OPENAI_ERROR_BODY_TIMEOUT);
}

static void proxy_on_drained(void *user)
{
    if (user)
        upstream_drained(user);
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

static bool proxy_is_idle(const struct proxy *p)
{
    return p->active == 0 && (p->drain_mode != PROXY_RETIRE || fcgi_server_connections(p->server) == 0);
}

static void proxy_note_idle(struct proxy *p)
{
    if (p->draining && p->active == 0 && p->on_idle)
        event_active(p->idle_event, EV_TIMEOUT, 0);
}

/* What a peak needed goes back to the system: the allocator alone keeps most of it. That takes milliseconds, and is done
 * when nobody waits. */
static void proxy_on_calm(evutil_socket_t fd, short what, void *arg)
{
    struct proxy *p = arg;
    (void)fd;
    (void)what;
    if (p->active > 0)
        return;
    p->peak = 0;
    heap_give_back();
}

static void proxy_note_calm(struct proxy *p)
{
    const struct timeval after = {PROXY_CALM_SECONDS, 0};
    if (p->active == 0 && p->peak >= PROXY_PEAK)
        event_add(p->calm_event, &after);
}

static void proxy_count_served(struct proxy *p)
{
    if (++p->served == p->serve_limit)
        p->on_limit(p->on_limit_ctx);
}

static void proxy_finish(struct exchange *x, enum fcgi_outcome outcome)
{
    struct proxy *p = x->proxy;
    settle_exchange(x, outcome);
    if (x->prev)
        x->prev->next = x->next;
    else
        p->exchanges = x->next;
    if (x->next)
        x->next->prev = x->prev;
    free(x);
    p->active--;
    record_active(p);
    proxy_count_served(p);
    proxy_note_calm(p);
    proxy_note_idle(p);
}

static void proxy_on_orphan_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    proxy_finish(arg, FCGI_CLIENT_LEFT);
}

/* The variables go with the FastCGI request: what the exchange still needs of them is copied. */
static bool proxy_keep_variables(struct exchange *x)
{
    size_t count = 0, path_offset = x->http.path.len - x->api_path.len;
    while (x->http.vars[count])
        count++;
    const char **copies = arena_alloc(&x->memory, (count + 1) * sizeof *copies);
    for (size_t i = 0; copies && i < count; i++)
        if (!(copies[i] = arena_copy(&x->memory, slice_from_text(x->http.vars[i]))))
            return false;
    if (!copies)
        return false;
    http_request_parse(copies, &x->http);
    x->api_path = slice_skip(x->http.path, path_offset);
    return true;
}

/* The exchange goes on without its client, for those who wait for its answer. */
static void proxy_orphan(struct exchange *x)
{
    x->fcgi = NULL;
    keepalive_stop(x);
    event_assign(&x->orphan_event, x->proxy->base, -1, 0, proxy_on_orphan_end, x);
    upstream_drained(x); /* nobody holds it back any longer */
}

static void proxy_on_done(void *user, enum fcgi_outcome outcome)
{
    struct exchange *x = user;
    if (x && !x->answered && outcome != FCGI_DELIVERED && cache_is_wanted(x) && proxy_keep_variables(x))
        proxy_orphan(x);
    else if (x)
        proxy_finish(x, outcome);
}

/* Connections that are being handed over are gone after a few turns of the loop. */
static void proxy_on_idle(evutil_socket_t fd, short what, void *arg)
{
    struct proxy *p = arg;
    struct timeval again = {0, PROXY_IDLE_LOOK_MS * CLOCK_US_PER_MS};
    (void)fd;
    (void)what;
    if (proxy_is_idle(p))
        p->on_idle(p->on_idle_ctx);
    else if (p->active == 0)
        event_add(p->idle_event, &again);
}

bool proxy_use_metrics(struct proxy *p, struct metrics *metrics)
{
    return record_start(p, metrics);
}

void proxy_drain(struct proxy *p, enum proxy_drain_mode mode, const struct handover *handover,
                 void (*on_idle)(void *ctx), void *ctx)
{
    p->draining = true;
    p->drain_mode = mode;
    p->on_idle = on_idle;
    p->on_idle_ctx = ctx;
    if (mode != PROXY_REFUSE)
        fcgi_server_stop_accepting(p->server, mode == PROXY_RETIRE ? handover : NULL);
    proxy_note_idle(p);
}

void proxy_adopt(struct proxy *p, int fd)
{
    fcgi_server_adopt(p->server, fd);
}

void proxy_set_limit(struct proxy *p, int64_t requests, void (*fn)(void *ctx), void *ctx)
{
    p->serve_limit = requests;
    p->on_limit = fn;
    p->on_limit_ctx = ctx;
}

void proxy_end_all(struct proxy *p)
{
    for (struct exchange *x = p->exchanges; x; x = x->next) {
        upstream_cancel(x);
        if (x->status == 0)
            answer_error_id(x, EXCHANGE_DRAINED, OPENAI_ERROR_DRAINING);
        else if (!x->flowing)
            answer_error_event(x, EXCHANGE_DRAINED, OPENAI_ERROR_DRAINING);
        else
            answer_abort(x, EXCHANGE_DRAINED);
    }
}

size_t proxy_active(const struct proxy *p)
{
    return p->active;
}

static const struct fcgi_events proxy_fcgi_events = {proxy_on_begin,     proxy_on_body,    proxy_on_body_end,
                                                     proxy_on_body_late, proxy_on_drained, proxy_on_done};

struct proxy *proxy_new(struct event_base *base, int listen_fd, const struct config *config,
                        const struct keys *keys, struct pool_shared *health, size_t max_requests)
{
    struct fcgi_limits limits = {
        .head_us = PROXY_HEAD_SECONDS * (int64_t)CLOCK_US_PER_SECOND,
        .body_us = PROXY_BODY_SECONDS * (int64_t)CLOCK_US_PER_SECOND,
        .write_us = PROXY_WRITE_SECONDS * (int64_t)CLOCK_US_PER_SECOND,
        .drain_us = PROXY_DRAIN_BODY_SECONDS * (int64_t)CLOCK_US_PER_SECOND,
        .connections = max_requests + PROXY_SPARE_CONNECTIONS,
        .timers = PROXY_TIMERS,
    };
    struct proxy *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->base = base;
    p->config = config;
    p->keys = keys;
    p->max_active = max_requests;
    p->idle_event = event_new(base, -1, 0, proxy_on_idle, p);
    p->calm_event = event_new(base, -1, 0, proxy_on_calm, p);
    p->transfers = transfer_pool_new(base);
    if (p->transfers && *config->upstream_ca_file)
        transfer_pool_trust(p->transfers, config->upstream_ca_file);
    p->pool = pool_new(keys, health, config->upstream_breaker_us);
    p->server = fcgi_server_new(base, listen_fd, &proxy_fcgi_events, &limits, p);
    if (!p->idle_event || !p->calm_event || !p->transfers || !p->pool || !p->server || !services_open(p))
        proxy_free(&p);
    return p;
}

void proxy_free(struct proxy **proxy)
{
    struct proxy *p = *proxy;
    *proxy = NULL;
    if (!p)
        return;
    p->on_idle = NULL;
    fcgi_server_free(&p->server);
    while (p->exchanges) /* those without a client */
        proxy_finish(p->exchanges, FCGI_CLIENT_LEFT);
    record_stop(p);
    transfer_pool_free(&p->transfers);
    pool_free(&p->pool);
    services_close(p);
    if (p->idle_event)
        event_free(p->idle_event);
    if (p->calm_event)
        event_free(p->calm_event);
    free(p);
}
