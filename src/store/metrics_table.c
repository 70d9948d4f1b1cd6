/*
 * Sets of labels in an open-addressing table that processes share without a lock.
 *
 * A place is claimed by writing the set's hash into its tag. Two sets with one hash of 64 bits would be counted as one.
 */
#include "metrics_internal.h"
#include "sluice/eight.h"

#include <string.h>

#define METRICS_SEPARATOR '\x1F'

struct metrics_packed {
    uint64_t words[METRICS_WORDS];
    size_t used; /* words that are not all zero */
};

/* What would end a value within it. text may be read up to seven bytes beyond its end. */
static void metrics_hide_ends(char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint64_t v = eight_load(text + i);
        size_t clean = eight_before(eight_equal(v, METRICS_SEPARATOR) | eight_equal(v, '\0'));
        i += clean;
        if (clean < 8 && i < len)
            text[i++] = '?';
    }
}

static size_t metrics_pack_part(char *to, size_t at, struct slice part)
{
    part = slice_take(part, METRICS_LABELS_SIZE - 1 - at);
    if (part.len > 0)
        memcpy(to + at, part.ptr, part.len);
    metrics_hide_ends(to + at, part.len);
    return at + part.len;
}

static void metrics_pack(struct metrics_packed *p, const char *key, const struct metrics_values *values)
{
    char text[METRICS_LABELS_SIZE + 8] = {0};
    size_t at = metrics_pack_part(text, 0, slice_from_text(key));
    for (size_t i = 0; values && i < METRICS_VALUES_MAX && values->items[i].ptr; i++) {
        if (at < METRICS_LABELS_SIZE - 1)
            text[at++] = METRICS_SEPARATOR;
        at = metrics_pack_part(text, at, values->items[i]);
    }
    memcpy(p->words, text, sizeof p->words);
    p->used = (at + 8) / 8;
}

/* Never 0. The mixing is that of splitmix64. */
static uint64_t metrics_hash(const struct metrics_packed *p)
{
    uint64_t h = UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = 0; i < p->used; i++) {
        h = (h ^ p->words[i]) * UINT64_C(0xBF58476D1CE4E5B9);
        h ^= h >> 29;
    }
    h = (h ^ (h >> 30)) * UINT64_C(0x94D049BB133111EB);
    return (h ^ (h >> 31)) | 1;
}

static struct metrics_text *metrics_text_at(const struct metrics_table *t, size_t place)
{
    return (struct metrics_text *)(void *)(t->texts + place * t->stride);
}

/* The same words from whoever writes them. */
static void metrics_write_text(struct metrics_text *text, const struct metrics_packed *p)
{
    if (atomic_load_explicit(&text->ready, memory_order_acquire))
        return;
    for (size_t i = 0; i < METRICS_WORDS; i++)
        atomic_store_explicit(&text->words[i], p->words[i], memory_order_relaxed);
    atomic_store_explicit(&text->ready, 1, memory_order_release);
}

/* Room for one more set of the family: taken before the claim, given back where there was none to make. */
static bool metrics_take_room(_Atomic uint64_t *count, size_t max)
{
    if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max)
        return true;
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}

ptrdiff_t metrics_table_find(const struct metrics_table *t, const char *key, const struct metrics_values *values,
                             _Atomic uint64_t *count, size_t max)
{
    struct metrics_packed packed;
    metrics_pack(&packed, key, values);
    uint64_t hash = metrics_hash(&packed);
    bool room = false;
    for (size_t i = (hash >> 1) % t->places, steps = 0; steps < t->places; steps++, i = (i + 1) % t->places) {
        uint64_t tag = atomic_load_explicit(&t->tags[i], memory_order_relaxed);
        if (tag == 0 && !room && !metrics_take_room(count, max))
            return -1;
        room = room || tag == 0;
        if (tag == 0 && !atomic_compare_exchange_strong(&t->tags[i], &tag, hash) && tag != hash)
            continue; /* another set was faster */
        if (tag != 0 && tag != hash)
            continue;
        if (tag == hash && room)
            atomic_fetch_sub_explicit(count, 1, memory_order_relaxed); /* the same set was */
        metrics_write_text(metrics_text_at(t, i), &packed);
        return (ptrdiff_t)i;
    }
    return -1;
}

bool metrics_table_read(const struct metrics_text *text, const char *key, char copy[METRICS_LABELS_SIZE],
                        struct metrics_values *values)
{
    size_t len = strlen(key), count = 0;
    uint64_t words[METRICS_WORDS];
    *values = (struct metrics_values){0};
    if (!atomic_load_explicit(&text->ready, memory_order_acquire))
        return false;
    for (size_t i = 0; i < METRICS_WORDS; i++)
        words[i] = atomic_load_explicit(&text->words[i], memory_order_relaxed);
    memcpy(copy, words, METRICS_LABELS_SIZE);
    copy[METRICS_LABELS_SIZE - 1] = '\0';
    if (strncmp(copy, key, len) != 0 || (copy[len] != METRICS_SEPARATOR && copy[len] != '\0'))
        return false;
    for (char *at = copy + len; *at == METRICS_SEPARATOR && count < METRICS_VALUES_MAX;) {
        char *end = strchrnul(++at, METRICS_SEPARATOR);
        values->items[count++] = slice_make(at, (size_t)(end - at));
        at = end;
    }
    return true;
}

struct metrics_table metrics_sets(struct metrics_file *f)
{
    return (struct metrics_table){f->set_tags, METRICS_SETS_PLACES, (char *)f->sets, sizeof f->sets[0]};
}

struct metrics_table metrics_spreads(struct metrics_file *f)
{
    return (struct metrics_table){f->histogram_tags, METRICS_HISTOGRAMS_PLACES, (char *)f->histograms,
                                  sizeof f->histograms[0]};
}
