/*
 * FastCGI connections: from a readable descriptor to events of a request, and back.
 *
 * Every change that may free a connection is made in one place, fcgi_on_turn(), which the loop calls after the
 * handlers of the same turn: nothing is freed under a caller's feet. A handler that finds a reason to end only
 * notes it (r->ended, r->outcome) and asks for that turn.
 */
#include "fcgi_connection.h"

#include "sluice/clock.h"
#include "sluice/fcgi_record.h"
#include "sluice/log.h"
#include "sluice/timers.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct timeval fcgi_timeval(int64_t us)
{
    return (struct timeval){us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND};
}

void fcgi_ask_turn(struct fcgi_request *r)
{
    event_active(&r->turn, EV_TIMEOUT, 0);
}

void fcgi_end_connection(struct fcgi_request *r, enum fcgi_outcome outcome)
{
    if (r->ended)
        return;
    r->ended = true;
    r->outcome = outcome;
    fcgi_ask_turn(r);
}

void fcgi_arm_timer(struct fcgi_request *r, int64_t us)
{
    struct timeval after = fcgi_timeval(us);
    event_add(&r->timer, &after);
}

/* ---- ending ------------------------------------------------------------------------------------------------- */

static void fcgi_accept_later(struct fcgi_server *s)
{
    struct timeval after = fcgi_timeval(FCGI_ACCEPT_PAUSE_MS * CLOCK_US_PER_MS);
    event_del(&s->accept_event);
    event_add(&s->resume_event, &after);
}

static void fcgi_update_accepting(struct fcgi_server *s)
{
    if (!s->accepting || s->count >= s->limits.connections)
        event_del(&s->accept_event);
    else if (event_add(&s->accept_event, NULL) != 0)
        fcgi_accept_later(s);
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
    if (!fcgi_claim_write(r)) {
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

static bool fcgi_is_unix(int fd)
{
    int domain = 0;
    socklen_t size = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

/* Writes that one look for room covers. A unix socket is writable while a quarter of its buffer is used at most
 * (unix_writable() in Linux); in the rest each write takes its bytes and what the kernel adds. */
static int fcgi_writes_a_look(int fd)
{
    int size = 0;
    socklen_t len = sizeof size;
    if (!fcgi_is_unix(fd) || getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) != 0)
        return 1;
    int writes = size / 4 * 3 / (FCGI_WIRE_CHUNK + FCGI_WRITE_OVERHEAD);
    return writes > 1 ? writes : 1;
}

/* A TCP connection inherits both from the socket that it was accepted from. On a unix socket the second fails, and
 * the first is of no use: its connections do not wait at all. */
static void fcgi_prepare_listener(int fd)
{
    int on = 1;
    struct timeval guard = {FCGI_SEND_GUARD_SECONDS, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &guard, sizeof guard);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* For all timers of one more connection and its request. It is doubled: seldom made, and in all it costs a connection little. */
static bool fcgi_make_room(struct fcgi_server *s)
{
    size_t room = s->room > 0 ? 2 * s->room : FCGI_ROOM_MIN;
    if (s->count < s->room)
        return true;
    if (!timers_reserve(s->base, TIMERS_OF_A_PROCESS + room * (FCGI_TIMERS + s->limits.timers)))
        return false;
    s->room = room;
    return true;
}

/* writes_left: that its send buffer surely has room for. */
static void fcgi_add_connection(struct fcgi_server *s, int fd, int writes_left)
{
    struct fcgi_request *r = fcgi_make_room(s) ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        close(fd);
        return;
    }
    r->server = s;
    r->fd = fd;
    r->writes_left = writes_left;
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
    if (event_add(&r->readable, NULL) != 0)
        fcgi_end_connection(r, FCGI_ABORTED);
    fcgi_on_readable(fd, EV_READ, r);
}

/* Out of descriptors or memory: the connection stays in the backlog for another worker or a better moment. */
static void fcgi_pause_accepting(struct fcgi_server *s, int error)
{
    log_message(LOG_LEVEL_WARNING, "accept_paused", "accept: %s", strerror(error));
    fcgi_accept_later(s);
}

/* One a turn: asking whether there is another costs as much as accepting it, and the loop tells at once. */
static void fcgi_on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct fcgi_server *s = arg;
    (void)what;
    int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | (s->is_unix ? SOCK_NONBLOCK : 0));
    if (conn >= 0)
        fcgi_add_connection(s, conn, s->is_unix ? s->writes_a_look : 0);
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        fcgi_pause_accepting(s, errno);
    if (s->count >= s->limits.connections)
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
    s->is_unix = fcgi_is_unix(listen_fd);
    s->writes_a_look = fcgi_writes_a_look(listen_fd);
    fcgi_prepare_listener(listen_fd);
    if (evutil_make_socket_nonblocking(listen_fd) != 0 || !fcgi_make_room(s) ||
        !fcgi_feed_open(&s->feed, FCGI_FEED_CAPACITY)) {
        free(s);
        return NULL;
    }
    event_assign(&s->accept_event, base, listen_fd, EV_READ | EV_PERSIST, fcgi_on_acceptable, s);
    event_assign(&s->resume_event, base, -1, 0, fcgi_on_resume, s);
    fcgi_update_accepting(s);
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
    fcgi_add_connection(s, fd, 0);
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
