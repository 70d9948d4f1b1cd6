/*
 * The metrics as text. One pass over each table tells which sets belong to which family; then each family is written
 * with its own.
 */
#include "metrics_internal.h"

#include <stdlib.h>
#include <string.h>

enum { METRICS_KEY_MAX = 24, METRICS_NO_FAMILY = 255 };

/* ---- which set is whose -------------------------------------------------------------------------------------- */

struct metrics_index {
    size_t count;
    struct metrics_entry {
        uint16_t place;
        uint8_t family;
    } entries[METRICS_SETS_PLACES];
};

static bool metrics_key_is(const struct metrics_text *text, const char *key)
{
    uint64_t words[METRICS_KEY_MAX / 8];
    for (size_t i = 0; i < METRICS_KEY_MAX / 8; i++)
        words[i] = atomic_load_explicit(&text->words[i], memory_order_relaxed);
    size_t len = strlen(key);
    const char *bytes = (const char *)words;
    return memcmp(bytes, key, len) == 0 && (bytes[len] == '\x1F' || bytes[len] == '\0');
}

static uint8_t metrics_counter_of(const struct metrics_text *text)
{
    for (uint8_t f = 0; f < METRICS_COUNTERS; f++)
        if (metrics_key_is(text, metrics_counters[f].key))
            return f;
    return METRICS_NO_FAMILY;
}

static uint8_t metrics_histogram_of(const struct metrics_text *text)
{
    for (uint8_t f = 0; f < METRICS_HISTOGRAMS; f++)
        if (metrics_key_is(text, metrics_histograms[f].key))
            return f;
    return METRICS_NO_FAMILY;
}

static void metrics_index_table(struct metrics_index *index, const struct metrics_table *t,
                                uint8_t (*family_of)(const struct metrics_text *text))
{
    index->count = 0;
    for (size_t i = 0; i < t->places; i++) {
        if (atomic_load_explicit(&t->tags[i], memory_order_relaxed) == 0)
            continue;
        const struct metrics_text *text = (const struct metrics_text *)(const void *)(t->texts + i * t->stride);
        if (atomic_load_explicit(&text->ready, memory_order_acquire))
            index->entries[index->count++] = (struct metrics_entry){(uint16_t)i, family_of(text)};
    }
}

/* The labels of a set; false where it is none of this family. */
static bool metrics_labels(const struct metrics_text *text, const char *key, const char *const *names,
                           char copy[METRICS_LABELS_SIZE], struct exposition_labels *labels)
{
    struct metrics_values values;
    if (!metrics_table_read(text, key, copy, &values))
        return false;
    labels->count = 0;
    for (size_t i = 0; i < METRICS_VALUES_MAX && names[i]; i++)
        labels->items[labels->count++] = (struct exposition_label){names[i], values.items[i]};
    return true;
}

/* ---- counters and histograms --------------------------------------------------------------------------------- */

static void metrics_write_counter(struct metrics *m, struct exposition *e, const struct metrics_index *index,
                                  uint8_t family)
{
    const struct metrics_counter_family *f = &metrics_counters[family];
    char copy[METRICS_LABELS_SIZE];
    struct exposition_labels labels;
    if (!f->name)
        return;
    exposition_family(e, f->name, EXPOSITION_COUNTER, f->help);
    for (size_t i = 0; i < index->count; i++) {
        const struct metrics_set *set = &m->file->sets[index->entries[i].place];
        if (index->entries[i].family != family || !metrics_labels(&set->text, f->key, f->labels, copy, &labels))
            continue;
        uint64_t value = atomic_load_explicit(&set->value, memory_order_relaxed);
        if (f->billionths)
            exposition_billionths(e, &labels, value);
        else
            exposition_count(e, &labels, value);
    }
}

static void metrics_write_spread(struct exposition *e, const struct metrics_histogram_family *f,
                                 const struct exposition_labels *labels, const struct metrics_cells *cells)
{
    uint64_t counts[METRICS_BOUNDS_MAX + 1];
    for (size_t i = 0; i <= f->count; i++)
        counts[i] = atomic_load_explicit(&cells->buckets[i], memory_order_relaxed);
    double sum = (double)atomic_load_explicit(&cells->sum, memory_order_relaxed) / f->unit;
    exposition_histogram(e, labels, &(struct exposition_buckets){f->count, f->texts, counts, sum});
}

/* An empty label is none: "error_type" is said only where there is one. */
static void metrics_add_provider(struct exposition_labels *labels)
{
    size_t kept = 0;
    for (size_t i = 0; i < labels->count; i++)
        if (labels->items[i].value.len > 0)
            labels->items[kept++] = labels->items[i];
    labels->items[kept++] = (struct exposition_label){"gen_ai_provider_name", SLICE_LITERAL("openai")};
    labels->count = kept;
}

static void metrics_write_histogram(struct metrics *m, struct exposition *e, const struct metrics_index *index,
                                    uint8_t family)
{
    const struct metrics_histogram_family *f = &metrics_histograms[family];
    char copy[METRICS_LABELS_SIZE];
    struct exposition_labels labels;
    if (f->genai && !m->options.genai)
        return;
    exposition_family(e, f->name, EXPOSITION_HISTOGRAM, f->help);
    for (size_t i = 0; i < index->count; i++) {
        const struct metrics_spread *spread = &m->file->histograms[index->entries[i].place];
        if (index->entries[i].family != family || !metrics_labels(&spread->text, f->key, f->labels, copy, &labels))
            continue;
        if (f->genai)
            metrics_add_provider(&labels);
        metrics_write_spread(e, f, &labels, &spread->cells);
    }
}

/* ---- what is under way --------------------------------------------------------------------------------------- */

struct metrics_now {
    int64_t processes, draining, redis_wanted, redis_up, breaker_open, started;
};

static int64_t metrics_gauge_of(const struct metrics_place *p, enum metrics_gauge gauge)
{
    return atomic_load_explicit(&p->gauges[gauge], memory_order_relaxed);
}

static struct metrics_now metrics_look_at_processes(const struct metrics *m)
{
    struct metrics_now now = {0};
    for (size_t i = 0; i < METRICS_PROCESSES_MAX; i++) {
        const struct metrics_place *p = &m->file->places[i];
        if (atomic_load(&p->pid) == 0)
            continue;
        int64_t started = metrics_gauge_of(p, METRICS_STARTED);
        now.processes++;
        now.draining += metrics_gauge_of(p, METRICS_DRAINING) == METRICS_YES;
        now.redis_wanted += metrics_gauge_of(p, METRICS_REDIS_UP) != 0;
        now.redis_up += metrics_gauge_of(p, METRICS_REDIS_UP) == METRICS_YES;
        now.breaker_open += metrics_gauge_of(p, METRICS_BREAKER_OPEN) == METRICS_YES;
        now.started = started > now.started ? started : now.started;
    }
    return now;
}

static void metrics_write_gauge(struct exposition *e, const char *name, const char *help, int64_t value)
{
    exposition_family(e, name, EXPOSITION_GAUGE, help);
    exposition_value(e, NULL, (double)value);
}

static void metrics_write_sums(struct metrics *m, struct exposition *e)
{
    static const struct {
        enum metrics_gauge gauge;
        const char *name, *help;
    } sums[] = {
        {METRICS_REQUESTS_IN_PROGRESS, "sluice_requests_in_progress", "Requests under way."},
        {METRICS_STREAMS_OPEN, "sluice_streams_open", "Streams under way."},
        {METRICS_RESIDENT_BYTES, "sluice_resident_memory_bytes", "Resident memory of the serving processes together."},
        {METRICS_DESCRIPTORS, "sluice_open_descriptors", "Open descriptors of the serving processes together."},
        {METRICS_DESCRIPTORS_MAX, "sluice_open_descriptors_limit", "How many they may open together."},
    };
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        metrics_write_gauge(e, sums[i].name, sums[i].help, metrics_total(m, sums[i].gauge));
}

static void metrics_write_sets(struct exposition *e, size_t sets, size_t histograms)
{
    struct exposition_labels labels = {1, {{"table", SLICE_LITERAL("counters")}}};
    exposition_family(e, "sluice_metrics_sets", EXPOSITION_GAUGE,
                      "Sets of labels that have numbers of their own; the rest is counted as other.");
    exposition_value(e, &labels, (double)sets);
    labels.items[0].value = SLICE_LITERAL("histograms");
    exposition_value(e, &labels, (double)histograms);
}

static void metrics_write_now(struct metrics *m, struct exposition *e)
{
    struct metrics_now now = metrics_look_at_processes(m);
    struct exposition_labels build = {1, {{"version", slice_from_text(m->options.version)}}};
    exposition_family(e, "sluice_build_info", EXPOSITION_INFO, "The program that answers; the value is 1.");
    exposition_value(e, &build, 1);
    metrics_write_sums(m, e);
    metrics_write_gauge(e, "sluice_processes", "Processes that serve.", now.processes);
    metrics_write_gauge(e, "sluice_processes_draining", "Of these: that take no new requests.", now.draining);
    metrics_write_gauge(e, "sluice_last_process_start_timestamp_seconds", "When the youngest of them started.",
                        now.started);
    metrics_write_gauge(e, "sluice_upstream_breaker_open",
                        "1 while the upstream is not asked, as it has failed too often.", now.breaker_open > 0);
    metrics_write_gauge(e, "sluice_redis_wanted", "Processes that are to use Redis.", now.redis_wanted);
    metrics_write_gauge(e, "sluice_redis_up", "Of these: whose link to Redis works.", now.redis_up);
}

bool metrics_write(struct metrics *m, enum exposition_format format, struct buf *out)
{
    struct exposition e = {.out = out, .format = format};
    struct metrics_index *index = malloc(sizeof *index);
    if (!index || !m) {
        free(index);
        return m == NULL && exposition_end(&e);
    }
    metrics_bury(m);
    metrics_write_now(m, &e);
    struct metrics_table sets = metrics_sets(m->file), spreads = metrics_spreads(m->file);
    metrics_index_table(index, &sets, metrics_counter_of);
    size_t count = index->count;
    for (uint8_t f = 0; f < METRICS_COUNTERS; f++)
        metrics_write_counter(m, &e, index, f);
    metrics_index_table(index, &spreads, metrics_histogram_of);
    for (uint8_t f = 0; f < METRICS_HISTOGRAMS; f++)
        metrics_write_histogram(m, &e, index, f);
    metrics_write_sets(&e, count, index->count);
    free(index);
    return exposition_end(&e);
}
