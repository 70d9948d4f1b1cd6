#include "samples.h"

#include <stdlib.h>

enum { SAMPLES_FIRST_SIZE = 1024 };

void samples_add(struct samples *s, int64_t ns)
{
    if (s->count == s->size) {
        s->size = s->size ? 2 * s->size : SAMPLES_FIRST_SIZE;
        s->ns = realloc(s->ns, s->size * sizeof *s->ns);
        if (!s->ns)
            abort();
    }
    s->ns[s->count++] = ns;
}

static int samples_compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Nearest rank: the smallest sample that is not exceeded by the given share. */
static double samples_at(const struct samples *s, unsigned permille)
{
    size_t rank = (s->count * permille + 999) / 1000;
    return (double)s->ns[rank > 0 ? rank - 1 : 0] / 1000.0;
}

static double samples_mean(const struct samples *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->count; i++)
        sum += (double)s->ns[i];
    return sum / (double)s->count / 1000.0;
}

void samples_write(struct samples *s, FILE *to)
{
    if (s->count == 0) {
        fputs("{\"n\":0}", to);
        return;
    }
    qsort(s->ns, s->count, sizeof *s->ns, samples_compare);
    fprintf(to, "{\"n\":%zu,\"mean\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}",
            s->count, samples_mean(s), samples_at(s, 500), samples_at(s, 900), samples_at(s, 990),
            samples_at(s, 999), samples_at(s, 1000));
}

void samples_free(struct samples *s)
{
    free(s->ns);
    *s = (struct samples){0};
}
