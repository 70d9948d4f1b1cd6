/* Counting: from values to cells of the shared file. */
#include "sluice/metrics.h"

#include "metrics_internal.h"
#include "sluice/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "processes share the cells: a lock would be a process's own");
static_assert(sizeof(struct metrics_step) % 8 == 0 && METRICS_COUNTERS <= 64 && METRICS_HISTOGRAMS <= 64,
              "the layout of the file");

static void metrics_prepare(struct metrics *m);

struct metrics *metrics_open(const char *state_dir, const struct metrics_options *options, struct buf *message)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (!m) {
        buf_append_text(message, "there is no memory for the metrics");
        return NULL;
    }
    m->options = *options;
    if (shared_file_open(&m->shared, state_dir, "metrics", METRICS_VERSION, sizeof(struct metrics_file), message) ==
        SHARED_FILE_FAILED) {
        free(m);
        return NULL;
    }
    m->file = m->shared.data;
    metrics_bury(m);
    metrics_take_place(m);
    metrics_prepare(m);
    metrics_count(m, METRICS_PROCESS_STARTS, NULL, 1);
    return m;
}

void metrics_close(struct metrics **metrics)
{
    struct metrics *m = *metrics;
    *metrics = NULL;
    if (!m)
        return;
    metrics_leave_place(m);
    shared_file_close(&m->shared);
    free(m);
}

static void metrics_add(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_fetch_add_explicit(cell, n, memory_order_relaxed);
}

/* ---- sets of labels ----------------------------------------------------------------------------------------- */

/* "other" for each label that the family has. */
static struct metrics_values metrics_others(const char *const *labels)
{
    struct metrics_values v = {0};
    for (size_t i = 0; i < METRICS_VALUES_MAX && labels[i]; i++)
        v.items[i] = SLICE_LITERAL("other");
    return v;
}

/* The slices of a value that is empty must not end the set. */
static struct metrics_values metrics_filled(const struct metrics_values *values, const char *const *labels)
{
    struct metrics_values v = {0};
    for (size_t i = 0; i < METRICS_VALUES_MAX && labels[i]; i++)
        v.items[i] = values && values->items[i].ptr ? values->items[i] : SLICE_LITERAL("");
    return v;
}

static _Atomic uint64_t *metrics_cell(struct metrics *m, enum metrics_counter counter,
                                      const struct metrics_values *values)
{
    const struct metrics_counter_family *f = &metrics_counters[counter];
    struct metrics_table t = metrics_sets(m->file);
    struct metrics_values filled = metrics_filled(values, f->labels);
    ptrdiff_t at = metrics_table_find(&t, f->key, &filled, &m->file->set_counts[counter], f->max);
    if (at < 0) {
        struct metrics_values others = metrics_others(f->labels);
        at = metrics_table_find(&t, f->key, &others, &m->file->set_counts[counter], SIZE_MAX);
    }
    return at < 0 ? NULL : &m->file->sets[at].value;
}

/* What is known beforehand is shown from the beginning, as 0: a rate needs a first value. */
static void metrics_prepare(struct metrics *m)
{
    static const struct {
        enum metrics_counter counter;
        const char *value;
    } known[] = {
        {METRICS_CACHE_REQUESTS, "hit"},           {METRICS_CACHE_REQUESTS, "miss"},
        {METRICS_CACHE_REQUESTS, "coalesced"},     {METRICS_CACHE_REQUESTS, "bypass"},
        {METRICS_RATE_LIMIT_REFUSALS, "requests"}, {METRICS_RATE_LIMIT_REFUSALS, "tokens"},
        {METRICS_RATE_LIMIT_REFUSALS, "concurrent"}, {METRICS_CACHE_WRITES, "stored"},
        {METRICS_CACHE_WRITES, "dropped"},        {METRICS_CACHE_WRITES, "failed"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        metrics_cell(m, known[i].counter, &(struct metrics_values){{slice_from_text(known[i].value)}});
    for (size_t i = 0; i < METRICS_COUNTERS; i++)
        if (!metrics_counters[i].labels[0])
            metrics_cell(m, (enum metrics_counter)i, NULL);
}

void metrics_count(struct metrics *m, enum metrics_counter counter, const struct metrics_values *values, uint64_t n)
{
    if (!m || n == 0)
        return;
    _Atomic uint64_t *cell = metrics_cell(m, counter, values);
    if (cell)
        metrics_add(cell, n);
}

static struct slice metrics_name(struct metrics *m, enum metrics_counter counter, struct slice name, size_t max)
{
    const struct metrics_counter_family *f = &metrics_counters[counter];
    if (!m || name.len == 0)
        return SLICE_LITERAL("");
    struct metrics_table t = metrics_sets(m->file);
    struct metrics_values values = {{name}};
    max = max < f->max ? max : f->max;
    bool known = metrics_table_find(&t, f->key, &values, &m->file->set_counts[counter], max) >= 0;
    return known ? name : SLICE_LITERAL("other");
}

struct slice metrics_model(struct metrics *m, struct slice model)
{
    return metrics_name(m, METRICS_KNOWN_MODELS, model, m ? m->options.max_models : 0);
}

struct slice metrics_key(struct metrics *m, struct slice name)
{
    return metrics_name(m, METRICS_KNOWN_KEYS, name, m ? m->options.max_keys : 0);
}

void metrics_count_tokens(struct metrics *m, struct slice model, struct slice key, const struct usage *usage)
{
    const struct {
        struct slice kind;
        int64_t n;
    } kinds[] = {
        {SLICE_LITERAL("input"), usage->input_tokens},
        {SLICE_LITERAL("output"), usage->output_tokens},
        {SLICE_LITERAL("cached"), usage->cached_tokens},
        {SLICE_LITERAL("reasoning"), usage->reasoning_tokens},
    };
    for (size_t i = 0; m && i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].n > 0)
            metrics_count(m, METRICS_TOKENS, &(struct metrics_values){{kinds[i].kind, model, key}},
                          (uint64_t)kinds[i].n);
}

/* ---- histograms --------------------------------------------------------------------------------------------- */

struct metrics_histogram metrics_find(struct metrics *m, enum metrics_histogram_kind kind,
                                      const struct metrics_values *values)
{
    const struct metrics_histogram_family *f = &metrics_histograms[kind];
    struct metrics_histogram h = {NULL, f->bounds};
    if (!m)
        return h;
    struct metrics_table t = metrics_spreads(m->file);
    struct metrics_values filled = metrics_filled(values, f->labels);
    ptrdiff_t at = metrics_table_find(&t, f->key, &filled, &m->file->histogram_counts[kind], f->max);
    if (at < 0) {
        struct metrics_values others = metrics_others(f->labels);
        at = metrics_table_find(&t, f->key, &others, &m->file->histogram_counts[kind], SIZE_MAX);
    }
    if (at >= 0)
        h.cells = &m->file->histograms[at].cells;
    return h;
}

static size_t metrics_bucket(const int64_t *bounds, int64_t value)
{
    size_t i = 0;
    while (bounds[i] < value)
        i++;
    return i;
}

void metrics_observe(struct metrics_histogram h, int64_t value)
{
    if (!h.cells)
        return;
    value = value > 0 ? value : 0;
    metrics_add(&h.cells->buckets[metrics_bucket(h.bounds, value)], 1);
    metrics_add(&h.cells->sum, (uint64_t)value);
}

void metrics_observe_many(struct metrics_histogram h, int64_t bound, uint64_t n, uint64_t sum)
{
    if (!h.cells)
        return;
    if (n > 0)
        metrics_add(&h.cells->buckets[metrics_bucket(h.bounds, bound)], n);
    metrics_add(&h.cells->sum, sum);
}

/* ---- gauges, moments and errors ----------------------------------------------------------------------------- */

void metrics_set(struct metrics *m, enum metrics_gauge gauge, int64_t value)
{
    if (m && m->place)
        atomic_store_explicit(&m->place->gauges[gauge], value, memory_order_relaxed);
}

static void metrics_clear_cells(struct metrics_cells *cells)
{
    atomic_store_explicit(&cells->sum, 0, memory_order_relaxed);
    for (size_t i = 0; i <= METRICS_BOUNDS_MAX; i++)
        atomic_store_explicit(&cells->buckets[i], 0, memory_order_relaxed);
}

/* The step of now. Who comes first after it has begun empties it; what others count meanwhile may be lost: this is for
 * looking at, the counters are exact. */
static struct metrics_step *metrics_step_now(struct metrics *m)
{
    int64_t number = clock_wall_us() / (METRICS_MOMENT_SECONDS * (int64_t)CLOCK_US_PER_SECOND);
    struct metrics_step *s = &m->file->steps[(uint64_t)number % METRICS_MOMENTS];
    int64_t seen = atomic_load_explicit(&s->number, memory_order_relaxed);
    if (seen == number || !atomic_compare_exchange_strong(&s->number, &seen, number))
        return s;
    for (size_t i = 0; i < METRICS_MOMENT_VALUES; i++)
        atomic_store_explicit(&s->values[i], 0, memory_order_relaxed);
    metrics_clear_cells(&s->duration);
    metrics_clear_cells(&s->first_token);
    return s;
}

void metrics_note_moment(struct metrics *m, const struct metrics_moment *moment)
{
    if (!m)
        return;
    struct metrics_step *s = metrics_step_now(m);
    bool streamed = moment->first_token_us >= 0;
    const uint64_t values[METRICS_MOMENT_VALUES] = {
        [METRICS_MOMENT_REQUESTS] = 1,
        [METRICS_MOMENT_FAILED] = moment->failed,
        [METRICS_MOMENT_REFUSED] = moment->refused,
        [METRICS_MOMENT_TOKENS] = moment->tokens > 0 ? (uint64_t)moment->tokens : 0,
        [METRICS_MOMENT_CACHE_ASKED] = moment->cache_asked,
        [METRICS_MOMENT_CACHE_HITS] = moment->cache_hit,
        [METRICS_MOMENT_STREAMS] = streamed,
    };
    for (size_t i = 0; i < METRICS_MOMENT_VALUES; i++)
        if (values[i] > 0)
            metrics_add(&s->values[i], values[i]);
    metrics_observe((struct metrics_histogram){&s->duration, metrics_histograms[METRICS_REQUEST_DURATION].bounds},
                    moment->duration_us);
    if (streamed)
        metrics_observe((struct metrics_histogram){&s->first_token, metrics_histograms[METRICS_FIRST_TOKEN].bounds},
                        moment->first_token_us);
}

void metrics_note_error(struct metrics *m, struct slice json)
{
    uint64_t words[METRICS_ERROR_SIZE / 8] = {0};
    if (!m || json.len >= sizeof words)
        return;
    memcpy(words, json.ptr, json.len);
    uint64_t ticket = atomic_fetch_add(&m->file->errors_next, 1) + 1;
    struct metrics_error *e = &m->file->errors[ticket % METRICS_ERRORS_MAX];
    atomic_store(&e->stamp, 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        atomic_store_explicit(&e->words[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&e->stamp, ticket, memory_order_release);
}
