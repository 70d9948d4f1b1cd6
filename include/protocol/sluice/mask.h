/*
 * Texts for the log at its most talkative, without the secrets that are in them.
 *
 * Masked are the secrets that the caller knows, exact to the byte; what follows "Bearer " or "Basic "; and what looks like
 * a key of OpenAI's (sk-…). A secret that is written in another way than these is not recognised.
 */
#ifndef SLUICE_MASK_H
#define SLUICE_MASK_H

#include "sluice/buf.h"

/* At most max bytes of text with each secret as "***". False at the buffer's cap. Empty secrets are ignored. */
bool mask_put(struct buf *b, struct slice text, size_t max, const struct slice *secrets, size_t count);

/* Whether a header's value is a secret as a whole, by its CGI name. */
bool mask_hides_header(struct slice name);

/* The trace's id in a traceparent header (W3C Trace Context, 3.2); empty where it is not well-formed. */
struct slice mask_trace_id(struct slice traceparent);

#endif
