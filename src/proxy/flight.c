/*
 * Flights: identical requests that are under way at the same time go upstream once.
 *
 * Within a process the first is the leader, and the others follow it: they get its answer, a stream live as it
 * arrives. Between processes a claim in a shared table says who leads: the first of each other process watches that
 * claim, and looks into the cache when it is gone. If a leader's client leaves, its call goes on for the others; if the
 * call fails, the one that has waited longest takes over. Nobody waits longer than CACHE__COALESCE_SECONDS: then it
 * goes upstream by itself.
 */
#include "caching.h"

#include "sluice/clock.h"

#include <stdlib.h>

/* ---- who leads ----------------------------------------------------------------------------------------------- */

static struct exchange *flight_find(const struct proxy *p, const struct digest *key)
{
    struct exchange *x = p->flights;
    while (x && !digest_equals(&x->caching->key, key))
        x = x->caching->next_flight;
    return x;
}

static void flight_register(struct exchange *x)
{
    x->caching->next_flight = x->proxy->flights;
    x->proxy->flights = x;
}

static void flight_unregister(struct exchange *x)
{
    struct exchange **at = &x->proxy->flights;
    while (*at && *at != x)
        at = &(*at)->caching->next_flight;
    if (*at)
        *at = x->caching->next_flight;
}

/* Nobody can join any longer, neither here nor in another process. */
static void flight_close(struct exchange *x)
{
    flight_unregister(x);
    if (x->caching->claimed)
        inflight_release(x->proxy->inflight, &x->caching->claim);
    x->caching->claimed = false;
}

/* A claim that outlives its exchange. */
struct flight_settling {
    struct inflight *table;
    struct inflight_claim claim;
};

static void flight_on_settled(void *user)
{
    struct flight_settling *s = user;
    inflight_release(s->table, &s->claim);
    free(s);
}

/* False: nothing is on its way into the embedded store. */
static bool flight_settle_local(struct inflight *table, const struct inflight_claim *claim, struct cache *cache)
{
    struct flight_settling *s = malloc(sizeof *s);
    if (s)
        *s = (struct flight_settling){table, *claim};
    bool ok = s && cache_when_settled(cache, flight_on_settled, s);
    if (!ok)
        free(s);
    return ok;
}

/* The same with an answer that was stored. It is there for other processes a moment later: until then they shall not ask
 * upstream again. With Redis, which tells nobody, the claim ends by itself. */
static void flight_close_stored(struct exchange *x)
{
    struct caching *c = x->caching;
    bool redis = strcmp(cache_engine(x->proxy->cache), "redis") == 0;
    int64_t lease_us = (redis ? CACHING_SETTLE_REDIS_MS : CACHING_SETTLE_MAX_MS) * CLOCK_US_PER_MS;
    if (c->claimed && inflight_settle(x->proxy->inflight, &c->claim, lease_us))
        c->claimed = !redis && !flight_settle_local(x->proxy->inflight, &c->claim, x->proxy->cache);
    flight_close(x);
}

static void flight_arm(struct exchange *x, int64_t us)
{
    struct timeval after = {us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND};
    event_add(&x->caching->timer, &after);
}

static void flight_arm_patience(struct exchange *x)
{
    int64_t wait = x->caching->patience_us - clock_monotonic_us();
    flight_arm(x, wait > 0 ? wait : 0);
}

static void flight_go(struct exchange *x)
{
    x->caching->role = CACHING_LEADER;
    x->caching->told_all = true;
    flight_arm(x, CACHING_LEASE_SECONDS * (int64_t)CLOCK_US_PER_SECOND / 3);
    cache_go_upstream(x);
}

static void flight_arm_look(struct exchange *x)
{
    bool soon = inflight_is_settling(&x->caching->claim);
    flight_arm(x, (soon ? CACHING_SETTLE_POLL_MS : CACHING_POLL_MS) * CLOCK_US_PER_MS);
}

static void flight_claim_or_watch(struct exchange *x)
{
    struct caching *c = x->caching;
    if (x->proxy->inflight) {
        c->claim = inflight_claim(x->proxy->inflight, &c->key, CACHING_LEASE_SECONDS * (int64_t)CLOCK_US_PER_SECOND);
        c->claimed = c->claim.role == INFLIGHT_LEADER;
    }
    if (!x->proxy->inflight || c->claimed) {
        flight_go(x);
        return;
    }
    c->role = CACHING_WATCHER;
    c->joined = c->joined || !inflight_is_settling(&c->claim);
    flight_arm_look(x);
}

static void flight_go_alone(struct exchange *x)
{
    flight_leave(x);
    x->caching->role = CACHING_ALONE;
    if (x->caching->control.only_if_cached)
        answer_error_id(x, EXCHANGE_REFUSED, OPENAI_ERROR_NOT_CACHED);
    else
        cache_go_upstream(x);
}

/* A watcher's look at another process's leader. */
static void flight_watch(struct exchange *x)
{
    struct caching *c = x->caching;
    if (inflight_is_led(x->proxy->inflight, &c->claim))
        flight_arm_look(x);
    else
        cache_look_up(x); /* a miss enters again, as the leader or behind a new one */
}

static void flight_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *x = arg;
    struct caching *c = x->caching;
    (void)fd;
    (void)what;
    if (c->role == CACHING_LEADER) {
        if (c->claimed)
            inflight_renew(x->proxy->inflight, &c->claim, CACHING_LEASE_SECONDS * (int64_t)CLOCK_US_PER_SECOND);
        flight_arm(x, CACHING_LEASE_SECONDS * (int64_t)CLOCK_US_PER_SECOND / 3);
    } else if (clock_monotonic_us() >= c->patience_us) {
        flight_go_alone(x);
    } else if (c->role == CACHING_WATCHER) {
        flight_watch(x);
    } else {
        flight_arm_patience(x); /* the loop's clock is behind: the timer was early */
    }
}

/* ---- followers ----------------------------------------------------------------------------------------------- */

static bool flight_replay_event(void *ctx, const struct sse_event *event)
{
    struct exchange *x = ctx;
    cache_give_event(x, event);
    return !x->answered;
}

/* One that joins a stream late hears what was told before. */
static void flight_replay(struct exchange *x, const struct buf *told)
{
    struct sse_parser parser;
    sse_init(&parser, EXCHANGE_EVENT_MAX);
    sse_feed(&parser, buf_slice(told), flight_replay_event, x);
    sse_free(&parser);
}

static void flight_follow(struct exchange *x, struct exchange *leader)
{
    struct caching *c = x->caching;
    struct exchange **at = &leader->caching->followers;
    while (*at)
        at = &(*at)->caching->next_follower;
    *at = x;
    c->next_follower = NULL;
    c->role = CACHING_FOLLOWER;
    c->leader = leader;
    c->joined = true;
    flight_arm_patience(x);
    if (x->fields.stream && leader->caching->told.len > 0)
        flight_replay(x, &leader->caching->told);
}

static void flight_unfollow(struct exchange *x)
{
    struct exchange **at = &x->caching->leader->caching->followers;
    while (*at && *at != x)
        at = &(*at)->caching->next_follower;
    if (*at)
        *at = x->caching->next_follower;
    x->caching->leader = NULL;
    x->caching->next_follower = NULL;
}

/* A stream whose beginning is no longer known can only be joined by those who want the whole. */
static bool flight_can_follow(const struct exchange *x, const struct exchange *leader)
{
    return !x->fields.stream || leader->caching->told_all || leader->caching->role != CACHING_LEADER;
}

static void flight_begin_waiting(struct exchange *x)
{
    struct caching *c = x->caching;
    if (event_initialized(&c->timer))
        return;
    event_assign(&c->timer, x->proxy->base, -1, 0, flight_on_timer, x);
    c->patience_us = clock_monotonic_us() + x->proxy->config->cache_coalesce_us;
    keepalive_start(x); /* whose upstream is silent does not matter to a front server */
}

/* For one that must not go upstream: it watches, and nobody follows it. */
bool flight_await_store(struct exchange *x)
{
    struct caching *c = x->caching;
    if (!x->proxy->inflight || !inflight_find_settling(x->proxy->inflight, &c->key, &c->claim))
        return false;
    flight_begin_waiting(x);
    c->role = CACHING_WATCHER;
    flight_arm_look(x);
    return true;
}

void flight_enter(struct exchange *x)
{
    struct caching *c = x->caching;
    if (!x->proxy->config->cache_coalesce) {
        cache_go_upstream(x);
        return;
    }
    flight_begin_waiting(x);
    struct exchange *leader = c->role == CACHING_WATCHER ? NULL : flight_find(x->proxy, &c->key);
    if (leader && flight_can_follow(x, leader)) {
        flight_follow(x, leader);
    } else if (leader) {
        cache_go_upstream(x);
    } else {
        if (c->role != CACHING_WATCHER)
            flight_register(x);
        flight_claim_or_watch(x);
    }
}

/* ---- what becomes of it --------------------------------------------------------------------------------------- */

/* Takes the first of those who wait out of the flight; NULL: nobody waits. */
static struct exchange *flight_take_follower(struct exchange *x)
{
    struct exchange *f = x->caching ? x->caching->followers : NULL;
    if (!f)
        return NULL;
    flight_unfollow(f);
    event_del(&f->caching->timer);
    return f;
}

void flight_tell(struct exchange *x, const struct sse_event *event)
{
    struct caching *c = x->caching;
    struct exchange *next;
    if (c->role != CACHING_LEADER)
        return;
    if (c->told_all && !buf_append_slice(&c->told, event->raw)) {
        c->told_all = false;
        buf_free(&c->told);
    }
    for (struct exchange *f = c->followers; f; f = next) {
        next = f->caching->next_follower;
        if (f->fields.stream)
            cache_give_event(f, event);
    }
}

/* A follower that has heard the stream live has only its end to hear. */
static void flight_land_one(struct exchange *f, struct slice object, struct slice type)
{
    if (f->fields.stream && f->events > 0) {
        admit_settle_cached(f);
        answer_complete(f, EXCHANGE_CACHED);
    } else {
        cache_give(f, object, type, -1);
    }
}

void flight_land(struct exchange *x, struct slice object, struct slice type)
{
    struct exchange *f;
    flight_close_stored(x);
    while ((f = flight_take_follower(x)))
        flight_land_one(f, object, type);
}

void flight_share_error(struct exchange *x, struct slice body)
{
    struct exchange *f;
    flight_close(x);
    while ((f = flight_take_follower(x))) {
        f->cache_result = EXCHANGE_CACHE_COALESCED;
        admit_settle_cached(f);
        answer_upstream_error(f, x->upstream_status, body);
    }
}

/* The others follow the new leader. One that was in the middle of a stream cannot be given another beginning. */
void flight_fail(struct exchange *x)
{
    struct exchange *leader = NULL, *f;
    flight_close(x);
    while ((f = flight_take_follower(x))) {
        if (f->events > 0) {
            answer_error_event(f, EXCHANGE_CUT, OPENAI_ERROR_UPSTREAM_CUT);
        } else if (!leader) {
            leader = f;
            f->caching->role = CACHING_ALONE;
            f->caching->joined = false;
            flight_enter(f);
        } else {
            f->caching->role = CACHING_ALONE;
            flight_enter(f);
        }
    }
}

/* A leader without followers and without a client has nobody to work for. */
static void flight_leave_leader(struct exchange *x)
{
    struct exchange *leader = x->caching->leader;
    flight_unfollow(x);
    if (!leader->fcgi && !leader->caching->followers)
        answer_abort(leader, EXCHANGE_CLIENT_LEFT);
}

void flight_leave(struct exchange *x)
{
    struct caching *c = x->caching;
    if (event_initialized(&c->timer))
        event_del(&c->timer);
    if (c->role == CACHING_FOLLOWER && c->leader)
        flight_leave_leader(x);
    else if (c->role == CACHING_LEADER || c->role == CACHING_WATCHER)
        flight_fail(x);
    c->role = CACHING_ALONE;
}
