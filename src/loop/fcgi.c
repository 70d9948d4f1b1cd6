/*
 * FastCGI connections: from a readable descriptor to events of a request, and back.
 *
 * Every change that may free a connection is made in one place, fcgi_on_turn(), which the loop calls after the
 * handlers of the same turn: nothing is freed under a caller's feet. A handler that finds a reason to end only
 * notes it (r->ended, r->outcome) and asks for that turn.
 */
#include "sluice/fcgi.h"

#include "fcgi_wire.h"
#include "sluice/buf.h"
#include "sluice/clock.h"
#include "sluice/fcgi_record.h"
#include "sluice/log.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FCGI_SCRATCH_SIZE = 64 * 1024,
    FCGI_ACCEPTS_A_TURN = 8,
    FCGI_WRITES_A_TURN = 16, /* 128 KiB: then other connections have their turn */
    FCGI_FEED_CAPACITY = 256 * 1024,
    FCGI_SEND_GUARD_SECONDS = 1,
    FCGI_ACCEPT_PAUSE_MS = 100,
    FCGI_KEEP_CONNECTION = 1, /* a flag of BEGIN_REQUEST */
    FCGI_PAUSED_LOOK_MS = 50, /* how often a connection that is not read is looked at */
    FCGI_REST_PAUSE_MS = 200  /* a body that stops for so long after its answer will not go on */
};

enum fcgi_phase {
    FCGI_PHASE_IDLE,  /* no request */
    FCGI_PHASE_HEAD,  /* BEGIN_REQUEST came, PARAMS are coming */
    FCGI_PHASE_BODY,  /* STDIN is coming */
    FCGI_PHASE_READ   /* STDIN has ended */
};

/* A connection, and the request that is on it. */
struct fcgi_request {
    struct fcgi_server *server;
    struct fcgi_request *next, *prev;
    struct event readable, writable, turn, timer;
    int fd;
    enum fcgi_phase phase;
    uint16_t id;
    uint8_t begin_body[8];
    int64_t heard_us;    /* when the last piece of the body came */
    int64_t answered_us; /* since when awaiting */
    struct fcgi_wire wire;
    struct buf in;     /* the beginning of a record */
    struct buf params; /* content of PARAMS records, until the head is whole */
    struct buf out;    /* answer bytes that the peer has not taken */
    void *user;
    enum fcgi_outcome outcome; /* where ended */
    bool begun;      /* begin() was called, done() not */
    bool ended;      /* the connection must be closed; outcome says why */
    bool answered;   /* fcgi_request_end() was called */
    bool awaiting;   /* the answer is written but for its end, which the body's end shall precede */
    bool impatient;  /* and no longer */
    bool lingering;  /* the request is over, the connection waits for the rest of its body */
    bool too_large;  /* the head was dropped */
    bool paused;     /* body not wanted now */
    bool above_high; /* drained() is owed */
};

struct fcgi_server {
    struct event_base *base;
    struct event accept_event, resume_event;
    const struct fcgi_events *events;
    struct fcgi_limits limits;
    void *ctx;
    int listen_fd;
    struct fcgi_feed feed;
    struct fcgi_request *connections;
    size_t count;
    bool accepting;
    const struct handover *handover; /* where idle connections go when accepting has stopped, or NULL */
    char scratch[FCGI_SCRATCH_SIZE];
};

static void fcgi_process(struct fcgi_request *r, struct slice bytes);

static struct timeval fcgi_timeval(int64_t us)
{
    return (struct timeval){us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND};
}

static void fcgi_ask_turn(struct fcgi_request *r)
{
    event_active(&r->turn, EV_TIMEOUT, 0);
}

static void fcgi_end_connection(struct fcgi_request *r, enum fcgi_outcome outcome)
{
    if (r->ended)
        return;
    r->ended = true;
    r->outcome = outcome;
    fcgi_ask_turn(r);
}

static void fcgi_arm_timer(struct fcgi_request *r, int64_t us)
{
    struct timeval after = fcgi_timeval(us);
    event_add(&r->timer, &after);
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

/* A record of our own between libfcgi's, which always end at a record's end. */
static void fcgi_send_record(struct fcgi_request *r, const uint8_t *record, size_t len)
{
    if (send(r->fd, record, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
        fcgi_end_connection(r, FCGI_PEER_BROKE);
}

static void fcgi_refuse(struct fcgi_request *r, uint16_t id, enum fcgi_end_status status)
{
    uint8_t record[FCGI_RECORD_END_SIZE];
    fcgi_record_write_end(id, status, record);
    fcgi_send_record(r, record, sizeof record);
}

static void fcgi_answer_management(struct fcgi_request *r, uint8_t type)
{
    uint8_t record[FCGI_RECORD_END_SIZE];
    fcgi_send_record(r, record, fcgi_record_write_management(type, record));
}

/* The connection is as it was before the request. */
static void fcgi_forget_request(struct fcgi_request *r)
{
    event_del(&r->timer);
    r->phase = FCGI_PHASE_IDLE;
    r->answered = r->awaiting = r->impatient = r->lingering = r->too_large = r->above_high = false;
    r->user = NULL;
}

static void fcgi_take_begin(struct fcgi_request *r, const struct fcgi_record *record)
{
    enum { ROLE_RESPONDER = 1 };
    const uint8_t *body = (const uint8_t *)record->content.ptr;
    /* Apache (mod_proxy_fcgi) sends no more of a body after the answer's end, and goes on with the next request. */
    if (r->lingering)
        fcgi_forget_request(r);
    if (record->content.len != sizeof r->begin_body || (r->phase != FCGI_PHASE_IDLE && record->request_id == r->id)) {
        fcgi_end_connection(r, FCGI_PEER_BROKE);
        return;
    }
    if (r->phase != FCGI_PHASE_IDLE) {
        fcgi_refuse(r, record->request_id, FCGI_END_CANT_MULTIPLEX);
        return;
    }
    if ((body[0] << 8 | body[1]) != ROLE_RESPONDER) {
        fcgi_refuse(r, record->request_id, FCGI_END_UNKNOWN_ROLE);
        return;
    }
    r->phase = FCGI_PHASE_HEAD;
    r->id = record->request_id;
    memcpy(r->begin_body, body, sizeof r->begin_body);
    fcgi_arm_timer(r, r->server->limits.head_us);
}

/* The head is whole: libfcgi decodes it, and the application hears of the request. */
static void fcgi_begin_request(struct fcgi_request *r)
{
    event_del(&r->timer);
    if (!r->too_large && !fcgi_params_are_sound(buf_slice(&r->params), SIZE_MAX)) {
        fcgi_end_connection(r, FCGI_PEER_BROKE);
        return;
    }
    if (!fcgi_params_are_sound(buf_slice(&r->params), FCGI_PARAMS_MAX))
        r->too_large = true;
    struct slice params = r->too_large ? (struct slice){NULL, 0} : buf_slice(&r->params);
    if (!fcgi_wire_accept(&r->wire, &r->server->feed, r->id, r->begin_body, params, r->fd)) {
        log_message(LOG_LEVEL_ERROR, "fcgi_accept_failed", "libfcgi did not take a request's head");
        fcgi_end_connection(r, FCGI_PEER_BROKE);
        return;
    }
    buf_free(&r->params);
    r->phase = FCGI_PHASE_BODY;
    r->begun = true;
    r->heard_us = clock_monotonic_us();
    fcgi_arm_timer(r, r->server->limits.body_us);
    r->user = r->server->events->begin(r->server->ctx, r);
}

static void fcgi_take_params(struct fcgi_request *r, struct slice content)
{
    if (r->phase != FCGI_PHASE_HEAD) {
        fcgi_end_connection(r, FCGI_PEER_BROKE);
        return;
    }
    if (content.len == 0) {
        fcgi_begin_request(r);
        return;
    }
    if (!r->too_large && !buf_append_slice(&r->params, content)) {
        r->too_large = true;
        buf_free(&r->params);
    }
}

static void fcgi_take_stdin(struct fcgi_request *r, struct slice content)
{
    if (r->phase == FCGI_PHASE_HEAD) {
        fcgi_end_connection(r, FCGI_PEER_BROKE);
        return;
    }
    if (r->phase != FCGI_PHASE_BODY)
        return;
    bool wanted = r->begun && !r->answered;
    r->heard_us = clock_monotonic_us();
    if (content.len > 0) {
        if (wanted)
            r->server->events->body(r->user, content);
        return;
    }
    r->phase = FCGI_PHASE_READ;
    event_del(&r->timer);
    if (wanted)
        r->server->events->body_end(r->user);
    else
        fcgi_ask_turn(r);
}

static void fcgi_take_record(struct fcgi_request *r, const struct fcgi_record *record)
{
    if (record->request_id == 0)
        fcgi_answer_management(r, record->type);
    else if (record->type == FCGI_RECORD_BEGIN)
        fcgi_take_begin(r, record);
    else if (r->phase == FCGI_PHASE_IDLE || record->request_id != r->id)
        return; /* of a request that is over, or was refused */
    else if (record->type == FCGI_RECORD_PARAMS)
        fcgi_take_params(r, record->content);
    else if (record->type == FCGI_RECORD_STDIN)
        fcgi_take_stdin(r, record->content);
    else if (record->type == FCGI_RECORD_ABORT)
        fcgi_end_connection(r, FCGI_CLIENT_LEFT);
}

/* Takes whole records off the front; gives what is left. */
static struct slice fcgi_take_records(struct fcgi_request *r, struct slice bytes)
{
    struct fcgi_record record;
    while (bytes.len > 0 && !r->ended && !(r->paused && r->phase == FCGI_PHASE_BODY)) {
        enum fcgi_record_result result = fcgi_record_parse(bytes, &record);
        if (result == FCGI_RECORD_BAD)
            fcgi_end_connection(r, FCGI_PEER_BROKE);
        if (result != FCGI_RECORD_OK)
            break;
        fcgi_take_record(r, &record);
        bytes = slice_skip(bytes, record.whole.len);
    }
    return bytes;
}

/* New bytes, or none to go on with what is held. Records that lie whole in them are not copied. */
static void fcgi_process(struct fcgi_request *r, struct slice bytes)
{
    if (r->in.len == 0) {
        struct slice rest = fcgi_take_records(r, bytes);
        if (rest.len > 0 && !buf_append_slice(&r->in, rest))
            fcgi_end_connection(r, FCGI_PEER_BROKE);
        return;
    }
    if (!buf_append_slice(&r->in, bytes)) {
        fcgi_end_connection(r, FCGI_PEER_BROKE);
        return;
    }
    struct slice rest = fcgi_take_records(r, buf_slice(&r->in));
    buf_consume(&r->in, r->in.len - rest.len);
}

static void fcgi_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct fcgi_request *r = arg;
    (void)what;
    if (r->ended)
        return;
    ssize_t n = recv(fd, r->server->scratch, FCGI_SCRATCH_SIZE, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fcgi_end_connection(r, FCGI_CLIENT_LEFT);
        return;
    }
    if (r->phase == FCGI_PHASE_IDLE && !event_pending(&r->timer, EV_TIMEOUT, NULL))
        fcgi_arm_timer(r, r->server->limits.head_us);
    fcgi_process(r, slice_make(r->server->scratch, (size_t)n));
}

void fcgi_request_pause_body(struct fcgi_request *r)
{
    if (r->paused || r->phase != FCGI_PHASE_BODY)
        return;
    r->paused = true;
    event_del(&r->readable);
    fcgi_arm_timer(r, FCGI_PAUSED_LOOK_MS * CLOCK_US_PER_MS);
}

void fcgi_request_resume_body(struct fcgi_request *r)
{
    if (!r->paused)
        return;
    r->paused = false;
    r->heard_us = clock_monotonic_us();
    fcgi_arm_timer(r, r->server->limits.body_us);
    event_add(&r->readable, NULL);
    fcgi_ask_turn(r); /* bytes may be held: the turn goes on with them, not this caller */
}

/* A connection that is not read tells of its end only when asked. */
static void fcgi_look_at_paused(struct fcgi_request *r)
{
    struct pollfd look = {.fd = r->fd, .events = POLLRDHUP};
    if (poll(&look, 1, 0) > 0 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR)))
        fcgi_end_connection(r, FCGI_CLIENT_LEFT);
    else
        fcgi_arm_timer(r, FCGI_PAUSED_LOOK_MS * CLOCK_US_PER_MS);
}

/* The timer is not moved with every piece: it looks, when it fires, whether time has really passed. */
static void fcgi_look_at_body(struct fcgi_request *r)
{
    int64_t left = r->heard_us + r->server->limits.body_us - clock_monotonic_us();
    if (left > 0)
        fcgi_arm_timer(r, left);
    else
        r->server->events->body_late(r->user);
}

/* nginx sends no more of a body once its answer has begun, and keeps the client waiting for the answer's end; Apache
 * sends the body to its end, and loses the answer of an HTTP/2 request that ends before. */
static void fcgi_look_at_rest(struct fcgi_request *r)
{
    int64_t now = clock_monotonic_us(), stops_us = r->heard_us + FCGI_REST_PAUSE_MS * CLOCK_US_PER_MS;
    int64_t until_us = r->answered_us + r->server->limits.drain_us;
    int64_t left = (stops_us < until_us ? stops_us : until_us) - now;
    if (left > 0) {
        fcgi_arm_timer(r, left);
        return;
    }
    r->impatient = true;
    fcgi_ask_turn(r);
}

/* The head did not come, a body is to be looked at, or it did not end after its answer. */
static void fcgi_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct fcgi_request *r = arg;
    (void)fd;
    (void)what;
    if (r->ended)
        return;
    if (r->lingering)
        fcgi_end_connection(r, FCGI_DELIVERED);
    else if (r->awaiting)
        fcgi_look_at_rest(r);
    else if (r->answered)
        return; /* set before the answer: what is left is the writer's to bound */
    else if (r->paused)
        fcgi_look_at_paused(r);
    else if (r->phase == FCGI_PHASE_BODY)
        fcgi_look_at_body(r);
    else
        fcgi_end_connection(r, FCGI_PEER_BROKE);
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

static bool fcgi_is_writable(const struct fcgi_request *r)
{
    struct pollfd look = {.fd = r->fd, .events = POLLOUT};
    return poll(&look, 1, 0) == 1 && (look.revents & POLLOUT);
}

static void fcgi_await_writable(struct fcgi_request *r)
{
    struct timeval after = fcgi_timeval(r->server->limits.write_us);
    event_add(&r->writable, &after);
}

/* Whether the answer can end with this turn's last write: all is said, and nothing more comes. */
static bool fcgi_can_finish(const struct fcgi_request *r)
{
    return r->answered && (r->phase == FCGI_PHASE_READ || r->impatient);
}

/* Writes what the peer takes. True where nothing is left that could be written in this turn; the last piece of a
 * complete answer is left for fcgi_finish_request(), to go out in one write with the closing records. */
static bool fcgi_flush(struct fcgi_request *r)
{
    for (int i = 0; r->out.len > 0; i++) {
        if (fcgi_can_finish(r) && r->out.len <= FCGI_WIRE_CHUNK)
            return true;
        if (i == FCGI_WRITES_A_TURN || !fcgi_is_writable(r)) {
            fcgi_await_writable(r);
            return false;
        }
        struct slice piece = slice_take(buf_slice(&r->out), FCGI_WIRE_CHUNK);
        if (!fcgi_wire_write(&r->wire, piece)) {
            fcgi_end_connection(r, errno == EAGAIN ? FCGI_STALLED : FCGI_CLIENT_LEFT);
            return false;
        }
        buf_consume(&r->out, piece.len);
    }
    return true;
}

static void fcgi_on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct fcgi_request *r = arg;
    (void)fd;
    if (what & EV_TIMEOUT)
        fcgi_end_connection(r, FCGI_STALLED);
    else
        fcgi_ask_turn(r);
}

bool fcgi_request_write(struct fcgi_request *r, struct slice bytes)
{
    if (r->ended || r->answered)
        return !r->answered;
    if (!buf_append_slice(&r->out, bytes))
        return false;
    if (r->out.len > FCGI_HIGH_WATER)
        r->above_high = true;
    fcgi_ask_turn(r);
    return true;
}

size_t fcgi_request_pending(const struct fcgi_request *r)
{
    return r->out.len;
}

void fcgi_request_end(struct fcgi_request *r)
{
    r->answered = true;
    fcgi_request_resume_body(r);
    fcgi_ask_turn(r);
}

void fcgi_request_abort(struct fcgi_request *r)
{
    fcgi_end_connection(r, FCGI_ABORTED);
}

const char *const *fcgi_request_variables(const struct fcgi_request *r)
{
    return (const char *const *)r->wire.request.envp;
}

bool fcgi_request_keeps_connection(const struct fcgi_request *r)
{
    return r->begin_body[2] & FCGI_KEEP_CONNECTION;
}

void fcgi_request_close_connection(struct fcgi_request *r)
{
    r->begin_body[2] = (uint8_t)(r->begin_body[2] & ~FCGI_KEEP_CONNECTION);
}

bool fcgi_request_head_was_too_large(const struct fcgi_request *r)
{
    return r->too_large;
}

/* ---- ending ------------------------------------------------------------------------------------------------- */

static void fcgi_update_accepting(struct fcgi_server *s)
{
    if (s->accepting && s->count < s->limits.connections)
        event_add(&s->accept_event, NULL);
    else
        event_del(&s->accept_event);
}

static void fcgi_free_connection(struct fcgi_request *r)
{
    struct fcgi_server *s = r->server;
    event_del(&r->readable);
    event_del(&r->writable);
    event_del(&r->turn);
    event_del(&r->timer);
    fcgi_wire_drop(&r->wire);
    buf_free(&r->in);
    buf_free(&r->params);
    buf_free(&r->out);
    close(r->fd);
    if (r->prev)
        r->prev->next = r->next;
    else
        s->connections = r->next;
    if (r->next)
        r->next->prev = r->prev;
    free(r);
    s->count--;
    fcgi_update_accepting(s);
}

static void fcgi_report_done(struct fcgi_request *r, enum fcgi_outcome outcome)
{
    if (!r->begun)
        return;
    r->begun = false;
    r->server->events->done(r->user, outcome);
}

/* A server that has stopped accepting keeps no idle connection. Bytes that were read already cannot change the
 * process with it: such a connection stays, and gets its answer. */
static void fcgi_leave_idle(struct fcgi_request *r)
{
    struct fcgi_server *s = r->server;
    if (s->accepting || r->ended || r->phase != FCGI_PHASE_IDLE || (s->handover && r->in.len > 0))
        return;
    if (s->handover)
        handover_send(s->handover, r->fd);
    fcgi_end_connection(r, FCGI_DELIVERED);
}

/* Makes the connection ready for its next request. */
static void fcgi_recycle(struct fcgi_request *r)
{
    fcgi_forget_request(r);
    fcgi_process(r, (struct slice){NULL, 0});
    fcgi_leave_idle(r);
}

/* The request is over and its body was read: the next one, or the end. */
static void fcgi_leave_request(struct fcgi_request *r)
{
    if (fcgi_request_keeps_connection(r))
        fcgi_recycle(r);
    else
        fcgi_end_connection(r, FCGI_DELIVERED);
}

/* The last bytes and the closing records. Where the body has not ended the connection stays for a while: closing it
 * while the front server still sends makes some of them lose the answer. */
static void fcgi_finish_request(struct fcgi_request *r)
{
    if (!fcgi_is_writable(r)) {
        fcgi_await_writable(r);
        return;
    }
    bool ok = fcgi_wire_finish(&r->wire, buf_slice(&r->out));
    buf_consume(&r->out, r->out.len);
    fcgi_report_done(r, ok ? FCGI_DELIVERED : FCGI_CLIENT_LEFT);
    fcgi_wire_drop(&r->wire);
    if (!ok) {
        fcgi_end_connection(r, FCGI_CLIENT_LEFT);
    } else if (r->phase == FCGI_PHASE_READ) {
        fcgi_leave_request(r);
    } else {
        r->lingering = true;
        fcgi_arm_timer(r, r->server->limits.drain_us);
    }
}

static void fcgi_await_rest(struct fcgi_request *r)
{
    if (r->awaiting)
        return;
    r->awaiting = true;
    r->answered_us = r->heard_us = clock_monotonic_us();
    fcgi_look_at_rest(r);
}

static void fcgi_tell_drained(struct fcgi_request *r)
{
    if (!r->above_high || r->out.len >= FCGI_LOW_WATER || r->ended || r->answered)
        return;
    r->above_high = false;
    r->server->events->drained(r->user);
}

/* The one place where a request finishes and a connection is freed. */
static void fcgi_on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct fcgi_request *r = arg;
    (void)fd;
    (void)what;
    if (!r->ended && !r->paused && r->in.len > 0)
        fcgi_process(r, (struct slice){NULL, 0});
    if (!r->ended && r->begun && fcgi_flush(r)) {
        if (fcgi_can_finish(r))
            fcgi_finish_request(r);
        else if (r->answered)
            fcgi_await_rest(r);
    } else if (!r->ended && r->lingering && r->phase == FCGI_PHASE_READ) {
        fcgi_leave_request(r);
    }
    if (r->begun)
        fcgi_tell_drained(r);
    if (r->ended) {
        fcgi_report_done(r, r->outcome);
        fcgi_free_connection(r);
    }
}

/* ---- accepting ---------------------------------------------------------------------------------------------- */

static void fcgi_prepare_socket(int fd)
{
    int on = 1;
    struct timeval guard = {FCGI_SEND_GUARD_SECONDS, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &guard, sizeof guard);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on a unix socket: right */
}

static void fcgi_add_connection(struct fcgi_server *s, int fd)
{
    struct fcgi_request *r = calloc(1, sizeof *r);
    if (!r) {
        close(fd);
        return;
    }
    fcgi_prepare_socket(fd);
    r->server = s;
    r->fd = fd;
    buf_init(&r->in, FCGI_RECORD_MAX_SIZE + FCGI_SCRATCH_SIZE);
    buf_init(&r->params, FCGI_HEAD_MAX);
    buf_init(&r->out, FCGI_PENDING_MAX);
    event_assign(&r->readable, s->base, fd, EV_READ | EV_PERSIST, fcgi_on_readable, r);
    event_assign(&r->writable, s->base, fd, EV_WRITE, fcgi_on_writable, r);
    event_assign(&r->turn, s->base, -1, 0, fcgi_on_turn, r);
    event_assign(&r->timer, s->base, -1, 0, fcgi_on_timer, r);
    r->next = s->connections;
    if (r->next)
        r->next->prev = r;
    s->connections = r;
    s->count++;
    event_add(&r->readable, NULL);
    fcgi_on_readable(fd, EV_READ, r);
}

/* Out of descriptors or memory: the connection stays in the backlog for another worker or a better moment. */
static void fcgi_pause_accepting(struct fcgi_server *s, int error)
{
    struct timeval after = fcgi_timeval(FCGI_ACCEPT_PAUSE_MS * CLOCK_US_PER_MS);
    log_message(LOG_LEVEL_WARNING, "accept_paused", "accept: %s", strerror(error));
    event_del(&s->accept_event);
    event_add(&s->resume_event, &after);
}

static void fcgi_on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct fcgi_server *s = arg;
    (void)what;
    for (int i = 0; i < FCGI_ACCEPTS_A_TURN && s->count < s->limits.connections; i++) {
        int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (conn < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (conn < 0) {
            if (errno != EAGAIN)
                fcgi_pause_accepting(s, errno);
            return;
        }
        fcgi_add_connection(s, conn);
    }
    fcgi_update_accepting(s);
}

static void fcgi_on_resume(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    fcgi_update_accepting(arg);
}

struct fcgi_server *fcgi_server_new(struct event_base *base, int listen_fd, const struct fcgi_events *events,
                                    const struct fcgi_limits *limits, void *ctx)
{
    struct fcgi_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->base = base;
    s->events = events;
    s->limits = *limits;
    s->ctx = ctx;
    s->listen_fd = listen_fd;
    s->accepting = true;
    if (evutil_make_socket_nonblocking(listen_fd) != 0 || !fcgi_feed_open(&s->feed, FCGI_FEED_CAPACITY)) {
        free(s);
        return NULL;
    }
    event_assign(&s->accept_event, base, listen_fd, EV_READ | EV_PERSIST, fcgi_on_acceptable, s);
    event_assign(&s->resume_event, base, -1, 0, fcgi_on_resume, s);
    event_add(&s->accept_event, NULL);
    return s;
}

void fcgi_server_stop_accepting(struct fcgi_server *s, const struct handover *handover)
{
    s->accepting = false;
    s->handover = handover;
    event_del(&s->accept_event);
    event_del(&s->resume_event);
    for (struct fcgi_request *r = s->connections; r; r = r->next)
        fcgi_leave_idle(r);
}

void fcgi_server_adopt(struct fcgi_server *s, int fd)
{
    fcgi_add_connection(s, fd);
}

size_t fcgi_server_connections(const struct fcgi_server *s)
{
    return s->count;
}

void fcgi_server_free(struct fcgi_server **server)
{
    struct fcgi_server *s = *server;
    *server = NULL;
    if (!s)
        return;
    s->accepting = false;
    while (s->connections) {
        fcgi_report_done(s->connections, FCGI_ABORTED);
        fcgi_free_connection(s->connections);
    }
    event_del(&s->accept_event);
    event_del(&s->resume_event);
    fcgi_feed_close(&s->feed);
    free(s);
}
