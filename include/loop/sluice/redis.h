/*
 * A link to a Redis server, on the event loop. The one module that knows hiredis.
 *
 * One link a worker, for everything that it wants of Redis. It connects by itself, says AUTH and SELECT, and counts as
 * connected once PING was answered; it connects again, with growing pauses, when it breaks. No call waits: a command is
 * answered within the link's time limit, or told TIMEOUT, and a reply that comes later is dropped. While the link is
 * known to be bad a command is told UNAVAILABLE at once:
 *
 *   - no connection. Only on the very first attempt, and directly after a good connection broke, do commands wait
 *     for the connection, within their time limit.
 *   - the breaker is open: REDIS_BREAKER_FAILURES commands in a row timed out or were answered with an error that
 *     tells of the server's state. The link then asks PING from time to time, and closes the breaker when it is answered
 *     in time. No request pays for a probe.
 *
 * A host's name is resolved by a short-lived thread for each round of attempts, as resolvers wait; all its addresses
 * are tried.
 */
#ifndef SLUICE_REDIS_H
#define SLUICE_REDIS_H

#include "sluice/redis_url.h"
#include "sluice/slice.h"

#include <event2/event.h>
#include <stdint.h>

enum {
    REDIS_BREAKER_FAILURES = 5,
    REDIS_PENDING_MAX = 16384,        /* commands without a reply; beyond, UNAVAILABLE */
    REDIS_REPLY_MAX = 64 * 1024 * 1024, /* bytes of a reply that is not complete; beyond, the connection is dropped */
    REDIS_REPLY_ITEMS_MAX = 65536 /* of an array; likewise */
};

struct redis;         /* the link */
struct redis_command; /* one that waits for its reply */
struct redis_reply;   /* valid within the callback only */

enum redis_status {
    REDIS_STATUS_OK,
    REDIS_STATUS_ERROR,      /* the server answered with an error: the reply is its text */
    REDIS_STATUS_TIMEOUT,    /* it may or may not have been executed */
    REDIS_STATUS_UNAVAILABLE /* not sent, or the connection broke before the reply: it may have been executed */
};

/* reply is NULL unless OK or ERROR. Any function of the link may be called from within, redis_free() included. */
typedef void redis_callback(void *user, enum redis_status status, const struct redis_reply *reply);

/* timeout_us: of each command, from the call to the reply. NULL without memory. */
struct redis *redis_new(struct event_base *base, const struct redis_url *url, int64_t timeout_us);

/* Commands that wait are not called back. */
void redis_free(struct redis **handle);

/*
 * Sends a command; its arguments are copied. The callback is called exactly once unless the command is cancelled, and
 * possibly before this returns (UNAVAILABLE): then NULL is returned.
 */
struct redis_command *redis_command_argv(struct redis *link, int argc, const char *const *argv, const size_t *lens,
                                         redis_callback *callback, void *user);

/* The callback will not be called; the command may be executed all the same. Clears *command; NULL is ignored. Only
 * for a command that was not called back yet. */
void redis_command_cancel(struct redis_command **command);

/* ---- replies ------------------------------------------------------------------------------------------------ */

enum redis_type {
    REDIS_TYPE_NIL,
    REDIS_TYPE_INTEGER,
    REDIS_TYPE_STRING, /* of a status, too */
    REDIS_TYPE_ERROR,
    REDIS_TYPE_ARRAY
};

/* NULL is a nil. */
enum redis_type redis_reply_type(const struct redis_reply *reply);

/* Of another type: 0, the empty slice, 0, NULL. */
int64_t redis_reply_integer(const struct redis_reply *reply);
struct slice redis_reply_text(const struct redis_reply *reply); /* STRING and ERROR */
size_t redis_reply_count(const struct redis_reply *reply);      /* ARRAY */
const struct redis_reply *redis_reply_item(const struct redis_reply *reply, size_t index);

/* ---- state -------------------------------------------------------------------------------------------------- */

/* True where the last PING or command was answered in time on the connection that there is, and the breaker is
 * closed. An idle link asks every few seconds. */
bool redis_is_connected(const struct redis *link);

/* What is wrong, in words without secrets, or "" while connected: for logs and health. */
const char *redis_trouble(const struct redis *link);

/* Upper bounds of the latency buckets in microseconds; the last bucket has none. */
enum { REDIS_LATENCY_BUCKETS = 10 };
extern const int64_t redis_latency_bounds_us[REDIS_LATENCY_BUCKETS - 1];

/* Counts since redis_new(). */
struct redis_stats {
    uint64_t commands;    /* asked for */
    uint64_t replies;     /* in time, errors included */
    uint64_t errors;      /* of the replies */
    uint64_t timeouts;
    uint64_t unavailable;
    uint64_t late;        /* replies that were dropped */
    uint64_t connections; /* that became good */
    uint64_t breaks;      /* of good connections, and of attempts */
    uint64_t breaker_opened;
    uint64_t latency_sum_us; /* over replies */
    uint64_t latency[REDIS_LATENCY_BUCKETS];
};

const struct redis_stats *redis_stats(const struct redis *link);

#endif
