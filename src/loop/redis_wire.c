/* A socket to Redis: bytes out, replies in. */
#include "redis_wire.h"

#include "sluice/buf.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REDIS_READ_SIZE = 64 * 1024, REDIS_OUT_MAX = 64 * 1024 * 1024 };

struct redis_wire {
    int fd;
    bool connected;
    bool busy;   /* within a callback */
    bool closed; /* to be freed when the callback returns */
    struct event *readable, *writable;
    redisReader *reader;
    const redisReplyObjectFunctions *standard; /* what hiredis makes a reply of */
    redisReplyObjectFunctions bounded;         /* the same, but for arrays */
    size_t held;                               /* bytes that came of a reply that is not complete */
    struct buf out;
    const struct redis_wire_events *events;
    void *user;
};

static void redis_wire_free(struct redis_wire *w)
{
    if (w->readable)
        event_free(w->readable);
    if (w->writable)
        event_free(w->writable);
    if (w->reader)
        redisReaderFree(w->reader);
    if (w->fd >= 0)
        close(w->fd);
    buf_free(&w->out);
    free(w);
}

void redis_wire_close(struct redis_wire **wire)
{
    struct redis_wire *w = *wire;
    *wire = NULL;
    if (w && w->busy)
        w->closed = true;
    else if (w)
        redis_wire_free(w);
}

/* ---- replies
 * ------------------------------------------------------------------------------------------------- */

#if HIREDIS_MAJOR >= 1
typedef size_t redis_wire_count;
#else
typedef int redis_wire_count;
#endif

/* hiredis makes room for all items that a server promises before it has one of them, and passes over all of that room
 * when it frees the reply. */
static void *redis_wire_create_array(const redisReadTask *task, redis_wire_count count)
{
    const struct redis_wire *w = task->privdata;
    return (size_t)count <= REDIS_REPLY_ITEMS_MAX ? w->standard->createArray(task, count) : NULL;
}

static bool redis_wire_open_reader(struct redis_wire *w)
{
    w->reader = redisReaderCreate();
    if (!w->reader)
        return false;
    w->standard = w->reader->fn;
    w->bounded = *w->standard;
    w->bounded.createArray = redis_wire_create_array;
    w->reader->fn = &w->bounded;
    w->reader->privdata = w;
    return true;
}

/* ---- connecting
 * ---------------------------------------------------------------------------------------------- */

union redis_socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static socklen_t redis_wire_tcp_address(const char *text, uint16_t port, union redis_socket_address *out)
{
    *out = (union redis_socket_address){.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1)
        return sizeof out->v4;
    *out = (union redis_socket_address){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    return inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1 ? sizeof out->v6 : 0;
}

static socklen_t redis_wire_unix_address(const char *path, union redis_socket_address *out)
{
    *out = (union redis_socket_address){.local.sun_family = AF_UNIX};
    static_assert(REDIS_URL_PATH_MAX <= sizeof out->local.sun_path, "a path and its NUL fit");
    memcpy(out->local.sun_path, path, strlen(path) + 1);
    return sizeof out->local;
}

/* -1 with errno. */
static int redis_wire_connect(const struct redis_url *url, const char *text)
{
    union redis_socket_address address;
    int one = 1;
    socklen_t len = text ? redis_wire_tcp_address(text, url->port, &address)
                         : redis_wire_unix_address(url->path, &address);
    errno = EINVAL;
    int fd = len ? socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return -1;
    if (text)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, &address.any, len) == 0 || errno == EINPROGRESS)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* ---- events
 * -------------------------------------------------------------------------------------------------- */

/* Back from a callback: true where the wire is gone. */
static bool redis_wire_is_gone(struct redis_wire *w)
{
    bool gone = w->closed;
    w->busy = false;
    if (gone)
        redis_wire_free(w);
    return gone;
}

static void redis_wire_lose(struct redis_wire *w, const char *why)
{
    event_del(w->readable);
    event_del(w->writable);
    w->busy = true;
    w->events->lost(w->user, why);
    redis_wire_is_gone(w);
}

static void redis_wire_write(struct redis_wire *w)
{
    while (w->out.len > 0) {
        ssize_t n = send(w->fd, buf_data(&w->out), w->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* what is wrong is found out by reading */
        buf_consume(&w->out, (size_t)n);
    }
    if (w->out.len > 0)
        event_add(w->writable, NULL);
    else
        event_del(w->writable);
}

static void redis_wire_on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct redis_wire *w = arg;
    int wrong = 0;
    socklen_t len = sizeof wrong;
    (void)what;
    if (w->connected) {
        redis_wire_write(w);
        return;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &wrong, &len) != 0 || wrong != 0) {
        redis_wire_lose(w, strerror(wrong ? wrong : errno));
        return;
    }
    w->connected = true;
    event_del(w->writable);
    event_add(w->readable, NULL);
    w->busy = true;
    w->events->connected(w->user);
    if (!redis_wire_is_gone(w))
        redis_wire_write(w);
}

/* Hands out what is complete. False where the wire is gone. */
static bool redis_wire_take_replies(struct redis_wire *w)
{
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(w->reader, &reply) != REDIS_OK) {
            redis_wire_lose(w, w->reader->err == REDIS_ERR_OOM
                                   ? "a reply has too many items, or there is no memory for it"
                                   : "what came is not Redis' protocol");
            return false;
        }
        if (!reply)
            return true;
        w->held = w->reader->len - w->reader->pos;
        w->busy = true;
        w->events->reply(w->user, reply);
        freeReplyObject(reply);
        if (redis_wire_is_gone(w))
            return false;
    }
}

static void redis_wire_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct redis_wire *w = arg;
    static char bytes[REDIS_READ_SIZE];
    (void)what;
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    w->held += n > 0 ? (size_t)n : 0;
    if (n <= 0)
        redis_wire_lose(w, n == 0 ? "the server closed the connection" : strerror(errno));
    else if (redisReaderFeed(w->reader, bytes, (size_t)n) != REDIS_OK)
        redis_wire_lose(w, "there is not enough memory for a reply");
    else if (redis_wire_take_replies(w) && w->held > REDIS_REPLY_MAX)
        redis_wire_lose(w, "a reply is too long");
}

bool redis_wire_send(struct redis_wire *w, const char *bytes, size_t len)
{
    bool idle = w->out.len == 0;
    if (!buf_append(&w->out, bytes, len))
        return false;
    if (w->connected && idle)
        redis_wire_write(w);
    return true;
}

struct redis_wire *redis_wire_open(struct event_base *base, const struct redis_url *url, const char *address,
                                   const struct redis_wire_events *events, void *user)
{
    struct redis_wire *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->events = events;
    w->user = user;
    buf_init(&w->out, REDIS_OUT_MAX);
    w->fd = redis_wire_connect(url, address);
    if (w->fd >= 0) {
        w->readable = event_new(base, w->fd, EV_READ | EV_PERSIST, redis_wire_on_readable, w);
        w->writable = event_new(base, w->fd, EV_WRITE | EV_PERSIST, redis_wire_on_writable, w);
    }
    if (w->fd >= 0 && w->readable && w->writable && redis_wire_open_reader(w) &&
        event_add(w->writable, NULL) == 0)
        return w;
    int saved = errno;
    redis_wire_free(w);
    errno = saved;
    return NULL;
}
