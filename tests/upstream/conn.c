#include "conn.h"

#include "endpoints.h"
#include "errors.h"
#include "faults.h"
#include "tls.h"

#include <errno.h>
#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The framing is done here rather than by evhttp: with evhttp an empty response of this many headers costs
 * more than the whole budget of a request, and the faults need the raw bytes anyway. */

#define HEAD_MAX         1048576u
#define BODY_MAX         (2147483648ULL)
#define BODY_RESERVE_MAX (16u << 20)
#define LARGE_BODY       65536u
#define LARGE_READ       (1u << 20)

static void request_over(struct conn *c, enum request_state state)
{
    struct request *r = c->request;
    struct stats *stats = &c->sim->stats;
    if (!r) {
        return;
    }
    if (!c->control) {
        stats->active--;
        stats->active_streams -= c->reply.streaming ? 1 : 0;
        stats->completed += state == REQUEST_COMPLETE;
        stats->aborted += state == REQUEST_ABORTED;
        stats->cut += state == REQUEST_CUT;
        r->state = state;
        r->ended_us = clock_now_us();
        r->events_sent = c->reply.events;
        if (state == REQUEST_ABORTED) {
            stats->last_abort_us = r->ended_us;
        }
        requests_trim_body(r);
    }
    http_request_unref(r);
    c->request = NULL;
    json_decref(c->json);
    c->json = NULL;
    reply_reset(&c->reply);
    event_del(&c->timer);
}

static void conn_free(struct conn *c)
{
    if (c->counted) {
        c->sim->stats.connections_open--;
    }
    *c->link = c->next;
    if (c->next) {
        c->next->link = c->link;
    }
    event_del(&c->timer);
    if (c->watch) {
        event_free(c->watch);
    }
    if (c->tls) {
        tls_close_notify(c->bev);
    }
    bufferevent_free(c->bev);
    reply_reset(&c->reply);
    buf_free(&c->reply.head);
    buf_free(&c->reply.wire);
    free(c);
}

void conn_close(struct conn *c, bool rst)
{
    if (c->dead) {
        return;
    }
    c->dead = true;
    request_over(c, REQUEST_CUT);
    bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    if (rst) {
        faults_reset_on_close(c->fd);
    }
}

void conn_finish(struct conn *c, bool keep)
{
    request_over(c, REQUEST_COMPLETE);
    c->state = CONN_READ_HEAD;
    if (!keep) {
        conn_close(c, false);
    }
}

size_t conn_unsent(const struct conn *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}

/* Writes straight to a plain socket: going through the bufferevent's queue costs three more system calls. */
static size_t send_now(struct conn *c, const char *data, size_t len)
{
    ssize_t sent = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        return (size_t)sent;
    }
    /* A dead peer shows up as an end or an error on the reading side; the bytes go nowhere meanwhile. */
    return errno == EAGAIN || errno == EINTR ? 0 : len;
}

void conn_write(struct conn *c, const void *data, size_t len)
{
    size_t done = 0;
    if (c->dead || !len) {
        return;
    }
    if (!c->control) {
        c->sim->stats.bytes_out += len;
    }
    if (!c->tls && conn_unsent(c) == 0) {
        done = send_now(c, data, len);
    }
    if (done < len) {
        bufferevent_write(c->bev, (const char *)data + done, len - done);
    }
}

void conn_arm(struct conn *c, int64_t delay_us)
{
    struct timeval tv = {delay_us / 1000000, delay_us % 1000000};
    evtimer_add(&c->timer, &tv);
}

static void request_begin(struct conn *c)
{
    struct request *r = c->request;
    struct sim *sim = c->sim;
    c->control = slice_starts(r->path, "/_sim/");
    directive_init(&c->dir);
    if (c->control) {
        if (c->counted) { /* connections that only control the simulator are none of the test's */
            sim->stats.connections_accepted--;
            sim->stats.connections_open--;
            c->counted = false;
        }
        return;
    }
    sim->stats.requests++;
    sim->stats.active++;
    sim->stats.bytes_in += r->head.len;
    stats_count_path(&sim->stats, r->method, r->path);
    requests_add(&sim->log, r);
}

static void on_gone(evutil_socket_t fd, short what, void *arg);

/* hang=accept as the default: nothing more is read, so the client's sending backs up; reading being off, only
 * the hang-up itself tells when it leaves. */
static bool conn_is_deaf(struct conn *c)
{
    if (c->control || c->sim->standard.hang != HANG_ACCEPT) {
        return false;
    }
    c->state = CONN_REPLY;
    bufferevent_disable(c->bev, EV_READ);
    c->watch = event_new(c->sim->base, c->fd, EV_CLOSED, on_gone, c);
    event_add(c->watch, NULL);
    return true;
}

static void body_begin(struct conn *c)
{
    struct request *r = c->request;
    c->state = r->chunked ? CONN_READ_CHUNK_SIZE : CONN_READ_BODY;
    c->body_left = r->chunked ? 0 : r->content_length;
    if (c->body_left) {
        buf_reserve(&r->body, c->body_left < BODY_RESERVE_MAX ? c->body_left : BODY_RESERVE_MAX);
    }
    c->read_pace_us = c->control ? 0 : endpoints_read_pace(c);
    c->rested_at = 0;
    if (r->chunked || c->body_left > LARGE_BODY) {
        bufferevent_set_max_single_read(c->bev, LARGE_READ);
    }
    if (r->expect && evbuffer_get_length(bufferevent_get_input(c->bev)) == 0) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        conn_write(c, go_on, sizeof go_on - 1);
    }
}

/* The length of the head at the start of in, or 0 when it is not there in full yet. */
static size_t head_find(struct evbuffer *in, char **head)
{
    size_t have = evbuffer_get_contiguous_space(in);
    for (int whole = 0; whole < 2; whole++) {
        *head = (char *)evbuffer_pullup(in, (ev_ssize_t)have);
        char *end = memmem(*head, have, "\r\n\r\n", 4);
        if (end) {
            return (size_t)(end - *head) + 4;
        }
        size_t all = evbuffer_get_length(in);
        have = all < HEAD_MAX ? all : HEAD_MAX;
    }
    return 0;
}

static void conn_refuse(struct conn *c, const char *status_line)
{
    conn_write(c, status_line, strlen(status_line));
    BUF_LIT(&c->reply.wire, "content-length: 0\r\nconnection: close\r\n\r\n");
    conn_write(c, c->reply.wire.data, c->reply.wire.len);
    conn_close(c, false);
}

static bool read_head(struct conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    char *head;
    if (evbuffer_get_length(in) == 0) {
        return false;
    }
    size_t len = head_find(in, &head);
    if (!len) {
        if (evbuffer_get_length(in) >= HEAD_MAX) {
            conn_refuse(c, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
        }
        return false;
    }
    c->request = http_request_new(head, len - 2);
    if (!c->request) {
        conn_refuse(c, "HTTP/1.1 400 Bad Request\r\n");
        return false;
    }
    evbuffer_drain(in, len);
    request_begin(c);
    if (conn_is_deaf(c)) {
        return false;
    }
    if (c->request->content_length > BODY_MAX) {
        conn_refuse(c, "HTTP/1.1 413 Payload Too Large\r\n");
        return false;
    }
    body_begin(c);
    return true;
}

/* Moves what is there of the body_left bytes; true when all have come. */
static bool body_take(struct conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    struct buf *body = &c->request->body;
    size_t n = evbuffer_get_length(in);
    n = n < c->body_left ? n : (size_t)c->body_left;
    if (n) {
        buf_reserve(body, n);
        evbuffer_remove(in, body->data + body->len, n);
        body->len += n;
        c->body_left -= n;
        c->request->body_bytes += n;
    }
    return c->body_left == 0;
}

static bool request_dispatch(struct conn *c)
{
    if (!c->control) {
        c->sim->stats.bytes_in += c->request->body_bytes;
    }
    c->state = CONN_REPLY;
    endpoints_dispatch(c);
    return true;
}

static bool read_body(struct conn *c)
{
    return body_take(c) && request_dispatch(c);
}

static bool read_chunk(struct conn *c)
{
    if (!body_take(c)) {
        return false;
    }
    c->state = CONN_READ_CHUNK_END;
    return true;
}

static bool read_chunk_line(struct conn *c)
{
    char *line = evbuffer_readln(bufferevent_get_input(c->bev), NULL, EVBUFFER_EOL_CRLF);
    if (!line) {
        return false;
    }
    if (c->state == CONN_READ_CHUNK_END) {
        c->state = CONN_READ_CHUNK_SIZE;
    } else if (c->state == CONN_READ_CHUNK_SIZE) {
        c->body_left = strtoull(line, NULL, 16);
        c->state = c->body_left ? CONN_READ_CHUNK : CONN_READ_TRAILER;
    } else if (line[0] == '\0') {
        free(line);
        return request_dispatch(c);
    }
    free(line);
    if (c->body_left > BODY_MAX - c->request->body_bytes) {
        conn_refuse(c, "HTTP/1.1 413 Payload Too Large\r\n");
    }
    return true;
}

static bool conn_step(struct conn *c)
{
    switch (c->state) {
    case CONN_READ_HEAD:
        return read_head(c);
    case CONN_READ_BODY:
        return read_body(c);
    case CONN_READ_CHUNK:
        return read_chunk(c);
    case CONN_READ_CHUNK_SIZE:
    case CONN_READ_CHUNK_END:
    case CONN_READ_TRAILER:
        return read_chunk_line(c);
    case CONN_REPLY:
        break;
    }
    return false; /* pipelined bytes wait in the input until the reply is out */
}

/* Every callback ends here: handles what has been read, then frees the connection if it died meanwhile. */
static void conn_leave(struct conn *c)
{
    while (!c->dead && conn_step(c)) {
    }
    if (c->dead) {
        conn_free(c);
    }
}

/* read-pace: after each 64 KiB of a body the socket rests for a while. */
static void read_rest(struct conn *c)
{
    bool in_body = c->read_pace_us && c->state != CONN_READ_HEAD && c->state != CONN_REPLY;
    if (in_body && c->request->body_bytes - c->rested_at >= LARGE_BODY) {
        c->rested_at = c->request->body_bytes;
        bufferevent_disable(c->bev, EV_READ);
        conn_arm(c, c->read_pace_us);
    }
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct conn *c = arg;
    (void)bev;
    while (!c->dead && conn_step(c)) {
    }
    if (!c->dead) {
        read_rest(c);
    }
    conn_leave(c);
}

static void on_drained(struct bufferevent *bev, void *arg)
{
    struct conn *c = arg;
    (void)bev;
    if (c->reply.phase == REPLY_DRAIN || c->reply.wait_drain) {
        reply_advance(c);
    }
    conn_leave(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    (void)what;
    if (c->state == CONN_REPLY) {
        reply_advance(c);
    } else {
        bufferevent_enable(c->bev, EV_READ);
    }
    conn_leave(c);
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
    struct conn *c = arg;
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) {
        request_over(c, REQUEST_ABORTED);
        conn_close(c, false);
    }
    conn_leave(c);
}

static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    on_end(NULL, BEV_EVENT_EOF, arg);
}

void conn_open(struct sim *sim, evutil_socket_t fd)
{
    int on = 1;
    struct conn *c = calloc(1, sizeof *c);
    if (!c) {
        abort();
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->sim = sim;
    c->fd = fd;
    c->tls = sim->tls != NULL;
    c->bev = c->tls ? tls_bufferevent_new(sim->base, sim->tls, fd)
                    : bufferevent_socket_new(sim->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!c->bev) {
        close(fd);
        free(c);
        return;
    }
    c->next = sim->conns;
    c->link = &sim->conns;
    if (c->next) {
        c->next->link = &c->next;
    }
    sim->conns = c;
    c->counted = true;
    sim->stats.connections_accepted++;
    sim->stats.connections_open++;
    evtimer_assign(&c->timer, sim->base, on_timer, c);
    bufferevent_setcb(c->bev, on_read, on_drained, on_end, c);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

void conn_free_all(struct sim *sim)
{
    while (sim->conns) {
        struct conn *c = sim->conns;
        conn_close(c, false);
        conn_free(c);
    }
}
