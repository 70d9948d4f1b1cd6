#include "load.h"

#include "reply.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LOAD_READ_SIZE = 64 * 1024,
    LOAD_EVENTS_A_TURN = 256,
    LOAD_BROKEN_MAX = 1000, /* then it is no measurement any more */
    LOAD_PROGRESS_MS = 250
};

#define NS_PER_MS  INT64_C(1000000)
#define NS_PER_US  INT64_C(1000)
#define NS_PER_SEC INT64_C(1000000000)

struct load;

struct load_conn {
    struct load *load;
    int fd;
    bool busy;  /* a request is under way */
    bool used;  /* the connection has carried a whole reply */
    bool begun; /* the first piece of the body has come */
    const char *sending;
    size_t sent;
    int64_t started_ns, read_ns;
    int64_t last_stamp_us, last_stamp_read_ns;
    uint64_t stamps;
    bool disordered;
    uint64_t number;
    char *request; /* of its own, where requests have numbers */
    struct reply reply;
};

struct load {
    const struct load_plan *plan;
    struct load_result *result;
    struct load_conn *conns;
    int epoll_fd;
    size_t started; /* connections that have begun */
    size_t busy;
    size_t open;         /* whose first event has come */
    uint64_t issued;     /* requests */
    uint64_t body_bytes; /* of the first reply: each plain one must be as long */
    int64_t begin_ns, told_ns;
    char scratch[LOAD_READ_SIZE];
};

int64_t load_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static void load_send(struct load_conn *c);

/* ---- connections
 * -------------------------------------------------------------------------------------------- */

static void load_disconnect(struct load_conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->used = false;
}

static bool load_connect(struct load_conn *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->load->plan->port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c};
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
        return false;
    return epoll_ctl(c->load->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) == 0;
}

/* ---- requests
 * ----------------------------------------------------------------------------------------------- */

static bool load_may_issue(const struct load *l)
{
    const struct load_plan *plan = l->plan;
    if (l->result->broken >= LOAD_BROKEN_MAX)
        return false;
    if (plan->requests > 0 && l->issued >= plan->requests)
        return false;
    return plan->duration_ns == 0 || load_now_ns() - l->begin_ns < plan->duration_ns;
}

static void load_give_up(struct load_conn *c)
{
    c->load->result->broken++;
    if (c->busy)
        c->load->busy--;
    c->busy = false;
    load_disconnect(c);
}

/* What the connection sends; NULL without memory. */
static const char *load_request(struct load_conn *c)
{
    const struct load_plan *plan = c->load->plan;
    if (plan->number_at == SIZE_MAX)
        return plan->request;
    if (!c->request)
        c->request = malloc(plan->request_len);
    if (!c->request)
        return NULL;
    char digits[LOAD_NUMBER_DIGITS + 1];
    snprintf(digits, sizeof digits, "%0*llu", LOAD_NUMBER_DIGITS, (unsigned long long)c->number % 100000000);
    memcpy(c->request, plan->request, plan->request_len);
    memcpy(c->request + plan->number_at, digits, LOAD_NUMBER_DIGITS);
    return c->request;
}

static void load_begin(struct load_conn *c)
{
    struct load *l = c->load;
    reply_start(&c->reply, l->plan->stamps > 0);
    c->sent = 0;
    c->begun = c->disordered = false;
    c->stamps = 0;
    c->last_stamp_us = 0;
    c->started_ns = load_now_ns();
    c->sending = load_request(c);
    if (!c->sending || (c->fd < 0 && !load_connect(c))) {
        load_give_up(c);
        return;
    }
    load_send(c);
}

static void load_next(struct load_conn *c)
{
    if (!load_may_issue(c->load))
        return;
    const struct load_plan *plan = c->load->plan;
    uint64_t issued = c->load->issued++;
    c->number = plan->first_number + (plan->numbers > 0 ? issued % plan->numbers : issued);
    c->load->busy++;
    c->busy = true;
    load_begin(c);
}

/* A kept connection may be closed by the other side at any time between two requests: that is no failure. */
static void load_broken(struct load_conn *c)
{
    if (c->used && c->reply.state == REPLY_STATUS && c->reply.line.len == 0) {
        c->load->result->reconnects++;
        load_disconnect(c);
        load_begin(c);
        return;
    }
    load_give_up(c);
    load_next(c);
}

static void load_send(struct load_conn *c)
{
    const struct load_plan *plan = c->load->plan;
    while (c->sent < plan->request_len) {
        ssize_t n = send(c->fd, c->sending + c->sent, plan->request_len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINPROGRESS))
            return;
        if (n < 0) {
            load_broken(c);
            return;
        }
        c->sent += (size_t)n;
    }
}

/* ---- replies
 * ------------------------------------------------------------------------------------------------ */

static bool load_reply_is_right(struct load_conn *c)
{
    struct load *l = c->load;
    if (c->reply.status != 200)
        return false;
    if (l->plan->stamps > 0)
        return c->reply.done_event && c->stamps == l->plan->stamps;
    if (l->body_bytes == 0)
        l->body_bytes = c->reply.body_bytes;
    return c->reply.body_bytes == l->body_bytes;
}

static void load_finish(struct load_conn *c)
{
    struct load_result *result = c->load->result;
    if (!load_reply_is_right(c))
        result->wrong++;
    else if (c->disordered)
        result->disordered++;
    else
        result->complete++;
    samples_add(&result->total, c->read_ns - c->started_ns);
    c->used = true;
    c->busy = false;
    c->load->busy--;
    if (c->reply.close)
        load_disconnect(c);
    load_next(c);
}

/* NULL once a stream has ended. */
static struct load_phase *load_phase(struct load *l)
{
    struct load_result *r = l->result;
    if (l->open < l->plan->connections)
        return &r->ramp;
    return r->complete + r->wrong + r->disordered + r->broken == 0 ? &r->steady : NULL;
}

static void load_take_stamp(void *arg, int64_t sent_us)
{
    struct load_conn *c = arg;
    struct load_phase *phase = load_phase(c->load);
    int64_t delay = c->read_ns - sent_us * NS_PER_US;
    samples_add(&c->load->result->delay, delay);
    if (phase)
        samples_add(&phase->delay, delay);
    if (phase && c->stamps > 0)
        samples_add(&phase->gap, llabs(c->read_ns - c->last_stamp_read_ns - (sent_us - c->last_stamp_us) * NS_PER_US));
    c->last_stamp_read_ns = c->read_ns;
    c->disordered = c->disordered || sent_us < c->last_stamp_us;
    c->last_stamp_us = sent_us;
    c->stamps++;
}

static void load_note_begin(struct load_conn *c)
{
    bool seen = c->load->plan->stamps > 0 ? c->reply.events > 0 : c->reply.body_bytes > 0;
    if (c->begun || !seen)
        return;
    c->begun = true;
    c->load->open++;
    samples_add(&c->load->result->first, c->read_ns - c->started_ns);
}

/* False where the connection has nothing more to read now. */
static bool load_take(struct load_conn *c, size_t len)
{
    struct reply_watch watch = {load_take_stamp, c};
    uint64_t before = c->reply.events;
    size_t used = reply_feed(&c->reply, c->load->scratch, len, &watch);
    c->load->result->events += c->reply.events - before;
    load_note_begin(c);
    if (c->reply.broken || used < len) {
        load_give_up(c);
        load_next(c);
        return false;
    }
    if (c->reply.state != REPLY_DONE)
        return len == LOAD_READ_SIZE;
    load_finish(c);
    return false;
}

static void load_ended(struct load_conn *c)
{
    c->read_ns = load_now_ns();
    if (!c->busy)
        load_disconnect(c);
    else if (c->reply.state != REPLY_STATUS && reply_end(&c->reply))
        load_finish(c);
    else
        load_broken(c);
}

static void load_receive(struct load_conn *c)
{
    ssize_t n;
    do {
        n = recv(c->fd, c->load->scratch, LOAD_READ_SIZE, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            load_ended(c);
            return;
        }
        c->read_ns = load_now_ns();
        if (!c->busy) {
            load_give_up(c);
            return;
        }
    } while (load_take(c, (size_t)n) && c->fd >= 0);
}

/* Edge-triggered: what is not read to its end here was asked for by nobody. */
static void load_handle(struct load_conn *c, uint32_t events)
{
    int fd = c->fd;
    if (fd >= 0 && (events & EPOLLOUT) && c->busy && c->sent < c->load->plan->request_len)
        load_send(c);
    if (c->fd == fd && fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)))
        load_receive(c);
}

/* ---- the whole
 * ---------------------------------------------------------------------------------------------- */

/* Starts the connections whose time has come. */
static void load_start_due(struct load *l)
{
    const struct load_plan *plan = l->plan;
    int64_t passed = load_now_ns() - l->begin_ns;
    while (l->started < plan->connections &&
           (int64_t)l->started * plan->ramp_ns / (int64_t)plan->connections <= passed)
        load_next(&l->conns[l->started++]);
}

/* A line each quarter of a second while all streams are open and none has ended. */
static void load_tell(struct load *l)
{
    const struct load_result *result = l->result;
    int64_t now = load_now_ns();
    if (!l->plan->progress || load_phase(l) != &l->result->steady)
        return;
    if (now - l->told_ns < LOAD_PROGRESS_MS * NS_PER_MS)
        return;
    l->told_ns = now;
    printf("{\"open\":%zu,\"events\":%llu}\n", l->open, (unsigned long long)result->events);
    fflush(stdout);
}

static int load_wait_ms(const struct load *l)
{
    if (l->started < l->plan->connections)
        return 1;
    return l->plan->progress ? LOAD_PROGRESS_MS : 1000;
}

static void load_loop(struct load *l)
{
    struct epoll_event events[LOAD_EVENTS_A_TURN];
    while (l->busy > 0 || (l->started < l->plan->connections && load_may_issue(l))) {
        load_start_due(l);
        int n = epoll_wait(l->epoll_fd, events, LOAD_EVENTS_A_TURN, load_wait_ms(l));
        for (int i = 0; i < n; i++)
            load_handle(events[i].data.ptr, events[i].events);
        load_tell(l);
        if (load_now_ns() - l->begin_ns > l->plan->timeout_ns) {
            l->result->timed_out = true;
            return;
        }
    }
}

bool load_run(const struct load_plan *plan, struct load_result *result)
{
    struct load *l = calloc(1, sizeof *l);
    *result = (struct load_result){0};
    if (!l)
        return false;
    *l = (struct load){.plan = plan, .result = result, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    l->conns = calloc(plan->connections, sizeof *l->conns);
    bool ok = l->conns && l->epoll_fd >= 0;
    if (ok) {
        for (size_t i = 0; i < plan->connections; i++) {
            l->conns[i].load = l;
            l->conns[i].fd = -1;
        }
        l->begin_ns = load_now_ns();
        load_loop(l);
        result->elapsed_ns = load_now_ns() - l->begin_ns;
        for (size_t i = 0; i < plan->connections; i++) {
            load_disconnect(&l->conns[i]);
            free(l->conns[i].request);
        }
    }
    close(l->epoll_fd);
    free(l->conns);
    free(l);
    return ok;
}
