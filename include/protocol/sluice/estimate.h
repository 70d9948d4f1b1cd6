/*
 * About how many tokens a request will use, before it is made: one for each four bytes of text, within a quarter of
 * the truth for English and for code (docs/architecture.md). It reserves; the upstream's own count settles.
 */
#ifndef SLUICE_ESTIMATE_H
#define SLUICE_ESTIMATE_H

#include "sluice/endpoint.h"

#include <stdint.h>

struct estimate {
    int64_t input_tokens;
    int64_t output_tokens; /* max_completion_tokens, max_tokens or max_output_tokens, the largest, times choices;
                              -1: the request does not say */
    int64_t choices;       /* n, at least 1 */
};

/* body is the JSON of an endpoint with fields; of another text everything is 0. Images and other data: URLs count a flat
 * number of tokens. Never more than ESTIMATE_MAX in each. */
enum { ESTIMATE_MAX = 1000000000, ESTIMATE_IMAGE_TOKENS = 765 };
struct estimate estimate_request(struct slice body, enum endpoint_fields fields);

#endif
