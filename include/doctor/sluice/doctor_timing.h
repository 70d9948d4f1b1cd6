/*
 * Whether the events of a stream came as they were sent: a pure function over times.
 *
 * The sender's clock and the receiver's need not agree: an event's lateness is what its way took beyond the
 * fastest event's way.
 */
#ifndef SLUICE_DOCTOR_TIMING_H
#define SLUICE_DOCTOR_TIMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timing_sample {
    int64_t sent_us;    /* on the sender's clock */
    int64_t arrived_us; /* on the receiver's clock */
};

struct timing {
    int64_t latest_us; /* the greatest lateness */
    size_t late;       /* events later than the tolerance */
    size_t bursts;     /* arrivals of two or more events at once that were not sent so */
    size_t largest;    /* events in the largest burst */
    bool held_to_end;  /* all of several events came in one burst */
};

/* Samples stand in the order of their arrival. */
void timing_measure(const struct timing_sample *samples, size_t count, int64_t tolerance_us,
                    struct timing *out);

#endif
