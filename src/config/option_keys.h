/* What the types that hold client keys, and those that are JSON, have in common. Private to the config layer. */
#ifndef SLUICE_OPTION_KEYS_H
#define SLUICE_OPTION_KEYS_H

#include "option_value.h"

#include <jansson.h>

/* What is wrong with one key, as a phrase; NULL for nothing. */
const char *option_check_key(const char *key);

/* The value as JSON of any type. NULL after a report that quotes nothing of it. */
json_t *option_load_json(const struct option_value *v);

#endif
