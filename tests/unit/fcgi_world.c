/* The world of the connection tests. */
#include "fcgi_world.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the application ---------------------------------------------------------------------------------------- */

static void note(struct world *w, const char *text)
{
    assert_true(buf_printf(&w->log, "%s;", text));
}

static struct slice variable(const struct app *a, const char *name)
{
    size_t len = strlen(name);
    for (const char *const *v = fcgi_request_variables(a->request); *v; v++)
        if (strncmp(*v, name, len) == 0 && (*v)[len] == '=')
            return slice_from_text(*v + len + 1);
    return (struct slice){NULL, 0};
}

static void *app_begin(void *ctx, struct fcgi_request *r)
{
    struct world *w = ctx;
    assert_true(w->begun < APPS_MAX);
    struct app *a = &w->apps[w->begun++];
    *a = (struct app){.world = w, .request = r};
    struct slice uri = variable(a, "REQUEST_URI");
    /* libfcgi adds FCGI_ROLE in front. */
    assert_string_equal(fcgi_request_variables(r)[0], "FCGI_ROLE=RESPONDER");
    if (fcgi_request_head_was_too_large(r))
        assert_null(fcgi_request_variables(r)[1]);
    assert_true(buf_printf(&w->log, "begin %.*s;", (int)uri.len, uri.len ? uri.ptr : ""));
    if (w->on_begin)
        w->on_begin(a);
    return a;
}

static void app_body(void *user, struct slice bytes)
{
    struct app *a = user;
    assert_false(a->done);
    assert_false(a->body_ended);
    assert_true(bytes.len > 0);
    assert_true(buf_append_slice(&a->world->body, bytes));
    a->world->pieces++;
    if (a->world->on_body)
        a->world->on_body(a);
}

void answer(struct app *a, const char *text)
{
    assert_true(fcgi_request_write(a->request, slice_from_text(text)));
    fcgi_request_end(a->request);
}

static void app_body_end(void *user)
{
    struct app *a = user;
    assert_false(a->done);
    assert_false(a->body_ended);
    a->body_ended = true;
    note(a->world, "end");
    if (a->world->on_body_end)
        a->world->on_body_end(a);
    else
        answer(a, "hello");
}

static void app_body_late(void *user)
{
    struct app *a = user;
    assert_false(a->done);
    note(a->world, "late");
}

static void app_drained(void *user)
{
    struct app *a = user;
    assert_false(a->done);
    note(a->world, "drained");
    if (a->world->on_drained)
        a->world->on_drained(a);
}

static void app_done(void *user, enum fcgi_outcome outcome)
{
    static const char *const names[] = {"delivered", "aborted", "left", "broke", "stalled"};
    struct app *a = user;
    assert_false(a->done);
    a->done = true;
    a->world->done++;
    note(a->world, names[outcome]);
}

const struct fcgi_events app_events = {app_begin,     app_body,    app_body_end,
                                              app_body_late, app_drained, app_done};

void do_nothing(struct app *a)
{
    (void)a;
}

/* ---- the world ---------------------------------------------------------------------------------------------- */

/* On an abstract address that the kernel chooses: there is no file to remove. */
static int listen_somewhere(void)
{
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_return_code(bind(fd, (struct sockaddr *)&any, sizeof any.sun_family), errno);
    assert_return_code(listen(fd, 16), errno);
    return fd;
}

int connect_to(int listen_fd)
{
    struct sockaddr_un address;
    socklen_t len = sizeof address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_return_code(getsockname(listen_fd, (struct sockaddr *)&address, &len), errno);
    assert_return_code(connect(fd, (struct sockaddr *)&address, len), errno);
    return fd;
}

void world_connect(struct world *w)
{
    if (w->peer >= 0)
        close(w->peer);
    w->peer = connect_to(w->listen_fd);
    w->closed = false;
    buf_clear(&w->got);
}

void world_init(struct world *w)
{
    *w = (struct world){.peer = -1, .reading = true};
    w->limits = (struct fcgi_limits){
        .head_us = 60 * CLOCK_US_PER_SECOND,
        .body_us = 60 * CLOCK_US_PER_SECOND,
        .write_us = 60 * CLOCK_US_PER_SECOND,
        .drain_us = 60 * CLOCK_US_PER_SECOND,
        .connections = 100,
    };
    buf_init(&w->got, 128 * 1024 * 1024);
    buf_init(&w->log, 1024 * 1024);
    buf_init(&w->body, 64 * 1024 * 1024);
    w->base = event_base_new();
    assert_non_null(w->base);
    w->listen_fd = listen_somewhere();
}

void world_serve(struct world *w)
{
    w->server = fcgi_server_new(w->base, w->listen_fd, &app_events, &w->limits, w);
    assert_non_null(w->server);
    world_connect(w);
}

void world_begin(struct world *w)
{
    world_init(w);
    world_serve(w);
}

void world_end(struct world *w)
{
    fcgi_server_free(&w->server);
    assert_null(w->server);
    assert_int_equal(w->begun, w->done);
    close(w->peer);
    close(w->listen_fd);
    event_base_free(w->base);
    buf_free(&w->got);
    buf_free(&w->log);
    buf_free(&w->body);
}

static void peer_read(struct world *w)
{
    while (w->reading && !w->closed && w->peer >= 0) {
        char bytes[65536];
        ssize_t n = recv(w->peer, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            w->closed = true;
        else
            assert_true(buf_append(&w->got, bytes, (size_t)n));
    }
}

void turn(struct world *w)
{
    event_base_loop(w->base, EVLOOP_NONBLOCK);
    peer_read(w);
}

void settle(struct world *w)
{
    for (int i = 0; i < 12; i++)
        turn(w);
}

void wait_us(struct world *w, int64_t us)
{
    for (int64_t end = clock_monotonic_us() + us; clock_monotonic_us() < end; usleep(200))
        turn(w);
}

void await_log(struct world *w, const char *tail)
{
    for (int64_t end = clock_monotonic_us() + LONG_MS * CLOCK_US_PER_MS; clock_monotonic_us() < end; usleep(200)) {
        turn(w);
        size_t len = strlen(buf_text(&w->log));
        if (len >= strlen(tail) && strcmp(buf_text(&w->log) + len - strlen(tail), tail) == 0)
            return;
    }
    fail_msg("\"%s\" does not end in \"%s\"", buf_text(&w->log), tail);
}

void await_closed(struct world *w)
{
    for (int64_t end = clock_monotonic_us() + LONG_MS * CLOCK_US_PER_MS; !w->closed; usleep(200)) {
        assert_true(clock_monotonic_us() < end);
        turn(w);
    }
}

void peer_send(struct world *w, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(w->peer, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            assert_true(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
        if (n < 0 && errno != EAGAIN)
            return;
        bytes = slice_skip(bytes, n > 0 ? (size_t)n : 0);
        turn(w);
    }
    settle(w);
}

void assert_log(struct world *w, const char *expected)
{
    assert_string_equal(buf_text(&w->log), expected);
}

/* ---- records ------------------------------------------------------------------------------------------------ */

void put_padded(struct buf *b, uint8_t type, uint16_t id, struct slice content, uint8_t padding)
{
    uint8_t header[FCGI_RECORD_HEADER_SIZE];
    static const char zeros[255] = {0};
    fcgi_record_write_header(type, id, (uint16_t)content.len, header);
    header[6] = padding;
    assert_true(buf_append(b, header, sizeof header));
    assert_true(buf_append_slice(b, content));
    assert_true(buf_append(b, zeros, padding));
}

void put(struct buf *b, uint8_t type, uint16_t id, const char *content)
{
    put_padded(b, type, id, slice_from_text(content), 0);
}

void put_begin(struct buf *b, uint16_t id, uint8_t role, uint8_t flags)
{
    const char content[8] = {0, (char)role, (char)flags};
    put_padded(b, FCGI_RECORD_BEGIN, id, slice_make(content, sizeof content), 0);
}

static void put_length(struct buf *b, size_t n)
{
    const uint8_t wide[4] = {(uint8_t)(n >> 24 | 0x80), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    const uint8_t narrow = (uint8_t)n;
    assert_true(n < 0x80 ? buf_append(b, &narrow, 1) : buf_append(b, wide, 4));
}

void put_pair(struct buf *b, const char *name, struct slice value)
{
    put_length(b, strlen(name));
    put_length(b, value.len);
    assert_true(buf_append_text(b, name) && buf_append_slice(b, value));
}

void put_stream(struct buf *b, uint8_t type, uint16_t id, struct slice bytes, size_t record)
{
    for (; bytes.len > 0; bytes = slice_skip(bytes, record))
        put_padded(b, type, id, slice_take(bytes, record), (uint8_t)(bytes.len % 8));
    put(b, type, id, "");
}

void put_head(struct buf *b, uint16_t id, uint8_t flags, const char *uri)
{
    struct buf params;
    buf_init(&params, 1024 * 1024);
    put_pair(&params, "REQUEST_METHOD", SLICE_LITERAL("POST"));
    put_pair(&params, "REQUEST_URI", slice_from_text(uri));
    put_begin(b, id, RESPONDER, flags);
    put_stream(b, FCGI_RECORD_PARAMS, id, buf_slice(&params), 65535);
    buf_free(&params);
}

void put_request(struct buf *b, uint16_t id, uint8_t flags, const char *uri, const char *body)
{
    put_head(b, id, flags, uri);
    put_stream(b, FCGI_RECORD_STDIN, id, slice_from_text(body), 65535);
}

void read_answer(struct world *w, struct buf *text, struct buf *out)
{
    struct fcgi_record r;
    struct slice rest = buf_slice(&w->got);
    uint8_t last = 0;
    for (; fcgi_record_parse(rest, &r) == FCGI_RECORD_OK; rest = slice_skip(rest, r.whole.len)) {
        const uint8_t *content = (const uint8_t *)r.content.ptr;
        assert_true(r.type != STDERR || r.content.len == 0);
        if (r.type == STDOUT && r.content.len > 0)
            assert_true(buf_append_slice(out, r.content) && (last == STDOUT || buf_append_text(text, "out;")));
        else if (r.type == FCGI_RECORD_END)
            assert_true(buf_printf(text, "end %u %u;", r.request_id, content[4]));
        else if (r.type == FCGI_RECORD_GET_VALUES_RESULT)
            assert_true(buf_append_text(text, "values;"));
        else if (r.type == FCGI_RECORD_UNKNOWN)
            assert_true(buf_printf(text, "unknown %u;", content[0]));
        last = r.type;
    }
    assert_int_equal(rest.len, 0);
}

void assert_got(struct world *w, const char *records, const char *bytes)
{
    struct buf text, out;
    buf_init(&text, 1024 * 1024);
    buf_init(&out, 1024 * 1024);
    read_answer(w, &text, &out);
    assert_string_equal(buf_text(&text), records);
    assert_string_equal(buf_text(&out), bytes);
    buf_free(&text);
    buf_free(&out);
}

struct buf new_buf(void)
{
    struct buf b;
    buf_init(&b, 32 * 1024 * 1024);
    return b;
}

void send_and_free(struct world *w, struct buf *b)
{
    peer_send(w, buf_slice(b));
    buf_free(b);
}
