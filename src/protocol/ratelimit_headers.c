/* Rate limits in headers. */
#include "sluice/ratelimit_headers.h"

#include <string.h>

enum { RATELIMIT_US_PER_MS = 1000, RATELIMIT_MS_PER_S = 1000, RATELIMIT_MS_PER_M = 60000, RATELIMIT_MS_PER_H = 3600000 };

/* Decimal digits, without a NUL; gives where they end. */
static char *ratelimit_put_digits(char *out, int64_t value)
{
    char digits[24], *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    size_t len = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, len);
    return out + len;
}

/* 1.5, 16.107, 2: milliseconds as seconds. */
static char *ratelimit_put_seconds(char *out, int64_t ms)
{
    int rest = (int)(ms % RATELIMIT_MS_PER_S);
    out = ratelimit_put_digits(out, ms / RATELIMIT_MS_PER_S);
    if (rest > 0)
        *out++ = '.';
    for (int unit = 100; rest > 0; unit /= 10) {
        *out++ = (char)('0' + rest / unit);
        rest %= unit;
    }
    return out;
}

static char *ratelimit_put_unit(char *out, int64_t value, const char *unit)
{
    return stpcpy(ratelimit_put_digits(out, value), unit);
}

void ratelimit_format_duration(int64_t us, char out[RATELIMIT_DURATION_SIZE])
{
    int64_t ms = us <= 0 ? 0 : us / RATELIMIT_US_PER_MS + (us % RATELIMIT_US_PER_MS > 0);
    if (ms > 0 && ms < RATELIMIT_MS_PER_S) {
        ratelimit_put_unit(out, ms, "ms");
        return;
    }
    if (ms >= RATELIMIT_MS_PER_H)
        out = ratelimit_put_unit(out, ms / RATELIMIT_MS_PER_H, "h");
    if (ms >= RATELIMIT_MS_PER_M)
        out = ratelimit_put_unit(out, ms % RATELIMIT_MS_PER_H / RATELIMIT_MS_PER_M, "m");
    stpcpy(ratelimit_put_seconds(out, ms % RATELIMIT_MS_PER_M), "s");
}

static bool ratelimit_put_name(struct buf *head, const char *name, const char *kind)
{
    return buf_append_text(head, name) && buf_append_text(head, kind) && buf_append(head, ": ", 2);
}

static bool ratelimit_put_number(struct buf *head, const char *name, const char *kind, int64_t value)
{
    return ratelimit_put_name(head, name, kind) && buf_append_int(head, value) && buf_append(head, "\r\n", 2);
}

bool ratelimit_put_headers(struct buf *head, const char *kind, const struct ratelimit_bucket *bucket)
{
    if (bucket->limit <= 0)
        return true;
    char reset[RATELIMIT_DURATION_SIZE];
    ratelimit_format_duration(bucket->reset_us, reset);
    return ratelimit_put_number(head, "x-ratelimit-limit-", kind, bucket->limit) &&
           ratelimit_put_number(head, "x-ratelimit-remaining-", kind, bucket->remaining) &&
           ratelimit_put_name(head, "x-ratelimit-reset-", kind) &&
           buf_append_text(head, reset) && buf_append(head, "\r\n", 2);
}

bool ratelimit_is_header(struct slice name)
{
    return slice_starts_with_nocase(name, SLICE_LITERAL("x-ratelimit-"));
}
