/* What a process shows of itself, every few seconds: memory, descriptors, the breaker, Redis, its log. */
#include "exchange.h"

#include "sluice/cache.h"
#include "sluice/clock.h"
#include "sluice/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORDER_SECONDS = 2, RECORDER_ENTRIES = 1024 /* of a directory, at once */ };

static int64_t recorder_yes(bool yes)
{
    return yes ? METRICS_YES : METRICS_NO;
}

/* The second number of statm is the resident pages, proc(5). */
static int64_t recorder_memory(void)
{
    char text[128] = "", *rest;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    strtoll(text, &rest, 10);
    return strtoll(rest, NULL, 10) * sysconf(_SC_PAGESIZE);
}

/* Tens of thousands of entries take milliseconds: they are counted in parts, a part each tick. -1: not yet. */
static int64_t recorder_count_descriptors(struct recorder *r)
{
    struct stat info;
    if (!r->descriptors && stat("/proc/self/fd", &info) == 0 && info.st_size > 0)
        return info.st_size; /* Linux 6.2 and later say it */
    if (!r->descriptors) {
        r->descriptors = opendir("/proc/self/fd");
        r->descriptors_seen = -3; /* ".", ".." and the directory itself */
    }
    for (int i = 0; r->descriptors && i < RECORDER_ENTRIES; i++, r->descriptors_seen++) {
        if (readdir(r->descriptors))
            continue;
        closedir(r->descriptors);
        r->descriptors = NULL;
        return r->descriptors_seen;
    }
    return -1;
}

static void recorder_note_descriptors(struct recorder *r)
{
    struct rlimit limit;
    int64_t n = recorder_count_descriptors(r);
    if (n >= 0)
        metrics_set(r->metrics, METRICS_DESCRIPTORS, n);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metrics_set(r->metrics, METRICS_DESCRIPTORS_MAX, (int64_t)limit.rlim_cur);
}

static void recorder_note_log(struct recorder *r)
{
    const struct log_counts *now = log_counts();
    metrics_count(r->metrics, METRICS_LOG_LINES, NULL, now->lines - r->log_lines);
    metrics_count(r->metrics, METRICS_LOG_DROPPED, NULL, now->dropped - r->log_dropped);
    r->log_lines = now->lines;
    r->log_dropped = now->dropped;
}

static void recorder_count_writes(struct recorder *r, const char *result, uint64_t now, uint64_t *before)
{
    metrics_count(r->metrics, METRICS_CACHE_WRITES, &(struct metrics_values){{slice_from_text(result)}}, now - *before);
    *before = now;
}

static void recorder_note_cache(struct recorder *r, const struct cache_counts *counts)
{
    recorder_count_writes(r, "stored", counts->stored_local + counts->stored_redis, &r->cache_stored);
    recorder_count_writes(r, "dropped", counts->dropped, &r->cache_dropped);
    recorder_count_writes(r, "failed", counts->write_failures, &r->cache_failed);
}

void record_refresh(struct proxy *p)
{
    struct recorder *r = &p->recorder;
    if (!r->metrics)
        return;
    metrics_set(r->metrics, METRICS_RESIDENT_BYTES, recorder_memory());
    metrics_set(r->metrics, METRICS_BREAKER_OPEN, recorder_yes(pool_is_open(p->pool)));
    metrics_set(r->metrics, METRICS_DRAINING, recorder_yes(p->draining));
    if (p->redis)
        metrics_note_redis(r->metrics, redis_is_connected(p->redis), redis_stats(p->redis), &r->redis,
                           redis_latency_bounds_us);
    if (p->cache)
        recorder_note_cache(r, cache_counts(p->cache));
    recorder_note_descriptors(r);
    recorder_note_log(r);
}

static void recorder_on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    record_refresh(arg);
}

/* Behind everything else that is to be done in this turn of the loop. */
static void recorder_wake(void *arg)
{
    struct recorder *r = arg;
    event_active(r->flush, EV_TIMEOUT, 0);
}

static void recorder_on_flush(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    log_flush();
}

/* What was logged before belongs to whoever this process was forked from. */
bool record_start(struct proxy *p, struct metrics *metrics)
{
    struct timeval period = {RECORDER_SECONDS, 0};
    struct recorder *r = &p->recorder;
    r->metrics = metrics;
    r->log_lines = log_counts()->lines;
    r->log_dropped = log_counts()->dropped;
    r->tick = event_new(p->base, -1, EV_PERSIST, recorder_on_tick, p);
    r->flush = event_new(p->base, -1, 0, recorder_on_flush, NULL);
    if (r->flush)
        log_gather(recorder_wake, r);
    record_refresh(p);
    return r->tick && r->flush && event_add(r->tick, &period) == 0;
}

void record_stop(struct proxy *p)
{
    record_refresh(p);
    log_gather(NULL, NULL);
    if (p->recorder.tick)
        event_free(p->recorder.tick);
    if (p->recorder.flush)
        event_free(p->recorder.flush);
    if (p->recorder.descriptors)
        closedir(p->recorder.descriptors);
    p->recorder = (struct recorder){.metrics = NULL};
}
