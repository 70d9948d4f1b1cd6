/* Retries: hints out of headers, and the pause. */
#include "sluice/retry.h"

#include <time.h>

enum { RETRY_PAUSE_MAX_US = 8 * 1000 * 1000, RETRY_US_PER_MS = 1000, RETRY_US_PER_SECOND = 1000 * 1000 };
static const int64_t retry_longest_us = INT64_C(86400) * RETRY_US_PER_SECOND * 366;

void retry_hints_init(struct retry_hints *h)
{
    *h = (struct retry_hints){-1, -1, -1};
}

/* A decimal at the front, in millionths, with s moved behind it; -1: there is none. */
static int64_t retry_take_decimal(struct slice *s)
{
    int64_t millionths = 0, scale = RETRY_US_PER_SECOND;
    bool digits = false, fraction = false;
    for (; s->len > 0; *s = slice_skip(*s, 1)) {
        char c = s->ptr[0];
        if (c == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        digits = true;
        if (fraction)
            scale /= 10;
        millionths = fraction ? millionths + (c - '0') * scale : millionths * 10 + (c - '0') * scale;
        if (millionths > retry_longest_us)
            millionths = retry_longest_us;
    }
    return digits ? millionths : -1;
}

/* Retry-After as a date (RFC 9110, 5.6.7), in microseconds from now. */
static int64_t retry_parse_date(struct slice text, int64_t now_s)
{
    char copy[64] = {0};
    struct tm when = {0};
    memcpy(copy, text.ptr, text.len < sizeof copy - 1 ? text.len : sizeof copy - 1);
    if (!strptime(copy, "%a, %d %b %Y %H:%M:%S GMT", &when))
        return -1;
    int64_t seconds = (int64_t)timegm(&when) - now_s;
    return seconds < 0 ? 0 : seconds * RETRY_US_PER_SECOND;
}

static int64_t retry_parse_after(struct slice text, int64_t now_s)
{
    struct slice rest = text;
    int64_t us = retry_take_decimal(&rest);
    if (us >= 0 && rest.len == 0)
        return us;
    return text.len > 0 ? retry_parse_date(text, now_s) : -1;
}

static int64_t retry_unit_us(struct slice *s)
{
    static const struct {
        const char *name;
        int64_t us;
    } units[] = {{"ms", RETRY_US_PER_MS}, {"us", 1}, {"h", INT64_C(3600) * RETRY_US_PER_SECOND},
                 {"m", INT64_C(60) * RETRY_US_PER_SECOND}, {"s", RETRY_US_PER_SECOND}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (slice_starts_with(*s, slice_from_text(units[i].name))) {
            *s = slice_skip(*s, strlen(units[i].name));
            return units[i].us;
        }
    return -1;
}

int64_t retry_parse_duration(struct slice text)
{
    int64_t total = 0;
    if (text.len == 0)
        return -1;
    while (text.len > 0) {
        int64_t amount = retry_take_decimal(&text), unit = retry_unit_us(&text);
        if (amount < 0 || unit < 0)
            return -1;
        total += (int64_t)((double)amount / RETRY_US_PER_SECOND * (double)unit + 0.5);
        if (total > retry_longest_us)
            total = retry_longest_us;
    }
    return total;
}

void retry_hints_take(struct retry_hints *h, struct slice name, struct slice value, int64_t now_s)
{
    if (slice_equals_nocase(name, SLICE_LITERAL("retry-after-ms"))) {
        int64_t ms = retry_take_decimal(&value);
        h->after_us = ms >= 0 && value.len == 0 ? ms / 1000 : h->after_us;
    } else if (slice_equals_nocase(name, SLICE_LITERAL("retry-after"))) {
        int64_t us = retry_parse_after(value, now_s);
        h->after_us = h->after_us >= 0 ? h->after_us : us;
    } else if (slice_equals_nocase(name, SLICE_LITERAL("x-should-retry"))) {
        h->should_retry = slice_equals_nocase(value, SLICE_LITERAL("true"))    ? 1
                          : slice_equals_nocase(value, SLICE_LITERAL("false")) ? 0
                                                                               : -1;
    } else if (slice_starts_with_nocase(name, SLICE_LITERAL("x-ratelimit-reset-"))) {
        int64_t us = retry_parse_duration(value);
        h->reset_us = us > h->reset_us ? us : h->reset_us;
    }
}

bool retry_status_is_retryable(int status)
{
    switch (status) {
    case 408:
    case 409:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
    case 529:
        return true;
    default:
        return false;
    }
}

int64_t retry_pause_us(int64_t base_us, unsigned attempt, uint32_t random)
{
    int64_t bound = base_us;
    for (unsigned i = 1; i < attempt && bound < RETRY_PAUSE_MAX_US; i++)
        bound *= 2;
    if (bound > RETRY_PAUSE_MAX_US)
        bound = RETRY_PAUSE_MAX_US;
    return (int64_t)((double)bound * ((double)random / (double)UINT32_MAX));
}
