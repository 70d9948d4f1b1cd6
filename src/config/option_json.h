/*
 * What the options that are JSON objects have in common. Private to the config layer.
 *
 * Their values may hold secrets: no message quotes them, and jansson's own messages, which would, are not used.
 */
#ifndef SLUICE_OPTION_JSON_H
#define SLUICE_OPTION_JSON_H

#include "option_value.h"

#include <jansson.h>

/* The value, an object without members where nothing is written; for json_decref(). NULL after a report. */
json_t *option_load_object(const struct option_value *v);

/* Reads one member into an item, which is zeroed before. place counts from 1. False after one or several reports. */
typedef bool option_read_member(const struct option_value *v, size_t place, const char *name, json_t *json, void *item);

struct option_members {
    size_t count;
    void *items; /* in the memory of the config; NULL where there are none */
};

/* Reads every member of an object, to tell of all that is wrong, into an item of size bytes. False after reports. */
bool option_read_members(const struct option_value *v, json_t *json, size_t size, option_read_member *read,
                         struct option_members *out);

#endif
