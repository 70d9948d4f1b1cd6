/*
 * Transfers against a small HTTP server on the same thread: it says exactly what a test wants, in pieces of any
 * size, and then keeps, closes or resets the connection, or says nothing more.
 */
#include "test.h"

#include "sluice/buf.h"
#include "sluice/clock.h"
#include "sluice/transfer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS_MAX = 16, LONG_MS = 5000, SHORT_US = 60 * CLOCK_US_PER_MS };

enum then { KEEP, CLOSE, RESET, HANG };

/* ---- the server --------------------------------------------------------------------------------------------- */

struct conn {
    int fd; /* -1: free */
    struct buf in;
    bool answering;
    size_t sent;
};

struct upstream {
    int listen_fd;
    unsigned port;
    struct slice answer;
    size_t piece; /* bytes a turn */
    enum then then;
    struct conn conns[CONNS_MAX];
    struct buf request;   /* the last whole one */
    size_t accepted, requests, client_closed;
};

static void upstream_init(struct upstream *u)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    *u = (struct upstream){.piece = 1 << 20};
    u->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(u->listen_fd >= 0);
    assert_return_code(bind(u->listen_fd, (struct sockaddr *)&address, sizeof address), errno);
    assert_return_code(listen(u->listen_fd, 16), errno);
    assert_return_code(getsockname(u->listen_fd, (struct sockaddr *)&address, &len), errno);
    u->port = ntohs(address.sin_port);
    buf_init(&u->request, 1024 * 1024);
    for (size_t i = 0; i < CONNS_MAX; i++) {
        u->conns[i].fd = -1;
        buf_init(&u->conns[i].in, 1024 * 1024);
    }
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    buf_free(&c->in);
    c->fd = -1;
    c->answering = false;
}

static void upstream_free(struct upstream *u)
{
    for (size_t i = 0; i < CONNS_MAX; i++)
        conn_close(&u->conns[i]);
    if (u->listen_fd >= 0)
        close(u->listen_fd);
    buf_free(&u->request);
}

static void upstream_accept(struct upstream *u)
{
    for (size_t i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &u->conns[i];
        if (c->fd < 0 && (c->fd = accept4(u->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
            u->accepted++;
    }
}

/* The length of a whole request, or 0. One in chunks is the last thing that is sent. */
static size_t request_length(struct buf *in)
{
    const char *text = buf_text(in);
    const char *end = strstr(text, "\r\n\r\n");
    if (end && strcasestr(text, "\r\ntransfer-encoding: chunked\r\n"))
        return in->len >= 5 && memcmp(text + in->len - 5, "0\r\n\r\n", 5) == 0 ? in->len : 0;
    const char *length = strcasestr(text, "content-length: ");
    size_t body = end && length && length < end ? strtoul(length + 16, NULL, 10) : 0;
    size_t whole = end ? (size_t)(end - text) + 4 + body : 0;
    return whole <= in->len ? whole : 0;
}

static void conn_read(struct upstream *u, struct conn *c)
{
    char bytes[16384];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        u->client_closed++;
        conn_close(c);
        return;
    }
    if (n > 0)
        assert_true(buf_append(&c->in, bytes, (size_t)n));
    size_t whole = c->answering ? 0 : request_length(&c->in);
    if (whole == 0)
        return;
    buf_clear(&u->request);
    assert_true(buf_append_slice(&u->request, slice_take(buf_slice(&c->in), whole)));
    buf_consume(&c->in, whole);
    u->requests++;
    c->answering = true;
    c->sent = 0;
}

static void conn_write(struct upstream *u, struct conn *c)
{
    struct slice rest = slice_take(slice_skip(u->answer, c->sent), u->piece);
    ssize_t n = rest.len ? send(c->fd, rest.ptr, rest.len, MSG_NOSIGNAL) : 0;
    c->sent += n > 0 ? (size_t)n : 0;
    if (c->sent < u->answer.len)
        return;
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (u->then == RESET)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    if (u->then == KEEP)
        c->answering = false;
    else if (u->then != HANG)
        conn_close(c);
}

static void upstream_turn(struct upstream *u)
{
    if (u->listen_fd >= 0)
        upstream_accept(u);
    for (size_t i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &u->conns[i];
        if (c->fd >= 0)
            conn_read(u, c);
        if (c->fd >= 0 && c->answering)
            conn_write(u, c);
    }
}

/* ---- the client --------------------------------------------------------------------------------------------- */

struct world;

/* One transfer as its owner sees it. */
struct owner {
    struct world *world;
    struct transfer *transfer;
    bool ended; /* done, or cancelled */
};

struct world {
    struct event_base *base;
    struct transfer_pool *pool;
    struct upstream up;
    struct transfer_limits limits;
    struct owner owners[CONNS_MAX];
    size_t started, done;
    enum transfer_result result;
    struct buf log, body;
    size_t pieces;
    size_t cancel_at; /* cancel in the callback of this number: 1 is the first header */
    size_t callbacks;
    bool hold;        /* body() says to hold back */
    bool cancel_all;  /* done() cancels every other transfer */
    bool start_again; /* done() starts another one, once */
    struct slice upload; /* what read() gives, in pieces */
    size_t upload_piece;
    size_t reads;
    bool upload_waits, upload_fails, cancel_in_read;
};

static void start(struct world *w);

static void count_callback(struct owner *o)
{
    assert_false(o->ended);
    if (++o->world->callbacks == o->world->cancel_at) {
        o->ended = true;
        transfer_cancel(&o->transfer);
        assert_null(o->transfer);
    }
}

static void on_header(void *user, struct slice name, struct slice value)
{
    struct owner *o = user;
    assert_true(buf_printf(&o->world->log, "%.*s: %.*s;", (int)name.len, name.ptr, (int)(value.len < 40 ? value.len : 40),
                           value.ptr ? value.ptr : ""));
    count_callback(o);
}

static void on_head(void *user, int status, int64_t content_length)
{
    struct owner *o = user;
    assert_true(buf_printf(&o->world->log, "head %d %lld;", status, (long long)content_length));
    count_callback(o);
}

static bool on_body(void *user, struct slice bytes)
{
    struct owner *o = user;
    assert_true(bytes.len > 0);
    assert_true(buf_append_slice(&o->world->body, bytes));
    o->world->pieces++;
    count_callback(o);
    return !o->world->hold;
}

static void on_done(void *user, enum transfer_result result, const char *detail)
{
    struct owner *o = user;
    struct world *w = o->world;
    assert_non_null(detail);
    assert_false(o->ended);
    o->ended = true;
    o->transfer = NULL;
    w->done++;
    w->result = result;
    assert_true(buf_printf(&w->log, "%s;", transfer_result_name(result)));
    for (size_t i = 0; w->cancel_all && i < w->started; i++) {
        transfer_cancel(&w->owners[i].transfer);
        w->owners[i].ended = true;
    }
    if (w->start_again) {
        w->start_again = false;
        start(w);
    }
}

static size_t on_read(void *user, char *to, size_t size)
{
    struct owner *o = user;
    struct world *w = o->world;
    assert_false(o->ended);
    w->reads++;
    if (w->cancel_in_read) {
        o->ended = true;
        transfer_cancel(&o->transfer);
        return 0;
    }
    if (w->upload_fails || w->upload_waits)
        return w->upload_fails ? TRANSFER_READ_FAILED : TRANSFER_READ_LATER;
    size_t n = w->upload.len < w->upload_piece ? w->upload.len : w->upload_piece;
    n = n < size ? n : size;
    if (n > 0)
        memcpy(to, w->upload.ptr, n);
    w->upload = slice_skip(w->upload, n);
    return n;
}

static const struct transfer_events events = {.header = on_header, .head = on_head, .body = on_body, .done = on_done, .read = on_read};

static void world_begin(struct world *w)
{
    *w = (struct world){.limits = {60 * CLOCK_US_PER_SECOND, 60 * CLOCK_US_PER_SECOND, 60 * CLOCK_US_PER_SECOND,
                                   60 * CLOCK_US_PER_SECOND}};
    upstream_init(&w->up);
    buf_init(&w->log, 1024 * 1024);
    buf_init(&w->body, 64 * 1024 * 1024);
    w->base = event_base_new();
    assert_non_null(w->base);
    w->pool = transfer_pool_new(w->base);
    assert_non_null(w->pool);
}

static void world_end(struct world *w)
{
    transfer_pool_free(&w->pool);
    assert_null(w->pool);
    event_base_free(w->base);
    upstream_free(&w->up);
    buf_free(&w->log);
    buf_free(&w->body);
}

static void turn(struct world *w)
{
    event_base_loop(w->base, EVLOOP_NONBLOCK);
    upstream_turn(&w->up);
}

static void wait_us(struct world *w, int64_t us)
{
    for (int64_t end = clock_monotonic_us() + us; clock_monotonic_us() < end; usleep(200))
        turn(w);
}

/* Turns until a count has come to a number. */
static void await_count(struct world *w, const size_t *count, size_t number)
{
    int64_t end = clock_monotonic_us() + LONG_MS * CLOCK_US_PER_MS;
    for (int i = 0; *count < number; i++) {
        if (clock_monotonic_us() > end)
            fail_msg("%zu of %zu; log: %s", *count, number, buf_text(&w->log));
        turn(w);
        if (i > 100)
            usleep(100);
    }
}

static void start_request(struct world *w, const struct transfer_request *request)
{
    assert_true(w->started < CONNS_MAX);
    struct owner *o = &w->owners[w->started++];
    size_t callbacks = w->callbacks, done = w->done;
    *o = (struct owner){.world = w};
    o->transfer = transfer_start(w->pool, request, &events, o);
    assert_non_null(o->transfer);
    assert_int_equal(w->callbacks + w->done, callbacks + done);
}

static void start_at(struct world *w, const char *method, const char *target, struct slice body)
{
    char url[512];
    static const char *const headers[] = {"Authorization: Bearer k", "X-Empty;", NULL};
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", w->up.port, target);
    start_request(w, &(struct transfer_request){
                         .method = method, .url = url, .headers = headers, .body = body, .limits = w->limits});
}

static void start(struct world *w)
{
    start_at(w, "POST", "/v1/x", SLICE_LITERAL("{}"));
}

static void start_get(struct world *w, const char *url)
{
    static const char *const none[] = {NULL};
    start_request(w, &(struct transfer_request){.method = "GET", .url = url, .headers = none, .limits = w->limits});
}

static void start_upload(struct world *w, struct slice upload, int64_t length)
{
    static const char *const none[] = {NULL};
    char url[64];
    w->upload = upload;
    w->upload_piece = w->upload_piece ? w->upload_piece : 1000;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", w->up.port);
    start_request(w, &(struct transfer_request){.method = "POST",
                                                .url = url,
                                                .headers = none,
                                                .streamed = true,
                                                .length = length,
                                                .limits = w->limits});
}

static void say(struct world *w, const char *answer, enum then then)
{
    w->up.answer = slice_from_text(answer);
    w->up.then = then;
}

static void assert_log(struct world *w, const char *expected)
{
    assert_string_equal(buf_text(&w->log), expected);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define HELLO   OK_HEAD "Content-Length: 5\r\n\r\nhello"

/* ---- answers ------------------------------------------------------------------------------------------------ */

struct answer_case {
    const char *method, *answer;
    enum then then;
    const char *log, *body;
};

#define IDENTITY     "Transfer-Encoding: identity\r\n"
#define IDENTITY_LOG "Transfer-Encoding: identity;"

static const struct answer_case answers[] = {
    {"POST", HELLO, KEEP, "Content-Length: 5;head 200 5;ok;", "hello"},
    {"POST", HELLO, CLOSE, "Content-Length: 5;head 200 5;ok;", "hello"},
    {"POST", OK_HEAD "Content-Length: 0\r\n\r\n", KEEP, "Content-Length: 0;head 200 0;ok;", ""},
    {"POST", OK_HEAD "A:  b c \r\nA:d\r\nEmpty:\r\nContent-Length: 0\r\n\r\n", KEEP,
     "A: b c;A: d;Empty: ;Content-Length: 0;head 200 0;ok;", ""},
    {"POST", OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", KEEP,
     "Transfer-Encoding: chunked;head 200 -1;ok;", "hello"},
    {"POST", OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", KEEP,
     "Transfer-Encoding: chunked;head 200 -1;ok;", "hello"},
    {"POST", OK_HEAD "\r\nuntil the end", CLOSE, "head 200 -1;ok;", "until the end"},
    {"POST", OK_HEAD IDENTITY "Content-Length: 5\r\n\r\nhello", HANG, IDENTITY_LOG "Content-Length: 5;head 200 5;ok;", "hello"},
    {"POST", OK_HEAD "Content-Length: 5\r\n" IDENTITY "\r\nhello", HANG, "Content-Length: 5;" IDENTITY_LOG "head 200 5;ok;", "hello"},
    {"POST", OK_HEAD IDENTITY "Content-Length: 0\r\n\r\n", HANG, IDENTITY_LOG "Content-Length: 0;head 200 0;ok;", ""},
    {"POST", OK_HEAD IDENTITY "Content-Length: 5\r\n\r\nhello and more", HANG,
     IDENTITY_LOG "Content-Length: 5;head 200 5;ok;", "hello"},
    {"POST", OK_HEAD IDENTITY "\r\nuntil the end", CLOSE, IDENTITY_LOG "head 200 -1;ok;", "until the end"},
    {"HEAD", OK_HEAD IDENTITY "Content-Length: 5\r\n\r\n", HANG, IDENTITY_LOG "Content-Length: 5;head 200 5;ok;", ""},
    {"POST", "HTTP/1.0 200 OK\r\nA: b\r\n\r\nold", CLOSE, "A: b;head 200 -1;ok;", "old"},
    {"POST", "HTTP/1.1 100 Continue\r\nX: no\r\n\r\n" HELLO, KEEP, "Content-Length: 5;head 200 5;ok;", "hello"},
    {"POST", "HTTP/1.1 103 Early Hints\r\nLink: no\r\n\r\n" HELLO, KEEP, "Content-Length: 5;head 200 5;ok;", "hello"},
    {"POST", "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\nno", KEEP,
     "Content-Length: 2;head 429 2;ok;", "no"},
    {"POST", "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", KEEP,
     "Location: http://127.0.0.1:1/;Content-Length: 0;head 307 0;ok;", ""},
    {"DELETE", "HTTP/1.1 204 No Content\r\n\r\n", KEEP, "head 204 0;ok;", ""},
    {"HEAD", OK_HEAD "Content-Length: 5\r\n\r\n", KEEP, "Content-Length: 5;head 200 5;ok;", ""},
    {"GET", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", KEEP,
     "WWW-Authenticate: Basic;Content-Length: 0;head 401 0;ok;", ""},
};

static void answers_at_every_pace(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 1000};
    struct world w;
    world_begin(&w);
    for (size_t i = 0; i < TEST_COUNT(answers); i++)
        for (size_t p = 0; p < TEST_COUNT(pieces); p++) {
            const struct answer_case *c = &answers[i];
            bool body = strcmp(c->method, "POST") == 0;
            buf_clear(&w.log);
            buf_clear(&w.body);
            w.done = w.started = 0;
            w.up.piece = pieces[p];
            say(&w, c->answer, c->then);
            start_at(&w, c->method, "/v1/x", body ? SLICE_LITERAL("{}") : (struct slice){NULL, 0});
            await_count(&w, &w.done, 1);
            assert_log(&w, c->log);
            assert_string_equal(buf_text(&w.body), c->body);
            assert_int_equal(transfer_pool_active(w.pool), 0);
        }
    world_end(&w);
}

static void large_answers_arrive_whole(void **state)
{
    (void)state;
    enum { SIZE = 3 * 1024 * 1024 };
    struct world w;
    struct buf answer;
    world_begin(&w);
    buf_init(&answer, 2 * SIZE);
    assert_true(buf_printf(&answer, OK_HEAD "Content-Length: %d\r\n\r\n", SIZE));
    size_t head = answer.len;
    for (size_t i = 0; i < SIZE; i++)
        assert_true(buf_append_char(&answer, (char)((i ^ i >> 9) % 241)));
    w.up.answer = buf_slice(&answer);
    start(&w);
    await_count(&w, &w.done, 1);
    assert_int_equal(w.result, TRANSFER_OK);
    assert_true(slice_equals(buf_slice(&w.body), slice_skip(buf_slice(&answer), head)));
    world_end(&w);
    buf_free(&answer);
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

struct request_case {
    const char *method, *target;
    struct slice body;
    const char *line, *length; /* NULL: no Content-Length */
};

static void requests_go_out_as_asked(void **state)
{
    (void)state;
    static const struct request_case cases[] = {
        {"GET", "/v1/x?a=b%20c", {NULL, 0}, "GET /v1/x?a=b%20c HTTP/1.1\r\n", NULL},
        {"GET", "/v1/../a/./b//c", {NULL, 0}, "GET /v1/../a/./b//c HTTP/1.1\r\n", NULL},
        {"DELETE", "/v1/x", {NULL, 0}, "DELETE /v1/x HTTP/1.1\r\n", NULL},
        {"HEAD", "/v1/x", {NULL, 0}, "HEAD /v1/x HTTP/1.1\r\n", NULL},
        {"POST", "/v1/x", SLICE_LITERAL("{\"a\":1}"), "POST /v1/x HTTP/1.1\r\n", "Content-Length: 7\r\n"},
        {"POST", "/v1/x", {"", 0}, "POST /v1/x HTTP/1.1\r\n", "Content-Length: 0\r\n"},
        {"PATCH", "/v1/x", SLICE_LITERAL("a\0b"), "PATCH /v1/x HTTP/1.1\r\n", "Content-Length: 3\r\n"},
    };
    struct world w;
    world_begin(&w);
    /* Forwards and backwards: nothing of one request stays in the handle for the next. */
    for (size_t i = 0; i < 2 * TEST_COUNT(cases); i++) {
        const struct request_case *c = &cases[i < TEST_COUNT(cases) ? i : 2 * TEST_COUNT(cases) - 1 - i];
        w.done = w.started = 0;
        say(&w, OK_HEAD "Content-Length: 0\r\n\r\n", KEEP);
        start_at(&w, c->method, c->target, c->body);
        await_count(&w, &w.done, 1);
        const char *got = buf_text(&w.up.request);
        assert_memory_equal(got, c->line, strlen(c->line));
        assert_non_null(strstr(got, "\r\nAuthorization: Bearer k\r\n"));
        assert_null(strstr(got, "Expect:"));
        const char *length = strstr(got, "Content-Length: ");
        if (c->length)
            assert_memory_equal(length, c->length, strlen(c->length));
        else
            assert_null(length);
        const char *body = strstr(got, "\r\n\r\n") + 4;
        size_t body_len = w.up.request.len - (size_t)(body - got);
        assert_true(slice_equals(slice_make(body, body_len), c->body));
        assert_int_equal(w.result, TRANSFER_OK);
    }
    assert_int_equal(w.up.accepted, 1);
    world_end(&w);
}

static void a_large_body_goes_out_whole(void **state)
{
    (void)state;
    enum { SIZE = 900 * 1000 };
    struct world w;
    char *body = malloc(SIZE);
    assert_non_null(body);
    memset(body, 'b', SIZE);
    world_begin(&w);
    say(&w, HELLO, KEEP);
    start_at(&w, "POST", "/", slice_make(body, SIZE));
    await_count(&w, &w.done, 1);
    assert_int_equal(w.result, TRANSFER_OK);
    assert_true(w.up.request.len > SIZE);
    world_end(&w);
    free(body);
}

static void connections_are_kept_and_shared(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    say(&w, HELLO, KEEP);
    for (size_t i = 1; i <= 4; i++) {
        start(&w);
        await_count(&w, &w.done, i);
    }
    assert_int_equal(w.up.accepted, 1);
    for (size_t i = 0; i < 3; i++)
        start(&w);
    assert_int_equal(transfer_pool_active(w.pool), 3);
    await_count(&w, &w.done, 7);
    assert_in_range(w.up.accepted, 2, 3);
    assert_int_equal(transfer_pool_active(w.pool), 0);
    world_end(&w);
}

/* An upstream may close an idle connection at any time: the next request must not fail by that. */
static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    say(&w, HELLO, KEEP);
    start(&w);
    await_count(&w, &w.done, 1);
    conn_close(&w.up.conns[0]);
    start(&w);
    await_count(&w, &w.done, 2);
    assert_int_equal(w.result, TRANSFER_OK);
    assert_int_equal(w.up.accepted, 2);
    world_end(&w);
}

static void done_can_start_the_next(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.start_again = true;
    say(&w, HELLO, KEEP);
    start(&w);
    await_count(&w, &w.done, 2);
    assert_string_equal(buf_text(&w.body), "hellohello");
    world_end(&w);
}

/* ---- failures ----------------------------------------------------------------------------------------------- */

struct failure_case {
    const char *answer;
    enum then then;
    enum transfer_result result;
    const char *body;
};

static const struct failure_case failures[] = {
    {"", CLOSE, TRANSFER_UNREACHABLE, ""},
    {"", RESET, TRANSFER_UNREACHABLE, ""},
    /* broken off */
    {OK_HEAD "Content-Length: 5\r\n", RESET, TRANSFER_CUT, ""},
    {OK_HEAD "Content-Length: 5\r\n\r\n", CLOSE, TRANSFER_CUT, ""},
    {OK_HEAD "Content-Length: 5\r\n\r\nhel", CLOSE, TRANSFER_CUT, "hel"},
    {OK_HEAD "Content-Length: 5\r\n\r\nhel", RESET, TRANSFER_CUT, "hel"},
    {OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", CLOSE, TRANSFER_CUT, "hello"},
    {OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", RESET, TRANSFER_CUT, "hello"},
    {OK_HEAD "Transfer-Encoding: chunked\r\n\r\n9\r\nhello", CLOSE, TRANSFER_CUT, "hello"},
    {OK_HEAD "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhel", CLOSE, TRANSFER_CUT, "hel"},
    /* not HTTP */
    {"SSH-2.0-OpenSSH_9.2\r\n", CLOSE, TRANSFER_GARBAGE, ""},
    {"hello\r\n\r\n", HANG, TRANSFER_GARBAGE, ""},
    {"HTTP/9.9 200 OK\r\n\r\n", CLOSE, TRANSFER_GARBAGE, ""},
    {OK_HEAD "Content-Length: minus\r\n\r\n", HANG, TRANSFER_GARBAGE, ""},
};

static void failures_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < TEST_COUNT(failures); i++)
        for (size_t piece = 1; piece <= 1000; piece += 999) {
            struct world w;
            world_begin(&w);
            w.up.piece = piece;
            say(&w, failures[i].answer, failures[i].then);
            start(&w);
            await_count(&w, &w.done, 1);
            if (w.result != failures[i].result)
                fail_msg("case %zu: %s", i, buf_text(&w.log));
            /* A reset may take bytes with it that were not read yet. */
            if (failures[i].then != RESET)
                assert_string_equal(buf_text(&w.body), failures[i].body);
            assert_int_equal(transfer_pool_active(w.pool), 0);
            wait_us(&w, 2 * CLOCK_US_PER_MS);
            assert_int_equal(w.done, 1);
            world_end(&w);
        }
}

static void nobody_listens(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    close(w.up.listen_fd);
    w.up.listen_fd = -1;
    start(&w);
    await_count(&w, &w.done, 1);
    assert_log(&w, "unreachable;");
    world_end(&w);
}

static void a_plain_server_is_no_tls_server(void **state)
{
    (void)state;
    struct world w;
    char url[64];
    world_begin(&w);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", w.up.port);
    start_get(&w, url);
    while (w.up.accepted == 0)
        turn(&w);
    static const char plain[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    assert_true(send(w.up.conns[0].fd, plain, sizeof plain - 1, MSG_NOSIGNAL) > 0);
    await_count(&w, &w.done, 1);
    assert_log(&w, "tls_failed;");
    world_end(&w);
}

static void a_url_that_cannot_be_used(void **state)
{
    (void)state;
    static const char *const urls[] = {"ftp://127.0.0.1/", "http://", "file:///etc/passwd"};
    for (size_t i = 0; i < TEST_COUNT(urls); i++) {
        struct world w;
        world_begin(&w);
        start_get(&w, urls[i]);
        await_count(&w, &w.done, 1);
        assert_int_not_equal(w.result, TRANSFER_OK);
        assert_int_equal(w.body.len, 0);
        world_end(&w);
    }
}

/* A head of a size, in one line or in many. */
static enum transfer_result fetch_head(struct world *w, size_t lines, size_t line_len, enum then then)
{
    struct buf answer;
    world_begin(w);
    buf_init(&answer, 4 * 1024 * 1024);
    assert_true(buf_append_text(&answer, OK_HEAD));
    for (size_t i = 0; i < lines; i++) {
        assert_true(buf_append_text(&answer, "X: "));
        for (size_t n = 0; n < line_len; n++)
            assert_true(buf_append_char(&answer, 'x'));
        assert_true(buf_append_text(&answer, "\r\n"));
    }
    assert_true(buf_append_text(&answer, "Content-Length: 5\r\n\r\nhello"));
    w->up.answer = buf_slice(&answer);
    w->up.then = then;
    start(w);
    await_count(w, &w->done, 1);
    buf_free(&answer);
    return w->result;
}

static void heads_have_bounds(void **state)
{
    (void)state;
    struct world w;
    /* All that fits is taken, but for lines beyond the first 128. */
    assert_int_equal(fetch_head(&w, 1, 60000, KEEP), TRANSFER_OK);
    assert_string_equal(buf_text(&w.body), "hello");
    world_end(&w);
    assert_int_equal(fetch_head(&w, 3, 60000, KEEP), TRANSFER_OK);
    assert_int_equal(w.callbacks, 3 + 1 + 1 + 1);
    world_end(&w);
    assert_int_equal(fetch_head(&w, 1000, 10, KEEP), TRANSFER_OK);
    assert_int_equal(w.callbacks, 128 + 1 + 1);
    world_end(&w);
    /* Beyond the bounds of a line and of the whole. */
    assert_int_equal(fetch_head(&w, 1, 150000, HANG), TRANSFER_GARBAGE);
    assert_null(strstr(buf_text(&w.log), "head"));
    world_end(&w);
    assert_int_equal(fetch_head(&w, 10, 60000, HANG), TRANSFER_GARBAGE);
    assert_null(strstr(buf_text(&w.log), "head"));
    world_end(&w);
}

/* ---- time --------------------------------------------------------------------------------------------------- */

static void assert_timeout(struct world *w, enum transfer_result result)
{
    int64_t started = clock_monotonic_us();
    start(w);
    await_count(w, &w->done, 1);
    int64_t took = clock_monotonic_us() - started;
    if (w->result != result)
        fail_msg("%s", buf_text(&w->log));
    assert_true(took >= SHORT_US - 10 * CLOCK_US_PER_MS);
    assert_true(took < CLOCK_US_PER_SECOND);
    assert_int_equal(transfer_pool_active(w->pool), 0);
    world_end(w);
}

static void the_first_byte_comes_too_late(void **state)
{
    (void)state;
    static const char *const starts[] = {"", "HTTP/1.1 200 OK\r\nA: b\r\n", "HTTP/1.1 100 Continue\r\n\r\n"};
    for (size_t i = 0; i < TEST_COUNT(starts); i++) {
        struct world w;
        world_begin(&w);
        w.limits.first_byte_us = SHORT_US;
        say(&w, starts[i], HANG);
        assert_timeout(&w, TRANSFER_FIRST_BYTE_TIMEOUT);
    }
}

static void the_answer_stops_in_its_middle(void **state)
{
    (void)state;
    static const char *const starts[] = {OK_HEAD "\r\n", OK_HEAD "Content-Length: 5\r\n\r\nhel"};
    for (size_t i = 0; i < TEST_COUNT(starts); i++) {
        struct world w;
        world_begin(&w);
        w.limits.idle_us = SHORT_US;
        say(&w, starts[i], HANG);
        assert_timeout(&w, TRANSFER_IDLE_TIMEOUT);
    }
}

static void the_whole_takes_too_long(void **state)
{
    (void)state;
    static const char *const starts[] = {"", OK_HEAD "\r\n"};
    for (size_t i = 0; i < TEST_COUNT(starts); i++) {
        struct world w;
        world_begin(&w);
        w.limits.total_us = SHORT_US;
        say(&w, starts[i], HANG);
        assert_timeout(&w, TRANSFER_TOTAL_TIMEOUT);
    }
}

/* A listening socket whose queue is full does not answer. */
static void no_connection_in_time(void **state)
{
    (void)state;
    struct world w;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int queued[4];
    world_begin(&w);
    address.sin_port = htons((uint16_t)w.up.port);
    assert_return_code(listen(w.up.listen_fd, 0), errno);
    for (size_t i = 0; i < TEST_COUNT(queued); i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(queued[i], (struct sockaddr *)&address, sizeof address);
    }
    int listen_fd = w.up.listen_fd;
    w.up.listen_fd = -1; /* nobody accepts */
    w.limits.connect_us = SHORT_US;
    assert_timeout(&w, TRANSFER_CONNECT_TIMEOUT);
    close(listen_fd);
    for (size_t i = 0; i < TEST_COUNT(queued); i++)
        close(queued[i]);
}

static void a_slow_but_steady_answer_is_no_failure(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.limits.idle_us = SHORT_US;
    w.limits.first_byte_us = SHORT_US;
    say(&w, HELLO, KEEP);
    start(&w);
    w.up.piece = strlen(HELLO) - 5;
    int64_t started = clock_monotonic_us();
    while (w.done == 0) {
        turn(&w);
        if (w.up.conns[0].sent < strlen(HELLO) - 5)
            continue;
        /* A byte each half idle time. */
        w.up.piece = 0;
        wait_us(&w, SHORT_US / 2);
        w.up.piece = 1;
    }
    assert_log(&w, "Content-Length: 5;head 200 5;ok;");
    assert_true(clock_monotonic_us() - started > 2 * SHORT_US);
    world_end(&w);
}

/* ---- holding back ------------------------------------------------------------------------------------------- */

static struct buf make_large(size_t size, bool chunked)
{
    struct buf b;
    buf_init(&b, 2 * size + 1000);
    assert_true(chunked ? buf_append_text(&b, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n")
                        : buf_printf(&b, OK_HEAD "Content-Length: %zu\r\n\r\n", size));
    for (size_t i = 0; i < size; i++) {
        if (chunked && i % 100 == 0)
            assert_true(buf_append_text(&b, i ? "\r\n64\r\n" : "64\r\n"));
        assert_true(buf_append_char(&b, (char)('a' + (i ^ i >> 9) % 23)));
    }
    assert_true(!chunked || buf_append_text(&b, "\r\n0\r\n\r\n"));
    return b;
}

static void assert_large(struct world *w, size_t size)
{
    assert_int_equal(w->result, TRANSFER_OK);
    assert_int_equal(w->body.len, size);
    for (size_t i = 0; i < size; i++)
        if (buf_data(&w->body)[i] != (char)('a' + (i ^ i >> 9) % 23))
            fail_msg("byte %zu is wrong", i);
}

static void a_paused_transfer_holds_the_upstream_back(void **state)
{
    (void)state;
    enum { SIZE = 20 * 1000 * 1000 };
    struct world w;
    world_begin(&w);
    struct buf answer = make_large(SIZE, false);
    w.up.answer = buf_slice(&answer);
    w.up.then = CLOSE;
    w.limits.idle_us = w.limits.first_byte_us = 10 * SHORT_US; /* a busy machine is not idle either */
    w.hold = true;
    start(&w);
    await_count(&w, &w.pieces, 1);
    wait_us(&w, 12 * SHORT_US);
    assert_int_equal(w.pieces, 1);
    assert_int_equal(w.done, 0); /* held back, it is not idle */
    assert_true(w.up.conns[0].sent < SIZE / 2);
    w.hold = false;
    transfer_resume(w.owners[0].transfer);
    await_count(&w, &w.done, 1);
    assert_large(&w, SIZE);
    world_end(&w);
    buf_free(&answer);
}

static void a_pause_at_every_piece_loses_nothing(void **state)
{
    (void)state;
    enum { SIZE = 300 * 1000 };
    static const enum then thens[] = {KEEP, CLOSE};
    for (int chunked = 0; chunked < 2; chunked++)
        for (size_t i = 0; i < TEST_COUNT(thens); i++) {
            struct world w;
            world_begin(&w);
            struct buf answer = make_large(SIZE, chunked);
            w.up.answer = buf_slice(&answer);
            w.up.then = thens[i];
            w.hold = true;
            start(&w);
            int64_t end = clock_monotonic_us() + LONG_MS * CLOCK_US_PER_MS;
            for (size_t turns = 0; w.done == 0; turns++) {
                turn(&w);
                if (w.owners[0].transfer && turns % 3 == 0)
                    transfer_resume(w.owners[0].transfer);
                assert_true(clock_monotonic_us() < end);
            }
            assert_large(&w, SIZE);
            assert_true(w.pieces > 10);
            world_end(&w);
            buf_free(&answer);
        }
}

static void resuming_what_is_not_paused_does_nothing(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    say(&w, HELLO, KEEP);
    start(&w);
    transfer_resume(w.owners[0].transfer);
    turn(&w);
    transfer_resume(w.owners[0].transfer);
    await_count(&w, &w.done, 1);
    assert_log(&w, "Content-Length: 5;head 200 5;ok;");
    world_end(&w);
}

static void a_paused_transfer_still_has_a_total(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.hold = true;
    w.limits.total_us = SHORT_US;
    say(&w, OK_HEAD "\r\nhello", HANG);
    assert_timeout(&w, TRANSFER_TOTAL_TIMEOUT);
}

/* Once it goes on, silence counts again. */
static void after_a_pause_idle_time_counts_again(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.hold = true;
    w.limits.idle_us = SHORT_US;
    say(&w, OK_HEAD "\r\nhello", HANG);
    start(&w);
    await_count(&w, &w.pieces, 1);
    wait_us(&w, 2 * SHORT_US);
    assert_int_equal(w.done, 0);
    transfer_resume(w.owners[0].transfer);
    int64_t resumed = clock_monotonic_us();
    await_count(&w, &w.done, 1);
    assert_int_equal(w.result, TRANSFER_IDLE_TIMEOUT);
    int64_t took = clock_monotonic_us() - resumed;
    assert_true(took >= SHORT_US - 10 * CLOCK_US_PER_MS && took < 10 * SHORT_US);
    world_end(&w);
}

/* ---- bodies that are streamed ------------------------------------------------------------------------------- */

static void assert_uploaded(struct world *w, struct slice expected, bool chunked)
{
    const char *got = buf_text(&w->up.request);
    const char *at = strstr(got, "\r\n\r\n") + 4;
    assert_int_equal(strcasestr(got, "transfer-encoding: chunked") != NULL, chunked);
    assert_int_equal(strcasestr(got, "content-length:") != NULL, !chunked);
    assert_null(strstr(got, "Expect:"));
    struct buf body;
    buf_init(&body, 1024 * 1024);
    if (!chunked)
        assert_true(buf_append(&body, at, w->up.request.len - (size_t)(at - got)));
    for (size_t len = 1; chunked && len > 0; at += len + 2) {
        char *end;
        len = strtoul(at, &end, 16);
        at = end + 2;
        assert_true(buf_append(&body, at, len));
    }
    assert_true(slice_equals(buf_slice(&body), expected));
    buf_free(&body);
}

static void streamed_bodies_arrive_whole(void **state)
{
    (void)state;
    static char upload[100 * 1000];
    static const size_t sizes[] = {0, 1, 999, sizeof upload};
    for (size_t i = 0; i < sizeof upload; i++)
        upload[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        for (int chunked = 0; chunked < 2; chunked++)
            for (size_t piece = 7; piece < 100000; piece *= 100) {
                struct world w;
                world_begin(&w);
                w.upload_piece = piece;
                say(&w, HELLO, KEEP);
                start_upload(&w, slice_make(upload, sizes[i]), chunked ? -1 : (int64_t)sizes[i]);
                await_count(&w, &w.done, 1);
                assert_log(&w, "Content-Length: 5;head 200 5;ok;");
                assert_uploaded(&w, slice_make(upload, sizes[i]), chunked);
                world_end(&w);
            }
}

static void a_streamed_body_can_wait(void **state)
{
    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct world w;
        world_begin(&w);
        /* Waiting is no fault of the upstream's, however long it takes. */
        w.limits.first_byte_us = w.limits.idle_us = SHORT_US;
        w.upload_waits = true;
        say(&w, HELLO, KEEP);
        start_upload(&w, SLICE_LITERAL("0123456789"), chunked ? -1 : 10);
        for (size_t round = 0; round < 5; round++) {
            await_count(&w, &w.reads, 1);
            wait_us(&w, round == 1 ? 3 * SHORT_US : SHORT_US / 4);
            assert_int_equal(w.reads, 1);
            assert_int_equal(w.done, 0);
            w.reads = 0;
            transfer_send_more(w.owners[0].transfer);
        }
        w.upload_waits = false;
        w.upload_piece = 3;
        await_count(&w, &w.reads, 1);
        transfer_send_more(w.owners[0].transfer);
        transfer_send_more(w.owners[0].transfer);
        await_count(&w, &w.done, 1);
        assert_log(&w, "Content-Length: 5;head 200 5;ok;");
        assert_uploaded(&w, SLICE_LITERAL("0123456789"), chunked);
        world_end(&w);
    }
}

static void a_streamed_body_can_fail(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.upload_fails = true;
    say(&w, HELLO, KEEP);
    start_upload(&w, SLICE_LITERAL("x"), -1);
    await_count(&w, &w.done, 1);
    assert_int_not_equal(w.result, TRANSFER_OK);
    await_count(&w, &w.up.client_closed, 1);
    assert_int_equal(w.up.requests, 0);
    world_end(&w);
}

static void a_read_can_cancel(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.cancel_in_read = true;
    say(&w, HELLO, KEEP);
    start_upload(&w, SLICE_LITERAL("x"), -1);
    await_count(&w, &w.up.client_closed, 1);
    assert_int_equal(w.done, 0);
    assert_int_equal(w.reads, 1);
    assert_int_equal(transfer_pool_active(w.pool), 0);
    world_end(&w);
}

/* The time for the first byte begins with the last piece, also where pieces were waited for. */
static void after_a_streamed_body_time_counts(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.limits.first_byte_us = SHORT_US;
    w.upload_waits = true;
    say(&w, "", HANG);
    start_upload(&w, SLICE_LITERAL("x"), 1);
    await_count(&w, &w.reads, 1);
    wait_us(&w, 3 * SHORT_US);
    assert_int_equal(w.done, 0);
    w.upload_waits = false;
    int64_t sent = clock_monotonic_us();
    transfer_send_more(w.owners[0].transfer);
    await_count(&w, &w.done, 1);
    int64_t took = clock_monotonic_us() - sent;
    assert_int_equal(w.result, TRANSFER_FIRST_BYTE_TIMEOUT);
    assert_true(took >= SHORT_US - 10 * CLOCK_US_PER_MS && took < CLOCK_US_PER_SECOND);
    world_end(&w);
}

/* An upstream may refuse a body before it has come. */
static void an_answer_before_the_body_is_sent(void **state)
{
    (void)state;
    static const char refusal[] = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
    struct world w;
    world_begin(&w);
    w.upload_waits = true;
    start_upload(&w, SLICE_LITERAL("0123456789"), 10);
    await_count(&w, &w.reads, 1);
    while (w.up.accepted == 0)
        turn(&w);
    assert_int_equal(send(w.up.conns[0].fd, refusal, sizeof refusal - 1, MSG_NOSIGNAL), sizeof refusal - 1);
    await_count(&w, &w.done, 1);
    assert_log(&w, "Content-Length: 2;head 413 2;ok;");
    assert_string_equal(buf_text(&w.body), "no");
    world_end(&w);
}

/* ---- cancelling --------------------------------------------------------------------------------------------- */

/* Callbacks: two headers, the head, two pieces of the body. */
static void cancel_within_every_callback(void **state)
{
    (void)state;
    enum { CALLBACKS = 5 };
    for (size_t at = 1; at <= CALLBACKS; at++)
        for (size_t piece = 1; piece <= 1000; piece += 999) {
            struct world w;
            world_begin(&w);
            w.cancel_at = at;
            w.up.piece = piece;
            say(&w, OK_HEAD "A: b\r\nContent-Length: 5\r\n\r\nhello", KEEP);
            start(&w);
            wait_us(&w, 1 * CLOCK_US_PER_MS);
            if (at == CALLBACKS && piece > 1) { /* the body came in one piece */
                await_count(&w, &w.done, 1);
                world_end(&w);
                continue;
            }
            await_count(&w, &w.callbacks, at);
            await_count(&w, &w.up.client_closed, 1);
            assert_int_equal(w.callbacks, at);
            assert_int_equal(w.done, 0);
            assert_int_equal(transfer_pool_active(w.pool), 0);
            w.cancel_at = 0;
            buf_clear(&w.log);
            start(&w);
            await_count(&w, &w.done, 1);
            assert_log(&w, "A: b;Content-Length: 5;head 200 5;ok;");
            world_end(&w);
        }
}

static void cancel_between_turns(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct world w;
        world_begin(&w);
        w.up.piece = 8;
        say(&w, OK_HEAD "Content-Length: 500\r\n\r\nhello", HANG);
        start(&w);
        for (int i = 0; i < turns; i++)
            turn(&w);
        size_t callbacks = w.callbacks;
        transfer_cancel(&w.owners[0].transfer);
        assert_null(w.owners[0].transfer);
        transfer_cancel(&w.owners[0].transfer);
        assert_int_equal(transfer_pool_active(w.pool), 0);
        wait_us(&w, 2 * CLOCK_US_PER_MS);
        assert_int_equal(w.callbacks, callbacks);
        assert_int_equal(w.done, 0);
        world_end(&w);
    }
}

static void cancel_while_paused(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.hold = true;
    say(&w, OK_HEAD "\r\nhello", HANG);
    start(&w);
    await_count(&w, &w.pieces, 1);
    transfer_cancel(&w.owners[0].transfer);
    await_count(&w, &w.up.client_closed, 1);
    assert_int_equal(w.done, 0);
    world_end(&w);
}

/* transfer_resume() may call body() before it returns, and body() may cancel. */
static void cancel_within_a_resume(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    struct buf answer = make_large(100 * 1000, true);
    w.up.answer = buf_slice(&answer);
    w.hold = true;
    start(&w);
    await_count(&w, &w.pieces, 1);
    wait_us(&w, 2 * CLOCK_US_PER_MS);
    w.cancel_at = w.callbacks + 1;
    transfer_resume(w.owners[0].transfer);
    await_count(&w, &w.up.client_closed, 1);
    assert_int_equal(w.callbacks, w.cancel_at);
    assert_int_equal(w.done, 0);
    assert_int_equal(transfer_pool_active(w.pool), 0);
    world_end(&w);
    buf_free(&answer);
}

static void done_can_cancel_all_others(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.cancel_all = true;
    say(&w, HELLO, KEEP);
    for (size_t i = 0; i < 5; i++)
        start(&w);
    await_count(&w, &w.done, 1);
    wait_us(&w, 2 * CLOCK_US_PER_MS);
    assert_int_equal(w.done, 1);
    assert_int_equal(transfer_pool_active(w.pool), 0);
    world_end(&w);
}

static void a_pool_ends_silently(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    say(&w, OK_HEAD "\r\nhello", HANG);
    w.hold = true;
    start(&w);
    await_count(&w, &w.pieces, 1);
    start(&w);
    transfer_pool_free(&w.pool);
    assert_null(w.pool);
    assert_int_equal(w.done, 0);
    struct transfer_pool *none = NULL;
    transfer_pool_free(&none);
    world_end(&w);
}

static void many_at_once(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.up.piece = 3;
    say(&w, HELLO, KEEP);
    for (size_t i = 0; i < CONNS_MAX; i++)
        start(&w);
    await_count(&w, &w.done, CONNS_MAX);
    assert_int_equal(w.body.len, 5 * CONNS_MAX);
    world_end(&w);
}

static void every_result_has_a_name(void **state)
{
    (void)state;
    for (int i = TRANSFER_OK; i <= TRANSFER_INTERNAL; i++)
        assert_non_null(transfer_result_name((enum transfer_result)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_at_every_pace),
        cmocka_unit_test(large_answers_arrive_whole),
        cmocka_unit_test(requests_go_out_as_asked),
        cmocka_unit_test(a_large_body_goes_out_whole),
        cmocka_unit_test(connections_are_kept_and_shared),
        cmocka_unit_test(a_kept_connection_that_was_closed_is_replaced),
        cmocka_unit_test(done_can_start_the_next),
        cmocka_unit_test(failures_are_told_apart),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(a_plain_server_is_no_tls_server),
        cmocka_unit_test(a_url_that_cannot_be_used),
        cmocka_unit_test(heads_have_bounds),
        cmocka_unit_test(the_first_byte_comes_too_late),
        cmocka_unit_test(the_answer_stops_in_its_middle),
        cmocka_unit_test(the_whole_takes_too_long),
        cmocka_unit_test(no_connection_in_time),
        cmocka_unit_test(a_slow_but_steady_answer_is_no_failure),
        cmocka_unit_test(a_paused_transfer_holds_the_upstream_back),
        cmocka_unit_test(a_pause_at_every_piece_loses_nothing),
        cmocka_unit_test(resuming_what_is_not_paused_does_nothing),
        cmocka_unit_test(a_paused_transfer_still_has_a_total),
        cmocka_unit_test(after_a_pause_idle_time_counts_again),
        cmocka_unit_test(streamed_bodies_arrive_whole),
        cmocka_unit_test(a_streamed_body_can_wait),
        cmocka_unit_test(a_streamed_body_can_fail),
        cmocka_unit_test(a_read_can_cancel),
        cmocka_unit_test(after_a_streamed_body_time_counts),
        cmocka_unit_test(an_answer_before_the_body_is_sent),
        cmocka_unit_test(cancel_within_every_callback),
        cmocka_unit_test(cancel_between_turns),
        cmocka_unit_test(cancel_while_paused),
        cmocka_unit_test(cancel_within_a_resume),
        cmocka_unit_test(done_can_cancel_all_others),
        cmocka_unit_test(a_pool_ends_silently),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(every_result_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
