#include "cache_world.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

void world_open(struct world *w)
{
    const char *base = getenv("TMPDIR");
    snprintf(w->dir, sizeof w->dir, "%s/sluice-cache-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(w->dir));
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

void world_close(struct world *w)
{
    assert_int_equal(nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *world_path(const struct world *w, const char *name)
{
    static char path[2 * WORLD_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    return path;
}

struct digest world_key(uint64_t number)
{
    struct digest key;
    assert_true(digest_sha256(slice_make(&number, sizeof number), &key));
    return key;
}

static void body_fill(char *to, size_t len, const struct digest *key, uint64_t salt)
{
    memcpy(to, &salt, len < sizeof salt ? len : sizeof salt);
    for (size_t i = sizeof salt; i < len; i++)
        to[i] = (char)(key->bytes[i % DIGEST_SIZE] ^ (salt + i / DIGEST_SIZE));
}

void world_record(struct buf *out, const struct digest *key, size_t len, uint64_t salt, int64_t expires_ms)
{
    char *body = malloc(len + 1);
    assert_non_null(body);
    body_fill(body, len, key, salt);
    struct cache_entry entry = {
        .created_us = clock_wall_us(),
        .expires_us = clock_wall_us() + expires_ms * CLOCK_US_PER_MS,
        .owner = {{1, 2, 3, 4, 5, 6}},
        .content_type = SLICE_LITERAL("application/json"),
        .body = slice_make(body, len),
    };
    buf_clear(out);
    assert_true(cache_record_write(out, key, &entry));
    free(body);
}

bool world_check(struct slice record, const struct digest *key, uint64_t *salt)
{
    struct cache_entry entry;
    *salt = 0;
    if (!cache_record_read(record, key, &entry) || entry.body.len < sizeof *salt)
        return false;
    memcpy(salt, entry.body.ptr, sizeof *salt);
    char *body = malloc(entry.body.len);
    body_fill(body, entry.body.len, key, *salt);
    bool same = memcmp(body, entry.body.ptr, entry.body.len) == 0;
    free(body);
    return same;
}
