/* A diagnostic stream, watched as a client would, each event with its time. */
#ifndef SLUICE_DOCTOR_STREAM_H
#define SLUICE_DOCTOR_STREAM_H

#include "ask.h"
#include "sluice/doctor_timing.h"

enum { STREAM_EVENTS_MAX = 128 };

struct stream_plan {
    int events; /* at most STREAM_EVENTS_MAX */
    int pace_ms;
    int64_t silence_s; /* behind the first event */
    const char *id;    /* NULL: none */
    int leave_after;   /* events; 0: stay to the end */
    bool gzip;
};

struct stream {
    struct answer answer;
    struct timing_sample samples[STREAM_EVENTS_MAX];
    size_t count;
    bool whole;      /* its last event came */
    int64_t left_us; /* when it was left, on the monotonic clock; 0: it was not */
};

/* root, key and insecure are taken from access. *s is released by stream_free() in every case. */
void stream_watch(const struct ask *access, const struct stream_plan *plan, struct stream *s);
void stream_free(struct stream *s);

#endif
