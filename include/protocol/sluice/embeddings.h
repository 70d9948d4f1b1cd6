/*
 * Embeddings item by item: a request with several inputs is taken apart, so that each input is cached by
 * itself; what is missing is asked for in one request; and the answer is put together in the order of the
 * inputs.
 *
 * A vector is kept in the form in which it came (an array of numbers as written, or base64 of little-endian
 * floats), and converted only for a client that asked for the other form. Numbers made from base64 have nine
 * significant digits, which is what a float holds.
 */
#ifndef SLUICE_EMBEDDINGS_H
#define SLUICE_EMBEDDINGS_H

#include "sluice/buf.h"
#include "sluice/json_scan.h"

enum {
    EMBEDDINGS_ITEMS_MAX = 2048,       /* of one request (OpenAI reference) */
    EMBEDDINGS_DIMENSIONS_MAX = 16384, /* of a vector that can be converted */
};

/* ---- the request ------------------------------------------------------------------------------------- */

struct embeddings_request {
    struct slice body;  /* the client's bytes */
    struct slice input; /* the value of "input", within body */
    bool single;        /* input is one item: a text, or the tokens of one */
    bool base64;        /* encoding_format */
    size_t count;
    struct slice *items; /* within body */
};

/* False: it cannot be taken apart (no input, an empty or mixed array, too many items, another
 * encoding_format, no memory), and is the upstream's to judge; out then needs no embeddings_request_free().
 * The body must outlive it. */
bool embeddings_request_read(struct slice body, struct embeddings_request *out);
void embeddings_request_free(struct embeddings_request *r);

/* The client's request with only those items of which missing[i] is true. False at out's cap. */
bool embeddings_request_write_missing(const struct embeddings_request *r, const bool *missing,
                                      struct buf *out);

/* ---- an entry ---------------------------------------------------------------------------------------- */

/* What the cache keeps of an item. */
struct embedding {
    struct slice model;  /* of the answer, a JSON string with its quotes; empty: not known */
    struct slice vector; /* a JSON array or a JSON string, as written; empty: missing */
};

/* An entry's bytes and back: the slices then point into bytes. False: they are no entry. */
bool embedding_pack(const struct embedding *e, struct buf *out);
bool embedding_unpack(struct slice bytes, struct embedding *out);

/* The vector in the form that is asked for. False: it is no vector, or out's cap. */
bool embedding_put_vector(struct slice vector, bool base64, struct buf *out);

/* ---- the answer -------------------------------------------------------------------------------------- */

/* Reads an answer to a request of count items: items[i] by their "index". False where an item is missing,
 * comes twice, or is no vector. *usage: the object as written, or empty. */
bool embeddings_answer_read(struct slice body, size_t count, struct embedding *items, struct slice *usage);

/* Writes the whole answer. usage as written, of what was really used; empty: nothing was (all zero). */
bool embeddings_answer_write(const struct embeddings_request *r, const struct embedding *items,
                             struct slice usage, struct buf *out);

#endif
