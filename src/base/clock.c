/* The two clocks, and the one text form of a time. */
#include "sluice/clock.h"

#include <string.h>
#include <time.h>

static int64_t clock_read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * CLOCK_US_PER_SECOND + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    return clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_boot_us(void)
{
    return clock_read_us(CLOCK_BOOTTIME);
}

int64_t clock_wall_us(void)
{
    return clock_read_us(CLOCK_REALTIME);
}

static void clock_put_micros(char *out, int micros)
{
    enum { DIGITS = 6 };
    out[0] = '.';
    for (int i = DIGITS; i > 0; i--, micros /= 10)
        out[i] = (char)('0' + micros % 10);
    memcpy(out + 1 + DIGITS, "Z", 2);
}

void clock_format_utc(int64_t wall_us, char out[CLOCK_TEXT_SIZE])
{
    static _Thread_local time_t last = -1; /* the second whose text is kept: most lines have that of the one before */
    static _Thread_local char text[CLOCK_TEXT_SIZE];
    time_t seconds = (time_t)(wall_us / CLOCK_US_PER_SECOND);
    if (seconds != last) {
        struct tm utc;
        gmtime_r(&seconds, &utc);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
        last = seconds;
    }
    size_t len = strlen(text);
    memcpy(out, text, len);
    clock_put_micros(out + len, (int)(wall_us % CLOCK_US_PER_SECOND));
}
