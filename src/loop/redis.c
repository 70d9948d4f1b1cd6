/*
 * The link: when to connect, what goes out, whose a reply is, and whether the server is any good.
 *
 * A command is live until its callback was called, and sent until its reply has come; one that timed out is sent but
 * not live. A callback may free the link, so that whoever calls one either does it last or asks redis_call().
 */
#include "redis_wire.h"

#include "sluice/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

enum { REDIS_TROUBLE_SIZE = 128, REDIS_GREETING_MAX = 3 };

#define REDIS_ATTEMPT_US INT64_C(2000000)  /* for a name, a connection and the greeting */
#define REDIS_PAUSE_US INT64_C(100000)     /* after a failed round of attempts; doubles */
#define REDIS_PAUSE_MAX_US INT64_C(5000000)
#define REDIS_IDLE_US INT64_C(5000000)     /* without a reply: PING */
#define REDIS_PROBE_US INT64_C(500000)     /* between PINGs while something is wrong */
#define REDIS_SHORT_US INT64_C(1000000)    /* a connection that broke sooner counts as a failed attempt */

enum redis_phase {
    REDIS_PAUSING,
    REDIS_RESOLVING,
    REDIS_CONNECTING,
    REDIS_GREETING, /* AUTH, SELECT, PING are under way */
    REDIS_GOOD
};

struct redis_command {
    struct redis *link;
    redis_callback *callback;
    void *user;
    int64_t started_us;
    struct redis_command *next, *prev; /* among the live ones, by time */
    struct redis_command *next_sent;
    char *text; /* not sent yet */
    size_t len;
    bool live, sent;
    bool internal; /* the link's own: not called when the connection breaks */
};

struct redis {
    struct event_base *base;
    struct redis_url url;
    int64_t timeout_us;
    enum redis_phase phase;
    bool patient;      /* commands may wait for this attempt */
    unsigned attempts; /* failed rounds in a row */
    struct redis_resolver *resolver;
    struct event *resolved;
    struct redis_addresses addresses;
    size_t address;
    struct redis_wire *wire;
    struct event *limit; /* the first live command's time is over */
    struct event *pulse; /* the next thing to do: an attempt, its end, a PING */
    struct redis_command *first, *last; /* live */
    struct redis_command *sent, **sent_end;
    size_t pending;
    int64_t good_us, heard_us, greeted_us;
    unsigned failures; /* of commands, in a row */
    bool open;         /* the breaker */
    bool missed;       /* the last PING was not answered in time */
    bool probing;
    bool *gone; /* told when the link is freed */
    char trouble[REDIS_TROUBLE_SIZE];
    struct redis_stats stats;
};

const int64_t redis_latency_bounds_us[REDIS_LATENCY_BUCKETS - 1] = {100,  250,   500,   1000, 2500,
                                                                    5000, 10000, 25000, 50000};

static void redis_try(struct redis *link);
static void redis_try_address(struct redis *link);

/* ---- small things -------------------------------------------------------------------------------------------- */

static void redis_arm(struct event *event, int64_t us)
{
    int64_t from_now = us < 0 ? 0 : us;
    struct timeval after = {from_now / CLOCK_US_PER_SECOND, from_now % CLOCK_US_PER_SECOND};
    event_add(event, &after);
}

static void redis_say(struct redis *link, const char *what, const char *detail)
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

/* ---- the breaker --------------------------------------------------------------------------------------------- */

/* An error that tells of the command and not of the server. */
static bool redis_is_harmless(struct slice error)
{
    return slice_starts_with(error, SLICE_LITERAL("NOSCRIPT")) || slice_starts_with(error, SLICE_LITERAL("WRONGTYPE")) ||
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

/* ---- commands ------------------------------------------------------------------------------------------------ */

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
static struct redis_command *redis_make(struct redis *link, int argc, const char *const *argv, const size_t *lens,
                                        redis_callback *callback, void *user)
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

struct redis_command *redis_command_argv(struct redis *link, int argc, const char *const *argv, const size_t *lens,
                                         redis_callback *callback, void *user)
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

/* A command of the link's own. timed: within the link's time limit. */
static void redis_send_own(struct redis *link, int argc, const char *const *argv, redis_callback *callback, bool timed)
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

/* ---- an attempt's end ---------------------------------------------------------------------------------------- */

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

/* False where the link is gone. */
static bool redis_fail_sent(struct redis *link)
{
    struct redis_command *c = redis_take_sent(link), *next;
    for (; c; c = next) {
        next = c->next_sent;
        if (!redis_call(link, c, REDIS_STATUS_UNAVAILABLE))
            return false; /* the others went with the link */
    }
    return true;
}

static void redis_fail_waiting(struct redis *link)
{
    while (link->first)
        if (!redis_call(link, link->first, REDIS_STATUS_UNAVAILABLE))
            return;
}

static int64_t redis_pause_us(const struct redis *link)
{
    int64_t pause = REDIS_PAUSE_US;
    for (unsigned i = 1; i < link->attempts && pause < REDIS_PAUSE_MAX_US; i++)
        pause *= 2;
    if (pause > REDIS_PAUSE_MAX_US)
        pause = REDIS_PAUSE_MAX_US;
    return pause - clock_monotonic_us() % (pause / 4); /* not all processes at once */
}

static void redis_end_attempt(struct redis *link)
{
    if (link->resolved)
        event_free(link->resolved);
    link->resolved = NULL;
    redis_resolver_free(&link->resolver);
    redis_wire_close(&link->wire);
    link->probing = false;
}

/* This address is no good: the next one, or a pause. */
static void redis_fail_attempt(struct redis *link, const char *what, const char *detail)
{
    redis_say(link, what, detail);
    redis_end_attempt(link);
    link->stats.breaks++;
    link->address++;
    if (!redis_fail_sent(link)) /* the greeting only */
        return;
    if (link->address < link->addresses.count) {
        redis_try_address(link);
        return;
    }
    link->phase = REDIS_PAUSING;
    link->patient = false;
    link->attempts++;
    redis_arm(link->pulse, redis_pause_us(link));
    redis_fail_waiting(link);
}

/* A good connection is gone: at once again, unless it was good for a moment only. */
static void redis_break(struct redis *link, const char *what, const char *detail)
{
    bool lasted = clock_monotonic_us() - link->good_us >= REDIS_SHORT_US;
    redis_say(link, what, detail);
    redis_end_attempt(link);
    link->stats.breaks++;
    link->phase = REDIS_PAUSING;
    link->patient = lasted && !link->open;
    link->attempts = lasted ? 0 : link->attempts + 1;
    redis_arm(link->pulse, lasted ? 0 : redis_pause_us(link));
    redis_fail_sent(link);
}

static void redis_on_lost(void *user, const char *why)
{
    struct redis *link = user;
    if (link->phase == REDIS_GOOD)
        redis_break(link, "the connection broke", why);
    else
        redis_fail_attempt(link, "no connection", why);
}

/* ---- a good connection --------------------------------------------------------------------------------------- */

static void redis_send_waiting(struct redis *link)
{
    for (struct redis_command *c = link->first; c; c = c->next)
        if (c->text && !redis_send(link, c))
            return; /* it will time out */
}

static void redis_become_good(struct redis *link)
{
    int64_t now = clock_monotonic_us();
    link->phase = REDIS_GOOD;
    link->good_us = link->heard_us = now;
    link->patient = true;
    link->stats.connections++;
    link->missed = link->open = now - link->greeted_us > link->timeout_us;
    link->failures = 0;
    if (link->open)
        redis_say(link, "the server is slow", NULL);
    else
        link->trouble[0] = '\0';
    redis_arm(link->pulse, link->open ? REDIS_PROBE_US : REDIS_IDLE_US);
    redis_send_waiting(link);
}

/* Commands that go out before the last of the greeting are answered in its order: the PING comes last. */
static void redis_on_greeting(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct redis *link = user;
    struct slice text = redis_reply_text(reply);
    if (status == REDIS_STATUS_ERROR) {
        char word[32];
        snprintf(word, sizeof word, "%.*s", (int)slice_take(text, sizeof word).len, text.ptr);
        word[strcspn(word, " ")] = '\0';
        redis_fail_attempt(link, "the server refuses us", word);
    } else if (slice_equals(text, SLICE_LITERAL("PONG"))) {
        redis_become_good(link);
    }
}

static void redis_on_connected(void *user)
{
    struct redis *link = user;
    char database[24];
    const char *auth[] = {"AUTH", link->url.user, link->url.password};
    const char *plain_auth[] = {"AUTH", link->url.password};
    const char *select[] = {"SELECT", database};
    const char *ping[] = {"PING"};
    link->phase = REDIS_GREETING;
    link->greeted_us = clock_monotonic_us();
    snprintf(database, sizeof database, "%lld", (long long)link->url.database);
    if (link->url.user[0])
        redis_send_own(link, 3, auth, redis_on_greeting, false);
    else if (link->url.password[0])
        redis_send_own(link, 2, plain_auth, redis_on_greeting, false);
    if (link->url.database != 0)
        redis_send_own(link, 2, select, redis_on_greeting, false);
    redis_send_own(link, 1, ping, redis_on_greeting, false);
}

static void redis_on_probe(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct redis *link = user;
    (void)reply;
    link->probing = false;
    link->missed = status != REDIS_STATUS_OK;
    if (link->missed && link->open) {
        redis_break(link, "PING is not answered", NULL);
        return;
    }
    if (!link->missed) {
        link->open = false;
        link->failures = 0;
        link->trouble[0] = '\0';
    }
    redis_arm(link->pulse, link->missed ? REDIS_PROBE_US : REDIS_IDLE_US);
    if (link->missed && !link->open)
        redis_say(link, "PING is not answered", NULL);
}

static void redis_probe(struct redis *link)
{
    static const char *const ping[] = {"PING"};
    int64_t quiet = clock_monotonic_us() - link->heard_us;
    if (!link->open && !link->missed && quiet < REDIS_IDLE_US) {
        redis_arm(link->pulse, REDIS_IDLE_US - quiet);
        return;
    }
    redis_arm(link->pulse, REDIS_IDLE_US);
    if (link->probing)
        return;
    link->probing = true;
    redis_send_own(link, 1, ping, redis_on_probe, true);
}

static void redis_on_reply(void *user, const struct redis_reply *reply)
{
    struct redis *link = user;
    struct redis_command *c = link->sent;
    if (!c) {
        redis_on_lost(link, "a reply that nobody asked for");
        return;
    }
    link->sent = c->next_sent;
    if (!link->sent)
        link->sent_end = &link->sent;
    c->sent = false;
    enum redis_status status = redis_reply_type(reply) == REDIS_TYPE_ERROR ? REDIS_STATUS_ERROR : REDIS_STATUS_OK;
    if (c->live || (c->internal && link->phase == REDIS_GREETING)) {
        redis_finish(c, status, reply);
    } else {
        link->stats.late++;
        redis_free_command(link, c);
    }
}

/* ---- attempts ------------------------------------------------------------------------------------------------ */

static const struct redis_wire_events redis_events = {redis_on_connected, redis_on_reply, redis_on_lost};

static void redis_try_address(struct redis *link)
{
    const char *address = link->url.host[0] ? link->addresses.text[link->address] : NULL;
    link->phase = REDIS_CONNECTING;
    redis_arm(link->pulse, REDIS_ATTEMPT_US);
    link->wire = redis_wire_open(link->base, &link->url, address, &redis_events, link);
    if (!link->wire)
        redis_fail_attempt(link, "no connection", strerror(errno));
}

static void redis_on_resolved(evutil_socket_t fd, short what, void *arg)
{
    struct redis *link = arg;
    (void)fd;
    (void)what;
    redis_resolver_take(link->resolver, &link->addresses);
    redis_end_attempt(link);
    if (link->addresses.count > 0)
        redis_try_address(link);
    else
        redis_fail_attempt(link, "the host's name is not known", NULL);
}

static void redis_resolve(struct redis *link)
{
    link->phase = REDIS_RESOLVING;
    link->addresses.count = 0;
    redis_arm(link->pulse, REDIS_ATTEMPT_US);
    link->resolver = redis_resolver_start(link->url.host);
    if (link->resolver)
        link->resolved = event_new(link->base, redis_resolver_fd(link->resolver), EV_READ, redis_on_resolved, link);
    if (!link->resolved || event_add(link->resolved, NULL) != 0)
        redis_fail_attempt(link, "the host's name cannot be resolved", NULL);
}

static bool redis_is_number(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static void redis_try(struct redis *link)
{
    link->address = 0;
    if (link->url.host[0] && !redis_is_number(link->url.host)) {
        redis_resolve(link);
        return;
    }
    link->addresses.count = 1;
    snprintf(link->addresses.text[0], REDIS_ADDRESS_SIZE, "%.*s", REDIS_ADDRESS_SIZE - 1, link->url.host);
    redis_try_address(link);
}

static void redis_on_pulse(evutil_socket_t fd, short what, void *arg)
{
    struct redis *link = arg;
    (void)fd;
    (void)what;
    if (link->phase == REDIS_PAUSING)
        redis_try(link);
    else if (link->phase == REDIS_GOOD)
        redis_probe(link);
    else
        redis_fail_attempt(link, link->phase == REDIS_RESOLVING ? "the host's name is not resolved in time"
                                                                : "the server does not answer",
                           NULL);
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

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
