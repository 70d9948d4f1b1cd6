/*
 * A worker: one loop, one proxy, until told to end.
 *
 * The end has two bounds: DRAIN_SECONDS for requests to finish by themselves, and then a few seconds for what is
 * left to take its last bytes.
 */
#include "sluice/daemon.h"

#include "sluice/clock.h"
#include "sluice/log.h"
#include "sluice/proxy.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

enum {
    WORKER_SPARE_DESCRIPTORS = 128, /* not for requests: log, loop, pipe, idle upstream connections */
    WORKER_DESCRIPTORS_A_REQUEST = 2,
    WORKER_REQUESTS_MAX = 60000,
    WORKER_LAST_BYTES_SECONDS = 3
};

struct worker {
    struct event_base *base;
    struct proxy *proxy;
    const struct daemon *daemon;
    struct event *term, *interrupt, *reopen, *deadline;
    bool draining, ending;
};

/* Each stream needs a descriptor on both sides: as many as the system lets us have. */
static size_t worker_max_requests(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur <= WORKER_SPARE_DESCRIPTORS + WORKER_DESCRIPTORS_A_REQUEST)
        return 1;
    size_t requests = (limit.rlim_cur - WORKER_SPARE_DESCRIPTORS) / WORKER_DESCRIPTORS_A_REQUEST;
    return requests < WORKER_REQUESTS_MAX ? requests : WORKER_REQUESTS_MAX;
}

static void worker_on_idle(void *ctx)
{
    struct worker *w = ctx;
    event_base_loopbreak(w->base);
}

static void worker_set_deadline(struct worker *w, int64_t us)
{
    struct timeval after = {us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND};
    event_add(w->deadline, &after);
}

static void worker_end_all(struct worker *w)
{
    w->ending = true;
    proxy_end_all(w->proxy);
    worker_set_deadline(w, WORKER_LAST_BYTES_SECONDS * (int64_t)CLOCK_US_PER_SECOND);
}

static void worker_on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    (void)fd;
    (void)what;
    if (w->ending)
        event_base_loopbreak(w->base);
    else
        worker_end_all(w);
}

static void worker_on_stop(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    (void)fd;
    (void)what;
    if (w->ending)
        return;
    if (w->draining) {
        worker_end_all(w);
        return;
    }
    w->draining = true;
    log_message(LOG_LEVEL_INFO, "draining", "%zu requests under way", proxy_active(w->proxy));
    worker_set_deadline(w, w->daemon->config->drain_us);
    proxy_drain(w->proxy, worker_on_idle, w);
}

static void worker_on_reopen(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    log_reopen();
}

static bool worker_add_events(struct worker *w)
{
    w->term = evsignal_new(w->base, SIGTERM, worker_on_stop, w);
    w->interrupt = evsignal_new(w->base, SIGINT, worker_on_stop, w);
    w->reopen = evsignal_new(w->base, SIGUSR1, worker_on_reopen, w);
    w->deadline = event_new(w->base, -1, 0, worker_on_deadline, w);
    return w->term && w->interrupt && w->reopen && w->deadline && event_add(w->term, NULL) == 0 &&
           event_add(w->interrupt, NULL) == 0 && event_add(w->reopen, NULL) == 0;
}

/* The change list saves most epoll_ctl calls; it is safe as no descriptor is duplicated. */
static struct event_base *worker_new_base(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static void worker_free_event(struct event *e)
{
    if (e)
        event_free(e);
}

static void worker_free(struct worker *w)
{
    proxy_free(&w->proxy);
    worker_free_event(w->term);
    worker_free_event(w->interrupt);
    worker_free_event(w->reopen);
    worker_free_event(w->deadline);
    if (w->base)
        event_base_free(w->base);
    libevent_global_shutdown();
}

int worker_run(const struct daemon *d)
{
    struct worker w = {.daemon = d};
    signal(SIGPIPE, SIG_IGN);
    w.base = worker_new_base();
    if (w.base)
        w.proxy = proxy_new(w.base, d->listen_fd, d->config, d->keys, worker_max_requests());
    bool ok = w.proxy && worker_add_events(&w) && event_base_dispatch(w.base) >= 0;
    if (!ok)
        log_message(LOG_LEVEL_ERROR, "worker_failed", "the worker could not start: no memory or descriptors");
    worker_free(&w);
    return ok ? DAEMON_EXIT_OK : DAEMON_EXIT_FAILED;
}
