/*
 * Admission by Redis: one command, one round trip. Whatever goes wrong with it, the local buckets decide.
 *
 * What became of a request is told without waiting. If Redis cannot be told it stays owed and is told when it
 * is back, in a form that does nothing twice.
 */
#include "limits_internal.h"

#include "limits_script.h"
#include "sluice/clock.h"
#include "sluice/log.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LIMITS_ARGS_MAX = 96,
    LIMITS_RENEW_MAX = 64, /* members in a command */
    LIMITS_OWED_MAX = 16384
};

#define LIMITS_OWED_US       INT64_C(600000000)
#define LIMITS_NS_PER_SECOND 1e9

/* EVALSHA or EVAL, with room for the arguments' texts. */
struct limits_call {
    int argc;
    const char *argv[LIMITS_ARGS_MAX];
    char keys[2][LIMITS_NAME_SIZE];
    char numbers[4][24];
    size_t number_count;
};

static void limits_call_add(struct limits_call *c, const char *text)
{
    if (c->argc < LIMITS_ARGS_MAX)
        c->argv[c->argc++] = text;
}

static void limits_call_add_number(struct limits_call *c, int64_t number)
{
    char *text = c->numbers[c->number_count++];
    snprintf(text, sizeof c->numbers[0], "%lld", (long long)number);
    limits_call_add(c, text);
}

static void limits_call_begin(struct limits_call *c, const struct limits *l, const char *fingerprint,
                              const char *op, bool full)
{
    *c = (struct limits_call){0};
    snprintf(c->keys[0], sizeof c->keys[0], LIMITS_REDIS_PREFIX "{%s}:buckets", fingerprint);
    snprintf(c->keys[1], sizeof c->keys[1], LIMITS_REDIS_PREFIX "{%s}:leases", fingerprint);
    limits_call_add(c, full ? "EVAL" : "EVALSHA");
    limits_call_add(c, full ? limits_script : l->script_sha1);
    limits_call_add(c, "2");
    limits_call_add(c, c->keys[0]);
    limits_call_add(c, c->keys[1]);
    limits_call_add(c, op);
    limits_call_add(c, ""); /* the time: Redis' own */
    limits_call_add(c, "");
}

static struct redis_command *limits_call_send(const struct limits_call *c, struct limits *l,
                                              redis_callback *callback, void *user)
{
    return redis_command_argv(l->redis, c->argc, c->argv, NULL, callback, user);
}

static int64_t limits_cost_or_none(int64_t limit, int64_t n)
{
    return limit > 0 ? bucket_cost(limit, n) : -1;
}

/* ---- the answer
 * ---------------------------------------------------------------------------------------------- */

struct limits_answer {
    enum limits_verdict verdict;
    int64_t requests_wait, tokens_wait;
};

static bool limits_is_wait(const struct redis_reply *item)
{
    int64_t wait = redis_reply_integer(item);
    return redis_reply_type(item) == REDIS_TYPE_INTEGER && wait >= 0 &&
           wait <= BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS;
}

static bool limits_read_answer(const struct redis_reply *reply, struct limits_answer *out)
{
    const struct redis_reply *verdict = redis_reply_item(reply, 0);
    if (redis_reply_count(reply) != 4 || redis_reply_type(verdict) != REDIS_TYPE_INTEGER ||
        redis_reply_integer(verdict) < LIMITS_ADMITTED ||
        redis_reply_integer(verdict) > LIMITS_REFUSED_CONCURRENT ||
        !limits_is_wait(redis_reply_item(reply, 1)) || !limits_is_wait(redis_reply_item(reply, 2)))
        return false;
    out->verdict = (enum limits_verdict)redis_reply_integer(verdict);
    out->requests_wait = redis_reply_integer(redis_reply_item(reply, 1));
    out->tokens_wait = redis_reply_integer(redis_reply_item(reply, 2));
    return true;
}

static bool limits_is_noscript(enum redis_status status, const struct redis_reply *reply)
{
    return status == REDIS_STATUS_ERROR &&
           slice_starts_with(redis_reply_text(reply), SLICE_LITERAL("NOSCRIPT"));
}

/* ---- by Redis or not
 * ----------------------------------------------------------------------------------------- */

static const char *limits_why(const struct limits *l, enum redis_status status)
{
    const char *trouble = redis_trouble(l->redis);
    if (*trouble)
        return trouble;
    return status == REDIS_STATUS_TIMEOUT ? "no answer in time" : "an answer that is none";
}

static void limits_go_local(struct limits *l, enum redis_status status)
{
    l->stats.fallbacks++;
    if (l->away)
        return;
    l->away = true;
    log_message(
        LOG_LEVEL_WARNING, "limits_local",
        "Redis does not answer (%s): this machine's own buckets decide, with %lld.%06lld of each limit",
        limits_why(l, status), (long long)l->share / 1000000, (long long)l->share % 1000000);
}

static void limits_go_remote(struct limits *l)
{
    if (!l->away)
        return;
    l->away = false;
    log_message(LOG_LEVEL_INFO, "limits_redis", "Redis answers again and decides");
}

static void limits_fall_back(struct limits_reservation *r, enum redis_status status)
{
    struct limits *l = r->limits;
    struct limits_decision d = {.requested_tokens = r->tokens, .fallback = true};
    limits_go_local(l, status);
    r->member[0] = '\0';
    r->rates = limits_local_rates(l, &r->rates);
    limits_local_admit(r, &d);
    limits_decide(r, &d);
}

static void limits_take_answer(struct limits_reservation *r, const struct limits_answer *answer)
{
    struct limits *l = r->limits;
    struct limits_decision d = {.verdict = answer->verdict, .requested_tokens = r->tokens};
    limits_go_remote(l);
    limits_local_mirror(l, r->tag, answer->requests_wait, answer->tokens_wait);
    limits_describe(&r->rates, answer->requests_wait, answer->tokens_wait, &d);
    if (d.verdict != LIMITS_ADMITTED)
        limits_describe_refusal(&r->rates, answer->requests_wait, answer->tokens_wait, &d);
    r->phase = LIMITS_REMOTE;
    limits_decide(r, &d);
}

/* ---- admitting
 * ----------------------------------------------------------------------------------------------- */

static void limits_redis_ask(struct limits_reservation *r);

static void limits_on_admit(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct limits_reservation *r = user;
    struct limits_answer answer;
    r->command = NULL;
    if (limits_is_noscript(status, reply) && !r->full_script) {
        r->full_script = true;
        limits_redis_ask(r);
    } else if (status == REDIS_STATUS_OK && limits_read_answer(reply, &answer)) {
        r->full_script = false;
        limits_take_answer(r, &answer);
    } else {
        limits_fall_back(r, status);
    }
}

/* r may be gone when this returns: unless there is a command. */
static void limits_redis_ask(struct limits_reservation *r)
{
    struct limits *l = r->limits;
    struct limits_call c;
    limits_call_begin(&c, l, r->fingerprint, "admit", r->full_script);
    limits_call_add(&c, r->member);
    limits_call_add(&c, l->lease_text);
    limits_call_add_number(&c, r->rates.concurrent);
    limits_call_add_number(&c, limits_cost_or_none(r->rates.requests, 1));
    limits_call_add_number(&c, limits_cost_or_none(r->rates.tokens, r->tokens));
    struct redis_command *command = limits_call_send(&c, l, limits_on_admit, r);
    if (command)
        r->command = command;
}

void limits_redis_admit(struct limits_reservation *r)
{
    struct limits *l = r->limits;
    int64_t cost = r->rates.tokens > 0 ? bucket_cost(r->rates.tokens, r->tokens) : 0;
    limits_member_beat(&l->member, limits_now(l));
    r->phase = LIMITS_ASKING;
    if (cost > 0 || r->rates.concurrent > 0)
        snprintf(r->member, sizeof r->member, "%s%llx:%lld", l->instance, (unsigned long long)++l->counter,
                 (long long)cost);
    limits_redis_ask(r);
}

/* ---- settling
 * ------------------------------------------------------------------------------------------------ */

static void limits_redis_tell(struct limits_reservation *r);

static void limits_forget_owed(struct limits_reservation *r)
{
    r->limits->owed--;
    limits_forget(r);
}

static void limits_on_told(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct limits_reservation *r = user;
    struct limits_answer answer;
    r->command = NULL;
    if (limits_is_noscript(status, reply) && !r->full_script) {
        r->full_script = true;
        r->sent = false;
        limits_redis_tell(r);
    } else if (status == REDIS_STATUS_OK || status == REDIS_STATUS_ERROR) {
        if (limits_read_answer(reply, &answer))
            limits_local_mirror(r->limits, r->tag, answer.requests_wait, answer.tokens_wait);
        limits_forget_owed(r);
    } else if (r->limits->owed > LIMITS_OWED_MAX || clock_monotonic_us() - r->since_us > LIMITS_OWED_US) {
        limits_forget_owed(r);
    } else {
        r->phase = LIMITS_OWED;
    }
}

static void limits_redis_tell(struct limits_reservation *r)
{
    struct limits *l = r->limits;
    struct limits_call c;
    limits_call_begin(&c, l, r->fingerprint, r->cancelled ? "cancel" : "settle", r->full_script);
    limits_call_add(&c, r->member);
    limits_call_add_number(&c, r->cancelled ? limits_cost_or_none(r->rates.requests, 1)
                                            : limits_cost_or_none(r->rates.tokens, r->used));
    limits_call_add(&c, r->sent ? "1" : "0");
    r->phase = LIMITS_SETTLING;
    struct redis_command *command = limits_call_send(&c, l, limits_on_told, r);
    if (!command)
        return; /* told already that it could not be sent */
    r->command = command;
    r->sent = true;
}

void limits_redis_settle(struct limits_reservation *r, int64_t used, bool cancelled)
{
    bool nothing = !r->member[0] && (cancelled ? r->rates.requests == 0 : r->rates.tokens == 0 || used == 0);
    r->used = used;
    r->cancelled = cancelled;
    r->since_us = clock_monotonic_us();
    if (nothing) {
        limits_forget(r);
        return;
    }
    r->limits->owed++;
    limits_redis_tell(r);
}

/* ---- the beat
 * ------------------------------------------------------------------------------------------------ */

static void limits_tell_owed(struct limits *l)
{
    struct limits_reservation *next;
    for (struct limits_reservation *r = l->reservations; r && redis_is_connected(l->redis); r = next) {
        next = r->next;
        if (r->phase == LIMITS_OWED)
            limits_redis_tell(r);
    }
}

static void limits_on_renewed(void *user, enum redis_status status, const struct redis_reply *reply)
{
    (void)user;
    (void)status;
    (void)reply;
}

static bool limits_is_renewed(const struct limits_reservation *r)
{
    return r->member[0] && r->phase >= LIMITS_REMOTE;
}

static int limits_compare_keys(const void *a, const void *b)
{
    const struct limits_reservation *const *x = a, *const *y = b;
    return memcmp((*x)->fingerprint, (*y)->fingerprint, KEY_FINGERPRINT_SIZE);
}

/* As many of the list's beginning as belong to one key and fit into a command; gives how many. */
static size_t limits_renew_some(struct limits *l, struct limits_reservation **list, size_t count)
{
    struct limits_call c;
    size_t n = 0;
    limits_call_begin(&c, l, list[0]->fingerprint, "renew", false);
    limits_call_add(&c, l->lease_text);
    while (n < count && n < LIMITS_RENEW_MAX && limits_compare_keys(&list[0], &list[n]) == 0)
        limits_call_add(&c, list[n++]->member);
    limits_call_send(&c, l, limits_on_renewed, NULL);
    return n;
}

/* A command for each key, not for each request: ten thousand streams are a few hundred commands. */
static void limits_renew(struct limits *l)
{
    size_t count = 0, n = 0;
    for (struct limits_reservation *r = l->reservations; r; r = r->next)
        count += limits_is_renewed(r);
    struct limits_reservation **list = count > 0 ? calloc(count, sizeof *list) : NULL;
    if (!list)
        return;
    for (struct limits_reservation *r = l->reservations; r; r = r->next)
        if (limits_is_renewed(r))
            list[n++] = r;
    qsort(list, count, sizeof(struct limits_reservation *), limits_compare_keys);
    for (size_t at = 0; at < count && redis_is_connected(l->redis);)
        at += limits_renew_some(l, list + at, count - at);
    free(list);
}

void limits_redis_beat(struct limits *l)
{
    if (!redis_is_connected(l->redis))
        return;
    limits_renew(l);
    limits_tell_owed(l);
}

bool limits_redis_open(struct limits *l)
{
    uint8_t random[8], sha1[SHA_DIGEST_LENGTH];
    if (!digest_random(random, sizeof random) ||
        !SHA1((const unsigned char *)limits_script, strlen(limits_script), sha1))
        return false;
    digest_hex(random, sizeof random, l->instance);
    digest_hex(sha1, sizeof sha1, l->script_sha1);
    snprintf(l->lease_text, sizeof l->lease_text, "%.6f", (double)l->member.lease_ns / LIMITS_NS_PER_SECOND);
    return true;
}
