/* libcurl's sockets and timers on the event loop. */
#include "transfer_internal.h"

#include "sluice/clock.h"

#include <stdlib.h>

static void transfer_drive(struct transfer_multi *multi, curl_socket_t fd, int action)
{
    int running;
    transfer_report_lost(multi->pool);
    transfer_enter(multi->pool);
    CURLMcode code = curl_multi_socket_action(multi->curl, fd, action, &running);
    transfer_leave(multi->pool);
    if (code != CURLM_OK) {
        multi->broken = true;
        transfer_lose_unwatched(multi);
    }
    if (multi->pool->depth == 0) {
        transfer_report_lost(multi->pool);
        transfer_take_messages(multi);
    }
}

static void transfer_on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct transfer_socket *s = arg;
    int action = ((what & EV_READ) ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);
    transfer_drive(s->multi, fd, action);
}

void transfer_on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    transfer_drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

int transfer_want_timer(CURLM *curl, long timeout_ms, void *arg)
{
    struct transfer_multi *multi = arg;
    struct timeval after = transfer_timeval((int64_t)timeout_ms * CLOCK_US_PER_MS);
    (void)curl;
    if (timeout_ms < 0)
        event_del(&multi->timer);
    else if (timeout_ms == 0)
        event_active(&multi->timer, EV_TIMEOUT, 0);
    else
        event_add(&multi->timer, &after);
    return 0;
}

static void transfer_forget_socket(struct transfer_multi *multi, curl_socket_t fd, struct transfer_socket *s)
{
    if (!s)
        return;
    event_del(&s->event);
    free(s);
    curl_multi_assign(multi->curl, fd, NULL);
}

static struct transfer_socket *transfer_new_socket(struct transfer_multi *multi, curl_socket_t fd)
{
    struct transfer_socket *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct transfer_socket){.multi = multi, .fd = fd};
    curl_multi_assign(multi->curl, fd, s);
    return s;
}

static bool transfer_watch_socket(struct transfer_socket *s, int what)
{
    if (s->what)
        event_del(&s->event);
    s->what = (short)(((what & CURL_POLL_IN) ? EV_READ : 0) | ((what & CURL_POLL_OUT) ? EV_WRITE : 0));
    event_assign(&s->event, s->multi->pool->base, s->fd, (short)(s->what | EV_PERSIST), transfer_on_socket, s);
    return event_add(&s->event, NULL) == 0;
}

/* libcurl takes -1 for the end of all its transfers, for ever: what cannot be watched is ended here instead. */
int transfer_want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct transfer_multi *multi = arg;
    struct transfer_socket *s = socket_arg;
    struct transfer *t = NULL;
    bool watched = false;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
    if (what == CURL_POLL_REMOVE) {
        transfer_forget_socket(multi, fd, s);
    } else {
        s = s ? s : transfer_new_socket(multi, fd);
        watched = s && transfer_watch_socket(s, what);
    }
    if (t)
        t->watched = watched;
    if (!watched && what != CURL_POLL_REMOVE)
        transfer_lose_unwatched(multi);
    return 0;
}
