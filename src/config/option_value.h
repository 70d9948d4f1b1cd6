/*
 * One written value becomes one field of struct config. Private to the config layer.
 *
 * A setter changes the field only where the value is legal; otherwise it reports why not, once or several
 * times.
 */
#ifndef SLUICE_OPTION_VALUE_H
#define SLUICE_OPTION_VALUE_H

#include "sluice/config.h"
#include "sluice/options.h"

struct option_value {
    const struct option *option;
    struct slice text;  /* as written, without blanks at its ends; never empty unless it is the default */
    const char *origin; /* where it was written, for messages: `environment` */
    struct config *config;
    struct config_report *report;
};

enum { OPTION_PATH_MAX = 4095, OPTION_UNIX_PATH_MAX = 107, OPTION_KEY_MAX = 512, OPTION_NAME_MAX = 64 };

/* False where the value is not legal, which the report then tells. */
bool option_set_value(const struct option_value *v);

/* Reports an error: the value (unless secret), the phrase, where it was written, and what is allowed. False.
 */
bool option_reject(const struct option_value *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool option_reject_memory(const struct option_value *v);

/* The setters of the longer grammars. */
bool option_set_url(const struct option_value *v, const char **field);
bool option_set_address(const struct option_value *v, struct config_address *field);
bool option_set_key_list(const struct option_value *v, struct config_list *field);
bool option_set_redis_url(const struct option_value *v, const char **field);
bool option_set_networks(const struct option_value *v, struct config_list *field);
bool option_set_aliases(const struct option_value *v, struct config_aliases *field);
bool option_set_overrides(const struct option_value *v, struct config_overrides *field);
bool option_set_prices(const struct option_value *v, struct config_prices *field);
bool option_set_key_map(const struct option_value *v, struct config_mappings *field);

/* Digits only, from 0 to max. */
bool option_parse_number(struct slice text, int64_t max, int64_t *out);

/* A URL with `***` for its user information. */
bool option_put_url(struct buf *b, struct slice url);

static inline bool option_has_control(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7F)
            return true;
    return false;
}

#endif
