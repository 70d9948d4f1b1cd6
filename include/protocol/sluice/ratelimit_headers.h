/*
 * Rate limits as OpenAI tells them: the headers x-ratelimit-{limit,remaining,reset}-{requests,tokens}, and durations in
 * the style of Go ("8ms", "1s", "6m0s", "1h36m16.107s").
 */
#ifndef SLUICE_RATELIMIT_HEADERS_H
#define SLUICE_RATELIMIT_HEADERS_H

#include "sluice/buf.h"

#include <stdint.h>

/* One bucket as the client should see it. */
struct ratelimit_bucket {
    int64_t limit; /* a minute; 0: unlimited, nothing is said */
    int64_t remaining;
    int64_t reset_us; /* until it is full */
};

/* The three header lines of a bucket; kind is "requests" or "tokens". False at the buffer's cap. */
bool ratelimit_put_headers(struct buf *head, const char *kind, const struct ratelimit_bucket *bucket);

/* Whole milliseconds, rounded up; a time of more than a second in seconds with three digits, without useless zeros. */
enum { RATELIMIT_DURATION_SIZE = 40 };
void ratelimit_format_duration(int64_t us, char out[RATELIMIT_DURATION_SIZE]);

/* Whether a header tells the limits of the upstream's key. */
bool ratelimit_is_header(struct slice name);

#endif
