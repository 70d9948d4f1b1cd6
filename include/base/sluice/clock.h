/* Time. Every duration and timeout in Sluice is measured on the monotonic clock, in microseconds. */
#ifndef SLUICE_CLOCK_H
#define SLUICE_CLOCK_H

#include <stdint.h>

#define CLOCK_US_PER_MS 1000
#define CLOCK_US_PER_SECOND 1000000

/* Microseconds since an arbitrary start; never steps back. */
int64_t clock_monotonic_us(void);

/* Microseconds since the machine was started, its sleep included: the same for all processes; never steps back. */
int64_t clock_boot_us(void);

/* Microseconds since 1970-01-01T00:00:00Z; may step when the machine's clock is set. */
int64_t clock_wall_us(void);

/* 2026-01-31T23:59:59.123456Z; out takes CLOCK_TEXT_SIZE bytes. */
enum { CLOCK_TEXT_SIZE = 32 };
void clock_format_utc(int64_t wall_us, char out[CLOCK_TEXT_SIZE]);

#endif
