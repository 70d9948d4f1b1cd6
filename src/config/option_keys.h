/* What the types that hold client keys have in common. Private to the config layer. */
#ifndef SLUICE_OPTION_KEYS_H
#define SLUICE_OPTION_KEYS_H

#include "option_value.h"

/* What is wrong with one key, as a phrase; NULL for nothing. */
const char *option_check_key(const char *key);

#endif
