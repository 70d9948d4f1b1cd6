/* What the cache's tests share: a folder of their own, keys and records. */
#ifndef SLUICE_CACHE_WORLD_H
#define SLUICE_CACHE_WORLD_H

#include "test.h"

#include "sluice/cache_record.h"
#include "sluice/clock.h"

#include <stdio.h>

enum { WORLD_PATH_MAX = 256 };

struct world {
    char dir[WORLD_PATH_MAX];
};

/* Makes and removes the folder, with all that is in it. */
void world_open(struct world *w);
void world_close(struct world *w);

/* Of the folder and a name; valid until the next call. */
const char *world_path(const struct world *w, const char *name);

struct digest world_key(uint64_t number);

/* A record of the key with a body of so many bytes that depend on the key and salt; expires after so many ms.
 */
void world_record(struct buf *out, const struct digest *key, size_t body, uint64_t salt, int64_t expires_ms);

/* Whether the record is whole and its body is that of key and some salt; gives the salt. */
bool world_check(struct slice record, const struct digest *key, uint64_t *salt);

#endif
