/*
 * The clock of the shared file: CLOCK_BOOTTIME and an offset that all processes take from the file.
 *
 * The first process after a start of the machine chooses the offset, so that time goes on from the wall
 * clock, or from the latest time in the file where the wall clock is behind it. One word holds the offset and
 * which start of the machine it belongs to: seconds in its low 34 bits, above them 30 bits of the boot's
 * identifier.
 */
#include "limits_table.h"

#include "sluice/clock.h"

#include <fcntl.h>
#include <unistd.h>

enum { LIMITS_OFFSET_BITS = 34, LIMITS_BOOT_ID_MAX = 64 };

#define LIMITS_OFFSET_MASK ((UINT64_C(1) << LIMITS_OFFSET_BITS) - 1)
#define LIMITS_OFFSET_MAX  UINT64_C(8000000000) /* the year 2223; nanoseconds end in 2262 */
#define LIMITS_SEEN_AHEAD_MAX                                                                                \
    INT64_C(86400) /* a file that is further ahead of the wall clock is not believed */
#define LIMITS_NS_PER_US     INT64_C(1000)
#define LIMITS_NS_PER_SECOND INT64_C(1000000000)

/* Never 0. Where the system tells no identifier all starts count as one. */
static uint64_t limits_clock_boot(void)
{
    char text[LIMITS_BOOT_ID_MAX];
    struct digest digest = {{1}};
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    if (n > 0 && !digest_sha256(slice_make(text, (size_t)n), &digest))
        digest.bytes[0] = 1;
    uint64_t boot;
    memcpy(&boot, digest.bytes, sizeof boot);
    boot >>= LIMITS_OFFSET_BITS;
    return boot ? boot : 1;
}

static uint64_t limits_clock_choose(const struct limits_shared *s)
{
    int64_t wall = clock_wall_us() / CLOCK_US_PER_SECOND, boot = clock_boot_us() / CLOCK_US_PER_SECOND;
    int64_t seen = atomic_load(&s->seen_ns) / LIMITS_NS_PER_SECOND + 1;
    int64_t now = seen > wall && seen - wall < LIMITS_SEEN_AHEAD_MAX ? seen : wall;
    return now > boot ? (uint64_t)(now - boot) & LIMITS_OFFSET_MASK : 0;
}

int64_t limits_clock_open(struct limits_shared *s)
{
    uint64_t boot = limits_clock_boot(), word = atomic_load(&s->clock);
    while (word >> LIMITS_OFFSET_BITS != boot) {
        uint64_t chosen = boot << LIMITS_OFFSET_BITS | limits_clock_choose(s);
        if (atomic_compare_exchange_strong(&s->clock, &word, chosen))
            word = chosen;
    }
    uint64_t seconds = word & LIMITS_OFFSET_MASK;
    return (int64_t)(seconds < LIMITS_OFFSET_MAX ? seconds : LIMITS_OFFSET_MAX) * LIMITS_NS_PER_SECOND;
}

int64_t limits_clock_ns(int64_t offset_ns)
{
    return offset_ns + clock_boot_us() * LIMITS_NS_PER_US;
}
