/* The layout of the file, and what the files of the metrics share. Private to them. */
#ifndef SLUICE_METRICS_INTERNAL_H
#define SLUICE_METRICS_INTERNAL_H

#include "sluice/metrics.h"
#include "sluice/shared_file.h"

#include <stdatomic.h>

enum {
    METRICS_WORDS = METRICS_LABELS_SIZE / 8,
    METRICS_BOUNDS_MAX = 16,
    METRICS_MOMENTS = 120,       /* ten minutes in steps of */
    METRICS_MOMENT_SECONDS = 5,
    METRICS_MOMENT_VALUES = 8,
    METRICS_SETS_PLACES = 2 * METRICS_SETS_MAX, /* open addressing: at most half full */
    METRICS_HISTOGRAMS_PLACES = 2 * METRICS_HISTOGRAMS_MAX
};

/*
 * A set of labels. Its hash in the table's tags is its identity: whoever claims or finds a tag whose text is not ready
 * writes the text, which is the same for all, so that nobody waits for another who may be dead.
 */
struct metrics_text {
    _Atomic uint64_t ready;
    _Atomic uint64_t words[METRICS_WORDS]; /* family and values, a unit separator (0x1F) between, a NUL at the end */
};

struct metrics_cells {
    _Atomic uint64_t sum;
    _Atomic uint64_t buckets[METRICS_BOUNDS_MAX + 1];
};

struct metrics_set {
    struct metrics_text text;
    _Atomic uint64_t value;
};

struct metrics_spread {
    struct metrics_text text;
    struct metrics_cells cells;
};

struct metrics_place {
    _Atomic int64_t pid;   /* 0: free */
    _Atomic uint64_t born; /* when the process started, and in which boot */
    _Atomic int64_t gauges[METRICS_GAUGES];
};

enum metrics_moment_value {
    METRICS_MOMENT_REQUESTS,
    METRICS_MOMENT_FAILED,
    METRICS_MOMENT_REFUSED,
    METRICS_MOMENT_TOKENS,
    METRICS_MOMENT_CACHE_ASKED,
    METRICS_MOMENT_CACHE_HITS,
    METRICS_MOMENT_STREAMS
};

struct metrics_step {
    _Atomic int64_t number; /* wall clock / METRICS_MOMENT_SECONDS */
    _Atomic uint64_t values[METRICS_MOMENT_VALUES];
    struct metrics_cells duration, first_token;
};

struct metrics_error {
    _Atomic uint64_t stamp; /* 0: being written, or never was */
    _Atomic uint64_t words[METRICS_ERROR_SIZE / 8];
};

struct metrics_file {
    _Atomic uint64_t set_counts[64];       /* sets of each counter, */
    _Atomic uint64_t histogram_counts[64]; /* and of each histogram */
    _Atomic uint64_t errors_next;
    struct metrics_place places[METRICS_PROCESSES_MAX];
    struct metrics_step steps[METRICS_MOMENTS];
    struct metrics_error errors[METRICS_ERRORS_MAX];
    _Atomic uint64_t set_tags[METRICS_SETS_PLACES]; /* 0: free */
    struct metrics_set sets[METRICS_SETS_PLACES];
    _Atomic uint64_t histogram_tags[METRICS_HISTOGRAMS_PLACES];
    struct metrics_spread histograms[METRICS_HISTOGRAMS_PLACES];
};

struct metrics {
    struct shared_file shared;
    struct metrics_file *file;
    struct metrics_place *place; /* NULL: all were taken */
    struct metrics_options options;
};

/* A family as it is shown and as it is bounded. */
struct metrics_counter_family {
    const char *key;  /* in the file */
    const char *name; /* NULL: not shown */
    const char *help;
    size_t max; /* sets of labels; the sum over all families is at most METRICS_SETS_MAX */
    const char *labels[METRICS_VALUES_MAX];
    bool billionths; /* what is counted, of what is shown */
};

struct metrics_histogram_family {
    const char *key;
    const char *name;
    const char *help;
    size_t max;
    const char *labels[METRICS_VALUES_MAX];
    double unit; /* what a value is divided by */
    bool genai;
    size_t count;
    int64_t bounds[METRICS_BOUNDS_MAX + 1]; /* then INT64_MAX */
    const char *texts[METRICS_BOUNDS_MAX];
};

extern const struct metrics_counter_family metrics_counters[METRICS_COUNTERS];
extern const struct metrics_histogram_family metrics_histograms[METRICS_HISTOGRAMS];

/* metrics_table.c: the place of a set, claimed where it is new and there is room. -1: no room. */
struct metrics_table {
    _Atomic uint64_t *tags;
    size_t places;
    char *texts; /* the first struct metrics_text */
    size_t stride;
};
ptrdiff_t metrics_table_find(const struct metrics_table *t, const char *key, const struct metrics_values *values,
                             _Atomic uint64_t *count, size_t max);
/* Copies a set's text; false where it is none of this family, or not ready. Then values has what is behind the key. */
bool metrics_table_read(const struct metrics_text *text, const char *key, char copy[METRICS_LABELS_SIZE],
                        struct metrics_values *values);
struct metrics_table metrics_sets(struct metrics_file *f);
struct metrics_table metrics_spreads(struct metrics_file *f);

/* metrics_places.c */
void metrics_take_place(struct metrics *m);
void metrics_leave_place(struct metrics *m);
/* Gives up the places of dead processes, and counts these. */
void metrics_bury(struct metrics *m);

#endif
