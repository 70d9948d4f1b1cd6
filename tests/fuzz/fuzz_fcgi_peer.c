/*
 * A front server that does anything, and an application that does what it may: the input says what either does next on
 * up to two connections, and how much time passes. Each request that began is done once and not called again, nothing
 * is called from within a call of the application's, and nothing grows beyond its cap. A body consists of what was
 * sent for it. What comes back is whole records of requests that were begun, in their order, with the bytes that the
 * application wrote, and nothing is missing behind an end. When the front server is gone nothing is left.
 *
 * Time is the fuzzer's own: a pause of ten minutes costs nothing, and an input does the same each time.
 */
#include "fuzz.h"

#include "fcgi_connection.h"
#include "sluice/fcgi_record.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX = 4096, STEPS_MAX = 64, LAST_TURNS = 8 };
enum { SLOTS = 2, PEERS_MAX = 8, APPS_MAX = 512, IDS_MAX = 512 };
enum { PATTERN = 251, PIECE_MAX = 160 * 1024, SENT_MAX = 512 * 1024, PENDING_ENOUGH = 1024 * 1024 };
enum { STDOUT = 6, STDERR = 7, RESPONDER = 1 };

/* An identifier of a request, as the front server sees it. */
struct id {
    uint16_t id;
    unsigned begun, ended; /* BEGIN_REQUESTs sent, END_REQUESTs got */
};

/* The front server's end of one connection. */
struct peer {
    int fd;           /* -1: closed */
    ino_t connection; /* what tells the other end */
    struct buf sent;
    size_t looked_at; /* of what was sent: for identifiers */
    size_t heard_at;  /* of what was sent: the application has heard of it */
    struct buf got;   /* the beginning of a record */
    struct id ids[IDS_MAX];
    size_t id_count;
    size_t answer_at;    /* the first request whose answer has not ended */
    size_t answer_bytes; /* of it that came */
};

/* A request as the application sees it. */
struct app {
    struct fcgi_request *request; /* NULL when it is done */
    struct peer *peer;
    struct id *id;
    size_t written;
    bool ended, body_ended, late;
};

/* What the application does when it is called; see act(). */
struct reactions {
    uint8_t begin, body, body_end, drained, late;
};

static struct {
    struct event_base *base;
    int listener;
    int64_t now_ns;
    char pattern[PATTERN + PIECE_MAX];
    struct slice program;
    struct fcgi_server *server, *retired;
    struct handover handover;
    struct peer peers[PEERS_MAX];
    struct peer *slots[SLOTS];
    struct app apps[APPS_MAX];
    size_t peer_count, begun, done;
    struct reactions reactions;
    bool within; /* a call of the application's */
} f;

/* The program's, libevent's and Sluice's clock. */
int clock_gettime(clockid_t id, struct timespec *out)
{
    if (id == CLOCK_REALTIME || id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID)
        return (int)syscall(SYS_clock_gettime, id, out);
    *out = (struct timespec){f.now_ns / 1000000000, f.now_ns % 1000000000};
    return 0;
}

static uint8_t take(void)
{
    uint8_t byte = f.program.len > 0 ? (uint8_t)f.program.ptr[0] : 0;
    f.program = slice_skip(f.program, 1);
    return byte;
}

/* ---- the application ---------------------------------------------------------------------------------------- */

static void app_write(struct app *a, size_t len)
{
    if (a->ended || fcgi_request_pending(a->request) > PENDING_ENOUGH)
        return;
    FUZZ_ASSERT(fcgi_request_write(a->request, slice_make(f.pattern + a->written % PATTERN, len)));
    a->written += len;
}

static void app_end(struct app *a)
{
    if (a->ended)
        return;
    a->ended = true;
    fcgi_request_end(a->request);
}

static void app_pause(struct app *a, bool pause)
{
    if (pause && !a->ended)
        fcgi_request_pause_body(a->request);
    else
        fcgi_request_resume_body(a->request);
}

/* How much to write: a few bytes, a few pieces, or more than waits are for. */
static size_t length(uint8_t how)
{
    return how < 128 ? how : how < UINT8_MAX ? (size_t)(how - 127) * 100 : 150 * 1024;
}

static void act(struct app *a, uint8_t what, uint8_t how)
{
    f.within = true;
    switch (what % 8) {
    case 0:
        app_write(a, length(how));
        break;
    case 1:
        app_write(a, length(how));
        app_end(a);
        break;
    case 2:
        app_end(a);
        break;
    case 3:
        fcgi_request_abort(a->request);
        break;
    case 4:
        app_pause(a, true);
        break;
    case 5:
        app_pause(a, false);
        break;
    case 6:
        fcgi_request_close_connection(a->request);
        break;
    default:
        break; /* it waits */
    }
    f.within = false;
}

static void react(struct app *a, uint8_t reaction)
{
    act(a, reaction, (uint8_t)(reaction & 0xf8));
}

static struct app *app_of(void *user)
{
    struct app *a = user;
    FUZZ_ASSERT(a && a->request && !f.within);
    return a;
}

static struct id *find_id(struct peer *p, uint16_t id)
{
    for (size_t i = 0; i < p->id_count; i++)
        if (p->ids[i].id == id)
            return &p->ids[i];
    return NULL;
}

static ino_t connection_of(int fd)
{
    struct stat info;
    FUZZ_ASSERT(fstat(fd, &info) == 0);
    return info.st_ino;
}

static struct peer *find_peer(const struct fcgi_request *r)
{
    size_t i = f.peer_count;
    ino_t connection = connection_of(r->fd);
    while (i > 0 && f.peers[i - 1].connection != connection)
        i--;
    FUZZ_ASSERT(i > 0);
    return &f.peers[i - 1];
}

/* What the application hears was sent, behind all that it has heard of before. */
static void hear(struct app *a, enum fcgi_record_type type, struct slice content)
{
    struct fcgi_record record;
    struct peer *p = a->peer;
    do {
        struct slice rest = slice_skip(buf_slice(&p->sent), p->heard_at);
        FUZZ_ASSERT(fcgi_record_parse(rest, &record) == FCGI_RECORD_OK);
        p->heard_at += record.whole.len;
    } while (record.type != type || record.request_id != a->id->id || !slice_equals(record.content, content));
}

static void *on_begin(void *ctx, struct fcgi_request *r)
{
    struct app *a = &f.apps[f.begun++];
    const char *const *v = fcgi_request_variables(r);
    FUZZ_ASSERT(ctx == &f && f.begun <= APPS_MAX && !f.within);
    *a = (struct app){.request = r, .peer = find_peer(r)};
    a->id = find_id(a->peer, r->id);
    FUZZ_ASSERT(a->id && a->id->begun > a->id->ended);
    hear(a, FCGI_RECORD_PARAMS, (struct slice){NULL, 0});
    FUZZ_ASSERT(strcmp(*v++, "FCGI_ROLE=RESPONDER") == 0);
    FUZZ_ASSERT(!*v || !fcgi_request_head_was_too_large(r));
    for (; *v; v++)
        FUZZ_ASSERT(strchr(*v, '='));
    react(a, f.reactions.begin);
    return a;
}

static void on_body(void *user, struct slice bytes)
{
    struct app *a = app_of(user);
    FUZZ_ASSERT(bytes.len > 0 && !a->body_ended && !a->ended);
    hear(a, FCGI_RECORD_STDIN, bytes);
    react(a, f.reactions.body);
}

static void on_body_end(void *user)
{
    struct app *a = app_of(user);
    FUZZ_ASSERT(!a->body_ended && !a->ended);
    hear(a, FCGI_RECORD_STDIN, (struct slice){NULL, 0});
    a->body_ended = true;
    react(a, f.reactions.body_end);
}

static void on_body_late(void *user)
{
    struct app *a = app_of(user);
    FUZZ_ASSERT(!a->body_ended && !a->ended && !a->late);
    a->late = true;
    react(a, f.reactions.late);
}

static void on_drained(void *user)
{
    struct app *a = app_of(user);
    FUZZ_ASSERT(!a->ended && fcgi_request_pending(a->request) < FCGI_LOW_WATER);
    react(a, f.reactions.drained);
}

static void on_done(void *user, enum fcgi_outcome outcome)
{
    struct app *a = app_of(user);
    FUZZ_ASSERT(outcome <= FCGI_STALLED && (outcome != FCGI_DELIVERED || a->ended));
    a->request = NULL;
    f.done++;
}

static const struct fcgi_events events = {on_begin, on_body, on_body_end, on_body_late, on_drained, on_done};

/* ---- the front server --------------------------------------------------------------------------------------- */

/* Notes which requests it has begun. */
static void look_at_sent(struct peer *p)
{
    struct fcgi_record record;
    for (;;) {
        struct slice rest = slice_skip(buf_slice(&p->sent), p->looked_at);
        if (fcgi_record_parse(rest, &record) != FCGI_RECORD_OK)
            return;
        p->looked_at += record.whole.len;
        if (record.type != FCGI_RECORD_BEGIN || record.request_id == 0)
            continue;
        struct id *id = find_id(p, record.request_id);
        if (!id) {
            FUZZ_ASSERT(p->id_count < IDS_MAX);
            id = &p->ids[p->id_count++];
            *id = (struct id){.id = record.request_id};
        }
        id->begun++;
    }
}

/* As much as the connection takes. */
static void peer_send(struct peer *p, struct slice bytes)
{
    if (p->fd < 0 || bytes.len == 0 || p->sent.len + bytes.len > SENT_MAX)
        return;
    ssize_t n = send(p->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    if (n > 0)
        FUZZ_ASSERT(buf_append(&p->sent, bytes.ptr, (size_t)n));
    look_at_sent(p);
}

static void peer_send_record(struct peer *p, uint8_t type, uint16_t id, struct slice content, uint8_t padding)
{
    static uint8_t record[FCGI_RECORD_MAX_SIZE];
    fcgi_record_write_header(type, id, (uint16_t)content.len, record);
    record[6] = padding;
    if (content.len > 0)
        memcpy(record + FCGI_RECORD_HEADER_SIZE, content.ptr, content.len);
    memset(record + FCGI_RECORD_HEADER_SIZE + content.len, 0, padding);
    peer_send(p, slice_make(record, FCGI_RECORD_HEADER_SIZE + content.len + padding));
}

/* The request whose answer comes next. */
static struct app *answered_next(struct peer *p)
{
    while (p->answer_at < f.begun && f.apps[p->answer_at].peer != p)
        p->answer_at++;
    return p->answer_at < f.begun ? &f.apps[p->answer_at] : NULL;
}

static void check_end(struct peer *p, struct id *id, const struct fcgi_record *r)
{
    FUZZ_ASSERT(r->content.len == FCGI_RECORD_END_SIZE - FCGI_RECORD_HEADER_SIZE);
    uint8_t status = (uint8_t)r->content.ptr[4];
    id->ended++;
    FUZZ_ASSERT(status == FCGI_END_COMPLETE || status == FCGI_END_CANT_MULTIPLEX || status == FCGI_END_UNKNOWN_ROLE);
    if (status != FCGI_END_COMPLETE)
        return;
    const struct app *a = answered_next(p);
    FUZZ_ASSERT(a && a->id == id && a->ended && a->written == p->answer_bytes);
    p->answer_at++;
    p->answer_bytes = 0;
}

static void check_record(struct peer *p, const struct fcgi_record *r)
{
    if (r->type == FCGI_RECORD_GET_VALUES_RESULT || r->type == FCGI_RECORD_UNKNOWN) {
        FUZZ_ASSERT(r->request_id == 0);
        return;
    }
    struct id *id = find_id(p, r->request_id);
    FUZZ_ASSERT(id && id->begun > id->ended);
    if (r->type == FCGI_RECORD_END) {
        check_end(p, id, r);
        return;
    }
    const struct app *a = answered_next(p);
    FUZZ_ASSERT(a && a->id == id && (r->type == STDOUT || (r->type == STDERR && r->content.len == 0)));
    FUZZ_ASSERT(slice_equals(r->content, slice_make(f.pattern + p->answer_bytes % PATTERN, r->content.len)));
    p->answer_bytes += r->content.len;
    FUZZ_ASSERT(p->answer_bytes <= a->written);
}

/* Takes whole records off the front; gives what is left. */
static struct slice check_records(struct peer *p, struct slice bytes)
{
    struct fcgi_record record;
    enum fcgi_record_result result = FCGI_RECORD_OK;
    while (bytes.len > 0 && (result = fcgi_record_parse(bytes, &record)) == FCGI_RECORD_OK) {
        check_record(p, &record);
        bytes = slice_skip(bytes, record.whole.len);
    }
    FUZZ_ASSERT(result != FCGI_RECORD_BAD);
    return bytes;
}

static void peer_read(struct peer *p, size_t len)
{
    static char bytes[FCGI_RECORD_MAX_SIZE + PIECE_MAX];
    if (p->got.len > 0)
        memcpy(bytes, buf_data(&p->got), p->got.len);
    ssize_t n = p->fd < 0 ? -1 : recv(p->fd, bytes + p->got.len, len, 0);
    if (n == 0)
        FUZZ_ASSERT(p->got.len == 0); /* a connection ends behind a record */
    if (n <= 0)
        return;
    struct slice rest = check_records(p, slice_make(bytes, p->got.len + (size_t)n));
    buf_clear(&p->got);
    FUZZ_ASSERT(buf_append_slice(&p->got, rest));
}

static void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

/* A new connection in the place of another. */
static struct peer *peer_connect(size_t slot)
{
    int fds[2];
    if (f.slots[slot])
        peer_close(f.slots[slot]);
    if (f.peer_count == PEERS_MAX)
        return &f.peers[0];
    FUZZ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    struct peer *p = f.slots[slot] = &f.peers[f.peer_count++];
    p->fd = fds[0];
    p->connection = connection_of(fds[1]);
    p->looked_at = p->heard_at = p->id_count = p->answer_at = p->answer_bytes = 0;
    buf_clear(&p->sent);
    buf_clear(&p->got);
    fcgi_server_adopt(f.server, fds[1]);
    return p;
}

/* ---- the program -------------------------------------------------------------------------------------------- */

static struct fcgi_server *serve(void)
{
    static const struct fcgi_limits limits = {.head_us = 30 * INT64_C(1000000),
                                              .body_us = 120 * INT64_C(1000000),
                                              .write_us = 600 * INT64_C(1000000),
                                              .drain_us = 30 * INT64_C(1000000),
                                              .connections = 1000};
    struct fcgi_server *s = fcgi_server_new(f.base, f.listener, &events, &limits, &f);
    FUZZ_ASSERT(s);
    return s;
}

static void check_bounds(const struct fcgi_server *s)
{
    for (const struct fcgi_request *r = s ? s->connections : NULL; r; r = r->next) {
        FUZZ_ASSERT(r->in.size <= 2 * r->in.max && r->in.max <= 256 * 1024);
        FUZZ_ASSERT(r->params.size <= FCGI_HEAD_MAX + 1);
        FUZZ_ASSERT(r->out.len <= PENDING_ENOUGH + PIECE_MAX);
    }
}

static void turn(void)
{
    FUZZ_ASSERT(event_base_loop(f.base, EVLOOP_NONBLOCK) >= 0);
    for (int fd; f.retired && (fd = handover_receive(&f.handover)) >= 0;)
        fcgi_server_adopt(f.server, fd);
    check_bounds(f.server);
    check_bounds(f.retired);
}

static void pass_time(uint8_t how)
{
    static const int64_t ms[] = {1, 60, 210, 1100, 31000, 121000, 601000};
    f.now_ns += ms[how % (sizeof ms / sizeof *ms)] * 1000000;
    turn();
}

/* What is sent most: a head of one variable, and perhaps all of a body. */
static void send_request(struct peer *p, uint8_t how)
{
    const char begin[] = {0, RESPONDER, (char)(how & 1), 0, 0, 0, 0, 0};
    uint16_t id = how >> 1 & 3;
    char params[] = "\1\1AB";
    params[3] = (char)how;
    peer_send_record(p, FCGI_RECORD_BEGIN, id, slice_make(begin, sizeof begin), 0);
    peer_send_record(p, FCGI_RECORD_PARAMS, id, slice_make(params, 4), 4);
    peer_send_record(p, FCGI_RECORD_PARAMS, id, (struct slice){NULL, 0}, 0);
    if (how & 0x10)
        peer_send_record(p, FCGI_RECORD_STDIN, id, slice_make(f.pattern, (size_t)how * 64), how & 7);
    if (how & 0x20)
        peer_send_record(p, FCGI_RECORD_STDIN, id, (struct slice){NULL, 0}, 0);
}

static void retire(void)
{
    if (f.retired)
        return;
    f.retired = f.server;
    f.server = serve();
    fcgi_server_stop_accepting(f.retired, take() & 1 ? &f.handover : NULL);
}

static void act_from_outside(uint8_t how)
{
    size_t back = how >> 3 & 7; /* one of the last requests */
    struct app *a = back < f.begun ? &f.apps[f.begun - 1 - back] : NULL;
    uint8_t with = take();
    if (a && a->request)
        act(a, how, with);
}

static void set_reactions(void)
{
    f.reactions.begin = take();
    f.reactions.body = take();
    f.reactions.body_end = take();
    f.reactions.drained = take();
    f.reactions.late = take();
}

static void step(void)
{
    uint8_t op = take(), how = take(), type, id;
    struct peer *p = f.slots[op >> 7] ? f.slots[op >> 7] : peer_connect(op >> 7);
    struct slice piece;
    switch (op & 15) {
    case 0:
        piece = slice_take(f.program, how);
        f.program = slice_skip(f.program, how);
        peer_send(p, piece);
        break;
    case 1: /* a record: its type and identifier, and content from the program */
        type = take() % 12;
        id = take();
        piece = slice_take(f.program, how);
        peer_send_record(p, type, id, piece, how & 7);
        f.program = slice_skip(f.program, piece.len);
        break;
    case 2: /* a larger one */
        piece = slice_make(f.pattern, how < UINT8_MAX ? (size_t)how * 16 : FCGI_RECORD_CONTENT_MAX);
        type = take() % 12;
        id = take();
        peer_send_record(p, type, id, piece, 0);
        break;
    case 3:
    case 4:
        send_request(p, how);
        break;
    case 5:
    case 6:
        peer_read(p, length(how) + 1);
        break;
    case 7:
        if (p->fd >= 0)
            shutdown(p->fd, how & 1 ? SHUT_WR : SHUT_RDWR);
        break;
    case 8:
        peer_connect(op >> 7);
        break;
    case 9:
        pass_time(how);
        break;
    case 10:
        set_reactions();
        break;
    case 11:
        retire();
        break;
    case 12:
        turn();
        break;
    default:
        act_from_outside(how);
    }
    if (!(op & 0x40))
        turn();
}

/* ---- begin and end ------------------------------------------------------------------------------------------ */

static void begin_once(void)
{
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    if (f.base)
        return;
    f.now_ns = 1000000000;
    f.base = event_base_new();
    f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_ASSERT(f.base && bind(f.listener, (struct sockaddr *)&any, sizeof any.sun_family) == 0);
    FUZZ_ASSERT(listen(f.listener, 1) == 0 && handover_open(&f.handover));
    for (size_t i = 0; i < PEERS_MAX; i++) {
        buf_init(&f.peers[i].sent, SENT_MAX);
        buf_init(&f.peers[i].got, FCGI_RECORD_MAX_SIZE);
    }
    for (size_t i = 0; i < sizeof f.pattern; i++)
        f.pattern[i] = (char)(i % PATTERN);
}

static bool any_connections(void)
{
    return fcgi_server_connections(f.server) > 0 || (f.retired && fcgi_server_connections(f.retired) > 0);
}

/* The front server leaves, and that is enough. */
static void leave(void)
{
    for (size_t i = 0; i < f.begun; i++)
        if (f.apps[i].request)
            fcgi_request_resume_body(f.apps[i].request);
    f.reactions = (struct reactions){7, 7, 7, 7, 7};
    for (size_t i = 0; i < f.peer_count; i++)
        peer_close(&f.peers[i]);
    for (int i = 0; i < LAST_TURNS && (f.done < f.begun || any_connections()); i++)
        turn();
    FUZZ_ASSERT(f.done == f.begun && !any_connections());
}

static void clean(void)
{
    int fd;
    while ((fd = handover_receive(&f.handover)) >= 0)
        close(fd);
    for (size_t i = 0; i < f.peer_count; i++)
        peer_close(&f.peers[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    begin_once();
    f.program = slice_make(data, size);
    f.peer_count = f.begun = f.done = 0;
    f.slots[0] = f.slots[1] = NULL;
    if (!f.server)
        f.server = serve();
    bool dies = take() % 8 == 7; /* the server, with all that is under way */
    set_reactions();
    for (int i = 0; i < STEPS_MAX && f.program.len > 0; i++)
        step();
    if (!dies)
        leave();
    if (dies || f.retired)
        fcgi_server_free(&f.server);
    fcgi_server_free(&f.retired);
    FUZZ_ASSERT(f.done == f.begun);
    clean();
    return 0;
}
