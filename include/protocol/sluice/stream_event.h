/*
 * What an event of a stream says that Sluice acts on, found in one pass over its data and without parsing it: a stream
 * has thousands of events, and nearly all say no more than a few letters of text.
 *
 * A member is known by its name, wherever in the object it stands; text in strings is not mistaken for one, since its
 * quotes are escaped.
 */
#ifndef SLUICE_STREAM_EVENT_H
#define SLUICE_STREAM_EVENT_H

#include "sluice/slice.h"

struct stream_event {
    bool has_usage;          /* a "usage" that is an object */
    bool finishes;           /* a "finish_reason" that is a text */
    size_t delta_tokens;     /* about: one for each four bytes of text in its deltas, at least one where there is text */
    struct slice null_usage; /* a part of data: "usage":null with the comma before it; empty where there is none */
};

/* data need not be JSON. Takes time in proportion to its length. */
void stream_event_read(struct slice data, struct stream_event *out);

#endif
