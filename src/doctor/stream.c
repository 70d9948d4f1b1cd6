/* Events out of the answer, by the parser that the proxy has for those of OpenAI. */
#include "stream.h"

#include "sluice/clock.h"
#include "sluice/sse.h"

#include <jansson.h>
#include <stdio.h>

enum { STREAM_EVENT_MAX = 64 * 1024, STREAM_SPARE_MS = 10000 };

struct stream_run {
    const struct stream_plan *plan;
    struct stream *stream;
    struct sse_parser sse;
    int64_t now_us;
};

/* False where this is no event of a diagnostic stream. */
static bool stream_read_event(struct slice data, int64_t *sequence, int64_t *of, int64_t *sent_us)
{
    json_int_t got[3];
    json_t *json = json_loadb(data.ptr, data.len, 0, NULL);
    bool ok = json &&
              json_unpack(json, "{s:I,s:I,s:I}", "sequence", &got[0], "of", &got[1], "sent_us", &got[2]) == 0;
    if (ok) {
        *sequence = got[0];
        *of = got[1];
        *sent_us = got[2];
    }
    json_decref(json);
    return ok;
}

static bool stream_on_event(void *ctx, const struct sse_event *event)
{
    struct stream_run *run = ctx;
    struct stream *s = run->stream;
    int64_t sequence, of, sent_us;
    if (!stream_read_event(event->data, &sequence, &of, &sent_us) || s->count == STREAM_EVENTS_MAX)
        return true;
    s->samples[s->count++] = (struct timing_sample){sent_us, run->now_us};
    s->whole = sequence == of - 1;
    return run->plan->leave_after == 0 || s->count < (size_t)run->plan->leave_after;
}

static bool stream_on_piece(void *ctx, struct slice bytes)
{
    struct stream_run *run = ctx;
    run->now_us = clock_monotonic_us();
    if (sse_feed(&run->sse, bytes, stream_on_event, run))
        return true;
    run->stream->left_us = run->now_us;
    return false;
}

void stream_watch(const struct ask *access, const struct stream_plan *plan, struct stream *s)
{
    char path[512];
    struct stream_run run = {.plan = plan, .stream = s};
    struct ask ask = *access;
    *s = (struct stream){0};
    snprintf(path, sizeof path, "/v1/_sluice/stream?events=%d&pace_ms=%d&silence_s=%lld&id=%s", plan->events,
             plan->pace_ms, (long long)plan->silence_s, plan->id ? plan->id : "");
    sse_init(&run.sse, STREAM_EVENT_MAX);
    ask.path = path;
    ask.gzip = plan->gzip;
    ask.header = "Accept: text/event-stream";
    ask.timeout_ms = plan->silence_s * 1000 + (int64_t)plan->events * plan->pace_ms + STREAM_SPARE_MS;
    ask.piece = stream_on_piece;
    ask.ctx = &run;
    ask_send(&ask, &s->answer);
    sse_free(&run.sse);
}

void stream_free(struct stream *s)
{
    answer_free(&s->answer);
}
