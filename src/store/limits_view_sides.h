/* The two sides of limits_view.c. Private to the store. */
#ifndef SLUICE_LIMITS_VIEW_SIDES_H
#define SLUICE_LIMITS_VIEW_SIDES_H

#include "limits_internal.h"
#include "sluice/limits_view.h"

struct limits_rates limits_view_rates(const struct config *c, const char *fingerprint);

/* limits_view_redis.c */
bool limits_view_redis_list(const struct config *c, limits_view_callback *callback, void *user,
                            struct buf *message);
bool limits_view_redis_reset(const struct config *c, const char *fingerprint, struct buf *message);

#endif
