#include "stats.h"

#include <stdlib.h>
#include <string.h>

#define STATS_PATH_LEN 200

static bool path_matches(const struct stats_path *entry, uint64_t hash, struct slice method,
                         struct slice path)
{
    return entry->hash == hash && strncmp(entry->key, method.p, method.n) == 0 &&
           entry->key[method.n] == ' ' && strncmp(entry->key + method.n + 1, path.p, path.n) == 0 &&
           entry->key[method.n + 1 + path.n] == '\0';
}

static char *path_key(struct slice method, struct slice path)
{
    struct buf key = {0};
    buf_add(&key, method.p, method.n);
    BUF_LIT(&key, " ");
    buf_add(&key, path.p, path.n);
    buf_add(&key, "", 1);
    return key.data;
}

void stats_count_path(struct stats *s, struct slice method, struct slice path)
{
    if (path.n > STATS_PATH_LEN) {
        path.n = STATS_PATH_LEN;
    }
    uint64_t hash = text_hash(text_hash(TEXT_HASH_START, method.p, method.n), path.p, path.n);
    for (uint64_t at = text_mix(hash);; at++) {
        struct stats_path *entry = &s->paths[at % STATS_PATHS];
        if (!entry->key) {
            if (s->path_count >= STATS_PATHS / 2) {
                return; /* the table stays sparse; such a test does not look at by_path */
            }
            *entry = (struct stats_path){path_key(method, path), hash, 0};
            s->path_count++;
        } else if (!path_matches(entry, hash, method, path)) {
            continue;
        }
        entry->count++;
        return;
    }
}

static void statuses_write(const struct stats *s, struct buf *out)
{
    const char *comma = "";
    BUF_LIT(out, ",\"responses_by_status\":{");
    for (unsigned i = 0; i < STATS_STATUSES; i++) {
        if (s->by_status[i]) {
            buf_printf(out, "%s\"%u\":%llu", comma, i, (unsigned long long)s->by_status[i]);
            comma = ",";
        }
    }
    BUF_LIT(out, "}");
}

static void paths_write(const struct stats *s, struct buf *out)
{
    const char *comma = "";
    BUF_LIT(out, ",\"by_path\":{");
    for (unsigned i = 0; i < STATS_PATHS; i++) {
        if (s->paths[i].key) {
            buf_puts(out, comma);
            buf_put_json(out, s->paths[i].key, strlen(s->paths[i].key));
            BUF_LIT(out, ":");
            buf_put_uint(out, s->paths[i].count);
            comma = ",";
        }
    }
    BUF_LIT(out, "}");
}

void stats_write_json(const struct stats *s, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"requests", s->requests},
        {"active", s->active},
        {"active_streams", s->active_streams},
        {"completed", s->completed},
        {"aborted", s->aborted},
        {"cut", s->cut},
        {"last_abort_monotonic_us", s->last_abort_us},
        {"connections_accepted", s->connections_accepted},
        {"connections_open", s->connections_open},
        {"bytes_in", s->bytes_in},
        {"bytes_out", s->bytes_out},
        {"prompt_tokens", s->prompt_tokens},
        {"completion_tokens", s->completion_tokens},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        buf_printf(out, "%c\"%s\":%llu", i ? ',' : '{', numbers[i].name,
                   (unsigned long long)numbers[i].value);
    }
    statuses_write(s, out);
    paths_write(s, out);
    BUF_LIT(out, "}");
}

void stats_free(struct stats *s)
{
    for (unsigned i = 0; i < STATS_PATHS; i++) {
        free(s->paths[i].key);
        s->paths[i] = (struct stats_path){0};
    }
    s->path_count = 0;
}

void stats_reset(struct stats *s)
{
    uint64_t active = s->active, streams = s->active_streams, open = s->connections_open;
    stats_free(s);
    *s = (struct stats){.active = active, .active_streams = streams, .connections_open = open};
}
