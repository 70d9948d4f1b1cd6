/* The link: what goes out, whose a reply is, and whether the server is any good. */
#include "redis_link.h"

#include "sluice/clock.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

const int64_t redis_latency_bounds_us[REDIS_LATENCY_BUCKETS - 1] = {100,  250,   500,   1000, 2500,
                                                                    5000, 10000, 25000, 50000};

/* ---- small things
 * -------------------------------------------------------------------------------------------- */

void redis_arm(struct event *event, int64_t us)
{
    int64_t from_now = us < 0 ? 0 : us;
    struct timeval after = {from_now / CLOCK_US_PER_SECOND, from_now % CLOCK_US_PER_SECOND};
    event_add(event, &after);
}

void redis_say(struct redis *link, const char *what, const char *detail)
{
    snprintf(link->trouble, sizeof link->trouble, "%s%s%s", what, detail ? ": " : "", detail ? detail : "");
}

static void redis_arm_limit(struct redis *link)
{
    if (link->first)
        redis_arm(link->limit, link->first->started_us + link->timeout_us - clock_monotonic_us());
}

static void redis_link_live(struct redis *link, struct redis_command *c)
{
    c->live = true;
    c->prev = link->last;
    if (c->prev)
        c->prev->next = c;
    else
        link->first = c;
    link->last = c;
    if (link->first == c)
        redis_arm_limit(link);
}

static void redis_unlink_live(struct redis *link, struct redis_command *c)
{
    if (!c->live)
        return;
    c->live = false;
    if (c->prev)
        c->prev->next = c->next;
    else
        link->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        link->last = c->prev;
}

static void redis_free_command(struct redis *link, struct redis_command *c)
{
    link->pending--;
    if (c->text)
        redisFreeCommand(c->text);
    free(c);
}

/* ---- the breaker
 * --------------------------------------------------------------------------------------------- */

/* An error that tells of the command and not of the server. */
static bool redis_is_harmless(struct slice error)
{
    return slice_starts_with(error, SLICE_LITERAL("NOSCRIPT")) ||
           slice_starts_with(error, SLICE_LITERAL("WRONGTYPE")) ||
           slice_starts_with(error, SLICE_LITERAL("ERR "));
}

static void redis_note_failure(struct redis *link, const char *what, const char *detail)
{
    link->failures++;
    if (link->failures < REDIS_BREAKER_FAILURES || link->open)
        return;
    link->open = true;
    link->stats.breaker_opened++;
    redis_say(link, what, detail);
    if (link->phase == REDIS_GOOD)
        redis_arm(link->pulse, REDIS_PROBE_US);
}

static void redis_note_latency(struct redis *link, int64_t us)
{
    size_t i = 0;
    while (i < REDIS_LATENCY_BUCKETS - 1 && us > redis_latency_bounds_us[i])
        i++;
    link->stats.latency[i]++;
    link->stats.latency_sum_us += (uint64_t)us;
    link->stats.replies++;
}

static void redis_note(struct redis *link, const struct redis_command *c, enum redis_status status,
                       const struct redis_reply *reply)
{
    int64_t now = clock_monotonic_us();
    struct slice text = redis_reply_text(reply);
    char word[32];
    snprintf(word, sizeof word, "%.*s", (int)slice_take(text, strcspn(text.ptr ? text.ptr : "", " ")).len,
             text.ptr ? text.ptr : "");
    link->stats.timeouts += status == REDIS_STATUS_TIMEOUT;
    link->stats.unavailable += status == REDIS_STATUS_UNAVAILABLE;
    link->stats.errors += status == REDIS_STATUS_ERROR;
    if (reply) {
        link->heard_us = now;
        redis_note_latency(link, now - c->started_us);
    }
    if (status == REDIS_STATUS_TIMEOUT)
        redis_note_failure(link, "commands time out", NULL);
    else if (status == REDIS_STATUS_ERROR && !redis_is_harmless(text))
        redis_note_failure(link, "the server answers with errors", word);
    else if (reply)
        link->failures = 0;
}

/* ---- commands
 * ------------------------------------------------------------------------------------------------ */

/* Its end. A command that was sent stays in the queue until its reply comes. */
static void redis_finish(struct redis_command *c, enum redis_status status, const struct redis_reply *reply)
{
    struct redis *link = c->link;
    redis_callback *callback = c->callback;
    void *user = c->user;
    redis_unlink_live(link, c);
    redis_note(link, c, status, reply);
    if (!c->sent)
        redis_free_command(link, c);
    callback(user, status, reply);
}

/* The same, where the caller goes on: false where the link is gone. */
static bool redis_call(struct redis *link, struct redis_command *c, enum redis_status status)
{
    bool gone = false, *outer = link->gone;
    link->gone = &gone;
    redis_finish(c, status, NULL);
    if (gone) {
        if (outer)
            *outer = true;
        return false;
    }
    link->gone = outer;
    return true;
}

static void redis_on_limit(evutil_socket_t fd, short what, void *arg)
{
    struct redis *link = arg;
    int64_t now = clock_monotonic_us();
    (void)fd;
    (void)what;
    while (link->first && now - link->first->started_us >= link->timeout_us)
        if (!redis_call(link, link->first, REDIS_STATUS_TIMEOUT))
            return;
    redis_arm_limit(link);
}

static bool redis_send(struct redis *link, struct redis_command *c)
{
    if (!redis_wire_send(link->wire, c->text, c->len))
        return false;
    redisFreeCommand(c->text);
    c->text = NULL;
    c->sent = true;
    *link->sent_end = c;
    link->sent_end = &c->next_sent;
    return true;
}

/* NULL without memory. */
static struct redis_command *redis_make(struct redis *link, int argc, const char *const *argv,
                                        const size_t *lens, redis_callback *callback, void *user)
{
    struct redis_command *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    *c = (struct redis_command){
        .link = link, .callback = callback, .user = user, .started_us = clock_monotonic_us()};
    int len = redisFormatCommandArgv(&c->text, argc, (const char **)argv, lens);
    if (len < 0) {
        free(c);
        return NULL;
    }
    c->len = (size_t)len;
    link->pending++;
    return c;
}

static bool redis_is_waiting(const struct redis *link)
{
    return link->patient && link->phase != REDIS_GOOD;
}

struct redis_command *redis_command_argv(struct redis *link, int argc, const char *const *argv,
                                         const size_t *lens, redis_callback *callback, void *user)
{
    bool may = !link->open && link->pending < REDIS_PENDING_MAX &&
               (link->phase == REDIS_GOOD || redis_is_waiting(link));
    struct redis_command *c = may ? redis_make(link, argc, argv, lens, callback, user) : NULL;
    link->stats.commands++;
    if (c && (link->phase != REDIS_GOOD || redis_send(link, c))) {
        redis_link_live(link, c);
        return c;
    }
    if (c)
        redis_free_command(link, c);
    link->stats.unavailable++;
    callback(user, REDIS_STATUS_UNAVAILABLE, NULL);
    return NULL;
}

void redis_command_cancel(struct redis_command **command)
{
    struct redis_command *c = *command;
    *command = NULL;
    if (!c)
        return;
    redis_unlink_live(c->link, c);
    if (!c->sent)
        redis_free_command(c->link, c);
}

void redis_send_own(struct redis *link, int argc, const char *const *argv, redis_callback *callback,
                    bool timed)
{
    struct redis_command *c = redis_make(link, argc, argv, NULL, callback, link);
    if (!c)
        return; /* the pulse will see that nothing came */
    c->internal = true;
    if (!redis_send(link, c))
        redis_free_command(link, c);
    else if (timed)
        redis_link_live(link, c);
}

void redis_send_waiting(struct redis *link)
{
    for (struct redis_command *c = link->first; c; c = c->next)
        if (c->text && !redis_send(link, c))
            return; /* it will time out */
}

void redis_take_reply(struct redis *link, const struct redis_reply *reply)
{
    struct redis_command *c = link->sent;
    link->sent = c->next_sent;
    if (!link->sent)
        link->sent_end = &link->sent;
    c->sent = false;
    enum redis_status status =
        redis_reply_type(reply) == REDIS_TYPE_ERROR ? REDIS_STATUS_ERROR : REDIS_STATUS_OK;
    if (c->live || (c->internal && link->phase == REDIS_GREETING)) {
        redis_finish(c, status, reply);
    } else {
        link->stats.late++;
        redis_free_command(link, c);
    }
}

/* ---- the end of commands
 * ------------------------------------------------------------------------------------- */

/* Frees what nobody waits for; gives the rest in order, taken out of the queue of sent ones. */
static struct redis_command *redis_take_sent(struct redis *link)
{
    struct redis_command *kept = NULL, **end = &kept, *next;
    for (struct redis_command *c = link->sent; c; c = next) {
        next = c->next_sent;
        c->next_sent = NULL;
        c->sent = false;
        if (c->live && !c->internal) {
            *end = c;
            end = &c->next_sent;
        } else {
            redis_unlink_live(link, c);
            redis_free_command(link, c);
        }
    }
    link->sent = NULL;
    link->sent_end = &link->sent;
    return kept;
}

bool redis_fail_sent(struct redis *link)
{
    struct redis_command *c = redis_take_sent(link), *next;
    for (; c; c = next) {
        next = c->next_sent;
        if (!redis_call(link, c, REDIS_STATUS_UNAVAILABLE))
            return false; /* the others went with the link */
    }
    return true;
}

void redis_fail_waiting(struct redis *link)
{
    while (link->first)
        if (!redis_call(link, link->first, REDIS_STATUS_UNAVAILABLE))
            return;
}

void redis_drop_commands(struct redis *link)
{
    while (link->sent) {
        struct redis_command *c = link->sent;
        link->sent = c->next_sent;
        redis_unlink_live(link, c);
        redis_free_command(link, c);
    }
    while (link->first) {
        struct redis_command *c = link->first;
        redis_unlink_live(link, c);
        redis_free_command(link, c);
    }
}

/* ---- life
 * ---------------------------------------------------------------------------------------------------- */

struct redis *redis_new(struct event_base *base, const struct redis_url *url, int64_t timeout_us)
{
    struct redis *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    link->base = base;
    link->url = *url;
    link->timeout_us = timeout_us;
    link->sent_end = &link->sent;
    link->patient = true;
    link->limit = event_new(base, -1, 0, redis_on_limit, link);
    link->pulse = event_new(base, -1, 0, redis_on_pulse, link);
    redis_say(link, "not connected yet", NULL);
    if (!link->limit || !link->pulse) {
        redis_free(&link);
        return NULL;
    }
    redis_try(link);
    return link;
}

void redis_free(struct redis **handle)
{
    struct redis *link = *handle;
    *handle = NULL;
    if (!link)
        return;
    if (link->gone)
        *link->gone = true;
    redis_end_attempt(link);
    redis_drop_commands(link);
    if (link->limit)
        event_free(link->limit);
    if (link->pulse)
        event_free(link->pulse);
    explicit_bzero(&link->url, sizeof link->url);
    free(link);
}

bool redis_is_connected(const struct redis *link)
{
    return link->phase == REDIS_GOOD && !link->open && !link->missed;
}

const char *redis_trouble(const struct redis *link)
{
    return redis_is_connected(link) ? "" : link->trouble;
}

const struct redis_stats *redis_stats(const struct redis *link)
{
    return &link->stats;
}
