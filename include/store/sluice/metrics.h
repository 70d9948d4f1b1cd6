/*
 * What is counted, for all processes of the machine: counters and histograms in a file of the state directory
 * (metrics.v2) that every process maps, so that they outlive a worker and a restart. docs/metrics.md tells what each one
 * means.
 *
 * Nothing waits and nothing is locked: a set of labels is claimed once by compare-and-swap, and then only added to. The
 * tables have caps: beyond them, and beyond the limits of models and keys, sets of labels are counted as "other".
 *
 * What is under way (requests, streams, memory) stands in a place of each process. A process that died leaves its place
 * to the next who looks, and its share is gone with it.
 *
 * Every function takes NULL for the metrics, and then does nothing.
 */
#ifndef SLUICE_METRICS_H
#define SLUICE_METRICS_H

#include "sluice/buf.h"
#include "sluice/exposition.h"
#include "sluice/usage.h"

enum {
    METRICS_VERSION = 2,
    METRICS_SETS_MAX = 5120,       /* sets of labels of all counters */
    METRICS_HISTOGRAMS_MAX = 1024, /* and of all histograms */
    METRICS_PROCESSES_MAX = 512,   /* beyond, what a process has under way is not shown */
    METRICS_ERRORS_MAX = 32,       /* the last ones */
    METRICS_ERROR_SIZE = 512,
    METRICS_LABELS_SIZE = 256      /* of a set's values together, 1 for each between them; beyond, they are cut */
};

/* Counters. The order is that of the file: new ones come at the end, or METRICS_VERSION changes. */
enum metrics_counter {
    METRICS_REQUESTS,           /* endpoint, method, status */
    METRICS_REQUEST_ENDS,       /* end */
    METRICS_ERRORS,             /* error */
    METRICS_TOKENS,             /* kind, model, key: by metrics_count_tokens() */
    METRICS_CACHE_REQUESTS,     /* result: hit, miss, coalesced, bypass */
    METRICS_RATE_LIMIT_REFUSALS, /* kind: requests, tokens, concurrent */
    METRICS_UPSTREAM_ERRORS,    /* kind, status */
    METRICS_UPSTREAM_RETRIES,
    METRICS_STREAM_EVENTS,
    METRICS_PROCESS_STARTS,
    METRICS_PROCESS_CRASHES,
    METRICS_LOG_LINES,
    METRICS_LOG_DROPPED,
    METRICS_REDIS_COMMANDS,     /* result: reply, error, timeout, unavailable */
    METRICS_REDIS_CONNECTIONS,
    METRICS_REDIS_BREAKS,
    METRICS_KNOWN_MODELS,       /* not shown: the names that count, by metrics_model() */
    METRICS_KNOWN_KEYS,
    METRICS_COST,               /* model, key; in 1e-9 USD. With names that metrics_model() and metrics_key() gave */
    METRICS_UNPRICED,           /* model */
    METRICS_CACHE_WRITES,       /* result: stored, dropped, failed */
    METRICS_COUNTERS
};

enum metrics_histogram_kind {
    METRICS_REQUEST_DURATION,    /* endpoint; µs, as all but tokens */
    METRICS_FIRST_TOKEN,         /* endpoint */
    METRICS_INTER_TOKEN,         /* endpoint */
    METRICS_OVERHEAD,            /* endpoint */
    METRICS_REDIS_LATENCY,
    METRICS_GENAI_TOKENS,        /* operation, model, token type; tokens */
    METRICS_GENAI_DURATION,      /* operation, model, error type */
    METRICS_GENAI_FIRST_TOKEN,   /* operation, model */
    METRICS_GENAI_OUTPUT_TOKEN,  /* operation, model */
    METRICS_HISTOGRAMS
};

/* What a process has at the moment. */
enum metrics_gauge {
    METRICS_REQUESTS_IN_PROGRESS,
    METRICS_STREAMS_OPEN,
    METRICS_RESIDENT_BYTES,
    METRICS_DESCRIPTORS,
    METRICS_DESCRIPTORS_MAX,
    METRICS_BREAKER_OPEN,       /* METRICS_YES or METRICS_NO: of every upstream key */
    METRICS_REDIS_UP,           /* METRICS_YES or METRICS_NO; 0: no Redis is wanted */
    METRICS_DRAINING,           /* METRICS_YES or METRICS_NO */
    METRICS_STARTED,            /* seconds since 1970 */
    METRICS_GAUGES = 16
};

enum { METRICS_NO = 1, METRICS_YES = 2 };

struct metrics;

/* What is shown beside the numbers, and the limits of names. */
struct metrics_options {
    const char *version; /* of the program; must live as long as the metrics */
    size_t max_models, max_keys;
    bool genai; /* the conventions of OpenTelemetry are shown too */
};

/* After fork(2): the process takes a place. NULL, with *message, where the file cannot be used; message is added to as
 * well where a damaged file was replaced. */
struct metrics *metrics_open(const char *state_dir, const struct metrics_options *options, struct buf *message);

/* The place is given back. */
void metrics_close(struct metrics **metrics);

/* ---- counting ----------------------------------------------------------------------------------------------- */

enum { METRICS_VALUES_MAX = 4 };

/* As many values as the counter has labels, in their order; values that are missing are empty. */
struct metrics_values {
    struct slice items[METRICS_VALUES_MAX];
};

void metrics_count(struct metrics *m, enum metrics_counter counter, const struct metrics_values *values, uint64_t n);

/* The name as it counts: itself, or "other" where there are too many. Only for names that the upstream has accepted:
 * they are never forgotten. */
struct slice metrics_model(struct metrics *m, struct slice model);
struct slice metrics_key(struct metrics *m, struct slice name);

/* With names that metrics_model() and metrics_key() gave. */
void metrics_count_tokens(struct metrics *m, struct slice model, struct slice key, const struct usage *usage);

struct metrics_cells;

/* One histogram, found once and added to often; valid as long as the metrics. */
struct metrics_histogram {
    struct metrics_cells *cells; /* NULL: nothing is counted */
    const int64_t *bounds;
};

struct metrics_histogram metrics_find(struct metrics *m, enum metrics_histogram_kind kind,
                                      const struct metrics_values *values);
void metrics_observe(struct metrics_histogram h, int64_t value);
/* Many that were counted elsewhere, in a bucket that has this upper bound; their sum comes with one of the calls. */
void metrics_observe_many(struct metrics_histogram h, int64_t bound, uint64_t n, uint64_t sum);

void metrics_set(struct metrics *m, enum metrics_gauge gauge, int64_t value);

/* What the last ten minutes were like, for the page: in steps of five seconds. */
struct metrics_moment {
    bool failed, refused; /* 5xx or no answer; 429 */
    bool cache_asked, cache_hit;
    int64_t duration_us;
    int64_t first_token_us; /* -1: no stream */
    int64_t tokens;
};
void metrics_note_moment(struct metrics *m, const struct metrics_moment *moment);

/* One of the last errors, for the page: a JSON object of less than METRICS_ERROR_SIZE bytes. */
void metrics_note_error(struct metrics *m, struct slice json);

struct redis_stats;

/* What a link to Redis has counted since the last call; *before is the caller's memory of it, zeroed at first. bounds are
 * the upper bounds of the link's latency buckets. */
void metrics_note_redis(struct metrics *m, bool connected, const struct redis_stats *now, struct redis_stats *before,
                        const int64_t *bounds);

/* ---- showing ------------------------------------------------------------------------------------------------ */

/* All of it. False at the buffer's cap. */
bool metrics_write(struct metrics *m, enum exposition_format format, struct buf *out);

/* For the page: a JSON object. False at the buffer's cap. */
bool metrics_write_status(struct metrics *m, struct buf *out);

/* The sum over the processes that live. */
int64_t metrics_total(struct metrics *m, enum metrics_gauge gauge);

#endif
