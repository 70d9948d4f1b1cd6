/* GCRA. Sums are made in 128 bits, where they cannot overflow, and brought back into their range. */
#include "sluice/bucket.h"

__extension__ typedef __int128 bucket_wide;

int64_t bucket_cost(int64_t limit, int64_t n)
{
    const bucket_wide most = BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS;
    bucket_wide cost = (bucket_wide)(n < 0 ? 0 : n) * BUCKET_MINUTE_NS / (limit < 1 ? 1 : limit);
    return (int64_t)(cost < most ? cost : most);
}

/* Near its end the clock stands still: then nothing fills, where a number cut at the end would lose what it
 * owes. */
static bucket_wide bucket_now(int64_t now)
{
    const int64_t last = INT64_MAX - BUCKET_MINUTE_NS - BUCKET_DEBT_MAX_NS;
    return now < last ? now : last;
}

int64_t bucket_wait_full(int64_t tat, int64_t now)
{
    bucket_wide wait = tat - bucket_now(now);
    if (wait > BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS)
        return BUCKET_MINUTE_NS;
    return wait < 0 ? 0 : (int64_t)wait;
}

/* Sets the number so that the bucket is full after wait. */
static void bucket_store(int64_t *tat, int64_t now, bucket_wide wait)
{
    const bucket_wide most = BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS;
    *tat = (int64_t)(bucket_now(now) + (wait < most ? wait : most));
}

/* From now on it fills, where it would else stay empty until the clock is there. */
static void bucket_mend(int64_t *tat, int64_t now)
{
    if (*tat - bucket_now(now) > BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS)
        bucket_store(tat, now, BUCKET_MINUTE_NS);
}

bool bucket_admit(int64_t *tat, int64_t limit, int64_t now, int64_t n)
{
    bucket_mend(tat, now);
    int64_t wait = bucket_wait_full(*tat, now), cost = bucket_cost(limit, n);
    if (n < 1)
        return true;
    if (wait > 0 && wait + cost > BUCKET_MINUTE_NS)
        return false;
    bucket_store(tat, now, (bucket_wide)wait + cost);
    return true;
}

void bucket_settle(int64_t *tat, int64_t limit, int64_t now, int64_t taken, int64_t used)
{
    bucket_wide wait =
        (bucket_wide)bucket_wait_full(*tat, now) + bucket_cost(limit, used) - bucket_cost(limit, taken);
    bucket_store(tat, now, wait < 0 ? 0 : wait);
}

int64_t bucket_remaining(int64_t tat, int64_t limit, int64_t now)
{
    bucket_wide room = (bucket_wide)BUCKET_MINUTE_NS - bucket_wait_full(tat, now);
    if (room < 0 || limit < 1)
        return 0;
    /* The largest n with n * minute / limit < room + 1. */
    bucket_wide n = ((room + 1) * limit - 1) / BUCKET_MINUTE_NS;
    return (int64_t)(n < limit ? n : limit);
}

int64_t bucket_wait_admit(int64_t tat, int64_t limit, int64_t now, int64_t n)
{
    int64_t wait = bucket_wait_full(tat, now), cost = bucket_cost(limit, n);
    int64_t allowed = cost < BUCKET_MINUTE_NS ? BUCKET_MINUTE_NS - cost : 0;
    return n < 1 || wait <= allowed ? 0 : wait - allowed;
}
