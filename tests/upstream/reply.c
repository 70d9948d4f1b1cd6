#include "reply.h"

#include "conn.h"
#include "errors.h"
#include "faults.h"
#include "gzip.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURN_BYTES     65536u     /* at most this much is produced per loop turn when unpaced */
#define UNSENT_MAX     (1u << 20) /* more than this unsent: wait for the client to read */
#define TIMER_SLACK_US 200u

void reply_reset(struct reply *r)
{
    stream_free(r->stream);
    gzip_end(r->gzip);
    buf_free(&r->body);
    struct buf head = r->head, wire = r->wire;
    *r = (struct reply){0};
    head.len = wire.len = 0;
    if (wire.cap > TURN_BYTES) {
        buf_free(&wire);
    }
    r->head = head;
    r->wire = wire;
}

static void reply_flush(struct conn *c)
{
    conn_write(c, c->reply.wire.data, c->reply.wire.len);
    c->reply.wire.len = 0;
    if (c->reply.wire.cap > 2 * TURN_BYTES) {
        buf_free(&c->reply.wire);
    }
}

/* Puts body bytes on the wire, as a chunk where need be, and stops where the directive cuts. */
static void reply_frame(struct conn *c, const char *data, size_t len)
{
    struct reply *r = &c->reply;
    size_t n = len;
    if (r->cut || !len) {
        return;
    }
    if (c->dir.cut >= 0 && r->body_sent + n >= (uint64_t)c->dir.cut) {
        n = (size_t)((uint64_t)c->dir.cut - r->body_sent);
        r->cut = true;
    }
    r->body_sent += n;
    if (r->chunked) {
        char size[20];
        int digits = snprintf(size, sizeof size, "%zx\r\n", len);
        buf_add(&r->wire, size, (size_t)digits);
    }
    buf_add(&r->wire, data, n);
    if (r->chunked && n == len) {
        BUF_LIT(&r->wire, "\r\n");
    }
}

static const char *http_date(void)
{
    static time_t last;
    static char text[64];
    time_t now = time(NULL);
    if (now != last) {
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(text, sizeof text, "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        last = now;
    }
    return text;
}

static const char usual_headers[] = "openai-organization: sim-org\r\n"
                                    "openai-processing-ms: 12\r\n"
                                    "openai-version: 2020-10-01\r\n"
                                    "x-ratelimit-limit-requests: 10000\r\n"
                                    "x-ratelimit-limit-tokens: 2000000\r\n"
                                    "x-ratelimit-remaining-requests: 9999\r\n"
                                    "x-ratelimit-remaining-tokens: 1999970\r\n"
                                    "x-ratelimit-reset-requests: 8ms\r\n"
                                    "x-ratelimit-reset-tokens: 1s\r\n"
                                    "set-cookie: __cf_bm=x; path=/; HttpOnly; Secure\r\n"
                                    "server: cloudflare\r\n"
                                    "alt-svc: h3=\":443\"; ma=86400\r\n";

static void put_header(struct buf *out, const char *name, const char *value)
{
    if (value[0]) {
        buf_puts(out, name);
        BUF_LIT(out, ": ");
        buf_puts(out, value);
        BUF_LIT(out, "\r\n");
    }
}

static void put_request_id(struct conn *c, struct buf *out)
{
    uint64_t id = ++c->sim->request_counter;
    BUF_LIT(out, "x-request-id: req_");
    buf_put_hex64(out, text_mix(id));
    buf_put_hex64(out, text_mix(~id));
    BUF_LIT(out, "\r\n");
}

static void put_framing(struct reply *r, struct buf *out)
{
    if (r->chunked) {
        BUF_LIT(out, "transfer-encoding: chunked\r\n");
    } else if (r->stated_length >= 0 && r->status != 204) {
        BUF_LIT(out, "content-length: ");
        buf_put_uint(out, (uint64_t)r->stated_length);
        BUF_LIT(out, "\r\n");
    }
    put_header(out, "connection", r->close ? "close" : "");
    put_header(out, "content-encoding", r->gzip ? "gzip" : "");
}

/* The head up to, not including, its closing empty line. */
static void head_build(struct conn *c)
{
    struct reply *r = &c->reply;
    struct buf *out = &r->head;
    BUF_LIT(out, "HTTP/1.1 ");
    buf_put_uint(out, (uint64_t)r->status);
    BUF_LIT(out, " ");
    buf_puts(out, http_status_text(r->status));
    BUF_LIT(out, "\r\n");
    buf_puts(out, http_date());
    put_header(out, "content-type", r->content_type);
    put_framing(r, out);
    put_request_id(c, out);
    BUF_LIT(out, usual_headers);
    put_header(out, "retry-after", c->dir.retry_after);
    put_header(out, "retry-after-ms", c->dir.retry_after_ms);
    put_header(out, "x-should-retry", c->dir.should_retry);
    faults_extra_headers(out, c->dir.headers);
    faults_odd_header(out, c->dir.odd_header);
}

static bool step_delay(struct conn *c)
{
    c->reply.phase = REPLY_HEAD;
    if (c->dir.delay_us > 0) {
        conn_arm(c, c->dir.delay_us);
        return false;
    }
    return true;
}

static bool step_head(struct conn *c)
{
    struct reply *r = &c->reply;
    if (c->dir.hang == HANG_HEAD || c->dir.hang == HANG_ACCEPT) {
        r->phase = REPLY_HUNG;
        return false;
    }
    if (c->dir.drop) {
        r->cut = true;
        r->phase = REPLY_DRAIN;
        return true;
    }
    if (c->dir.garbage) {
        faults_send_garbage(c);
        r->cut = true;
        r->phase = REPLY_DRAIN;
        return true;
    }
    head_build(c);
    if (!c->control) {
        c->sim->stats.by_status[r->status % STATS_STATUSES]++;
    }
    r->phase = REPLY_FIRST;
    if (c->dir.endless_header) {
        r->phase = REPLY_ENDLESS;
        buf_add(&r->wire, r->head.data, r->head.len);
        return true;
    }
    BUF_LIT(&r->head, "\r\n");
    if (c->dir.slow_head_us > 0) {
        r->phase = REPLY_SLOW_HEAD;
        return true;
    }
    buf_add(&r->wire, r->head.data, r->head.len);
    return true;
}

static bool step_slow_head(struct conn *c)
{
    struct reply *r = &c->reply;
    conn_write(c, r->head.data + r->slow_at, 1);
    if (++r->slow_at == r->head.len) {
        r->phase = REPLY_FIRST;
    }
    conn_arm(c, c->dir.slow_head_us);
    return false;
}

static bool step_endless(struct conn *c)
{
    if (conn_unsent(c) > UNSENT_MAX) {
        c->reply.wait_drain = true;
        return false;
    }
    faults_endless_piece(c, &c->reply.wire);
    reply_flush(c);
    conn_arm(c, 0);
    return false;
}

static bool step_first(struct conn *c)
{
    struct reply *r = &c->reply;
    if (c->dir.hang == HANG_BODY) {
        reply_flush(c);
        r->phase = REPLY_HUNG;
        return false;
    }
    r->phase = REPLY_BODY;
    if (slice_equals(c->request->method, "HEAD") || r->status == 204) {
        r->chunked = false;
        r->phase = REPLY_END;
        return true;
    }
    if (c->dir.cut == 0) {
        r->cut = true;
        r->phase = REPLY_END;
        return true;
    }
    if (c->dir.first_us > 0) {
        reply_flush(c);
        conn_arm(c, c->dir.first_us);
        return false;
    }
    return true;
}

static bool shaped(const struct conn *c)
{
    return c->dir.split > 0 || c->dir.drip_us > 0;
}

/* What has gathered in body goes out, whole or (when shaped) piece by piece. */
static void body_release(struct conn *c)
{
    struct reply *r = &c->reply;
    if (shaped(c) && r->body.len) {
        r->phase = REPLY_SHAPE;
        return;
    }
    reply_frame(c, r->body.data, r->body.len);
    r->body.len = 0;
    if (r->produced_all || r->cut) {
        r->phase = REPLY_END;
    }
}

static bool step_shape(struct conn *c)
{
    struct reply *r = &c->reply;
    size_t left = r->body.len - r->body_at;
    size_t piece = c->dir.split > 0 ? (size_t)c->dir.split : 1;
    piece = piece < left ? piece : left;
    reply_frame(c, r->body.data + r->body_at, piece);
    reply_flush(c);
    r->body_at += piece;
    if (r->body_at == r->body.len) {
        r->body_at = r->body.len = 0;
        r->phase = r->produced_all ? REPLY_END : REPLY_BODY;
    }
    if (r->cut) {
        r->phase = REPLY_END;
    }
    conn_arm(c, c->dir.drip_us);
    return false;
}

static void put_error_event(struct conn *c, struct buf *out)
{
    int status = c->dir.status >= 400 ? (int)c->dir.status : 500;
    if (c->reply.stream->named_events) {
        BUF_LIT(out, "event: error\n");
    }
    BUF_LIT(out, "data: ");
    errors_put_status(out, &c->dir, status);
    BUF_LIT(out, "\n\n");
}

/* Appends the stream's next event to out; false at the stream's end. */
static bool event_next(struct conn *c, struct buf *out)
{
    struct reply *r = &c->reply;
    struct stream *s = r->stream;
    size_t from = out->len;
    s->paced = s->is_event = s->has_token = false;
    if (s->sse && c->dir.error_event >= 0 && r->events >= (uint64_t)c->dir.error_event) {
        put_error_event(c, out);
        r->events++;
        r->produced_all = true;
    } else {
        if (s->sse && c->dir.comment) {
            BUF_LIT(out, ": ping\n\n");
        }
        if (!s->next(s, out)) {
            out->len = from;
            return false;
        }
    }
    if (c->dir.crlf && s->sse) {
        faults_make_crlf(out, from);
    }
    return true;
}

static void event_count(struct conn *c)
{
    struct stream *s = c->reply.stream;
    c->reply.events += s->is_event ? 1 : 0;
    c->sim->stats.completion_tokens += s->has_token ? 1 : 0;
    if (!s->prompt_counted) {
        s->prompt_counted = true;
        c->sim->stats.prompt_tokens += s->prompt_tokens;
    }
}

/* Produces one event onto body (through gzip when asked). */
static void body_produce(struct conn *c)
{
    struct reply *r = &c->reply;
    struct buf plain = {0};
    bool more = event_next(c, r->gzip ? &plain : &r->body);
    if (r->gzip) {
        gzip_add(r->gzip, plain.data, plain.len, more ? Z_SYNC_FLUSH : Z_FINISH, &r->body);
        buf_free(&plain);
    }
    if (!more) {
        r->produced_all = true;
        return;
    }
    event_count(c);
    if (r->stream->last && !r->gzip) {
        r->produced_all = true;
    }
    if (c->dir.cut_event >= 0 && r->stream->sse && r->events >= (uint64_t)c->dir.cut_event) {
        r->cut_after = r->produced_all = true;
    }
}

/* True when the next event must wait for its time. */
static bool pace_wait(struct conn *c)
{
    struct reply *r = &c->reply;
    if (!r->due_us) {
        return false;
    }
    uint64_t now = clock_now_us();
    if (r->due_us <= now + TIMER_SLACK_US) {
        return false;
    }
    reply_flush(c);
    conn_arm(c, (int64_t)(r->due_us - now));
    return true;
}

static void pace_set(struct conn *c)
{
    struct reply *r = &c->reply;
    if (c->dir.pace_us <= 0 || r->produced_all) {
        return;
    }
    if (!r->stream->paced) {
        r->due_us = 0;
        return;
    }
    /* From the last due time, not from now: the mean pace is exact. A late stream does not hurry after. */
    uint64_t now = clock_now_us();
    uint64_t due = (r->last_due_us ? r->last_due_us : now) + (uint64_t)c->dir.pace_us;
    r->due_us = r->last_due_us = due > now ? due : now;
}

static bool turn_over(struct conn *c)
{
    struct reply *r = &c->reply;
    if (conn_unsent(c) + r->wire.len > UNSENT_MAX) {
        reply_flush(c);
        r->wait_drain = conn_unsent(c) > 0;
        return r->wait_drain;
    }
    if (r->wire.len > TURN_BYTES) {
        reply_flush(c);
        conn_arm(c, 0);
        return true;
    }
    return false;
}

static bool step_body(struct conn *c)
{
    struct reply *r = &c->reply;
    r->wait_drain = false;
    if (!r->stream) {
        r->produced_all = true;
        body_release(c);
        return true;
    }
    if (pace_wait(c) || turn_over(c)) {
        return false;
    }
    body_produce(c);
    pace_set(c);
    body_release(c);
    return true;
}

static bool step_end(struct conn *c)
{
    struct reply *r = &c->reply;
    r->cut = r->cut || r->cut_after;
    if (r->chunked && !r->cut) {
        BUF_LIT(&r->wire, "0\r\n\r\n");
    }
    reply_flush(c);
    if (!r->cut && !c->control) {
        c->sim->stats.prompt_tokens += r->prompt_tokens;
        c->sim->stats.completion_tokens += r->completion_tokens;
    }
    r->phase = REPLY_DRAIN;
    return true;
}

static bool step_drain(struct conn *c)
{
    struct reply *r = &c->reply;
    if (conn_unsent(c)) {
        return false;
    }
    if (r->cut) {
        conn_close(c, c->dir.rst != 0);
    } else {
        conn_finish(c, !r->close);
    }
    return false;
}

static bool step_wait(struct conn *c)
{
    (void)c;
    return false;
}

void reply_advance(struct conn *c)
{
    static bool (*const steps[])(struct conn *) = {
        [REPLY_IDLE] = step_wait,           [REPLY_DELAY] = step_delay,     [REPLY_HEAD] = step_head,
        [REPLY_SLOW_HEAD] = step_slow_head, [REPLY_ENDLESS] = step_endless, [REPLY_FIRST] = step_first,
        [REPLY_BODY] = step_body,           [REPLY_SHAPE] = step_shape,     [REPLY_END] = step_end,
        [REPLY_DRAIN] = step_drain,         [REPLY_HUNG] = step_wait,
    };
    while (!c->dead && steps[c->reply.phase](c)) {
    }
}

static void reply_start(struct conn *c, int status, const char *content_type)
{
    struct reply *r = &c->reply;
    r->status = status == 200 && c->dir.status > 0 && c->dir.status < 400 ? (int)c->dir.status : status;
    r->content_type = content_type;
    /* After a wrong length the two sides no longer agree where the next response starts. */
    r->close = !c->request->keep_alive || c->dir.wrong_length != 0;
    r->phase = REPLY_DELAY;
    reply_advance(c);
}

static void body_gzip(struct conn *c, struct buf *body)
{
    struct buf packed = {0};
    c->reply.gzip = gzip_start();
    gzip_add(c->reply.gzip, body->data, body->len, Z_FINISH, &packed);
    buf_free(body);
    *body = packed;
}

void reply_send(struct conn *c, int status, const char *content_type, struct buf *body)
{
    if (c->dir.badjson) {
        body->len /= 2;
    }
    if (c->dir.gzip) {
        body_gzip(c, body);
    }
    c->reply.body = *body;
    *body = (struct buf){0};
    int64_t stated = (int64_t)c->reply.body.len + c->dir.wrong_length;
    c->reply.stated_length = stated > 0 ? stated : 0;
    reply_start(c, status, content_type);
}

void reply_send_stream(struct conn *c, const char *content_type, struct stream *stream, int64_t length)
{
    struct reply *r = &c->reply;
    r->stream = stream;
    r->gzip = c->dir.gzip ? gzip_start() : NULL;
    r->stated_length = r->gzip ? -1 : length;
    r->streaming = stream->sse;
    c->sim->stats.active_streams += r->streaming ? 1 : 0;
    if (length >= 0 && !r->gzip) {
        r->stated_length = length + c->dir.wrong_length > 0 ? length + c->dir.wrong_length : 0;
    }
    r->chunked = r->stated_length < 0 && c->request->http11;
    if (r->stated_length < 0 && !r->chunked) {
        c->request->keep_alive = false; /* HTTP/1.0: the end of the connection ends the body */
    }
    reply_start(c, 200, content_type);
}
