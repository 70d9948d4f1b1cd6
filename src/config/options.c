/* The table, and how a name is found in it. */
#include "sluice/options.h"

#include "sluice/clock.h"
#include "sluice/config.h"

#include <assert.h>
#include <ctype.h>
#include <sched.h>

enum { OPTION_WORKERS_MAX = 256 };

#define OPTION_FIELD(field) .offset = offsetof(struct config, field)
#define OPTION_SECONDS_RANGE(low_ms, high_s)                                                                 \
    .type = OPTION_SECONDS, .min = INT64_C(low_ms) * CLOCK_US_PER_MS,                                        \
    .max = INT64_C(high_s) * CLOCK_US_PER_SECOND

static const struct option_choice option_log_levels[] = {
    {"debug", LOG_LEVEL_DEBUG},
    {"info", LOG_LEVEL_INFO},
    {"warning", LOG_LEVEL_WARNING},
    {"error", LOG_LEVEL_ERROR},
    {"warn", LOG_LEVEL_WARNING},
    {"critical", LOG_LEVEL_ERROR},
    {NULL, 0},
};

static const struct option_choice option_cache_scopes[] = {
    {"client", CONFIG_CACHE_CLIENT},
    {"upstream", CONFIG_CACHE_UPSTREAM},
    {"shared", CONFIG_CACHE_SHARED},
    {NULL, 0},
};

static const struct option_choice option_limit_backends[] = {
    {"local", CONFIG_LIMIT_LOCAL},
    {"redis", CONFIG_LIMIT_REDIS},
    {NULL, 0},
};

/* Those that this process may run on: a container is often given fewer than the machine has. */
static int64_t option_count_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > OPTION_WORKERS_MAX ? OPTION_WORKERS_MAX : count;
}

/* clang-format off */
static const struct option options[] = {
    {.name = "OPENAI_API_KEY", .type = OPTION_KEY_LIST, OPTION_FIELD(openai_api_keys),
     .reloadable = true, .default_text = "", .default_note = "none", .secret = true, .essential = true,
     .prose = "The OpenAI key that requests go upstream with. It may be absent only if API_KEY_MAPPING has a "
              "key for every client key."},
    {.name = "CLIENT_API_KEYS", .type = OPTION_KEY_LIST, OPTION_FIELD(client_api_keys),
     .default_text = "", .default_note = "none", .secret = true, .reloadable = true,
     .essential = true,
     .prose = "The keys that clients of this proxy may use, separated by commas."},
    {.name = "API_KEY_MAPPING", .type = OPTION_KEY_MAP, OPTION_FIELD(api_key_mapping),
     .default_text = "", .default_note = "none", .secret = true, .reloadable = true,
     .prose = "Client keys with an OpenAI key of their own, as a JSON object: "
              "{\"client key\": \"OpenAI key\"}. A value may also be "
              "{\"key\": \"...\", \"organization\": \"...\", \"project\": \"...\"}. "
              "These client keys need not be in CLIENT_API_KEYS."},
    {.name = "OPENAI_BASE_URL", .type = OPTION_URL, OPTION_FIELD(openai_base_url), .schemes = "http https",
     .reloadable = true, .default_text = "https://api.openai.com/v1",
     .prose = "Where the OpenAI API is, as the official clients call it: with /v1 at its end."},
    {.name = "BASE_PATH", .type = OPTION_PREFIX, OPTION_FIELD(base_path),
     .reloadable = true, .default_text = "", .default_note = "empty",
     .prose = "What stands in front of /v1 in the paths of this proxy, such as /ai."},
    {.name = "LISTEN", .type = OPTION_ADDRESS, OPTION_FIELD(listen),
     .default_text = "", .default_note = "descriptor 0",
     .prose = "The FastCGI socket to open: unix:/path, an absolute path, HOST:PORT or [IPv6]:PORT. Empty: the "
              "socket that a web server or a spawner has opened as descriptor 0."},
    {.name = "LISTEN_MODE", .type = OPTION_MODE, OPTION_FIELD(listen_mode), .max = 0777,
     .default_text = "0660",
     .prose = "The mode of the unix socket that LISTEN names: who may connect to it."},
    {.name = "LISTEN_GROUP", .type = OPTION_NAME, OPTION_FIELD(listen_group),
     .default_text = "", .default_note = "the process's",
     .prose = "The group of the unix socket that LISTEN names, such as the web server's."},
    {.name = "RUN_AS", .type = OPTION_NAME, OPTION_FIELD(run_as),
     .default_text = "", .default_note = "www-data, if root starts it",
     .prose = "The user that Sluice becomes, for good, where root starts it: after opening its socket, and before it "
              "reads anything from outside. With root it stays root. Who is not root cannot become another user."},
    {.name = "WORKERS", .type = OPTION_INT, OPTION_FIELD(workers), .min = 0, .max = OPTION_WORKERS_MAX,
     .automatic = option_count_processors,
     .reloadable = true, .default_text = "auto", .default_note = "auto: one a processor",
     .prose = "How many processes serve requests. With 0 there is no supervisor and the process itself serves, "
              "for web servers that start processes by themselves."},
    {.name = "WORKER_MAX_REQUESTS", .type = OPTION_INT, OPTION_FIELD(worker_max_requests),
     .min = 0, .max = 1000000000, .reloadable = true,
     .default_text = "0", .default_note = "0: never",
     .prose = "After how many requests a worker is replaced by a new one, without losing any."},
    {.name = "STATE_DIR", .type = OPTION_PATH, OPTION_FIELD(state_dir), .default_text = "state",
     .prose = "The directory for what outlives a process. It is made if it is missing; a relative path counts "
              "from the working directory."},
    {.name = "LOG_LEVEL", .type = OPTION_CHOICE, OPTION_FIELD(log_level), .choices = option_log_levels,
     .default_text = "info", .reloadable = true,
     .prose = "What is logged: this level and the graver ones."},
    {.name = "LOG_FILE", .type = OPTION_PATH, OPTION_FIELD(log_file),
     .reloadable = true, .default_text = "", .default_note = "standard error",
     .prose = "The file that the log is appended to."},
    {.name = "LOG_BODIES", .type = OPTION_BOOL, OPTION_FIELD(log_bodies), .default_text = "false", .reloadable = true,
     .prose = "Whether the level debug shows requests' headers and the beginnings of bodies, with keys and cookies masked. "
              "What people write to a model is then in the log."},
    {.name = "KEY_ALIASES", .type = OPTION_ALIASES, OPTION_FIELD(key_aliases),
     .default_text = "", .default_note = "none", .secret = true, .reloadable = true,
     .prose = "Names of client keys for the log, the metrics and the status page, as a JSON object: "
              "{\"client key\": \"name\"}. A key without one is shown by its fingerprint."},
    {.name = "PRICES", .type = OPTION_PRICES, OPTION_FIELD(prices),
     .default_text = "", .default_note = "none", .reloadable = true,
     .prose = "What models cost, in USD for a million tokens, for the log, the metrics and the status page, as a JSON object: "
              "{\"gpt-4o*\": {\"input\": 2.5, \"cached_input\": 1.25, \"output\": 10}}. A * at the end of a name stands for "
              "any rest; a whole name beats a beginning, and of these the longest counts. Without cached_input it costs as "
              "input. Without a price no cost is shown."},
    {.name = "METRICS__ALLOW", .type = OPTION_NETWORKS, OPTION_FIELD(metrics_allow),
     .default_text = "127.0.0.0/8,::1", .reloadable = true,
     .prose = "From which addresses /metrics and /status may be read without a token. The web server's REMOTE_ADDR counts; "
              "a request that came through another proxy (X-Forwarded-For, Forwarded) needs a token."},
    {.name = "METRICS__TOKEN", .type = OPTION_KEY_LIST, OPTION_FIELD(metrics_tokens),
     .default_text = "", .default_note = "none", .secret = true, .reloadable = true,
     .prose = "A bearer token that opens /metrics and /status from everywhere; several, separated by commas, while one is "
              "being replaced."},
    {.name = "METRICS__MAX_MODELS", .type = OPTION_INT, OPTION_FIELD(metrics_max_models), .min = 0, .max = 500,
     .default_text = "100", .reloadable = true,
     .prose = "How many models have numbers of their own in the metrics; further ones are counted as \"other\"."},
    {.name = "METRICS__MAX_KEYS", .type = OPTION_INT, OPTION_FIELD(metrics_max_keys), .min = 0, .max = 500,
     .default_text = "100", .reloadable = true,
     .prose = "The same for client keys."},
    {.name = "METRICS__GENAI", .type = OPTION_BOOL, OPTION_FIELD(metrics_genai), .default_text = "false",
     .reloadable = true,
     .prose = "Whether /metrics also has the names of OpenTelemetry's conventions for generative AI (gen_ai_...)."},
    {.name = "DEBUG", .type = OPTION_BOOL, OPTION_FIELD(debug), .default_text = "false", .reloadable = true,
     .prose = "If true, LOG_LEVEL is debug, whatever it says."},
    {.name = "MAX_BODY_BYTES", .type = OPTION_BYTES, OPTION_FIELD(max_body_bytes),
     .default_text = "33554432", .default_note = "33554432 (32 MiB)",
     .min = 1024, .max = INT64_C(2) << 30, .reloadable = true,
     .prose = "The longest request body that is accepted; a longer one is answered 413."},
    {.name = "UPSTREAM__CONNECT_SECONDS", OPTION_SECONDS_RANGE(10, 300), OPTION_FIELD(upstream_connect_us),
     .default_text = "10", .reloadable = true,
     .prose = "How long connecting to OpenAI may take, TLS included."},
    {.name = "UPSTREAM__FIRST_BYTE_SECONDS", OPTION_SECONDS_RANGE(10, 86400),
     OPTION_FIELD(upstream_first_byte_us), .default_text = "600", .reloadable = true,
     .prose = "How long OpenAI may take to begin its answer."},
    {.name = "UPSTREAM__IDLE_SECONDS", OPTION_SECONDS_RANGE(10, 86400), OPTION_FIELD(upstream_idle_us),
     .default_text = "300", .reloadable = true,
     .prose = "How long OpenAI may be silent once its answer has begun."},
    {.name = "UPSTREAM__TOTAL_SECONDS", OPTION_SECONDS_RANGE(10, 604800), OPTION_FIELD(upstream_total_us),
     .default_text = "3600", .reloadable = true,
     .prose = "How long a request to OpenAI may take from its start to its end."},
    {.name = "UPSTREAM__MAX_RETRIES", .type = OPTION_INT, OPTION_FIELD(upstream_max_retries),
     .min = 0, .max = 20, .default_text = "3", .reloadable = true,
     .prose = "How often a request that OpenAI did not serve is sent again: after a connection failure, 408, 409, "
              "429, 500, 502, 503, 504 or 529, before the first byte of an answer has gone to the client."},
    {.name = "UPSTREAM__RETRY_BASE_SECONDS", OPTION_SECONDS_RANGE(1, 60), OPTION_FIELD(upstream_retry_base_us),
     .default_text = "0.5", .reloadable = true,
     .prose = "The longest pause before the first retry; it doubles each time, up to 8 seconds, and a random part of it "
              "is waited."},
    {.name = "UPSTREAM__RETRY_SECONDS", OPTION_SECONDS_RANGE(0, 3600), OPTION_FIELD(upstream_retry_us),
     .default_text = "60", .reloadable = true,
     .prose = "No retry begins later than this after the request came."},
    {.name = "UPSTREAM__MAX_RETRY_AFTER_SECONDS", OPTION_SECONDS_RANGE(0, 3600),
     OPTION_FIELD(upstream_max_retry_after_us), .default_text = "10", .reloadable = true,
     .prose = "A Retry-After of OpenAI up to this long is waited for; a longer one goes to the client."},
    {.name = "UPSTREAM__BREAKER_SECONDS", OPTION_SECONDS_RANGE(100, 3600), OPTION_FIELD(upstream_breaker_us),
     .default_text = "10", .reloadable = true,
     .prose = "After 15 failures in a row OpenAI is not asked for this long; clients get a 503 at once."},
    {.name = "UPSTREAM__CA_FILE", .type = OPTION_PATH, OPTION_FIELD(upstream_ca_file),
     .default_text = "", .default_note = "the system's", .reloadable = true,
     .prose = "The certificates, in PEM, that vouch for an upstream of one's own, in place of the system's."},
    {.name = "UPSTREAM__HTTP2", .type = OPTION_BOOL, OPTION_FIELD(upstream_http2), .default_text = "true",
     .reloadable = true,
     .prose = "Whether requests whose answers are small go over HTTP/2 where OpenAI offers it. Streams and large bodies "
              "go over HTTP/1.1, which can be held back."},
    {.name = "STREAM__KEEPALIVE_SECONDS", OPTION_SECONDS_RANGE(0, 3600), OPTION_FIELD(stream_keepalive_us),
     .default_text = "15", .reloadable = true,
     .prose = "A stream that is silent gets a comment line this often, so that no web server gives it up. 0: never."},
    {.name = "VALIDATE", .type = OPTION_BOOL, OPTION_FIELD(validate), .default_text = "true",
     .reloadable = true,
     .prose = "Whether types and ranges of known fields are checked before a request goes to OpenAI."},
    {.name = "ALLOW_ADMIN_API", .type = OPTION_BOOL, OPTION_FIELD(allow_admin_api), .default_text = "false",
     .reloadable = true,
     .prose = "Whether clients may use /v1/organization and /v1/projects with the OpenAI key."},
    {.name = "CORS__ALLOW_ORIGINS", .type = OPTION_LIST, OPTION_FIELD(cors_allow_origins),
     .default_text = "", .default_note = "none", .reloadable = true,
     .prose = "Origins whose pages may call this proxy from a browser, separated by commas, or *."},
    {.name = "DRAIN_SECONDS", OPTION_SECONDS_RANGE(0, 86400), OPTION_FIELD(drain_us),
     .default_text = "30", .reloadable = true,
     .prose = "How long a stopping process lets requests that are under way finish."},
    {.name = "RATE_LIMIT__REQUESTS_PER_MINUTE", .type = OPTION_INT,
     OPTION_FIELD(rate_limit_requests_per_minute), .default_text = "60", .min = 0, .max = CONFIG_LIMIT_MAX,
     .reloadable = true,
     .prose = "Requests a minute that each client key may make; 0: any number. The bucket holds a minute's worth and "
              "fills evenly."},
    {.name = "RATE_LIMIT__TOKENS_PER_MINUTE", .type = OPTION_INT, OPTION_FIELD(rate_limit_tokens_per_minute),
     .default_text = "100000", .min = 0, .max = CONFIG_LIMIT_MAX, .reloadable = true,
     .prose = "Tokens a minute that each client key may use; 0: any number. An estimate is reserved before a request "
              "and settled by its real usage."},
    {.name = "RATE_LIMIT__CONCURRENT_REQUESTS", .type = OPTION_INT, OPTION_FIELD(rate_limit_concurrent_requests),
     .default_text = "0", .min = 0, .max = CONFIG_CONCURRENT_MAX, .reloadable = true,
     .prose = "Requests at once that each client key may have under way; 0: any number."},
    {.name = "RATE_LIMIT__OVERRIDES", .type = OPTION_OVERRIDES, OPTION_FIELD(rate_limit_overrides),
     .default_text = "", .default_note = "none", .secret = true, .reloadable = true,
     .prose = "Limits of single client keys, as a JSON object: {\"client key\": {\"requests_per_minute\": 600, "
              "\"tokens_per_minute\": 1000000, \"concurrent_requests\": 50}}, with any of the three."},
    {.name = "RATE_LIMIT__BACKEND", .type = OPTION_CHOICE, OPTION_FIELD(rate_limit_backend),
     .choices = option_limit_backends, .default_text = "local", .reloadable = true,
     .prose = "Where the limits are kept: local, one limit for the whole machine; redis, one limit for all machines "
              "that use the server of CACHE__REDIS_URL."},
    {.name = "RATE_LIMIT__LOCAL_SHARE", .type = OPTION_SHARE, OPTION_FIELD(rate_limit_local_share),
     .default_text = "1.0", .min = OPTION_SHARE_WHOLE / 100, .max = OPTION_SHARE_WHOLE, .reloadable = true,
     .prose = "The part of each limit that this machine gives by itself while Redis does not answer. With N machines, "
              "1/N keeps the sum below the limit."},
    {.name = "RATE_LIMIT__LEASE_SECONDS", OPTION_SECONDS_RANGE(1000, 3600), OPTION_FIELD(rate_limit_lease_us),
     .default_text = "30", .reloadable = true,
     .prose = "How long it takes at most until what a crashed process had reserved is given back."},
    {.name = "REDIS__TIMEOUT_MS", .type = OPTION_INT, OPTION_FIELD(redis_timeout_ms),
     .default_text = "50", .min = 1, .max = 10000, .reloadable = true,
     .prose = "How long a request waits for Redis, in milliseconds, before it goes on without it."},
    {.name = "CACHE__ENABLED", .type = OPTION_BOOL, OPTION_FIELD(cache_enabled), .default_text = "true",
     .reloadable = true,
     .prose = "Whether answers are kept and given again to the same request."},
    {.name = "CACHE__REDIS_URL", .type = OPTION_REDIS_URL, OPTION_FIELD(cache_redis_url),
     .user_info = true, .reloadable = true, .default_text = "redis://localhost:6379",
     .prose = "The Redis server that holds the cache."},
    {.name = "CACHE__TTL_SECONDS", OPTION_SECONDS_RANGE(1000, 31536000), OPTION_FIELD(cache_ttl_us),
     .default_text = "86400", .reloadable = true,
     .prose = "How long an answer is kept."},
    {.name = "CACHE__MODELS_TTL_SECONDS", OPTION_SECONDS_RANGE(0, 86400), OPTION_FIELD(cache_models_ttl_us),
     .default_text = "300", .reloadable = true,
     .prose = "How long the list of models is kept. 0: not at all."},
    {.name = "CACHE__MAX_BYTES", .type = OPTION_BYTES, OPTION_FIELD(cache_max_bytes),
     .default_text = "268435456", .default_note = "268435456 (256 MiB)", .min = 4 << 20, .max = INT64_C(1) << 40,
     .prose = "The size of the store in the state directory, which serves while no Redis server can be reached. "
              "The oldest answers make room for new ones."},
    {.name = "CACHE__MAX_ENTRY_BYTES", .type = OPTION_BYTES, OPTION_FIELD(cache_max_entry_bytes),
     .default_text = "1048576", .default_note = "1048576 (1 MiB)", .min = 1024, .max = 64 << 20, .reloadable = true,
     .prose = "A longer answer is not kept, nor one of more than an eighth of CACHE__MAX_BYTES."},
    {.name = "CACHE__SCOPE", .type = OPTION_CHOICE, OPTION_FIELD(cache_scope), .choices = option_cache_scopes,
     .default_text = "client", .reloadable = true,
     .prose = "Who may be given an answer again: only the client key that asked for it (client), all that use the "
              "same OpenAI key (upstream), or everybody (shared)."},
    {.name = "CACHE__COALESCE", .type = OPTION_BOOL, OPTION_FIELD(cache_coalesce), .default_text = "true",
     .reloadable = true,
     .prose = "Whether of identical requests that are under way only one goes to OpenAI, and its answer to all."},
    {.name = "CACHE__COALESCE_SECONDS", OPTION_SECONDS_RANGE(100, 3600), OPTION_FIELD(cache_coalesce_us),
     .default_text = "60", .reloadable = true,
     .prose = "How long a request waits for the answer to an identical one before it goes to OpenAI itself."},
    {.name = "CACHE__HITS_COUNT", .type = OPTION_BOOL, OPTION_FIELD(cache_hits_count), .default_text = "true",
     .reloadable = true,
     .prose = "Whether an answer from the cache counts as a request of the rate limit. It never counts tokens."},
};
/* clang-format on */

static_assert(sizeof options / sizeof *options == OPTIONS_COUNT,
              "OPTIONS_COUNT in the header is the table's length");

static const char *const option_prefixes[] = {
    "RATE_LIMIT__", "CACHE__", "UPSTREAM__", "REDIS__", "STREAM__", "METRICS__", "CORS__",
};

const struct option *options_at(size_t index)
{
    return index < OPTIONS_COUNT ? &options[index] : NULL;
}

size_t options_find(struct slice name)
{
    size_t i = 0;
    while (i < OPTIONS_COUNT && !slice_equals_text(name, options[i].name))
        i++;
    return i;
}

bool options_own_prefix(struct slice name)
{
    for (size_t i = 0; i < sizeof option_prefixes / sizeof *option_prefixes; i++)
        if (slice_starts_with_nocase(name, slice_from_text(option_prefixes[i])))
            return true;
    return false;
}

enum { OPTION_NAME_MAX = 64 };

static size_t option_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool option_same_letter(char a, char b)
{
    return toupper((unsigned char)a) == toupper((unsigned char)b);
}

/* Optimal string alignment: row i holds the distances of a's first i letters from each beginning of b. Most names are
 * soon known to be further away than max; then it is SIZE_MAX. */
static size_t option_name_distance(struct slice a, struct slice b, size_t max)
{
    size_t rows[3][OPTION_NAME_MAX + 1];
    size_t least = 0, least_above; /* of a row; a later one is built on this row and the one above it */
    if (a.len > b.len + max || b.len > a.len + max)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = rows[i % 3], *above = rows[(i + 2) % 3], *twice_above = rows[(i + 1) % 3];
        least_above = least;
        least = now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = option_same_letter(a.ptr[i - 1], b.ptr[j - 1]);
            now[j] = option_min(above[j - 1] + (same ? 0 : 1), option_min(above[j], now[j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && option_same_letter(a.ptr[i - 1], b.ptr[j - 2]) &&
                           option_same_letter(a.ptr[i - 2], b.ptr[j - 1]);
            if (swapped)
                now[j] = option_min(now[j], twice_above[j - 2] + 1);
            least = option_min(least, now[j]);
        }
        if (least > max && least_above >= max)
            return SIZE_MAX;
    }
    return rows[a.len % 3][b.len];
}

/* Up to the first two underscores and with them; empty where there are none. */
static struct slice option_name_prefix(struct slice name)
{
    const char *end = name.len > 0 ? memmem(name.ptr, name.len, "__", 2) : NULL;
    return slice_take(name, end ? (size_t)(end - name.ptr) + 2 : 0);
}

/* One edit where a name is an option's beginning, further than the prefix that both have: CACHE__TTL. */
static size_t option_count_edits(struct slice name, struct slice option, size_t prefix, size_t max)
{
    if (prefix > 0 && name.len > prefix && name.len < option.len && slice_starts_with_nocase(option, name))
        return 1;
    return option_name_distance(name, option, max);
}

/* A name that is wrong for the most part is no typing mistake, but its prefix still tells what was meant. */
const struct option *options_find_nearest(struct slice name, size_t max, size_t *edits)
{
    const struct option *nearest = NULL;
    struct slice prefix = option_name_prefix(name);
    if (name.len > OPTION_NAME_MAX)
        return NULL;
    max = option_min(max, OPTION_NAME_MAX);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        struct slice option = slice_from_text(options[i].name);
        bool akin = prefix.len > 0 && slice_starts_with_nocase(option, prefix);
        size_t reach = akin ? max : option_min(max, name.len / 2);
        size_t distance = option_count_edits(name, option, akin ? prefix.len : 0, reach);
        if (distance > reach)
            continue;
        nearest = &options[i];
        *edits = distance;
        if (distance == 0)
            break;
        max = distance - 1; /* of those that are as near, the first */
    }
    return nearest;
}
