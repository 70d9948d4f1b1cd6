/*
 * The head of an answer as a FastCGI application gives it: "Status: 200 OK", header lines, an empty line
 * (RFC 3875, 6.3). Writing goes into a buffer of the caller's; a false answer means that its cap was reached.
 */
#ifndef SLUICE_HTTP_RESPONSE_H
#define SLUICE_HTTP_RESPONSE_H

#include "sluice/buf.h"

/* The reason phrase of RFC 9110; "Status" for a code that has none there. */
const char *http_status_text(int status);

bool http_response_begin(struct buf *b, int status);

/* A value with a control character is left out: it could become a line of its own. */
bool http_response_header(struct buf *b, struct slice name, struct slice value);

bool http_response_end(struct buf *b);

/* Whether a header of an upstream answer goes on to the client: an allow list, so that nothing unknown leaks. */
bool http_response_passes(struct slice name);

#endif
