/*
 * The connection: resolving, connecting, greeting, and again when it breaks; PING while it is idle or
 * something is wrong.
 *
 * The pulse is the one timer of all that: the next attempt, the end of one that takes too long, or the next
 * PING.
 */
#include "redis_link.h"

#include "sluice/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#define REDIS_ATTEMPT_US   INT64_C(2000000) /* for a name, a connection and the greeting */
#define REDIS_PAUSE_US     INT64_C(100000)  /* after a failed round of attempts; doubles */
#define REDIS_PAUSE_MAX_US INT64_C(5000000)
#define REDIS_IDLE_US      INT64_C(5000000) /* without a reply: PING */
#define REDIS_SHORT_US     INT64_C(1000000) /* a connection that broke sooner counts as a failed attempt */

static void redis_try_address(struct redis *link);

/* ---- an attempt's end
 * ---------------------------------------------------------------------------------------- */

static int64_t redis_pause_us(const struct redis *link)
{
    int64_t pause = REDIS_PAUSE_US;
    for (unsigned i = 1; i < link->attempts && pause < REDIS_PAUSE_MAX_US; i++)
        pause *= 2;
    if (pause > REDIS_PAUSE_MAX_US)
        pause = REDIS_PAUSE_MAX_US;
    return pause - clock_monotonic_us() % (pause / 4); /* not all processes at once */
}

void redis_end_attempt(struct redis *link)
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

/* ---- a good connection
 * --------------------------------------------------------------------------------------- */

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
    if (link->sent)
        redis_take_reply(link, reply);
    else
        redis_on_lost(link, "a reply that nobody asked for");
}

/* ---- attempts
 * ------------------------------------------------------------------------------------------------ */

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
        link->resolved =
            event_new(link->base, redis_resolver_fd(link->resolver), EV_READ, redis_on_resolved, link);
    if (!link->resolved || event_add(link->resolved, NULL) != 0)
        redis_fail_attempt(link, "the host's name cannot be resolved", NULL);
}

static bool redis_is_number(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

void redis_try(struct redis *link)
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

void redis_on_pulse(evutil_socket_t fd, short what, void *arg)
{
    struct redis *link = arg;
    (void)fd;
    (void)what;
    if (link->phase == REDIS_PAUSING)
        redis_try(link);
    else if (link->phase == REDIS_GOOD)
        redis_probe(link);
    else
        redis_fail_attempt(link,
                           link->phase == REDIS_RESOLVING ? "the host's name is not resolved in time"
                                                          : "the server does not answer",
                           NULL);
}
