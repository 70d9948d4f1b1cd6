/*
 * The link's files among themselves: redis.c has the commands, redis_attempt.c the connection. Private to the
 * loop layer.
 *
 * A command is live until its callback was called, and sent until its reply has come; one that timed out is
 * sent but not live. A callback may free the link, so that whoever calls one either does it last or asks
 * redis_call().
 */
#ifndef SLUICE_REDIS_LINK_H
#define SLUICE_REDIS_LINK_H

#include "redis_wire.h"

enum { REDIS_TROUBLE_SIZE = 128 };

#define REDIS_PROBE_US INT64_C(500000) /* between PINGs while something is wrong */

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
    struct event *limit;                /* the first live command's time is over */
    struct event *pulse;                /* the next thing to do: an attempt, its end, a PING */
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

/* What is wrong now. */
void redis_say(struct redis *link, const char *what, const char *detail);
void redis_arm(struct event *event, int64_t us);

/* ---- redis.c
 * ------------------------------------------------------------------------------------------------- */

/* A command of the link's own. timed: within the link's time limit. */
void redis_send_own(struct redis *link, int argc, const char *const *argv, redis_callback *callback,
                    bool timed);

/* What had to wait for the connection. */
void redis_send_waiting(struct redis *link);

void redis_take_reply(struct redis *link, const struct redis_reply *reply);

/* All that was sent is told UNAVAILABLE. False where the link is gone. */
bool redis_fail_sent(struct redis *link);

/* All that waits is told UNAVAILABLE; the link may be gone. */
void redis_fail_waiting(struct redis *link);

void redis_drop_commands(struct redis *link);

/* ---- redis_attempt.c
 * ----------------------------------------------------------------------------------------- */

/* A round of attempts. */
void redis_try(struct redis *link);

/* Closes what there is. */
void redis_end_attempt(struct redis *link);

void redis_on_pulse(evutil_socket_t fd, short what, void *arg);

#endif
