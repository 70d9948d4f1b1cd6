/*
 * The places of processes. A process is known by its number, its start and the boot: a number alone may be another's.
 */
#include "metrics_internal.h"
#include "sluice/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { METRICS_PROC_MAX = 1024, METRICS_STAT_START = 20 /* fields behind the name before "starttime", see proc(5) */ };

static size_t metrics_read_file(const char *path, char *to, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, to, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    to[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static uint64_t metrics_boot(void)
{
    static uint64_t boot;
    char text[64];
    if (boot == 0 && metrics_read_file("/proc/sys/kernel/random/boot_id", text, sizeof text) > 8)
        boot = strtoull(text, NULL, 16) << 32;
    return boot;
}

/* When a process started, in clock ticks, mixed with the boot; 0: it is dead, or is only waited for by its parent. */
static uint64_t metrics_birth(pid_t pid)
{
    char path[32], text[METRICS_PROC_MAX];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (metrics_read_file(path, text, sizeof text) == 0)
        return 0;
    const char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
        return 0;
    for (int field = 0; at && field < METRICS_STAT_START; field++)
        at = strchr(at + 1, ' ');
    return at ? (strtoull(at + 1, NULL, 10) ^ metrics_boot()) | 1 : 0;
}

/* A place whose owner has just taken it has no birth yet. */
static bool metrics_lives(pid_t pid, uint64_t born)
{
    if (kill(pid, 0) != 0 && errno == ESRCH)
        return false;
    uint64_t birth = metrics_birth(pid);
    return birth != 0 && (born == 0 || born == birth);
}

/* The birth is read before the number, and taken away before the place is free: whoever takes the place next must not be
 * measured by it while its own is not written yet. */
static void metrics_bury_one(struct metrics *m, struct metrics_place *p)
{
    uint64_t born = atomic_load(&p->born);
    int64_t pid = atomic_load(&p->pid);
    if (pid == 0 || metrics_lives((pid_t)pid, born))
        return;
    if (atomic_compare_exchange_strong(&p->born, &born, 0) && atomic_compare_exchange_strong(&p->pid, &pid, 0))
        metrics_count(m, METRICS_PROCESS_CRASHES, NULL, 1);
}

void metrics_bury(struct metrics *m)
{
    for (size_t i = 0; i < METRICS_PROCESSES_MAX; i++)
        metrics_bury_one(m, &m->file->places[i]);
}

void metrics_take_place(struct metrics *m)
{
    for (size_t i = 0; i < METRICS_PROCESSES_MAX && !m->place; i++) {
        struct metrics_place *p = &m->file->places[i];
        int64_t nobody = 0;
        if (!atomic_compare_exchange_strong(&p->pid, &nobody, getpid()))
            continue;
        for (size_t g = 0; g < METRICS_GAUGES; g++)
            atomic_store(&p->gauges[g], 0);
        atomic_store(&p->born, metrics_birth(getpid()));
        m->place = p;
    }
    metrics_set(m, METRICS_STARTED, clock_wall_us() / CLOCK_US_PER_SECOND);
}

void metrics_leave_place(struct metrics *m)
{
    if (!m->place)
        return;
    atomic_store(&m->place->born, 0);
    atomic_store(&m->place->pid, 0);
    m->place = NULL;
}

int64_t metrics_total(struct metrics *m, enum metrics_gauge gauge)
{
    uint64_t total = 0; /* in a damaged file it may overflow */
    for (size_t i = 0; m && i < METRICS_PROCESSES_MAX; i++) {
        const struct metrics_place *p = &m->file->places[i];
        if (atomic_load(&p->pid) != 0)
            total += (uint64_t)atomic_load_explicit(&p->gauges[gauge], memory_order_relaxed);
    }
    return (int64_t)total;
}
