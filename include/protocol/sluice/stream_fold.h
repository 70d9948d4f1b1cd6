/*
 * The answer that a stream tells: feed the data of its events, and take the object that the API would have
 * given without "stream".
 *
 * Deltas are merged as the official clients do: strings are joined (but a role, a type, an id or a finish
 * reason stands for the whole), numbers and booleans replace, objects merge member by member, arrays of
 * objects with an "index" merge by it, other arrays grow. What is held is bounded by the cap given at the
 * beginning.
 */
#ifndef SLUICE_STREAM_FOLD_H
#define SLUICE_STREAM_FOLD_H

#include "sluice/buf.h"

struct stream_fold;

/* max: bytes that it may hold. NULL without memory. */
struct stream_fold *stream_fold_new(size_t max);
void stream_fold_free(struct stream_fold **fold);

/* The data of one event, "[DONE]" included. False: the stream is not to be kept (no chunk of a completion, an
 * error event, beyond the cap); all later calls then answer false. */
bool stream_fold_feed(struct stream_fold *fold, struct slice data);

/* Appends the object. False: the stream is not complete ("[DONE]" has not come, a choice has no finish
 * reason), it had failed, or out's cap was reached; out is then unchanged. */
bool stream_fold_write(const struct stream_fold *fold, struct buf *out);

#endif
