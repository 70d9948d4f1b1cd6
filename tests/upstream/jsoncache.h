/* Parsed bodies, remembered: a load test sends the same few bodies again and again, and parsing one costs as
 * much as all the rest of the simulator's own work for a request. */
#ifndef SIM_JSONCACHE_H
#define SIM_JSONCACHE_H

#include "buf.h"

#include <jansson.h>

#define JSONCACHE_SLOTS 64

struct jsoncache {
    struct {
        struct buf text;
        json_t *json;
    } slots[JSONCACHE_SLOTS];
};

/* A new reference to text's value, which must not be modified; NULL when it is not valid JSON. */
json_t *jsoncache_load(struct jsoncache *cache, struct slice text);
void jsoncache_clear(struct jsoncache *cache);

#endif
