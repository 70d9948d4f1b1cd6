/*
 * libcurl's pools of connections, each a CURLM: one for transfers that may go over HTTP/2, and lanes for HTTP/1.1.
 *
 * In a pool that has both, libcurl 7.88 takes a busy HTTP/1.1 connection for one that can be shared, and requests queue
 * behind each other on it. And for each new transfer it looks at every connection that the pool has to the upstream:
 * thousands of open streams would make each request dearer. So a lane takes few transfers, and a transfer gets the first
 * lane that has room: streams fill the first ones, and what is short finds its connections again in the next.
 */
#include "transfer_internal.h"

#include <stdlib.h>

static struct transfer_multi *transfer_new_multi(struct transfer_pool *pool)
{
    struct transfer_multi *multi = calloc(1, sizeof *multi);
    CURLM *curl = multi ? curl_multi_init() : NULL;
    if (!curl) {
        free(multi);
        return NULL;
    }
    *multi = (struct transfer_multi){.pool = pool, .curl = curl};
    event_assign(&multi->timer, pool->base, -1, 0, transfer_on_timer, multi);
    curl_multi_setopt(curl, CURLMOPT_SOCKETFUNCTION, transfer_want_socket);
    curl_multi_setopt(curl, CURLMOPT_SOCKETDATA, multi);
    curl_multi_setopt(curl, CURLMOPT_TIMERFUNCTION, transfer_want_timer);
    curl_multi_setopt(curl, CURLMOPT_TIMERDATA, multi);
    return multi;
}

static void transfer_free_multi(struct transfer_multi **handle)
{
    struct transfer_multi *multi = *handle;
    *handle = NULL;
    if (!multi)
        return;
    curl_multi_cleanup(multi->curl);
    event_del(&multi->timer);
    free(multi);
}

/* libcurl counts connections in use, too. */
static void transfer_bound_idle(struct transfer_multi *multi)
{
    curl_multi_setopt(multi->curl, CURLMOPT_MAXCONNECTS, (long)(multi->transfers + TRANSFER_LANE_IDLE));
}

void transfer_join_multi(struct transfer_multi *multi)
{
    multi->transfers++;
    transfer_bound_idle(multi);
}

void transfer_leave_multi(struct transfer_multi *multi)
{
    multi->transfers--;
    transfer_bound_idle(multi);
    if (multi->transfers == 0 && (multi->broken || !multi->kept))
        event_active(&multi->pool->reaper, EV_TIMEOUT, 0);
}

/* libcurl 7.88 keeps what it could not finish for want of memory, and divides by zero when a new connection gets the same
 * descriptor: a broken one gets nothing new. */
static void transfer_retire_multi(struct transfer_pool *pool, struct transfer_multi **place)
{
    struct transfer_multi *multi = *place;
    if (!multi || !multi->broken)
        return;
    *place = NULL;
    multi->next = pool->former;
    pool->former = multi;
    event_active(&pool->reaper, EV_TIMEOUT, 0);
}

static struct transfer_multi *transfer_use_multi(struct transfer_pool *pool, struct transfer_multi **place)
{
    transfer_retire_multi(pool, place);
    if (!*place)
        *place = transfer_new_multi(pool);
    return *place;
}

static struct transfer_multi *transfer_use_http2(struct transfer_pool *pool)
{
    struct transfer_multi *multi = transfer_use_multi(pool, &pool->http2);
    if (multi)
        multi->http2 = multi->kept = true;
    return multi;
}

static struct transfer_multi *transfer_use_lane(struct transfer_pool *pool, size_t i)
{
    struct transfer_multi *multi = transfer_use_multi(pool, &pool->lanes[i]);
    if (multi)
        multi->kept = i < TRANSFER_LANES_KEPT;
    return multi;
}

/* The first that has room, open or not; the last one takes what no other has room for. */
static size_t transfer_first_lane(const struct transfer_pool *pool)
{
    size_t i = 0;
    while (i < TRANSFER_LANES_MAX - 1 && pool->lanes[i] && pool->lanes[i]->transfers >= TRANSFER_LANE_SIZE)
        i++;
    return i;
}

struct transfer_multi *transfer_choose_multi(struct transfer_pool *pool, bool http2)
{
    return http2 ? transfer_use_http2(pool) : transfer_use_lane(pool, transfer_first_lane(pool));
}

/* Over HTTP/2 one socket is that of many. */
void transfer_lose_unwatched(struct transfer_multi *multi)
{
    for (struct transfer *t = multi->pool->active; t; t = t->next)
        if (t->multi == multi && !t->finished && (!t->watched || transfer_is_http2(t)))
            transfer_lose(t);
}

static void transfer_reap_former(struct transfer_pool *pool)
{
    for (struct transfer_multi **at = &pool->former; *at;) {
        struct transfer_multi *multi = *at;
        if (multi->transfers > 0) {
            at = &multi->next;
            continue;
        }
        *at = multi->next;
        transfer_free_multi(&multi);
    }
}

/* An empty lane is of use while it is the first one that has room: the next transfer finds a connection there. */
void transfer_reap_multis(struct transfer_pool *pool)
{
    transfer_reap_former(pool);
    for (size_t i = transfer_first_lane(pool) + 1; i < TRANSFER_LANES_MAX; i++)
        if (pool->lanes[i] && !pool->lanes[i]->kept && pool->lanes[i]->transfers == 0)
            transfer_free_multi(&pool->lanes[i]);
}

bool transfer_open_multis(struct transfer_pool *pool)
{
    return transfer_use_http2(pool) && transfer_use_lane(pool, 0);
}

void transfer_close_multis(struct transfer_pool *pool)
{
    transfer_reap_former(pool);
    transfer_free_multi(&pool->http2);
    for (size_t i = 0; i < TRANSFER_LANES_MAX; i++)
        transfer_free_multi(&pool->lanes[i]);
}
