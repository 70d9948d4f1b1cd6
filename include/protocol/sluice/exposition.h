/*
 * Metrics as text: Prometheus' format 0.0.4, and OpenMetrics 1.0 (https://openmetrics.io) for those who ask for it.
 *
 * Families are written one after the other, each with all of its samples. Label values may be any bytes: what the
 * format does not take is escaped, and what is not UTF-8 becomes U+FFFD. Where the buffer's cap is reached, the line that
 * does not fit and all that follow are left out, and exposition_end() says false.
 */
#ifndef SLUICE_EXPOSITION_H
#define SLUICE_EXPOSITION_H

#include "sluice/buf.h"

#include <stdint.h>

enum exposition_format { EXPOSITION_TEXT, EXPOSITION_OPENMETRICS };

enum exposition_type {
    EXPOSITION_COUNTER, /* its name ends in _total */
    EXPOSITION_GAUGE,
    EXPOSITION_HISTOGRAM,
    EXPOSITION_INFO /* its name ends in _info; its value is 1 */
};

enum { EXPOSITION_LABELS_MAX = 6, EXPOSITION_LABELS_TEXT_MAX = 2048 };

struct exposition {
    struct buf *out;
    enum exposition_format format;
    const char *name; /* of the family */
    bool failed;
};

struct exposition_label {
    const char *name;
    struct slice value;
};

struct exposition_labels {
    size_t count; /* at most EXPOSITION_LABELS_MAX */
    struct exposition_label items[EXPOSITION_LABELS_MAX];
};

/* What a histogram holds. The count is the sum of the buckets. */
struct exposition_buckets {
    size_t bounds;            /* how many upper bounds; the last bucket has none */
    const char *const *texts; /* each bound as it is written */
    const uint64_t *counts;   /* bounds + 1, each bucket by itself */
    double sum;
};

/* By an Accept header (RFC 9110, 12.5.1): OpenMetrics only where it is asked for, and not less than plain text. */
enum exposition_format exposition_choose(struct slice accept);

const char *exposition_content_type(enum exposition_format format);

/* HELP and TYPE of a family. */
void exposition_family(struct exposition *e, const char *name, enum exposition_type type, const char *help);

/* labels: NULL for none. */
void exposition_count(struct exposition *e, const struct exposition_labels *labels, uint64_t value);
/* In billionths, written as a decimal number without rounding. */
void exposition_billionths(struct exposition *e, const struct exposition_labels *labels, uint64_t value);
void exposition_value(struct exposition *e, const struct exposition_labels *labels, double value);
void exposition_histogram(struct exposition *e, const struct exposition_labels *labels,
                          const struct exposition_buckets *buckets);

/* False where something did not fit. */
bool exposition_end(struct exposition *e);

#endif
