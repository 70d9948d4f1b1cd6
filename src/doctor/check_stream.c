/* How a stream arrives: in time, not compressed, and whole after a silence. */
#include "checks.h"

#include "sluice/clock.h"
#include "stream.h"

enum {
    CHECK_EVENTS = 12,
    CHECK_PACE_MS = 100,
    CHECK_TOLERANCE_MS = 250, /* a busy machine is late too; three or more events held back are later */
    CHECK_ATTEMPTS = 3
};

/* The stream that came best of a few: one hiccup on the way is no fault. */
static void check_watch_best(struct doctor *d, bool gzip, struct stream *s, struct timing *timing)
{
    struct stream_plan plan = {.events = CHECK_EVENTS, .pace_ms = CHECK_PACE_MS, .gzip = gzip};
    for (int i = 0; i < CHECK_ATTEMPTS; i++) {
        if (i > 0)
            stream_free(s);
        stream_watch(&d->access, &plan, s);
        timing_measure(s->samples, s->count, CHECK_TOLERANCE_MS * CLOCK_US_PER_MS, timing);
        if (s->whole && timing->late == 0)
            return;
    }
}

static long long check_ms(int64_t us)
{
    return (long long)(us / CLOCK_US_PER_MS);
}

static void check_late(struct doctor *d, const char *name, enum front_fault fault, const struct stream *s,
                       const struct timing *t)
{
    if (t->held_to_end)
        doctor_find(d, REPORT_FAIL, name, fault, 0,
                    "%zu events, one every %d ms, arrive all at once at the end: the first is %lld ms late",
                    s->count, CHECK_PACE_MS, check_ms(t->latest_us));
    else
        doctor_find(d, REPORT_FAIL, name, fault, 0,
                    "%zu of %zu events, one every %d ms, arrive late or in bursts (up to %zu at once), up to "
                    "%lld ms late",
                    t->late, s->count, CHECK_PACE_MS, t->largest, check_ms(t->latest_us));
}

static void check_not_whole(struct doctor *d, const char *name, const struct stream *s)
{
    report_add(&d->report, REPORT_FAIL, name, NULL, "%zu of %d events arrive (status %d%s%s)", s->count,
               CHECK_EVENTS, s->answer.status, s->answer.error[0] ? "; " : "", s->answer.error);
}

/* Without chunks the end of an HTTP/1.1 stream is the end of the connection, as that of a broken one. */
static bool check_end_is_marked(const struct stream *s)
{
    return s->answer.version != 11 || s->answer.chunked || s->answer.has_length;
}

void check_stream(struct doctor *d)
{
    struct stream s;
    struct timing t;
    check_watch_best(d, false, &s, &t);
    d->late = !s.whole || t.late > 0;
    if (!s.whole)
        check_not_whole(d, "stream", &s);
    else if (t.late > 0)
        check_late(d, "stream", FRONT_FAULT_BUFFERING, &s, &t);
    else
        report_add(&d->report, REPORT_OK, "stream", NULL,
                   "%zu events arrive as they are sent, at most %lld ms late", s.count,
                   check_ms(t.latest_us));
    if (s.whole && !check_end_is_marked(&s))
        doctor_find(d, REPORT_FAIL, "chunked", FRONT_FAULT_CHUNKED, 0,
                    "a stream is sent without chunks: one that is cut looks complete");
    stream_free(&s);
}

void check_compression(struct doctor *d)
{
    struct stream s;
    struct timing t;
    check_watch_best(d, true, &s, &t);
    if (!s.answer.encoding[0])
        report_add(&d->report, REPORT_OK, "compression", NULL, "streams are not compressed");
    else if (!s.whole)
        doctor_find(d, REPORT_FAIL, "compression", FRONT_FAULT_COMPRESSION, 0,
                    "a stream for a client that accepts gzip is compressed, and only %zu of %d events arrive",
                    s.count, CHECK_EVENTS);
    else if (t.late > 0)
        check_late(d, "compression", FRONT_FAULT_COMPRESSION, &s, &t);
    else
        doctor_find(d, REPORT_WARN, "compression", FRONT_FAULT_COMPRESSION, 0,
                    "a stream for a client that accepts gzip is compressed (%s): in time, but it costs work "
                    "and bytes "
                    "with every event",
                    s.answer.encoding);
    stream_free(&s);
}

static void check_cut(struct doctor *d, const struct stream *s, int64_t waited_us)
{
    doctor_find(d, REPORT_FAIL, "silence", FRONT_FAULT_SILENCE, d->arguments.silence_s,
                "a stream that is silent for %lld s breaks off, after %lld s (status %d%s%s)",
                (long long)d->arguments.silence_s, (long long)(waited_us / CLOCK_US_PER_SECOND),
                s->answer.status, s->answer.error[0] ? "; " : "", s->answer.error);
}

void check_silence(struct doctor *d)
{
    struct stream s;
    struct stream_plan plan = {.events = 2, .silence_s = d->arguments.silence_s};
    int64_t began_us = clock_monotonic_us();
    if (d->arguments.silence_s == 0)
        return;
    stream_watch(&d->access, &plan, &s);
    if (s.whole)
        report_add(&d->report, REPORT_OK, "silence", NULL,
                   "a stream that is silent for %lld s goes on afterwards",
                   (long long)d->arguments.silence_s);
    else
        check_cut(d, &s, clock_monotonic_us() - began_us);
    stream_free(&s);
}
