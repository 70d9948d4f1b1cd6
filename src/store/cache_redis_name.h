/* Names of entries in Redis. */
#ifndef SLUICE_CACHE_REDIS_NAME_H
#define SLUICE_CACHE_REDIS_NAME_H

#include "sluice/digest.h"

#define CACHE_REDIS_PREFIX "sluice:cache:v1:"

enum { CACHE_REDIS_NAME_SIZE = sizeof CACHE_REDIS_PREFIX - 1 + DIGEST_HEX_SIZE };

void cache_redis_name(const struct digest *key, char out[CACHE_REDIS_NAME_SIZE]);

#endif
