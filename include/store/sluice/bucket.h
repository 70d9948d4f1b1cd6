/*
 * A token bucket as one number (GCRA): the theoretical arrival time, at which the bucket would be full again.
 *
 * A bucket holds a minute's worth, `limit` units, and fills evenly. Times are nanoseconds of any clock. Pure arithmetic
 * without a state of its own: whoever keeps the number advances it by compare-and-swap, and Redis does the same
 * arithmetic in Lua with the costs that bucket_cost() gives.
 *
 * A unit costs a minute divided by the limit, and n units n times that, rounded down to a nanosecond once: an admission
 * is charged at most one nanosecond too little, and never too much. Where the clock steps back nothing fills until it
 * has caught up. Any numbers may be given: nothing overflows. A new bucket is full: 0, on a clock that is past 0.
 */
#ifndef SLUICE_BUCKET_H
#define SLUICE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKET_MINUTE_NS INT64_C(60000000000)

/* The most that a bucket can owe beyond being empty: a day. A number that says more is not ours, or the clock was set
 * back by more than a day: the bucket counts as empty, and bucket_admit() makes it so even where it refuses. */
#define BUCKET_DEBT_MAX_NS (INT64_C(24) * 60 * BUCKET_MINUTE_NS)

/* Time that n units take to come back. n < 0 counts as 0, a limit < 1 as 1. At most BUCKET_MINUTE_NS +
 * BUCKET_DEBT_MAX_NS. */
int64_t bucket_cost(int64_t limit, int64_t n);

/* Time until it is full: 0 at most … BUCKET_MINUTE_NS: empty … more: in debt. */
int64_t bucket_wait_full(int64_t tat, int64_t now);

/* Takes n units if there are that many, or, where n is larger than the bucket, if it is full. Otherwise false, and
 * nothing changes. n < 1 is always admitted and takes nothing. */
bool bucket_admit(int64_t *tat, int64_t limit, int64_t now, int64_t n);

/* What was taken as `taken` units turned out to be `used`: the difference is given back or taken, whether it is there
 * or not. */
void bucket_settle(int64_t *tat, int64_t limit, int64_t now, int64_t taken, int64_t used);

/* The most units that bucket_admit() would now give, up to the limit. */
int64_t bucket_remaining(int64_t tat, int64_t limit, int64_t now);

/* Time until n units would be admitted if nothing else came. */
int64_t bucket_wait_admit(int64_t tat, int64_t limit, int64_t now, int64_t n);

#endif
