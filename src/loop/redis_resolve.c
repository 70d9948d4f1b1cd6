/*
 * Host names, resolved by a thread of their own: getaddrinfo(3) waits as long as it likes.
 *
 * The thread and the loop share one object; whoever lets go of it last frees it. Each has its own end of a pipe, and closes
 * it: the loop may still look at its own when the thread has long ended, and the thread tell of its end when nobody listens.
 */
#include "redis_wire.h"

#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct redis_resolver {
    _Atomic int holders;
    atomic_bool ready; /* what was found is not the thread's any longer */
    int loop_fd, thread_fd; /* the loop's end is readable when the thread's is closed */
    char host[REDIS_URL_HOST_MAX];
    struct redis_addresses found;
};

static void redis_resolver_drop(struct redis_resolver *r)
{
    if (atomic_fetch_sub(&r->holders, 1) == 1)
        free(r);
}

static void redis_resolver_fill(struct redis_addresses *out, const struct addrinfo *list)
{
    for (; list && out->count < REDIS_ADDRESSES_MAX; list = list->ai_next)
        if (getnameinfo(list->ai_addr, list->ai_addrlen, out->text[out->count], REDIS_ADDRESS_SIZE, NULL, 0,
                        NI_NUMERICHOST) == 0)
            out->count++;
}

static void *redis_resolver_run(void *arg)
{
    struct redis_resolver *r = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    if (getaddrinfo(r->host, NULL, &hints, &list) == 0) {
        redis_resolver_fill(&r->found, list);
        freeaddrinfo(list);
    }
    r->ready = true;
    close(r->thread_fd);
    redis_resolver_drop(r);
    return NULL;
}

/* Signals are for the loop's thread. */
static bool redis_resolver_start_thread(struct redis_resolver *r)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(&thread, NULL, redis_resolver_run, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok)
        pthread_detach(thread);
    return ok;
}

static bool redis_resolver_open_pipe(struct redis_resolver *r)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    r->loop_fd = ends[0];
    r->thread_fd = ends[1];
    return true;
}

struct redis_resolver *redis_resolver_start(const char *host)
{
    struct redis_resolver *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->holders = 2;
    snprintf(r->host, sizeof r->host, "%s", host);
    if (!redis_resolver_open_pipe(r)) {
        free(r);
        return NULL;
    }
    if (redis_resolver_start_thread(r))
        return r;
    close(r->loop_fd);
    close(r->thread_fd);
    free(r);
    return NULL;
}

int redis_resolver_fd(const struct redis_resolver *r)
{
    return r->loop_fd;
}

void redis_resolver_take(const struct redis_resolver *r, struct redis_addresses *out)
{
    *out = r->ready ? r->found : (struct redis_addresses){0};
}

void redis_resolver_free(struct redis_resolver **r)
{
    if (*r) {
        close((*r)->loop_fd);
        redis_resolver_drop(*r);
    }
    *r = NULL;
}
