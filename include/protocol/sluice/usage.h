/*
 * The "usage" object of an answer, in the shapes of Chat Completions and Completions (prompt_tokens,
 * completion_tokens), Embeddings (no completion) and Responses (input_tokens, output_tokens).
 */
#ifndef SLUICE_USAGE_H
#define SLUICE_USAGE_H

#include "sluice/slice.h"

#include <stdint.h>

struct usage {
    bool known;
    int64_t input_tokens;
    int64_t output_tokens;
    int64_t total_tokens;
    int64_t cached_tokens;    /* part of input */
    int64_t reasoning_tokens; /* part of output */
};

/*
 * Finds the last "usage" member whose value is an object in a piece of JSON text: a whole body, the tail of one,
 * or an event's data. Within a JSON string the quotes around the name would be escaped, so that text that a
 * model wrote is never taken for it. False, and out unchanged, where there is none.
 */
bool usage_find(struct slice json, struct usage *out);

#endif
