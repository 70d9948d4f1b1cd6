/*
 * The numbers of the page. What changes over time comes as steps of the last ten minutes; what is counted for ever comes
 * as it is, and the page takes differences.
 */
#include "metrics_internal.h"
#include "sluice/clock.h"
#include "sluice/json_out.h"

#include <string.h>

enum { METRICS_RECENT_STEPS = 12, METRICS_PERCENTILES = 3 };

/* ---- percentiles of the last minute -------------------------------------------------------------------------- */

struct metrics_recent {
    uint64_t buckets[METRICS_BOUNDS_MAX + 1];
    uint64_t count;
};

static void metrics_gather(struct metrics_recent *r, const struct metrics_cells *cells)
{
    for (size_t i = 0; i <= METRICS_BOUNDS_MAX; i++) {
        uint64_t n = atomic_load_explicit(&cells->buckets[i], memory_order_relaxed);
        r->buckets[i] += n;
        r->count += n;
    }
}

/* Within a bucket the values are taken to be spread evenly; in the last one they are its lower bound. */
static double metrics_percentile(const struct metrics_recent *r, const struct metrics_histogram_family *f, double part)
{
    double wanted = part * (double)r->count, below = 0;
    for (size_t i = 0; i <= f->count; i++) {
        double low = i > 0 ? (double)f->bounds[i - 1] : 0, n = (double)r->buckets[i];
        if (n > 0 && below + n >= wanted)
            return i == f->count ? low : low + ((double)f->bounds[i] - low) * (wanted - below) / n;
        below += n;
    }
    return 0;
}

static bool metrics_put_percentiles(struct buf *b, const char *name, const struct metrics_recent *r,
                                    enum metrics_histogram_kind kind)
{
    static const double parts[METRICS_PERCENTILES] = {0.5, 0.9, 0.99};
    static const char *const names[METRICS_PERCENTILES] = {"p50_ms", "p90_ms", "p99_ms"};
    bool ok = json_put_name(b, name) && buf_append_char(b, '{') &&
              json_put_member_int(b, "count", (int64_t)r->count);
    for (size_t i = 0; ok && r->count > 0 && i < METRICS_PERCENTILES; i++)
        ok = json_put_name(b, names[i]) &&
             buf_printf(b, "%.3f", metrics_percentile(r, &metrics_histograms[kind], parts[i]) / CLOCK_US_PER_MS);
    return ok && buf_append_char(b, '}');
}

/* ---- the last ten minutes ------------------------------------------------------------------------------------ */

static const struct metrics_step *metrics_step_at(const struct metrics *m, int64_t number)
{
    const struct metrics_step *s = &m->file->steps[(uint64_t)number % METRICS_MOMENTS];
    return atomic_load_explicit(&s->number, memory_order_relaxed) == number ? s : NULL;
}

static bool metrics_put_series(struct buf *b, const struct metrics *m, const char *name, int64_t last,
                               enum metrics_moment_value value)
{
    bool ok = json_put_name(b, name) && buf_append_char(b, '[');
    for (int64_t i = last - METRICS_MOMENTS + 1; ok && i <= last; i++) {
        const struct metrics_step *s = metrics_step_at(m, i);
        uint64_t n = s ? atomic_load_explicit(&s->values[value], memory_order_relaxed) : 0;
        ok = buf_printf(b, "%s%llu", i == last - METRICS_MOMENTS + 1 ? "" : ",", (unsigned long long)n);
    }
    return ok && buf_append_char(b, ']');
}

static bool metrics_put_recent(struct buf *b, const struct metrics *m, int64_t last)
{
    struct metrics_recent durations = {0}, firsts = {0};
    for (int64_t i = last - METRICS_RECENT_STEPS; i <= last; i++) {
        const struct metrics_step *s = metrics_step_at(m, i);
        if (!s)
            continue;
        metrics_gather(&durations, &s->duration);
        metrics_gather(&firsts, &s->first_token);
    }
    return metrics_put_percentiles(b, "duration", &durations, METRICS_REQUEST_DURATION) &&
           metrics_put_percentiles(b, "first_token", &firsts, METRICS_FIRST_TOKEN);
}

static bool metrics_put_history(struct buf *b, const struct metrics *m)
{
    int64_t now = clock_wall_us(), last = now / (METRICS_MOMENT_SECONDS * (int64_t)CLOCK_US_PER_SECOND);
    return json_put_member_int(b, "time_ms", now / CLOCK_US_PER_MS) &&
           json_put_member_int(b, "step_seconds", METRICS_MOMENT_SECONDS) && metrics_put_recent(b, m, last) &&
           json_put_name(b, "history") && buf_append_char(b, '{') &&
           metrics_put_series(b, m, "requests", last, METRICS_MOMENT_REQUESTS) &&
           metrics_put_series(b, m, "failed", last, METRICS_MOMENT_FAILED) &&
           metrics_put_series(b, m, "refused", last, METRICS_MOMENT_REFUSED) &&
           metrics_put_series(b, m, "streams", last, METRICS_MOMENT_STREAMS) &&
           metrics_put_series(b, m, "tokens", last, METRICS_MOMENT_TOKENS) &&
           metrics_put_series(b, m, "cache_asked", last, METRICS_MOMENT_CACHE_ASKED) &&
           metrics_put_series(b, m, "cache_hits", last, METRICS_MOMENT_CACHE_HITS) && buf_append_char(b, '}');
}

/* ---- counters ------------------------------------------------------------------------------------------------ */

static bool metrics_put_set(struct buf *b, const struct metrics_counter_family *f, const struct metrics_values *values,
                            uint64_t n)
{
    bool ok = (b->len == 0 || buf_data(b)[b->len - 1] == '[' || buf_append_char(b, ',')) && buf_append_char(b, '[');
    for (size_t i = 0; ok && i < METRICS_VALUES_MAX && f->labels[i]; i++)
        ok = json_put_string(b, values->items[i]) && buf_append_char(b, ',');
    char text[JSON_BILLIONTHS_SIZE];
    if (f->billionths)
        return ok && buf_printf(b, "%s]", json_format_billionths(n, text));
    return ok && buf_printf(b, "%llu]", (unsigned long long)n);
}

/* "name":[["label","label",number],…] */
static bool metrics_put_counter(struct buf *b, struct metrics *m, enum metrics_counter counter)
{
    const struct metrics_counter_family *f = &metrics_counters[counter];
    char copy[METRICS_LABELS_SIZE];
    struct metrics_values values;
    bool ok = json_put_name(b, f->key) && buf_append_char(b, '[');
    for (size_t i = 0; ok && i < METRICS_SETS_PLACES; i++) {
        const struct metrics_set *set = &m->file->sets[i];
        if (atomic_load_explicit(&m->file->set_tags[i], memory_order_relaxed) != 0 &&
            metrics_table_read(&set->text, f->key, copy, &values))
            ok = metrics_put_set(b, f, &values, atomic_load_explicit(&set->value, memory_order_relaxed));
    }
    return ok && buf_append_char(b, ']');
}

static bool metrics_put_counters(struct buf *b, struct metrics *m)
{
    static const enum metrics_counter shown[] = {
        METRICS_REQUESTS,        METRICS_TOKENS,           METRICS_CACHE_REQUESTS,  METRICS_RATE_LIMIT_REFUSALS,
        METRICS_UPSTREAM_ERRORS, METRICS_UPSTREAM_RETRIES, METRICS_PROCESS_CRASHES, METRICS_PROCESS_STARTS,
        METRICS_LOG_DROPPED,     METRICS_COST,             METRICS_UNPRICED,
    };
    bool ok = json_put_name(b, "counters") && buf_append_char(b, '{');
    for (size_t i = 0; ok && i < sizeof shown / sizeof *shown; i++)
        ok = metrics_put_counter(b, m, shown[i]);
    return ok && buf_append_char(b, '}');
}

/* ---- errors and gauges --------------------------------------------------------------------------------------- */

/* What was written over while it was read is left out. */
static bool metrics_read_error(const struct metrics_error *e, uint64_t ticket, char text[METRICS_ERROR_SIZE])
{
    uint64_t words[METRICS_ERROR_SIZE / 8];
    if (atomic_load_explicit(&e->stamp, memory_order_acquire) != ticket)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        words[i] = atomic_load_explicit(&e->words[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    memcpy(text, words, METRICS_ERROR_SIZE);
    text[METRICS_ERROR_SIZE - 1] = '\0';
    return atomic_load_explicit(&e->stamp, memory_order_relaxed) == ticket && text[0] == '{';
}

static bool metrics_put_errors(struct buf *b, struct metrics *m)
{
    char text[METRICS_ERROR_SIZE];
    uint64_t last = atomic_load(&m->file->errors_next);
    bool ok = json_put_name(b, "last_errors") && buf_append_char(b, '[');
    for (uint64_t ticket = last; ok && ticket > 0 && ticket + METRICS_ERRORS_MAX > last; ticket--)
        if (metrics_read_error(&m->file->errors[ticket % METRICS_ERRORS_MAX], ticket, text))
            ok = (buf_data(b)[b->len - 1] == '[' || buf_append_char(b, ',')) && buf_append_text(b, text);
    return ok && buf_append_char(b, ']');
}

static bool metrics_any(struct metrics *m, enum metrics_gauge gauge, int64_t value)
{
    for (size_t i = 0; i < METRICS_PROCESSES_MAX; i++)
        if (atomic_load(&m->file->places[i].pid) != 0 &&
            atomic_load_explicit(&m->file->places[i].gauges[gauge], memory_order_relaxed) == value)
            return true;
    return false;
}

static int64_t metrics_processes(struct metrics *m)
{
    int64_t n = 0;
    for (size_t i = 0; i < METRICS_PROCESSES_MAX; i++)
        n += atomic_load(&m->file->places[i].pid) != 0;
    return n;
}

static bool metrics_put_now(struct buf *b, struct metrics *m)
{
    const char *redis = metrics_any(m, METRICS_REDIS_UP, METRICS_NO)    ? "down"
                        : metrics_any(m, METRICS_REDIS_UP, METRICS_YES) ? "up"
                                                                        : "off";
    return json_put_member_string(b, "version", slice_from_text(m->options.version)) &&
           json_put_member_int(b, "requests_in_progress", metrics_total(m, METRICS_REQUESTS_IN_PROGRESS)) &&
           json_put_member_int(b, "streams_open", metrics_total(m, METRICS_STREAMS_OPEN)) &&
           json_put_member_int(b, "processes", metrics_processes(m)) &&
           json_put_member_int(b, "memory_bytes", metrics_total(m, METRICS_RESIDENT_BYTES)) &&
           json_put_member_int(b, "descriptors", metrics_total(m, METRICS_DESCRIPTORS)) &&
           json_put_member_bool(b, "breaker_open", metrics_any(m, METRICS_BREAKER_OPEN, METRICS_YES)) &&
           json_put_member_bool(b, "draining", metrics_any(m, METRICS_DRAINING, METRICS_YES)) &&
           json_put_member_string(b, "redis", slice_from_text(redis));
}

bool metrics_write_status(struct metrics *m, struct buf *b)
{
    if (!m)
        return buf_append_text(b, "{}");
    metrics_bury(m);
    return buf_append_char(b, '{') && metrics_put_now(b, m) && metrics_put_history(b, m) && metrics_put_counters(b, m) &&
           metrics_put_errors(b, m) && buf_append_char(b, '}');
}
