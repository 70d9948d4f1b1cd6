/* Counters that /_sim/stats reports. */
#ifndef SIM_STATS_H
#define SIM_STATS_H

#include "buf.h"

#define STATS_PATHS    1024 /* a power of two; open addressing */
#define STATS_STATUSES 1000

struct stats_path {
    char *key; /* "METHOD /path" */
    uint64_t hash;
    uint64_t count;
};

struct stats {
    uint64_t requests, completed, aborted, cut;
    uint64_t active, active_streams, connections_accepted, connections_open;
    uint64_t last_abort_us;
    uint64_t bytes_in, bytes_out;
    uint64_t prompt_tokens, completion_tokens;
    uint64_t by_status[STATS_STATUSES];
    struct stats_path paths[STATS_PATHS];
    unsigned path_count;
};

void stats_count_path(struct stats *s, struct slice method, struct slice path);
void stats_write_json(const struct stats *s, struct buf *out);

/* Clears the counters, but not the gauges of what is under way. */
void stats_reset(struct stats *s);
void stats_free(struct stats *s);

#endif
