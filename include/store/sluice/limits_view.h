/*
 * What the limits hold at this moment, for people: from the file in the state directory or from Redis, as the
 * configuration says. For a program that looks and ends: it waits for Redis, up to a few seconds.
 */
#ifndef SLUICE_LIMITS_VIEW_H
#define SLUICE_LIMITS_VIEW_H

#include "sluice/limits.h"

struct limits_view_row {
    char fingerprint[KEY_FINGERPRINT_SIZE]; /* empty: the place that keys without one share */
    struct ratelimit_bucket requests, tokens;
    int64_t concurrent_limit; /* 0: unlimited */
    int64_t concurrent;       /* under way; in Redis only those that have reserved something */
    int64_t learned_output;   /* -1: not known here */
};

typedef void limits_view_callback(void *user, const struct limits_view_row *row);

/* A row for each key that has been seen, in no order. False after having written to message why not. */
bool limits_view_list(const struct config *config, limits_view_callback *callback, void *user, struct buf *message);

/* The key's buckets are full again. False after having written to message why not: nobody has that fingerprint. */
bool limits_view_reset(const struct config *config, const char *fingerprint, struct buf *message);

/* 12 hex digits in lower case. */
bool limits_view_is_fingerprint(const char *text);

#endif
