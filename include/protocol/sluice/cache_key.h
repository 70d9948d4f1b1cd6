/*
 * The key of a cached answer: a SHA-256 over everything that the answer depends on.
 *
 * Two requests have the same key if they come from the same scope, go to the same place, and say the same in
 * the fields that change the answer. Every part is hashed with its length, so that no text can run into
 * another part: without the scope's own bytes nobody can make a key of that scope.
 */
#ifndef SLUICE_CACHE_KEY_H
#define SLUICE_CACHE_KEY_H

#include "sluice/canonical.h"
#include "sluice/endpoint.h"

struct cache_key_place {
    struct slice scope;        /* whose cache: "client" and the like */
    struct slice scope_id;     /* bytes that name the client or the upstream key; empty: everybody's */
    struct slice base_url;     /* of the upstream */
    struct slice endpoint;     /* its name in the endpoint table */
    struct slice path;         /* behind /v1: it may hold a model */
    struct slice query;        /* without '?' */
    struct slice beta;         /* OpenAI-Beta */
    struct slice organization; /* OpenAI-Organization, as it goes upstream */
    struct slice project;      /* OpenAI-Project, as it goes upstream */
};

/* What all requests of this place have in common. False only where libcrypto fails. */
__attribute__((warn_unused_result)) bool cache_key_place(const struct cache_key_place *place,
                                                         struct digest *out);

/* Of a request without a body. */
__attribute__((warn_unused_result)) bool cache_key_get(const struct digest *place, struct digest *key);

/* Of a request with a body. Left out are user, stream, stream_options, metadata, safety_identifier,
 * prompt_cache_key, prompt_cache_retention and prompt_cache_options. */
enum canonical_result cache_key_request(const struct digest *place, struct slice body, struct digest *key);

/* Of one item of an embeddings request: the request without its items gives the frame, once; the frame and an
 * item give the key. Beside the fields above, input and encoding_format are left out of the frame: both
 * encodings are one entry. */
enum canonical_result cache_key_frame(const struct digest *place, struct slice body, struct digest *frame);
enum canonical_result cache_key_item(const struct digest *frame, struct slice item, struct digest *key);

#endif
