/* Durations of one kind, in nanoseconds, and what is said about them. */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct samples {
    int64_t *ns;
    size_t count, size;
};

/* Ends the program where there is no memory. */
void samples_add(struct samples *s, int64_t ns);

/* Writes {"n":...,"mean":...,"p50":...,"p90":...,"p99":...,"p999":...,"max":...} in microseconds. Sorts. */
void samples_write(struct samples *s, FILE *to);

void samples_free(struct samples *s);

#endif
