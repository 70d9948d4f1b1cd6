/*
 * Host names, resolved by a thread of their own: getaddrinfo(3) waits as long as it likes.
 *
 * The thread and the loop share one object; whoever lets go of it last frees it.
 */
#include "redis_wire.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct redis_resolver {
    _Atomic int holders;
    atomic_bool ready; /* what was found is not the thread's any longer */
    int fd;
    char host[REDIS_URL_HOST_MAX];
    struct redis_addresses found;
};

static void redis_resolver_drop(struct redis_resolver *r)
{
    if (atomic_fetch_sub(&r->holders, 1) != 1)
        return;
    close(r->fd);
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
    uint64_t one = 1;
    if (write(r->fd, &one, sizeof one) < 0)
        r->ready = false; /* cannot be: its counter is 0 before */
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

struct redis_resolver *redis_resolver_start(const char *host)
{
    struct redis_resolver *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->holders = 2;
    snprintf(r->host, sizeof r->host, "%s", host);
    r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->fd >= 0 && redis_resolver_start_thread(r))
        return r;
    if (r->fd >= 0)
        close(r->fd);
    free(r);
    return NULL;
}

int redis_resolver_fd(const struct redis_resolver *r)
{
    return r->fd;
}

void redis_resolver_take(const struct redis_resolver *r, struct redis_addresses *out)
{
    *out = r->ready ? r->found : (struct redis_addresses){0};
}

void redis_resolver_free(struct redis_resolver **r)
{
    if (*r)
        redis_resolver_drop(*r);
    *r = NULL;
}
