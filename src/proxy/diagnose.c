/*
 * Answers about Sluice itself and the web server in front of it, below /v1/_sluice: what `sluice doctor` asks
 * for. They need a client key and no upstream.
 *
 *   GET  stream?events=N&pace_ms=M&silence_s=S&id=X   a paced event stream; each event tells when it was sent
 *   GET  departure?id=X                               whether that stream was left by its client, and when
 *   GET  echo[/...], POST the same                    the request as it arrived here, without header values
 *   POST sink                                         counts the body
 */
#include "exchange.h"

#include "sluice/clock.h"
#include "sluice/http_response.h"
#include "sluice/json_out.h"

#include <ctype.h>
#include <stdio.h>

enum { DIAGNOSE_ANSWER_MAX = 128 * 1024, DIAGNOSE_TOTAL_SECONDS = 1800 };

struct diagnose_endpoint {
    const char *path; /* behind /v1/_sluice */
    bool below;       /* paths below it are this endpoint too */
    bool get, post;
    void (*answer)(struct exchange *x);
};

/* A stream that is on its way. */
struct diagnosis {
    const struct diagnose_endpoint *endpoint;
    struct event *timer;
    int64_t events, pace_us, silence_us;
    int64_t sent; /* events */
    int64_t began_us;
    char id[DIAGNOSE_ID_MAX + 1]; /* empty: none was given */
};

static void diagnose_refuse(struct exchange *x, const char *why)
{
    struct openai_error error = {.id = OPENAI_ERROR_BAD_REQUEST, .args = {slice_from_text(why)}};
    answer_error(x, EXCHANGE_REFUSED, &error);
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

struct diagnose_parameter {
    const char *name;
    int64_t min, max, preset;
    const char *complaint;
};

static const struct diagnose_parameter diagnose_events = {"events", 1, 1000, 10,
                                                          "events is a whole number from 1 to 1000"};
static const struct diagnose_parameter diagnose_pace = {"pace_ms", 0, 10000, 100,
                                                        "pace_ms is a whole number from 0 to 10000"};
static const struct diagnose_parameter diagnose_silence = {"silence_s", 0, 900, 0,
                                                           "silence_s is a whole number from 0 to 900"};

/* The value of the first parameter of this name; a NULL pointer where there is none. */
static struct slice diagnose_find_parameter(struct slice query, const char *name)
{
    struct slice wanted = slice_from_text(name);
    while (query.len > 0) {
        const char *end = memchr(query.ptr, '&', query.len);
        struct slice pair = end ? slice_take(query, (size_t)(end - query.ptr)) : query;
        if (slice_starts_with(pair, wanted) && pair.len > wanted.len && pair.ptr[wanted.len] == '=')
            return slice_make(pair.ptr + wanted.len + 1, pair.len - wanted.len - 1);
        query = slice_skip(query, pair.len + 1);
    }
    return (struct slice){NULL, 0};
}

/* False after having answered what is wrong. */
static bool diagnose_read_number(struct exchange *x, const struct diagnose_parameter *p, int64_t *out)
{
    struct slice text = diagnose_find_parameter(x->http.query, p->name);
    int64_t n = 0;
    bool good = !text.ptr || (text.len > 0 && text.len <= 6);
    for (size_t i = 0; good && i < text.len; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is not NULL where it has a length */
        good = isdigit((unsigned char)text.ptr[i]);
        n = n * 10 + (text.ptr[i] - '0');
    }
    *out = text.ptr ? n : p->preset;
    if (good && *out >= p->min && *out <= p->max)
        return true;
    diagnose_refuse(x, p->complaint);
    return false;
}

static bool diagnose_read_id(struct exchange *x, char id[DIAGNOSE_ID_MAX + 1])
{
    struct slice text = diagnose_find_parameter(x->http.query, "id");
    bool good = text.len <= DIAGNOSE_ID_MAX;
    for (size_t i = 0; good && i < text.len; i++)
        good = isalnum((unsigned char)text.ptr[i]) || strchr("-_.", text.ptr[i]);
    if (!good) {
        diagnose_refuse(x, "id is up to 64 letters, digits and -_.");
        return false;
    }
    if (text.len > 0)
        memcpy(id, text.ptr, text.len);
    id[text.len] = '\0';
    return true;
}

/* ---- which streams were left --------------------------------------------------------------------------- */

/* By id and client key: nobody hears of another client's streams. */
static struct diagnosed_stream *diagnose_find_stream(const struct exchange *x, const char *id)
{
    struct diagnosed *d = &x->proxy->diagnosed;
    for (size_t i = 0; i < DIAGNOSE_STREAMS_MAX; i++)
        if (d->streams[i].id[0] && strcmp(d->streams[i].id, id) == 0 &&
            strcmp(d->streams[i].key, x->key->fingerprint) == 0)
            return &d->streams[i];
    return NULL;
}

static void diagnose_remember(const struct exchange *x, const char *id, int64_t began_us)
{
    struct diagnosed *d = &x->proxy->diagnosed;
    struct diagnosed_stream *s = diagnose_find_stream(x, id);
    if (id[0] == '\0')
        return;
    if (!s)
        s = &d->streams[d->next++ % DIAGNOSE_STREAMS_MAX];
    *s = (struct diagnosed_stream){.began_us = began_us};
    snprintf(s->id, sizeof s->id, "%s", id);
    snprintf(s->key, sizeof s->key, "%s", x->key->fingerprint);
}

static bool diagnose_put_departure(struct buf *b, const struct diagnosed_stream *s)
{
    if (!json_put_member_bool(b, "known", s != NULL) || !s)
        return s == NULL;
    int64_t until_us = s->ended_us ? s->ended_us : clock_monotonic_us();
    return json_put_member_bool(b, "ended", s->ended_us != 0) && json_put_member_bool(b, "left", s->left) &&
           json_put_member_int(b, "after_ms", (until_us - s->began_us) / CLOCK_US_PER_MS);
}

static void diagnose_answer_departure(struct exchange *x)
{
    char id[DIAGNOSE_ID_MAX + 1];
    struct buf body;
    if (!diagnose_read_id(x, id))
        return;
    const struct diagnosed_stream *stream = diagnose_find_stream(x, id);
    if (!stream)
        fcgi_request_close_connection(x->fcgi); /* another worker may know it */
    buf_init(&body, DIAGNOSE_ANSWER_MAX);
    if (buf_append_char(&body, '{') && diagnose_put_departure(&body, stream) && buf_append_char(&body, '}'))
        answer_json(x, 200, buf_slice(&body));
    else
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
    buf_free(&body);
}

/* ---- the stream ---------------------------------------------------------------------------------------- */

static bool diagnose_send_event(struct exchange *x)
{
    struct diagnosis *d = x->diagnosis;
    struct buf event;
    buf_init(&event, DIAGNOSE_ANSWER_MAX);
    bool ok = buf_append_text(&event, "data: {") && json_put_member_int(&event, "sequence", d->sent) &&
              json_put_member_int(&event, "of", d->events) &&
              json_put_member_int(&event, "sent_us", clock_monotonic_us() - d->began_us) &&
              buf_append_text(&event, "}\n\n") && answer_body(x, buf_slice(&event));
    buf_free(&event);
    d->sent++;
    x->events++;
    return ok;
}

/* The silence stands behind the first event: by then every server in between has begun to wait. */
static void diagnose_arm_timer(const struct diagnosis *d)
{
    int64_t left = d->began_us + d->silence_us + d->sent * d->pace_us - clock_monotonic_us();
    if (left < 0)
        left = 0;
    struct timeval after = {left / CLOCK_US_PER_SECOND, left % CLOCK_US_PER_SECOND};
    event_add(d->timer, &after);
}

static void diagnose_go_on(struct exchange *x)
{
    struct diagnosis *d = x->diagnosis;
    if (x->answered || !diagnose_send_event(x))
        return;
    if (d->sent < d->events)
        diagnose_arm_timer(d);
    else if (answer_body(x, SLICE_LITERAL("data: [DONE]\n\n")))
        answer_complete(x, EXCHANGE_LOCAL);
}

static void diagnose_on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    diagnose_go_on(arg);
}

static bool diagnose_read_stream(struct exchange *x, struct diagnosis *d)
{
    int64_t pace_ms, silence_s;
    if (!diagnose_read_number(x, &diagnose_events, &d->events) ||
        !diagnose_read_number(x, &diagnose_pace, &pace_ms) ||
        !diagnose_read_number(x, &diagnose_silence, &silence_s) || !diagnose_read_id(x, d->id))
        return false;
    d->pace_us = pace_ms * CLOCK_US_PER_MS;
    d->silence_us = silence_s * CLOCK_US_PER_SECOND;
    if (d->events * d->pace_us + d->silence_us <= DIAGNOSE_TOTAL_SECONDS * (int64_t)CLOCK_US_PER_SECOND)
        return true;
    diagnose_refuse(x, "the stream would take more than 1800 seconds");
    return false;
}

/* What a stream from the upstream would have, so that the web server treats it as one. */
static void diagnose_put_stream_headers(struct exchange *x)
{
    answer_clear_headers(x);
    answer_put_header(x, SLICE_LITERAL("Content-Type"),
                      SLICE_LITERAL("text/event-stream; charset=utf-8"));
    answer_put_header(x, SLICE_LITERAL("Cache-Control"), SLICE_LITERAL("no-cache"));
    answer_put_header(x, SLICE_LITERAL("x-request-id"), slice_from_text(x->request_id));
    answer_put_header(x, SLICE_LITERAL("X-Accel-Buffering"), SLICE_LITERAL("no"));
}

static void diagnose_answer_stream(struct exchange *x)
{
    struct diagnosis *d = x->diagnosis;
    if (!diagnose_read_stream(x, d))
        return;
    d->timer = event_new(x->proxy->base, -1, 0, diagnose_on_timer, x);
    if (!d->timer) {
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
        return;
    }
    d->began_us = clock_monotonic_us();
    diagnose_remember(x, d->id, d->began_us);
    x->streaming = x->fields.stream = true;
    diagnose_put_stream_headers(x);
    if (answer_head(x, 200, -1))
        diagnose_go_on(x);
}

/* ---- echo and sink ------------------------------------------------------------------------------------- */

static bool diagnose_is_https(const struct exchange *x)
{
    struct slice https = http_request_variable(&x->http, "HTTPS");
    struct slice scheme = http_request_variable(&x->http, "REQUEST_SCHEME");
    struct slice forwarded = http_request_variable(&x->http, "HTTP_X_FORWARDED_PROTO");
    return (https.len > 0 && !slice_equals_nocase(https, SLICE_LITERAL("off"))) ||
           slice_equals_nocase(scheme, SLICE_LITERAL("https")) ||
           slice_equals_nocase(forwarded, SLICE_LITERAL("https"));
}

/* Apache names the same software for both of its modules; mod_proxy_fcgi shows in a file name of its making.
 */
static bool diagnose_is_proxied(const struct exchange *x)
{
    return slice_starts_with(http_request_variable(&x->http, "SCRIPT_FILENAME"), SLICE_LITERAL("proxy:"));
}

static bool diagnose_put_variable(struct buf *b, const struct exchange *x, const char *name,
                                  const char *variable)
{
    return json_put_member_string(b, name, slice_take(http_request_variable(&x->http, variable), 256));
}

static bool diagnose_put_limits(struct buf *b, const struct exchange *x)
{
    return json_put_member_int(b, "content_length", x->http.content_length) &&
           json_put_member_int(b, "body_bytes", (int64_t)x->bytes_in) &&
           json_put_member_int(b, "max_body_bytes", x->proxy->config->max_body_bytes) &&
           json_put_member_string(b, "version", SLICE_LITERAL(SLUICE_VERSION));
}

static bool diagnose_put_request(struct buf *b, const struct exchange *x)
{
    return json_put_member_string(b, "method", x->http.method) &&
           json_put_member_string(b, "path", x->http.path) &&
           json_put_member_string(b, "query", x->http.query) &&
           json_put_member_string(b, "base_path", slice_from_text(x->proxy->config->base_path)) &&
           json_put_member_bool(b, "authorization", x->http.authorization.len > 0) &&
           json_put_member_bool(b, "https", diagnose_is_https(x)) &&
           diagnose_put_variable(b, x, "server_protocol", "SERVER_PROTOCOL") &&
           diagnose_put_variable(b, x, "server_software", "SERVER_SOFTWARE") &&
           diagnose_put_variable(b, x, "remote_addr", "REMOTE_ADDR") &&
           json_put_member_bool(b, "mod_proxy_fcgi", diagnose_is_proxied(x)) &&
           json_put_member_bool(b, "kept_connection", fcgi_request_keeps_connection(x->fcgi));
}

static void diagnose_answer_json(struct exchange *x, bool with_request)
{
    struct buf body;
    buf_init(&body, DIAGNOSE_ANSWER_MAX);
    if (buf_append_char(&body, '{') && (!with_request || diagnose_put_request(&body, x)) &&
        diagnose_put_limits(&body, x) && buf_append_char(&body, '}'))
        answer_json(x, 200, buf_slice(&body));
    else
        diagnose_refuse(x, "its path is too long to be echoed");
    buf_free(&body);
}

static void diagnose_answer_echo(struct exchange *x)
{
    diagnose_answer_json(x, true);
}

static void diagnose_answer_sink(struct exchange *x)
{
    diagnose_answer_json(x, false);
}

/* ---- which one ----------------------------------------------------------------------------------------- */

static const struct diagnose_endpoint diagnose_endpoints[] = {
    {"/stream", .get = true, .answer = diagnose_answer_stream},
    {"/departure", .get = true, .answer = diagnose_answer_departure},
    {"/echo", .below = true, .get = true, .post = true, .answer = diagnose_answer_echo},
    {"/sink", .post = true, .answer = diagnose_answer_sink},
};

static const struct diagnose_endpoint *diagnose_find(struct slice path)
{
    for (size_t i = 0; i < sizeof diagnose_endpoints / sizeof *diagnose_endpoints; i++) {
        const struct diagnose_endpoint *e = &diagnose_endpoints[i];
        struct slice known = slice_from_text(e->path);
        if (slice_equals(path, known) ||
            (e->below && slice_starts_with(path, known) && path.ptr[known.len] == '/'))
            return e;
    }
    return NULL;
}

static bool diagnose_allows(const struct diagnose_endpoint *e, struct slice method)
{
    return (e->get && slice_equals_text(method, "GET")) || (e->post && slice_equals_text(method, "POST"));
}

static void diagnose_start(struct exchange *x, const struct diagnose_endpoint *endpoint)
{
    x->diagnosis = arena_alloc(&x->memory, sizeof *x->diagnosis);
    if (x->diagnosis)
        x->diagnosis->endpoint = endpoint;
    else
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
}

bool diagnose_begin(struct exchange *x)
{
    static const struct slice prefix = {"/_sluice", 8};
    struct slice path = slice_skip(x->api_path, prefix.len);
    if (!slice_starts_with(x->api_path, prefix) || (path.len > 0 && path.ptr[0] != '/'))
        return false;
    const struct diagnose_endpoint *endpoint = diagnose_find(path);
    struct openai_error error = {.args = {x->http.method, x->http.path}};
    if (!endpoint || !diagnose_allows(endpoint, x->http.method)) {
        error.id = endpoint ? OPENAI_ERROR_WRONG_METHOD : OPENAI_ERROR_UNKNOWN_URL;
        answer_error(x, EXCHANGE_REFUSED, &error);
    } else if (x->http.content_length > x->proxy->config->max_body_bytes) {
        answer_too_large(x, x->http.content_length);
    } else {
        diagnose_start(x, endpoint);
    }
    return true;
}

/* Counted, not kept. */
void diagnose_piece(struct exchange *x, struct slice bytes)
{
    x->bytes_in += bytes.len;
    if ((int64_t)x->bytes_in > x->proxy->config->max_body_bytes)
        answer_too_large(x, (int64_t)x->bytes_in);
}

/* A body that is not as long as its head said is not refused here: the answer tells both lengths. */
void diagnose_end(struct exchange *x)
{
    x->body_done = true;
    x->diagnosis->endpoint->answer(x);
}

void diagnose_settle(struct exchange *x, enum fcgi_outcome outcome)
{
    if (!x->diagnosis || !x->diagnosis->timer)
        return;
    event_free(x->diagnosis->timer);
    x->diagnosis->timer = NULL;
    struct diagnosed_stream *s = diagnose_find_stream(x, x->diagnosis->id);
    if (!s || s->began_us != x->diagnosis->began_us)
        return;
    s->ended_us = clock_monotonic_us();
    s->left = outcome == FCGI_CLIENT_LEFT;
}
