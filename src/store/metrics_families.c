/* The families: how each is called, shown and bounded. */
#include "metrics_internal.h"

/* The caps of all counters together are METRICS_SETS_MAX. */
const struct metrics_counter_family metrics_counters[METRICS_COUNTERS] = {
    [METRICS_REQUESTS] = {"requests", "sluice_requests_total",
                          "Requests that have ended, by the status that the client got; none: it got no answer.", 640,
                          {"endpoint", "method", "status"}},
    [METRICS_REQUEST_ENDS] = {"ends", "sluice_request_ends_total", "Requests that have ended, by the reason.", 24,
                              {"end"}},
    [METRICS_ERRORS] = {"errors", "sluice_errors_total", "Errors that Sluice itself answered, by their name.", 96,
                        {"error"}},
    [METRICS_TOKENS] = {"tokens", "sluice_tokens_total",
                        "Tokens that the upstream has counted; cached are a part of input, reasoning of output.", 2048,
                        {"kind", "model", "key"}},
    [METRICS_CACHE_REQUESTS] = {"cache", "sluice_cache_requests_total", "Requests that the cache was asked for.", 8,
                                {"result"}},
    [METRICS_RATE_LIMIT_REFUSALS] = {"refusals", "sluice_rate_limit_refusals_total",
                                     "Requests that a rate limit of Sluice refused.", 8, {"kind"}},
    [METRICS_UPSTREAM_ERRORS] = {"upstream", "sluice_upstream_errors_total",
                                 "Attempts upstream that failed: without a whole answer, or with an error status.", 128,
                                 {"kind", "status"}},
    [METRICS_UPSTREAM_RETRIES] = {"retries", "sluice_upstream_retries_total",
                                  "Attempts upstream after the first one of a request.", 1, {NULL}},
    [METRICS_STREAM_EVENTS] = {"events", "sluice_stream_events_total", "Events of streams that clients were given.", 1,
                               {NULL}},
    [METRICS_PROCESS_STARTS] = {"starts", "sluice_process_starts_total", "Processes that began to serve.", 1, {NULL}},
    [METRICS_PROCESS_CRASHES] = {"crashes", "sluice_process_crashes_total",
                                 "Serving processes that ended without a goodbye.", 1, {NULL}},
    [METRICS_LOG_LINES] = {"log", "sluice_log_lines_total", "Lines that were written to the log.", 1, {NULL}},
    [METRICS_LOG_DROPPED] = {"dropped", "sluice_log_lines_dropped_total",
                             "Lines that were not, as the log was full or too slow.", 1, {NULL}},
    [METRICS_REDIS_COMMANDS] = {"redis", "sluice_redis_commands_total", "Commands to Redis, by what became of them.", 8,
                                {"result"}},
    [METRICS_REDIS_CONNECTIONS] = {"redis_up", "sluice_redis_connections_total", "Connections to Redis that became good.",
                                   1, {NULL}},
    [METRICS_REDIS_BREAKS] = {"redis_down", "sluice_redis_connection_failures_total",
                              "Connections to Redis that broke, and attempts that failed.", 1, {NULL}},
    [METRICS_KNOWN_MODELS] = {"model", NULL, NULL, 500, {"model"}},
    [METRICS_KNOWN_KEYS] = {"key", NULL, NULL, 500, {"key"}},
    [METRICS_COST] = {"cost", "sluice_cost_usd_total", "What the tokens cost by the prices of PRICES, in USD.", 512,
                      {"model", "key"}, .billionths = true},
    [METRICS_UNPRICED] = {"unpriced", "sluice_cost_unpriced_requests_total",
                          "Requests with tokens whose model has no price, while others have.", 256, {"model"}},
    [METRICS_CACHE_WRITES] = {"writes", "sluice_cache_writes_total",
                              "Entries that the cache was given to keep, by what became of them.", 8, {"result"}},
};

#define BOUNDS(n, ...) .count = n, .bounds = {__VA_ARGS__, INT64_MAX}

const struct metrics_histogram_family metrics_histograms[METRICS_HISTOGRAMS] = {
    [METRICS_REQUEST_DURATION] =
        {"duration", "sluice_request_duration_seconds", "From a request's head to the end of its answer.", 64,
         {"endpoint"}, 1e6, false,
         BOUNDS(15, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000,
                60000000, 120000000, 300000000),
         {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "120.0",
          "300.0"}},
    [METRICS_FIRST_TOKEN] =
        {"first", "sluice_time_to_first_token_seconds", "From a request's head to the first event of its stream.", 64,
         {"endpoint"}, 1e6, false,
         BOUNDS(15, 10000, 25000, 50000, 100000, 200000, 300000, 500000, 750000, 1000000, 1500000, 2500000, 5000000,
                10000000, 30000000, 60000000),
         {"0.01", "0.025", "0.05", "0.1", "0.2", "0.3", "0.5", "0.75", "1.0", "1.5", "2.5", "5.0", "10.0", "30.0",
          "60.0"}},
    [METRICS_INTER_TOKEN] =
        {"gap", "sluice_inter_token_seconds", "From one event of a stream to the next.", 64, {"endpoint"}, 1e6, false,
         BOUNDS(15, 1000, 2500, 5000, 10000, 15000, 20000, 30000, 50000, 75000, 100000, 250000, 500000, 1000000,
                2500000, 10000000),
         {"0.001", "0.0025", "0.005", "0.01", "0.015", "0.02", "0.03", "0.05", "0.075", "0.1", "0.25", "0.5", "1.0",
          "2.5", "10.0"}},
    [METRICS_OVERHEAD] =
        {"overhead", "sluice_overhead_seconds",
         "Sluice's own time: from a whole request to its start upstream, and from the upstream's last byte to the "
         "answer. Only answers that are no streams.", 64, {"endpoint"}, 1e6, false,
         BOUNDS(13, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 500000, 1000000),
         {"0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.5",
          "1.0"}},
    [METRICS_REDIS_LATENCY] =
        {"redis", "sluice_redis_latency_seconds", "From a command to Redis to its reply.", 1, {NULL}, 1e6, false,
         BOUNDS(9, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000), /* redis_latency_bounds_us */
         {"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05"}},
    [METRICS_GENAI_TOKENS] =
        {"genai_tokens", "gen_ai_client_token_usage", "Number of input and output tokens used.", 192,
         {"gen_ai_operation_name", "gen_ai_request_model", "gen_ai_token_type"}, 1, true,
         BOUNDS(14, 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864),
         {"1.0", "4.0", "16.0", "64.0", "256.0", "1024.0", "4096.0", "16384.0", "65536.0", "262144.0", "1048576.0",
          "4194304.0", "16777216.0", "67108864.0"}},
    [METRICS_GENAI_DURATION] =
        {"genai_duration", "gen_ai_server_request_duration_seconds",
         "Generative AI server request duration such as time-to-last byte or last output token.", 192,
         {"gen_ai_operation_name", "gen_ai_request_model", "error_type"}, 1e6, true,
         BOUNDS(14, 10000, 20000, 40000, 80000, 160000, 320000, 640000, 1280000, 2560000, 5120000, 10240000, 20480000,
                40960000, 81920000),
         {"0.01", "0.02", "0.04", "0.08", "0.16", "0.32", "0.64", "1.28", "2.56", "5.12", "10.24", "20.48", "40.96",
          "81.92"}},
    [METRICS_GENAI_FIRST_TOKEN] =
        {"genai_first", "gen_ai_server_time_to_first_token_seconds",
         "Time to generate first token for successful responses.", 96,
         {"gen_ai_operation_name", "gen_ai_request_model"}, 1e6, true,
         BOUNDS(16, 1000, 5000, 10000, 20000, 40000, 60000, 80000, 100000, 250000, 500000, 750000, 1000000, 2500000,
                5000000, 7500000, 10000000),
         {"0.001", "0.005", "0.01", "0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5", "5.0",
          "7.5", "10.0"}},
    [METRICS_GENAI_OUTPUT_TOKEN] =
        {"genai_each", "gen_ai_server_time_per_output_token_seconds",
         "Time per output token generated after the first token for successful responses.", 96,
         {"gen_ai_operation_name", "gen_ai_request_model"}, 1e6, true,
         BOUNDS(13, 10000, 25000, 50000, 75000, 100000, 150000, 200000, 300000, 400000, 500000, 750000, 1000000,
                2500000),
         {"0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.2", "0.3", "0.4", "0.5", "0.75", "1.0", "2.5"}},
};
