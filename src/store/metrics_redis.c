/* What a link to Redis counts by itself, added to what all processes have counted. */
#include "metrics_internal.h"
#include "sluice/redis.h"

static void metrics_count_result(struct metrics *m, const char *result, uint64_t now, uint64_t before)
{
    metrics_count(m, METRICS_REDIS_COMMANDS, &(struct metrics_values){{slice_from_text(result)}}, now - before);
}

void metrics_note_redis(struct metrics *m, bool connected, const struct redis_stats *now, struct redis_stats *before,
                        const int64_t *bounds)
{
    if (!m)
        return;
    metrics_set(m, METRICS_REDIS_UP, connected ? METRICS_YES : METRICS_NO);
    metrics_count_result(m, "reply", now->replies - now->errors, before->replies - before->errors);
    metrics_count_result(m, "error", now->errors, before->errors);
    metrics_count_result(m, "timeout", now->timeouts, before->timeouts);
    metrics_count_result(m, "unavailable", now->unavailable, before->unavailable);
    metrics_count(m, METRICS_REDIS_CONNECTIONS, NULL, now->connections - before->connections);
    metrics_count(m, METRICS_REDIS_BREAKS, NULL, now->breaks - before->breaks);
    struct metrics_histogram h = metrics_find(m, METRICS_REDIS_LATENCY, NULL);
    for (size_t i = 0; i < REDIS_LATENCY_BUCKETS; i++)
        metrics_observe_many(h, i < REDIS_LATENCY_BUCKETS - 1 ? bounds[i] : INT64_MAX,
                             now->latency[i] - before->latency[i], 0);
    metrics_observe_many(h, 0, 0, now->latency_sum_us - before->latency_sum_us);
    *before = *now;
}
