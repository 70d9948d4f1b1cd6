/* The table of endpoints. */
#include "sluice/endpoint.h"

static const struct endpoint endpoints[] = {
    {"chat.completions", "/chat/completions", ENDPOINT_POST},
};

const struct endpoint *endpoint_find(struct slice api_path)
{
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        if (slice_equals_text(api_path, endpoints[i].path))
            return &endpoints[i];
    return NULL;
}

bool endpoint_allows(const struct endpoint *e, struct slice method)
{
    return (e->methods & ENDPOINT_GET && slice_equals_text(method, "GET")) ||
           (e->methods & ENDPOINT_POST && slice_equals_text(method, "POST")) ||
           (e->methods & ENDPOINT_DELETE && slice_equals_text(method, "DELETE"));
}
