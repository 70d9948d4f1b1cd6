/* Lateness and bursts. */
#include "sluice/doctor_timing.h"

enum { TIMING_APART_US = 20000 }; /* events sent further apart and arriving closer together came in a burst */

static int64_t timing_way(const struct timing_sample *s)
{
    return s->arrived_us - s->sent_us;
}

static int64_t timing_fastest_way(const struct timing_sample *samples, size_t count)
{
    int64_t fastest = timing_way(&samples[0]);
    for (size_t i = 1; i < count; i++)
        if (timing_way(&samples[i]) < fastest)
            fastest = timing_way(&samples[i]);
    return fastest;
}

static bool timing_joins(const struct timing_sample *before, const struct timing_sample *after)
{
    return after->sent_us - before->sent_us > TIMING_APART_US &&
           after->arrived_us - before->arrived_us <= TIMING_APART_US;
}

static void timing_count_bursts(const struct timing_sample *samples, size_t count, struct timing *out)
{
    size_t run = 1;
    for (size_t i = 1; i < count; i++) {
        run = timing_joins(&samples[i - 1], &samples[i]) ? run + 1 : 1;
        if (run == 2)
            out->bursts++;
        if (run > 1 && run > out->largest)
            out->largest = run;
    }
    out->held_to_end = count > 1 && out->largest == count;
}

void timing_measure(const struct timing_sample *samples, size_t count, int64_t tolerance_us,
                    struct timing *out)
{
    *out = (struct timing){0};
    if (count == 0)
        return;
    int64_t fastest = timing_fastest_way(samples, count);
    for (size_t i = 0; i < count; i++) {
        int64_t late = timing_way(&samples[i]) - fastest;
        if (late > out->latest_us)
            out->latest_us = late;
        if (late > tolerance_us)
            out->late++;
    }
    timing_count_bursts(samples, count, out);
}
