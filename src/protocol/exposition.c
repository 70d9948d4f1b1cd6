/*
 * Metrics as text.
 *
 * A line is put together in one reserved piece: a page has tens of thousands of them, and is written in one go.
 */
#include "sluice/exposition.h"

#include "sluice/json_out.h"
#include "sluice/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXPOSITION_NUMBER_MAX = 40, EXPOSITION_NAME_MAX = 128 };

/* ---- which format ------------------------------------------------------------------------------------------- */

/* The weight of a range of an Accept header; 1 where it is not said or makes no sense. */
static double exposition_weight(struct slice range)
{
    for (size_t i = 0; i + 2 < range.len; i++) {
        if (range.ptr[i] != ';')
            continue;
        struct slice parameter = slice_trim(slice_skip(range, i + 1));
        if (!slice_starts_with_nocase(parameter, SLICE_LITERAL("q=")))
            continue;
        char number[8] = "";
        struct slice text = slice_take(slice_skip(parameter, 2), sizeof number - 1);
        if (text.len > 0)
            memcpy(number, text.ptr, text.len);
        double weight = atof(number);
        return weight >= 0 && weight <= 1 ? weight : 1;
    }
    return 1;
}

enum exposition_format exposition_choose(struct slice accept)
{
    double open = 0, text = 0;
    while (accept.len > 0) {
        const char *comma = memchr(accept.ptr, ',', accept.len);
        struct slice range = comma ? slice_take(accept, (size_t)(comma - accept.ptr)) : accept;
        struct slice type = slice_trim(range);
        accept = slice_skip(accept, range.len + 1);
        if (slice_starts_with_nocase(type, SLICE_LITERAL("application/openmetrics-text")))
            open = fmax(open, exposition_weight(type));
        else if (slice_starts_with_nocase(type, SLICE_LITERAL("text/plain")))
            text = fmax(text, exposition_weight(type));
    }
    return open > 0 && open >= text ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT;
}

const char *exposition_content_type(enum exposition_format format)
{
    return format == EXPOSITION_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                            : "text/plain; version=0.0.4; charset=utf-8";
}

/* ---- a line ------------------------------------------------------------------------------------------------- */

/* Where a line is being written: room was reserved for all that it may hold. */
struct exposition_line {
    char *at;
};

static void exposition_put(struct exposition_line *l, const char *bytes, size_t len)
{
    if (len > 0)
        memcpy(l->at, bytes, len);
    l->at += len;
}

static void exposition_put_text(struct exposition_line *l, const char *text)
{
    exposition_put(l, text, strlen(text));
}

static void exposition_put_number(struct exposition_line *l, uint64_t n)
{
    char digits[EXPOSITION_NUMBER_MAX], *p = digits + sizeof digits;
    do
        *--p = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    exposition_put(l, p, (size_t)(digits + sizeof digits - p));
}

static void exposition_put_double(struct exposition_line *l, double value)
{
    char text[EXPOSITION_NUMBER_MAX];
    if (value >= 0 && value < 1e15 && value == floor(value)) {
        exposition_put_number(l, (uint64_t)value);
        return;
    }
    snprintf(text, sizeof text, "%.15g", value);
    exposition_put_text(l, isnan(value) ? "NaN" : isinf(value) ? (value > 0 ? "+Inf" : "-Inf") : text);
}

/* At most three bytes for each of the value's. */
static void exposition_put_value(struct exposition_line *l, struct slice value)
{
    const unsigned char *s = (const unsigned char *)value.ptr;
    for (size_t i = 0; i < value.len;) {
        size_t n = s[i] < 0x80 ? 1 : utf8_length(s + i, value.len - i);
        if (s[i] == '\n')
            exposition_put(l, "\\n", 2);
        else if (s[i] == '"' || s[i] == '\\')
            exposition_put(l, (const char[]){'\\', (char)s[i]}, 2);
        else if (n == 0)
            exposition_put(l, "\xEF\xBF\xBD", 3);
        else
            exposition_put(l, value.ptr + i, n);
        i += n > 0 ? n : 1;
    }
}

/* name="value",… without braces; false where that is too long. */
static bool exposition_put_labels(struct exposition_line *l, const struct exposition_labels *labels)
{
    size_t room = EXPOSITION_LABELS_TEXT_MAX;
    for (size_t i = 0; labels && i < labels->count; i++) {
        const struct exposition_label *label = &labels->items[i];
        size_t needed = strlen(label->name) + 3 * label->value.len + 4;
        if (needed > room)
            return false;
        room -= needed;
        if (i > 0)
            exposition_put(l, ",", 1);
        exposition_put_text(l, label->name);
        exposition_put(l, "=\"", 2);
        exposition_put_value(l, label->value);
        exposition_put(l, "\"", 1);
    }
    return true;
}

static bool exposition_begin_line(struct exposition *e, struct exposition_line *l)
{
    size_t most = EXPOSITION_NAME_MAX + EXPOSITION_LABELS_TEXT_MAX + 3 * EXPOSITION_NUMBER_MAX;
    l->at = e->failed ? NULL : buf_reserve(e->out, most);
    e->failed = l->at == NULL;
    return l->at != NULL;
}

static void exposition_end_line(struct exposition *e, struct exposition_line *l)
{
    exposition_put(l, "\n", 1);
    buf_commit(e->out, (size_t)(l->at - (e->out->mem + e->out->start + e->out->len)));
}

/* Name, suffix and labels, then a blank: the value follows. False: nothing is to be written. */
static bool exposition_begin_sample(struct exposition *e, struct exposition_line *l,
                                    const struct exposition_labels *labels)
{
    if (!exposition_begin_line(e, l))
        return false;
    exposition_put_text(l, e->name);
    if (labels && labels->count > 0) {
        exposition_put(l, "{", 1);
        if (!exposition_put_labels(l, labels))
            return false;
        exposition_put(l, "}", 1);
    }
    exposition_put(l, " ", 1);
    return true;
}

/* ---- families and samples ----------------------------------------------------------------------------------- */

/* The name of a family is that of its samples, but for OpenMetrics' suffixes. */
static size_t exposition_family_length(const struct exposition *e, const char *name, enum exposition_type type)
{
    size_t suffix = type == EXPOSITION_COUNTER ? strlen("_total") : type == EXPOSITION_INFO ? strlen("_info") : 0;
    return strlen(name) - (e->format == EXPOSITION_OPENMETRICS ? suffix : 0);
}

static const char *exposition_unit(const char *name, size_t len)
{
    static const char *const units[] = {"seconds", "bytes"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(units[i]);
        if (len > n && name[len - n - 1] == '_' && memcmp(name + len - n, units[i], n) == 0)
            return units[i];
    }
    return NULL;
}

void exposition_family(struct exposition *e, const char *name, enum exposition_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram", "info"};
    bool open = e->format == EXPOSITION_OPENMETRICS;
    int len = (int)exposition_family_length(e, name, type);
    const char *unit = exposition_unit(name, (size_t)len);
    e->name = name;
    if (e->failed)
        return;
    bool ok = buf_printf(e->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, name, help, len, name,
                         type == EXPOSITION_INFO && !open ? "gauge" : types[type]);
    if (ok && open && unit)
        ok = buf_printf(e->out, "# UNIT %.*s %s\n", len, name, unit);
    e->failed = !ok;
}

void exposition_count(struct exposition *e, const struct exposition_labels *labels, uint64_t value)
{
    struct exposition_line l;
    if (!exposition_begin_sample(e, &l, labels))
        return;
    exposition_put_number(&l, value);
    exposition_end_line(e, &l);
}

void exposition_billionths(struct exposition *e, const struct exposition_labels *labels, uint64_t value)
{
    struct exposition_line l;
    char text[JSON_BILLIONTHS_SIZE];
    if (!exposition_begin_sample(e, &l, labels))
        return;
    exposition_put_text(&l, json_format_billionths(value, text));
    exposition_end_line(e, &l);
}

void exposition_value(struct exposition *e, const struct exposition_labels *labels, double value)
{
    struct exposition_line l;
    if (!exposition_begin_sample(e, &l, labels))
        return;
    exposition_put_double(&l, value);
    exposition_end_line(e, &l);
}

/* ---- histograms --------------------------------------------------------------------------------------------- */

/* NAME_bucket{LABELS,le="BOUND"} COUNT */
static void exposition_bucket(struct exposition *e, struct slice labels, const char *bound, uint64_t count)
{
    struct exposition_line l;
    if (!exposition_begin_line(e, &l))
        return;
    exposition_put_text(&l, e->name);
    exposition_put_text(&l, "_bucket{");
    exposition_put(&l, labels.ptr, labels.len);
    exposition_put_text(&l, labels.len > 0 ? ",le=\"" : "le=\"");
    exposition_put_text(&l, bound);
    exposition_put_text(&l, "\"} ");
    exposition_put_number(&l, count);
    exposition_end_line(e, &l);
}

/* NAME_sum or NAME_count */
static void exposition_summary(struct exposition *e, struct slice labels, const char *suffix, double value)
{
    struct exposition_line l;
    if (!exposition_begin_line(e, &l))
        return;
    exposition_put_text(&l, e->name);
    exposition_put_text(&l, suffix);
    exposition_put(&l, "{", labels.len > 0);
    exposition_put(&l, labels.ptr, labels.len);
    exposition_put(&l, "}", labels.len > 0);
    exposition_put(&l, " ", 1);
    exposition_put_double(&l, value);
    exposition_end_line(e, &l);
}

void exposition_histogram(struct exposition *e, const struct exposition_labels *labels,
                          const struct exposition_buckets *buckets)
{
    char text[EXPOSITION_LABELS_TEXT_MAX];
    struct exposition_line l = {text};
    uint64_t below = 0;
    if (!exposition_put_labels(&l, labels))
        return;
    struct slice common = slice_make(text, (size_t)(l.at - text));
    for (size_t i = 0; i <= buckets->bounds; i++) {
        below += buckets->counts[i];
        exposition_bucket(e, common, i < buckets->bounds ? buckets->texts[i] : "+Inf", below);
    }
    exposition_summary(e, common, "_sum", buckets->sum);
    exposition_summary(e, common, "_count", (double)below);
}

bool exposition_end(struct exposition *e)
{
    bool open = e->format == EXPOSITION_OPENMETRICS;
    return !e->failed && (!open || buf_append_text(e->out, "# EOF\n"));
}
