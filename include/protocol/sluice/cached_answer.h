/*
 * A complete chat completion or completion, given as the stream that the API would send of it.
 *
 * For each choice: the role (chat only), one chunk for each of content, refusal, tool calls and what else the
 * message holds, and the finish reason; at the end the usage if it was asked for, and "[DONE]". Values are
 * copied as they are written in the answer, byte for byte.
 */
#ifndef SLUICE_CACHED_ANSWER_H
#define SLUICE_CACHED_ANSWER_H

#include "sluice/buf.h"

/* Appends the events. include_usage: the last chunk tells it, and every other says "usage":null. False: the
 * object has not the form of an answer, or out's cap was reached; out is then unchanged. */
bool cached_answer_stream(struct slice object, bool include_usage, struct buf *out);

#endif
