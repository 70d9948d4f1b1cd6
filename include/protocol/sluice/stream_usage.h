/*
 * Usage of a stream whose client did not ask for it: Sluice asks (stream_options.include_usage), and hides what comes of
 * it, so that the client sees the stream that it would have seen without Sluice.
 */
#ifndef SLUICE_STREAM_USAGE_H
#define SLUICE_STREAM_USAGE_H

#include "sluice/buf.h"

/* The request with include_usage set to true; every other byte stays as it is. body is a JSON object. False: its
 * stream_options is of a form that is the upstream's to judge, or out's cap; out is then unchanged. */
bool stream_usage_ask(struct slice body, struct buf *out);

/* Whether an event's data is the extra chunk: no choices, and a usage object. */
bool stream_usage_is_extra(struct slice data);

#endif
