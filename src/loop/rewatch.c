/* What the kernel would not watch is asked for again: see the header. Nothing here needs memory when memory is short. */
#include "sluice/rewatch.h"

#include "sluice/clock.h"
#include "sluice/log.h"

#include <stdio.h>
#include <string.h>

enum {
    REWATCH_MS = 5,
    REWATCH_DESCRIPTORS_MAX = 1024, /* in that time; what is beyond ends by its time limits */
    REWATCH_EVENTS_MAX = 4        /* on one descriptor; reading and writing are two */
};

static struct {
    struct event_base *base;
    struct event *timer;
    int fds[REWATCH_DESCRIPTORS_MAX];
    size_t count;
} rewatch;

/* ---- noting ------------------------------------------------------------------------------------------------- */

static void rewatch_plan(void)
{
    struct timeval after = {0, REWATCH_MS * CLOCK_US_PER_MS};
    if (event_add(rewatch.timer, &after) != 0)
        event_active(rewatch.timer, EV_TIMEOUT, 0);
}

/* "Epoll ADD(1) on fd 7 failed. ...", as libevent 2.1 says it. */
static void rewatch_take(const char *message)
{
    const char *number = strstr(message, " on fd ");
    int fd;
    if (strncmp(message, "Epoll ", 6) != 0 || !number || sscanf(number, " on fd %d", &fd) != 1)
        return;
    for (size_t i = 0; i < rewatch.count; i++)
        if (rewatch.fds[i] == fd)
            return;
    if (rewatch.count == REWATCH_DESCRIPTORS_MAX)
        return;
    rewatch.fds[rewatch.count++] = fd;
    rewatch_plan();
}

static void rewatch_on_message(int severity, const char *message)
{
    if (severity < EVENT_LOG_WARN)
        return;
    log_message(LOG_LEVEL_WARNING, "libevent", "%s", message);
    if (rewatch.timer)
        rewatch_take(message);
}

/* ---- asking again ------------------------------------------------------------------------------------------- */

struct rewatch_found {
    int fd;
    struct event *events[REWATCH_EVENTS_MAX];
    size_t count;
};

static int rewatch_look(const struct event_base *base, const struct event *event, void *arg)
{
    struct rewatch_found *found = arg;
    (void)base;
    if (event_get_fd(event) == found->fd && event_pending(event, EV_READ | EV_WRITE, NULL) &&
        found->count < REWATCH_EVENTS_MAX)
        found->events[found->count++] = (struct event *)(uintptr_t)event;
    return 0;
}

/* It keeps its timeout. Adding does not fail: its places in libevent's tables are there. */
static void rewatch_event(struct event *event)
{
    struct timeval at, now, left = {0, 0};
    bool timed = event_pending(event, EV_TIMEOUT, &at);
    event_del(event);
    evutil_gettimeofday(&now, NULL);
    if (timed)
        evutil_timersub(&at, &now, &left);
    if (left.tv_sec < 0)
        left = (struct timeval){0, 0};
    event_add(event, timed ? &left : NULL);
}

static void rewatch_descriptor(int fd)
{
    struct rewatch_found found = {.fd = fd};
    event_base_foreach_event(rewatch.base, rewatch_look, &found);
    for (size_t i = 0; i < found.count; i++)
        rewatch_event(found.events[i]);
}

static void rewatch_on_timer(evutil_socket_t fd, short what, void *arg)
{
    size_t count = rewatch.count;
    (void)fd;
    (void)what;
    (void)arg;
    rewatch.count = 0;
    for (size_t i = 0; i < count; i++)
        rewatch_descriptor(rewatch.fds[i]);
}

bool rewatch_start(struct event_base *base)
{
    rewatch.timer = event_new(base, -1, 0, rewatch_on_timer, NULL);
    rewatch.base = base;
    rewatch.count = 0;
    event_set_log_callback(rewatch_on_message);
    return rewatch.timer != NULL;
}

void rewatch_stop(void)
{
    if (rewatch.timer)
        event_free(rewatch.timer);
    rewatch.timer = NULL;
    rewatch.base = NULL;
}
