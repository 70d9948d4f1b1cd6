/*
 * The endpoints of the API, by path: what Sluice knows of each.
 */
#ifndef SLUICE_ENDPOINT_H
#define SLUICE_ENDPOINT_H

#include "sluice/slice.h"

enum endpoint_method {
    ENDPOINT_GET = 1,
    ENDPOINT_POST = 2,
    ENDPOINT_DELETE = 4,
};

struct endpoint {
    const char *name; /* for logs and metrics */
    const char *path; /* behind /v1 */
    unsigned methods; /* a sum of enum endpoint_method */
};

/* NULL: not an endpoint. */
const struct endpoint *endpoint_find(struct slice api_path);

bool endpoint_allows(const struct endpoint *e, struct slice method);

#endif
