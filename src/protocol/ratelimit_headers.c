/* Rate limits in headers. */
#include "sluice/ratelimit_headers.h"

#include <stdio.h>

enum { RATELIMIT_US_PER_MS = 1000, RATELIMIT_MS_PER_S = 1000, RATELIMIT_MS_PER_M = 60000, RATELIMIT_MS_PER_H = 3600000 };

/* 1.5, 16.107, 2: milliseconds as seconds. */
static int ratelimit_format_seconds(int64_t ms, char *out, size_t size)
{
    int n = snprintf(out, size, "%lld.%03d", (long long)(ms / RATELIMIT_MS_PER_S), (int)(ms % RATELIMIT_MS_PER_S));
    while (n > 0 && out[n - 1] == '0')
        n--;
    if (n > 0 && out[n - 1] == '.')
        n--;
    return n + snprintf(out + n, size - (size_t)n, "s");
}

void ratelimit_format_duration(int64_t us, char out[RATELIMIT_DURATION_SIZE])
{
    int64_t ms = us <= 0 ? 0 : us / RATELIMIT_US_PER_MS + (us % RATELIMIT_US_PER_MS > 0);
    int n = 0;
    if (ms == 0) {
        snprintf(out, RATELIMIT_DURATION_SIZE, "0s");
        return;
    }
    if (ms < RATELIMIT_MS_PER_S) {
        snprintf(out, RATELIMIT_DURATION_SIZE, "%dms", (int)ms);
        return;
    }
    if (ms >= RATELIMIT_MS_PER_H)
        n = snprintf(out, RATELIMIT_DURATION_SIZE, "%lldh", (long long)(ms / RATELIMIT_MS_PER_H));
    if (ms >= RATELIMIT_MS_PER_M)
        n += snprintf(out + n, RATELIMIT_DURATION_SIZE - (size_t)n, "%dm",
                      (int)(ms % RATELIMIT_MS_PER_H / RATELIMIT_MS_PER_M));
    ratelimit_format_seconds(ms % RATELIMIT_MS_PER_M, out + n, RATELIMIT_DURATION_SIZE - (size_t)n);
}

bool ratelimit_put_headers(struct buf *head, const char *kind, const struct ratelimit_bucket *bucket)
{
    char reset[RATELIMIT_DURATION_SIZE];
    if (bucket->limit <= 0)
        return true;
    ratelimit_format_duration(bucket->reset_us, reset);
    return buf_printf(head,
                      "x-ratelimit-limit-%s: %lld\r\nx-ratelimit-remaining-%s: %lld\r\nx-ratelimit-reset-%s: %s\r\n",
                      kind, (long long)bucket->limit, kind, (long long)bucket->remaining, kind, reset);
}

bool ratelimit_is_header(struct slice name)
{
    return slice_starts_with_nocase(name, SLICE_LITERAL("x-ratelimit-"));
}
