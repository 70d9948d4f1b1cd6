/* A load: one request sent again and again over some connections, and what came back. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "samples.h"

#include <stdbool.h>

struct load_plan {
    int port;            /* on 127.0.0.1 */
    const char *request; /* head and body, as they go out */
    size_t request_len;
    size_t number_at;    /* where in the request its number goes, LOAD_NUMBER_DIGITS long; SIZE_MAX: nowhere */
    uint64_t first_number, numbers; /* they go round from the first on; numbers 0: without end */
    size_t connections;
    uint64_t requests;   /* in all; 0: until the time is over */
    int64_t duration_ns; /* no request starts later; 0: no bound */
    int64_t ramp_ns;     /* over which the connections start, evenly */
    int64_t timeout_ns;  /* for the whole */
    uint64_t stamps;     /* replies are event streams with so many timestamps; 0: plain replies */
    bool progress;       /* tell of the events while all streams are open */
};

enum { LOAD_NUMBER_DIGITS = 8 };

/* Events that arrive while streams still start, or while all are open and none has ended. */
struct load_phase {
    struct samples delay; /* from a timestamp in an event to its arrival */
    struct samples gap;   /* how far the time between two arrivals of a stream is off the one between their timestamps */
};

struct load_result {
    struct samples total; /* from the first byte sent to the last received */
    struct samples first; /* to the first piece of the body */
    struct samples delay; /* as in the phases, of all events */
    struct load_phase ramp, steady;
    uint64_t complete, broken, wrong, disordered, reconnects, events;
    int64_t elapsed_ns;
    bool timed_out;
};

/* False with errno where the system refuses what is needed. */
bool load_run(const struct load_plan *plan, struct load_result *result);

int64_t load_now_ns(void);

#endif
