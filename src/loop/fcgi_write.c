/*
 * FastCGI connections, the writing side: answers wait in a buffer of the request until the peer takes them.
 *
 * libfcgi writes at most one of its buffers a call, and only where the socket is known to have room for it.
 */
#include "fcgi_connection.h"

#include <errno.h>
#include <poll.h>

/* Asks the kernel only where it may have changed its mind: what was written since the last look can only have left.
 * Where the connection is gone a write does not wait either, and tells so; without it the loop would never come to rest,
 * as a descriptor that was hung up counts as writable there, full or not. */
static bool fcgi_may_write(struct fcgi_request *r)
{
    struct pollfd look = {.fd = r->fd, .events = POLLOUT};
    if (r->writes_left == 0 && poll(&look, 1, 0) == 1)
        r->writes_left = r->server->writes_a_look;
    return r->writes_left > 0;
}

bool fcgi_claim_write(struct fcgi_request *r)
{
    bool may = fcgi_may_write(r);
    if (may)
        r->writes_left--;
    return may;
}

void fcgi_await_writable(struct fcgi_request *r)
{
    struct timeval after = fcgi_timeval(r->server->limits.write_us);
    if (event_add(&r->writable, &after) != 0)
        fcgi_end_connection(r, FCGI_ABORTED);
}

/* Whether the answer can end with this turn's last write: all is said, and nothing more comes. */
bool fcgi_can_finish(const struct fcgi_request *r)
{
    return r->answered && (r->phase == FCGI_PHASE_READ || r->impatient);
}

/* Writes what the peer takes. True where nothing is left that could be written in this turn; the last piece of a
 * complete answer is left for fcgi_finish_request(), to go out in one write with the closing records. */
bool fcgi_flush(struct fcgi_request *r)
{
    for (int i = 0; r->out.len > 0; i++) {
        if (fcgi_can_finish(r) && r->out.len <= FCGI_WIRE_CHUNK)
            return true;
        if (i == FCGI_WRITES_A_TURN || !fcgi_claim_write(r)) {
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

void fcgi_on_writable(evutil_socket_t fd, short what, void *arg)
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
