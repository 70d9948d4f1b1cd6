/*
 * Whether and when a request goes upstream again: pure arithmetic.
 *
 * The official clients' rules: 408, 409, 429 and every server error that a gateway may give; x-should-retry beats the
 * status; a pause that the upstream names beats one's own. Own pauses are random between nothing and a bound that
 * doubles ("full jitter"), so that clients which failed together do not come back together.
 */
#ifndef SLUICE_RETRY_H
#define SLUICE_RETRY_H

#include "sluice/slice.h"

#include <stdint.h>

/* What an answer's head says of retries. */
struct retry_hints {
    int64_t after_us; /* of retry-after-ms or Retry-After; -1: none */
    int64_t reset_us; /* the longer of x-ratelimit-reset-requests and -tokens; -1: none */
    int should_retry; /* of x-should-retry: 1, 0; -1: not said */
};

void retry_hints_init(struct retry_hints *h);

/* Takes one header; others are ignored. now_s: the wall clock, for a Retry-After that is a date. */
void retry_hints_take(struct retry_hints *h, struct slice name, struct slice value, int64_t now_s);

bool retry_status_is_retryable(int status);

/* The pause before the attempt that follows this one (counted from 1). random: uniform in 0 to UINT32_MAX. */
int64_t retry_pause_us(int64_t base_us, unsigned attempt, uint32_t random);

/* "8ms", "1s", "6m0s", "1h36m16.107s" in microseconds; -1: not of this form. */
int64_t retry_parse_duration(struct slice text);

#endif
