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
#include "sluice/rewatch.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    WORKER_SPARE_DESCRIPTORS = 128, /* not for requests: log, loop, pipe, idle upstream connections */
    WORKER_DESCRIPTORS_A_REQUEST = 2,
    WORKER_REQUESTS_MAX = 60000,
    WORKER_LAST_BYTES_SECONDS = 3,
    WORKER_MESSAGE_MAX = 4096
};

struct worker {
    struct event_base *base;
    struct proxy *proxy;
    const struct daemon *daemon;
    struct metrics *metrics; /* NULL: nothing is counted */
    struct event *term, *interrupt, *retire, *reopen, *deadline, *adopt;
    bool draining, ending;
};

/* Each stream needs a descriptor on both sides: as many as the system lets us have. */
static size_t worker_max_at_once(void)
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

static void worker_free_event(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
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

static void worker_drain(struct worker *w, enum proxy_drain_mode mode)
{
    if (!w->draining)
        log_message(LOG_LEVEL_INFO, mode == PROXY_RETIRE ? "retiring" : "draining", "%zu requests under way",
                    proxy_active(w->proxy));
    w->draining = true;
    worker_free_event(&w->adopt);
    proxy_drain(w->proxy, mode, &w->daemon->handover, worker_on_idle, w);
}

/* A first signal drains, a second one ends what is left. A retiring worker has a bound from the first one on. */
static void worker_on_stop(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    (void)fd;
    (void)what;
    if (w->ending)
        return;
    if (event_pending(w->deadline, EV_TIMEOUT, NULL)) {
        worker_end_all(w);
        return;
    }
    worker_set_deadline(w, w->daemon->settings->config.drain_us);
    if (!w->draining)
        worker_drain(w, w->daemon->own_socket ? PROXY_REFUSE : PROXY_LEAVE);
}

static void worker_on_retire(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    (void)fd;
    (void)what;
    if (!w->draining)
        worker_drain(w, PROXY_RETIRE);
}

/* Enough requests served: the supervisor starts another and lets this one retire. Without a supervisor, whoever
 * started this process starts the next. */
static void worker_on_limit(void *arg)
{
    struct worker *w = arg;
    if (w->daemon->settings->config.workers == 0)
        worker_drain(w, PROXY_LEAVE);
    else
        kill(getppid(), supervisor_replace_signal());
}

static void worker_on_adopt(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    int conn = handover_receive(&w->daemon->handover);
    (void)fd;
    (void)what;
    if (conn >= 0)
        proxy_adopt(w->proxy, conn);
}

static void worker_on_reopen(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    log_reopen();
}

/* libfcgi installs a handler of its own for TERM and USR1, which does nothing, when it is initialised: a signal that came
 * between that and our own handlers would be lost. */
static void worker_hold_signals(sigset_t *before)
{
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGTERM);
    sigaddset(&own, SIGINT);
    sigaddset(&own, SIGQUIT);
    sigaddset(&own, SIGUSR1);
    sigprocmask(SIG_BLOCK, &own, before);
}

static bool worker_add_signal(struct worker *w, struct event **event, int number, event_callback_fn fn)
{
    *event = evsignal_new(w->base, number, fn, w);
    return *event && event_add(*event, NULL) == 0;
}

static bool worker_add_events(struct worker *w)
{
    int channel = w->daemon->handover.receive_fd;
    w->deadline = event_new(w->base, -1, 0, worker_on_deadline, w);
    if (channel >= 0) {
        w->adopt = event_new(w->base, channel, EV_READ | EV_PERSIST, worker_on_adopt, w);
        if (!w->adopt || event_add(w->adopt, NULL) != 0)
            return false;
    }
    proxy_set_limit(w->proxy, w->daemon->settings->config.worker_max_requests, worker_on_limit, w);
    return w->deadline && worker_add_signal(w, &w->term, SIGTERM, worker_on_stop) &&
           worker_add_signal(w, &w->interrupt, SIGINT, worker_on_stop) &&
           worker_add_signal(w, &w->retire, SIGQUIT, worker_on_retire) &&
           worker_add_signal(w, &w->reopen, SIGUSR1, worker_on_reopen);
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

static void worker_free(struct worker *w)
{
    struct event **events[] = {&w->term, &w->interrupt, &w->retire, &w->reopen, &w->deadline, &w->adopt};
    proxy_free(&w->proxy);
    metrics_close(&w->metrics);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        worker_free_event(events[i]);
    rewatch_stop();
    if (w->base)
        event_base_free(w->base);
    libevent_global_shutdown();
}

/* Without its file a worker serves all the same: only the numbers are missing. */
static bool worker_open_metrics(struct worker *w)
{
    const struct config *c = &w->daemon->settings->config;
    struct metrics_options options = {SLUICE_VERSION, (size_t)c->metrics_max_models, (size_t)c->metrics_max_keys,
                                      c->metrics_genai};
    struct buf message;
    buf_init(&message, WORKER_MESSAGE_MAX);
    w->metrics = metrics_open(c->state_dir, &options, &message);
    if (message.len > 0)
        log_message(LOG_LEVEL_WARNING, "metrics", "%s", buf_text(&message));
    buf_free(&message);
    return proxy_use_metrics(w->proxy, w->metrics);
}

int worker_run(const struct daemon *d, const sigset_t *blocked)
{
    struct worker w = {.daemon = d};
    sigset_t before;
    worker_hold_signals(&before);
    signal(SIGPIPE, SIG_IGN);
    w.base = worker_new_base();
    if (w.base && rewatch_start(w.base))
        w.proxy = proxy_new(w.base, d->listen_fd, &d->settings->config, d->settings->keys, d->settings->health,
                            worker_max_at_once());
    bool ok = w.proxy && worker_open_metrics(&w) && worker_add_events(&w);
    sigprocmask(SIG_SETMASK, blocked ? blocked : &before, NULL);
    ok = ok && event_base_dispatch(w.base) >= 0;
    if (!ok)
        log_message(LOG_LEVEL_ERROR, "worker_failed", "the worker could not start: no memory or descriptors");
    worker_free(&w);
    return ok ? DAEMON_EXIT_OK : DAEMON_EXIT_FAILED;
}
