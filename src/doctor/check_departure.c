/*
 * Whether Sluice hears of a client that leaves: only then it cancels the call at OpenAI.
 *
 * Which worker had the stream is not known to the outside: each question goes out on a connection of its own,
 * until the one that had it answers.
 */
#include "checks.h"

#include "sluice/clock.h"
#include "sluice/digest.h"
#include "stream.h"

#include <jansson.h>
#include <stdio.h>
#include <time.h>

enum {
    CHECK_STREAM_EVENTS = 80,
    CHECK_STREAM_PACE_MS = 100,
    CHECK_SILENCE_SECONDS = 6,
    CHECK_LIMIT_MS = 1000,
    CHECK_PAUSE_MS = 50,
    CHECK_ID_BYTES = 16
};

struct check_departed {
    bool known, ended, left;
    int64_t after_ms; /* from the stream's begin */
};

static void check_pause(int64_t ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static bool check_read_departure(const struct answer *a, struct check_departed *out)
{
    int known = 0, ended = 0, left = 0;
    json_int_t after_ms = 0;
    json_t *json = json_loadb(a->body.len ? buf_data(&a->body) : "", a->body.len, 0, NULL);
    bool ok = json && json_unpack(json, "{s:b,s?b,s?b,s?I}", "known", &known, "ended", &ended, "left", &left,
                                  "after_ms", &after_ms) == 0;
    json_decref(json);
    if (ok)
        *out = (struct check_departed){known, ended, left, after_ms};
    return ok;
}

static bool check_ask_departure(struct doctor *d, const char *id, struct check_departed *out)
{
    char path[128];
    struct answer a;
    struct ask ask = d->access;
    snprintf(path, sizeof path, "/v1/_sluice/departure?id=%s", id);
    ask.path = path;
    ask_send(&ask, &a);
    bool ok = check_read_departure(&a, out) && out->known;
    answer_free(&a);
    return ok;
}

/* Asks until the stream has ended or the time is over; out is the last that was heard. */
static void check_await_departure(struct doctor *d, const char *id, int64_t until_us,
                                  struct check_departed *out)
{
    *out = (struct check_departed){0};
    for (;;) {
        struct check_departed heard;
        if (check_ask_departure(d, id, &heard))
            *out = heard;
        if (out->ended || clock_monotonic_us() > until_us)
            return;
        check_pause(CHECK_PAUSE_MS);
    }
}

static bool check_make_id(char id[2 * CHECK_ID_BYTES + 1])
{
    unsigned char random[CHECK_ID_BYTES];
    if (!digest_random(random, sizeof random))
        return false;
    digest_hex(random, sizeof random, id);
    return true;
}

/* Opens a stream, leaves it after some events, and hears when Sluice saw that. delay_ms is negative where it
 * did not. False: the stream did not come that far, or no worker knew of it. */
static bool check_leave(struct doctor *d, struct stream_plan *plan, int64_t *delay_ms)
{
    char id[2 * CHECK_ID_BYTES + 1];
    struct stream s;
    struct check_departed departed = {0};
    int64_t length_ms = plan->silence_s * 1000 + (int64_t)plan->events * plan->pace_ms;
    if (!check_make_id(id))
        return false;
    plan->id = id;
    stream_watch(&d->access, plan, &s);
    if (s.left_us != 0) {
        check_await_departure(d, id, s.left_us + (length_ms + 2000) * CLOCK_US_PER_MS, &departed);
        *delay_ms =
            !departed.left ? -1 : departed.after_ms - (s.left_us - s.samples[0].arrived_us) / CLOCK_US_PER_MS;
        if (departed.left && *delay_ms < 0)
            *delay_ms = 0;
    }
    bool known = s.left_us != 0 && departed.known;
    stream_free(&s);
    return known;
}

static void check_report_departure(struct doctor *d, const char *name, enum front_fault fault,
                                   const char *when, int64_t delay_ms)
{
    if (delay_ms < 0)
        doctor_find(d, REPORT_FAIL, name, fault, 0,
                    "a client leaves %s, and Sluice never hears of it: the call goes on and is paid for",
                    when);
    else if (delay_ms > CHECK_LIMIT_MS)
        doctor_find(d, REPORT_FAIL, name, fault, 0,
                    "a client leaves %s, and Sluice hears of it only after %lld ms", when,
                    (long long)delay_ms);
    else
        report_add(&d->report, REPORT_OK, name, NULL,
                   "a client leaves %s, and Sluice hears of it after %lld ms", when, (long long)delay_ms);
}

static void check_unknown(struct doctor *d, const char *name)
{
    report_add(&d->report, REPORT_WARN, name, NULL,
               "no answer knew of the stream that was left: nothing can be said");
}

void check_departure(struct doctor *d)
{
    struct stream_plan plan = {
        .events = CHECK_STREAM_EVENTS, .pace_ms = CHECK_STREAM_PACE_MS, .leave_after = 3};
    int64_t delay_ms;
    if (check_leave(d, &plan, &delay_ms))
        check_report_departure(d, "departure", FRONT_FAULT_DEPARTURE, "a flowing stream", delay_ms);
    else
        check_unknown(d, "departure");
}

void check_silent_departure(struct doctor *d)
{
    struct stream_plan plan = {.events = 2, .silence_s = CHECK_SILENCE_SECONDS, .leave_after = 1};
    int64_t delay_ms;
    if (d->server == FRONT_APACHE || d->server == FRONT_APACHE_PROXY_FCGI || d->server == FRONT_APACHE_FCGID)
        report_add(
            &d->report, REPORT_NOTE, "silent-departure", NULL,
            "Apache looks after its client only when it writes: one that leaves while the model thinks is "
            "noticed at the next event");
    else if (check_leave(d, &plan, &delay_ms))
        check_report_departure(d, "silent-departure", FRONT_FAULT_SILENT_DEPARTURE, "a silent stream",
                               delay_ms);
    else
        check_unknown(d, "silent-departure");
}
