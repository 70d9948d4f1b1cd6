/*
 * Transfers by libcurl's multi interface, driven by its sockets and its timer.
 *
 * libcurl forbids to remove a handle within its callbacks: what is cancelled there is only marked, and removed in
 * transfer_reap() behind the call into libcurl.
 */
#include "transfer_internal.h"

#include "sluice/clock.h"

#include <stdlib.h>

static const char *const transfer_result_names[] = {
    [TRANSFER_OK] = "ok",
    [TRANSFER_UNREACHABLE] = "unreachable",
    [TRANSFER_TLS_FAILED] = "tls_failed",
    [TRANSFER_CUT] = "cut",
    [TRANSFER_GARBAGE] = "garbage",
    [TRANSFER_CONNECT_TIMEOUT] = "connect_timeout",
    [TRANSFER_FIRST_BYTE_TIMEOUT] = "first_byte_timeout",
    [TRANSFER_IDLE_TIMEOUT] = "idle_timeout",
    [TRANSFER_TOTAL_TIMEOUT] = "total_timeout",
    [TRANSFER_INTERNAL] = "internal",
};

const char *transfer_result_name(enum transfer_result result)
{
    return transfer_result_names[result];
}

struct timeval transfer_timeval(int64_t us)
{
    us = us < 0 ? 0 : us;
    return (struct timeval){us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND};
}

void transfer_enter(struct transfer_pool *pool)
{
    if (pool->depth++ == 0)
        pool->now_us = clock_monotonic_us();
}

void transfer_leave(struct transfer_pool *pool)
{
    pool->depth--;
}

/* ---- the end of a transfer ---------------------------------------------------------------------------------- */

bool transfer_is_http2(const struct transfer *t)
{
    return t->multi->http2;
}

static long transfer_port(const struct transfer *t)
{
    long port = 0;
    curl_easy_getinfo(t->easy.curl, CURLINFO_LOCAL_PORT, &port);
    return port;
}

/* Makes libcurl send what it holds for a connection, by one of the transfers that are on it. */
static void transfer_flush(struct transfer *ended, long port)
{
    for (struct transfer *t = ended->pool->active; t; t = t->next) {
        if (t == ended || t->multi != ended->multi || t->finished || t->dead || t->lost ||
            transfer_port(t) != port)
            continue;
        transfer_enter(t->pool);
        curl_easy_pause(t->easy.curl, CURLPAUSE_SEND);
        curl_easy_pause(t->easy.curl, CURLPAUSE_CONT);
        transfer_leave(t->pool);
        return;
    }
}

/* An HTTP/2 transfer that ends early: libcurl 7.88 leaves its RST_STREAM in a buffer, and the upstream at work, until
 * another transfer uses the connection. One that nobody shares is closed instead. */
static void transfer_remove_early(struct transfer *t)
{
    long port = transfer_port(t);
    curl_easy_setopt(t->easy.curl, CURLOPT_FORBID_REUSE, 1L);
    curl_multi_remove_handle(t->multi->curl, t->easy.curl);
    curl_easy_setopt(t->easy.curl, CURLOPT_FORBID_REUSE, 0L);
    if (port != 0)
        transfer_flush(t, port);
}

/* Only outside of libcurl. */
static void transfer_free(struct transfer *t)
{
    struct transfer_pool *pool = t->pool;
    event_del(&t->timer);
    if (transfer_is_http2(t) && !t->finished)
        transfer_remove_early(t);
    else
        curl_multi_remove_handle(t->multi->curl, t->easy.curl);
    transfer_leave_multi(t->multi);
    curl_easy_setopt(t->easy.curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(t->headers);
    transfer_easy_put_back(pool, &t->easy);
    if (t->prev)
        t->prev->next = t->next;
    else
        pool->active = t->next;
    if (t->next)
        t->next->prev = t->prev;
    pool->count--;
    pool->dead -= t->dead;
    free(t);
}

static enum transfer_result transfer_translate(const struct transfer *t, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return TRANSFER_OK;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return TRANSFER_TLS_FAILED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return TRANSFER_UNREACHABLE;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_SEND_ERROR:
        return t->got_byte ? TRANSFER_CUT : TRANSFER_UNREACHABLE;
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return t->got_byte || code == CURLE_PARTIAL_FILE ? TRANSFER_CUT : TRANSFER_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
        return t->has_verdict ? t->verdict : TRANSFER_CONNECT_TIMEOUT;
    case CURLE_OUT_OF_MEMORY: /* libcurl 7.88 says so of a header line beyond its bound, too */
        return t->got_byte && !t->head_done ? TRANSFER_GARBAGE : TRANSFER_INTERNAL;
    case CURLE_FAILED_INIT:
    case CURLE_URL_MALFORMAT:
        return TRANSFER_INTERNAL;
    default:
        return TRANSFER_GARBAGE;
    }
}

/* Tells the owner once, then frees. Only outside of libcurl. */
static void transfer_report(struct transfer *t, enum transfer_result result)
{
    const struct transfer_events *events = t->events;
    char detail[CURL_ERROR_SIZE];
    void *user = t->user;
    bool tell = !t->dead;
    memcpy(detail, t->error, sizeof detail);
    transfer_free(t);
    if (tell)
        events->done(user, result, detail);
}

/* An HTTP/2 connection may have been left unfit by a want of memory in the middle of it. libcurl 7.88 keeps it and takes it
 * for every request, and each of them fails. */
static bool transfer_connection_is_unfit(const struct transfer *t, CURLcode code)
{
    long made = 0;
    bool failed = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_HTTP2 || code == CURLE_OUT_OF_MEMORY;
    curl_easy_getinfo(t->easy.curl, CURLINFO_NUM_CONNECTS, &made);
    return failed && made == 0 && transfer_is_http2(t);
}

void transfer_take_messages(struct transfer_multi *multi)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(multi->curl, &left))) {
        struct transfer *t;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        CURLcode code = message->data.result;
        t->finished = true;
        if (transfer_connection_is_unfit(t, code))
            multi->broken = true;
        if (code == CURLE_OK && t->left > 0)
            code = CURLE_PARTIAL_FILE;
        transfer_report(t, t->has_verdict && code != CURLE_OK ? t->verdict : transfer_translate(t, code));
    }
}

static void transfer_reap_dead(struct transfer_pool *pool)
{
    struct transfer *next;
    for (struct transfer *t = pool->active; t && pool->dead > 0; t = next) {
        next = t->next;
        if (t->dead)
            transfer_free(t);
    }
}

/* The owner who hears of one may change the list: it is looked through from its beginning again. */
void transfer_report_lost(struct transfer_pool *pool)
{
    struct transfer *t = pool->has_lost ? pool->active : NULL;
    pool->has_lost = false;
    while (t) {
        if (!t->lost) {
            t = t->next;
            continue;
        }
        transfer_report(t, TRANSFER_INTERNAL);
        t = pool->active;
    }
}

void transfer_lose(struct transfer *t)
{
    t->lost = t->pool->has_lost = true;
    event_active(&t->pool->reaper, EV_TIMEOUT, 0);
}

static void transfer_on_reaper(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    transfer_reap_dead(arg);
    transfer_report_lost(arg);
    transfer_reap_multis(arg);
}

void transfer_cancel(struct transfer **handle)
{
    struct transfer *t = *handle;
    *handle = NULL;
    if (!t)
        return;
    if (t->pool->depth == 0) {
        transfer_free(t);
        return;
    }
    t->dead = true;
    t->pool->dead++;
    event_active(&t->pool->reaper, EV_TIMEOUT, 0);
}

/* ---- time limits -------------------------------------------------------------------------------------------- */

/* The next moment at which a limit may be passed. A transfer that waits for us is not idle by the upstream's fault. */
static int64_t transfer_deadline(const struct transfer *t, enum transfer_result *which)
{
    int64_t total = t->started_us + t->limits.total_us;
    int64_t first = (t->sent_us ? t->sent_us : t->started_us) + t->limits.first_byte_us;
    int64_t idle = t->heard_us + t->limits.idle_us;
    int64_t next = t->head_done ? idle : first;
    *which = t->head_done ? TRANSFER_IDLE_TIMEOUT : TRANSFER_FIRST_BYTE_TIMEOUT;
    if (t->paused || t->send_paused || total <= next) {
        *which = TRANSFER_TOTAL_TIMEOUT;
        return total;
    }
    return next;
}

void transfer_arm_timer(struct transfer *t)
{
    enum transfer_result which;
    int64_t wait = transfer_deadline(t, &which) - clock_monotonic_us();
    int64_t longest = (t->paused || t->send_paused) && wait > t->limits.idle_us ? t->limits.idle_us : wait;
    struct timeval after = transfer_timeval(longest);
    event_add(&t->timer, &after);
}

/* The timer is not moved with every byte: it looks, when it fires, whether time has really passed. */
static void transfer_on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct transfer *t = arg;
    enum transfer_result which;
    (void)fd;
    (void)what;
    if (t->dead)
        return;
    if (transfer_deadline(t, &which) > clock_monotonic_us())
        transfer_arm_timer(t);
    else
        transfer_report(t, which);
}

/* ---- the beginning of a transfer ---------------------------------------------------------------------------- */

static void transfer_link(struct transfer_pool *pool, struct transfer *t)
{
    t->next = pool->active;
    if (t->next)
        t->next->prev = t;
    pool->active = t;
    pool->count++;
}

/* By ALPN, and therefore by TLS only. */
static bool transfer_takes_http2(const struct transfer_request *request)
{
    return request->http2 && strncmp(request->url, "https:", 6) == 0;
}

struct transfer *transfer_start(struct transfer_pool *pool, const struct transfer_request *request,
                                const struct transfer_events *events, void *user)
{
    struct transfer_multi *multi = transfer_choose_multi(pool, transfer_takes_http2(request));
    struct transfer *t = multi ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return NULL;
    if (!transfer_easy_take(pool, &t->easy)) {
        free(t);
        return NULL;
    }
    t->pool = pool;
    t->multi = multi;
    transfer_join_multi(multi);
    t->events = events;
    t->user = user;
    t->limits = request->limits;
    t->started_us = t->heard_us = clock_monotonic_us();
    t->said_length = t->left = -1;
    event_assign(&t->timer, pool->base, -1, 0, transfer_on_deadline, t);
    transfer_link(pool, t);
    if (!transfer_easy_set(t, request) || curl_multi_add_handle(t->multi->curl, t->easy.curl) != CURLM_OK) {
        transfer_free(t);
        return NULL;
    }
    transfer_arm_timer(t);
    return t;
}

size_t transfer_pool_active(const struct transfer_pool *pool)
{
    return pool->count;
}

struct transfer_pool *transfer_pool_new(struct event_base *base)
{
    struct transfer_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(pool);
        return NULL;
    }
    pool->base = base;
    event_assign(&pool->reaper, base, -1, 0, transfer_on_reaper, pool);
    if (!transfer_open_multis(pool))
        transfer_pool_free(&pool);
    return pool;
}

void transfer_pool_trust(struct transfer_pool *pool, const char *ca_file)
{
    pool->ca_file = ca_file;
}

void transfer_pool_free(struct transfer_pool **handle)
{
    struct transfer_pool *pool = *handle;
    *handle = NULL;
    if (!pool)
        return;
    while (pool->active)
        transfer_free(pool->active);
    transfer_easy_free_spares(pool);
    transfer_close_multis(pool);
    event_del(&pool->reaper);
    free(pool);
    curl_global_cleanup();
}
