/*
 * Whatever a server sends: a link connects to a socket of the fuzzer's own, is greeted, asks, and gets the
 * input as its replies. Each command is called back at most once, nothing of a reply lies outside of it, and it has
 * no more items than are allowed.
 */
#include "fuzz.h"

#include "sluice/redis.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { COMMANDS = 3, TURNS = 64 };

static struct {
    struct event_base *base;
    int listener;
    struct redis_url url;
    const uint8_t *data;
    size_t size;
} f;

static void clean(void)
{
    unlink(f.url.path);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    static const char greeting[] = "+PONG\r\n";
    size_t half = f.size / 2;
    int peer = accept(fd, NULL, NULL);
    (void)what;
    (void)arg;
    if (peer < 0)
        return;
    bool ok = send(peer, greeting, sizeof greeting - 1, MSG_NOSIGNAL) > 0 &&
              send(peer, f.data, half, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 &&
              send(peer, f.data + half, f.size - half, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
    (void)ok;
    close(peer);
}

static void begin(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (f.base)
        return;
    f.base = event_base_new();
    snprintf(f.url.path, sizeof f.url.path, "/tmp/sluice-fuzz-redis.%ld", (long)getpid());
    memcpy(address.sun_path, f.url.path, strlen(f.url.path) + 1);
    f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    FUZZ_ASSERT(bind(f.listener, (struct sockaddr *)&address, sizeof address) == 0 &&
                listen(f.listener, 8) == 0);
    event_add(event_new(f.base, f.listener, EV_READ | EV_PERSIST, on_connection, NULL), NULL);
    atexit(clean);
}

static void walk(const struct redis_reply *reply, unsigned depth)
{
    struct slice text = redis_reply_text(reply);
    volatile char last = text.len ? text.ptr[text.len - 1] : 0;
    (void)last;
    FUZZ_ASSERT(depth < 16 && redis_reply_count(reply) <= REDIS_REPLY_ITEMS_MAX);
    for (size_t i = 0; i < redis_reply_count(reply) && i < 1000; i++)
        walk(redis_reply_item(reply, i), depth + 1);
    FUZZ_ASSERT(!redis_reply_item(reply, redis_reply_count(reply)));
}

static void on_reply(void *user, enum redis_status status, const struct redis_reply *reply)
{
    FUZZ_ASSERT(++*(int *)user == 1);
    FUZZ_ASSERT((status == REDIS_STATUS_OK || status == REDIS_STATUS_ERROR) == (reply != NULL));
    walk(reply, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const argv[] = {"GET", "k"};
    int calls[COMMANDS] = {0};
    begin();
    f.data = data;
    f.size = size < 65536 ? size : 65536;
    struct redis *link = redis_new(f.base, &f.url, 1000000);
    FUZZ_ASSERT(link);
    for (int i = 0; i < COMMANDS; i++)
        redis_command_argv(link, 2, argv, NULL, on_reply, &calls[i]);
    for (int i = 0; i < TURNS && !calls[COMMANDS - 1]; i++)
        event_base_loop(f.base, EVLOOP_NONBLOCK);
    redis_free(&link);
    return 0;
}
