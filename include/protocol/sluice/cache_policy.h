/*
 * What may be cached: requests, answers, and what a request's Cache-Control says. Pure decisions over bytes.
 *
 * A request may be answered from the cache where OpenAI would give the same answer again and nothing else
 * happens:
 *
 *   - Embeddings always.
 *   - Chat completions and completions with temperature 0 and a seed. Not with store: true, nor with anything
 * that acts or lives elsewhere: background, previous_response_id, conversation, prompt templates, web search,
 * tools that OpenAI runs (any whose type is neither "function" nor "custom"), audio output.
 *   - The model list and single models, for a few minutes.
 */
#ifndef SLUICE_CACHE_POLICY_H
#define SLUICE_CACHE_POLICY_H

#include "sluice/endpoint.h"

#include <stdint.h>

enum cache_kind { CACHE_KIND_NONE, CACHE_KIND_COMPLETION, CACHE_KIND_EMBEDDINGS, CACHE_KIND_MODELS };

struct cache_verdict {
    enum cache_kind kind;
    const char *reason; /* of CACHE_KIND_NONE, in snake_case, for the log; otherwise NULL */
};

/* body: the request's; looked into only for POST. */
struct cache_verdict cache_policy_request(const struct endpoint *endpoint, struct slice method,
                                          struct slice body);

/* Whether the complete answer to such a request may be kept: status 200, no error, and for a completion a
 * choice at least and for each a normal finish (stop, length, tool_calls, function_call). NULL: it may;
 * otherwise why not. */
const char *cache_policy_answer(enum cache_kind kind, int status, struct slice text);

/* Request directives (RFC 9111, 5.2.1). */
struct cache_control {
    bool no_store;       /* neither read nor fill the cache */
    bool no_cache;       /* do not read it, but fill it */
    bool only_if_cached; /* never go upstream */
    int64_t max_age_s;   /* an entry may be so old; -1: not said */
};

/* The header's value; empty where there is none. Unknown directives are skipped; of a max-age that is no
 * number, the safe reading is 0. */
struct cache_control cache_control_parse(struct slice value);

/* Whether an entry of this age may be given. */
bool cache_control_allows(const struct cache_control *control, int64_t age_us);

#endif
