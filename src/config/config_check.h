/* Checks that need more than one option. Private to the config layer. */
#ifndef SLUICE_CONFIG_CHECK_H
#define SLUICE_CONFIG_CHECK_H

#include "sluice/config.h"

/* Whether every client key has an OpenAI key, and whether the two kinds are kept apart. */
void config_check_keys(const struct config *c, struct config_report *report);

/* Whether every override is of a client key that there is. */
void config_check_overrides(const struct config *c, struct config_report *report);

/* Whether every key that has a name is a client key. */
void config_check_aliases(const struct config *c, struct config_report *report);

#endif
