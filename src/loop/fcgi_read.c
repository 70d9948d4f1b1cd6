/*
 * FastCGI connections, the reading side: bytes are cut into records, records become events of a request.
 *
 * Nothing here waits, and only a head that is whole, bounded and sound reaches libfcgi.
 */
#include "fcgi_connection.h"

#include "sluice/clock.h"
#include "sluice/fcgi_record.h"
#include "sluice/log.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/* A record of our own between libfcgi's, which always end at a record's end. */
static void fcgi_send_record(struct fcgi_request *r, const uint8_t *record, size_t len)
{
    r->writes_left = 0;
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
void fcgi_forget_request(struct fcgi_request *r)
{
    event_del(&r->timer);
    r->phase = FCGI_PHASE_IDLE;
    r->answered = r->awaiting = r->impatient = r->lingering = r->too_large = r->late = r->above_high = false;
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
    if (!r->too_large && !fcgi_params_are_sound(buf_slice(&r->params), FCGI_PARAMS_MAX)) {
        if (!fcgi_params_are_sound(buf_slice(&r->params), SIZE_MAX)) {
            fcgi_end_connection(r, FCGI_PEER_BROKE);
            return;
        }
        r->too_large = true; /* too many pairs */
    }
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
    if (content.len > buf_room(&r->params)) {
        r->too_large = true;
        buf_free(&r->params);
    }
    if (!r->too_large && !buf_append_slice(&r->params, content))
        fcgi_end_connection(r, FCGI_ABORTED);
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
void fcgi_process(struct fcgi_request *r, struct slice bytes)
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

void fcgi_on_readable(evutil_socket_t fd, short what, void *arg)
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
    if (event_add(&r->readable, NULL) != 0)
        fcgi_end_connection(r, FCGI_ABORTED);
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
    if (r->late)
        return;
    r->late = left <= 0;
    if (r->late)
        r->server->events->body_late(r->user);
    else
        fcgi_arm_timer(r, left);
}

/* nginx sends no more of a body once its answer has begun, and keeps the client waiting for the answer's end; Apache
 * sends the body to its end, and loses the answer of an HTTP/2 request that ends before. */
void fcgi_look_at_rest(struct fcgi_request *r)
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
void fcgi_on_timer(evutil_socket_t fd, short what, void *arg)
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
