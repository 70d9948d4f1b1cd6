/*
 * The configuration: what the option table (options.h) says, with the values of this run.
 *
 * An option's value comes from the first of these that names it: the overrides (the command line), the
 * environment, the .env file, the table's default. A value that is set but empty counts as set, and means the
 * default: `OPENAI_API_KEY= sluice` hides the key in .env. Loading never stops at the first mistake: all of
 * them are in the report. No message and no printed value shows a secret.
 */
#ifndef SLUICE_CONFIG_H
#define SLUICE_CONFIG_H

#include "sluice/arena.h"
#include "sluice/buf.h"
#include "sluice/digest.h"
#include "sluice/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Texts in the order in which they were written, each NUL-terminated and without repeats. */
struct config_list {
    size_t count;
    char **items; /* NULL when count is 0 */
};

/* One client key that uses an OpenAI key of its own. */
struct config_mapping {
    char *client_key; /* NULL after config_forget_client_keys() */
    const char *api_key;
    const char *organization; /* NULL: as the client's request says */
    const char *project;      /* NULL: as the client's request says */
};

struct config_mappings {
    size_t count;
    struct config_mapping *items; /* NULL when count is 0 */
};

/* The limits of one client key: those that were said, -1 otherwise. 0: unlimited. */
struct config_override {
    struct digest client_key; /* its SHA-256 */
    int64_t requests_per_minute, tokens_per_minute, concurrent_requests;
};

struct config_overrides {
    size_t count;
    struct config_override *items; /* in the order in which they were written; NULL when count is 0 */
};

/* The name of a client key in logs, metrics and the status page. */
struct config_alias {
    struct digest client_key; /* its SHA-256 */
    const char *name;         /* at most CONFIG_ALIAS_MAX bytes */
};

struct config_aliases {
    size_t count;
    struct config_alias *items; /* NULL when count is 0 */
};

enum { CONFIG_ALIAS_MAX = 48 };

/* What one model costs. Prices are in millionths of a USD for a million tokens, which is 1e-12 USD a token. */
struct config_price {
    const char *model; /* at most CONFIG_PRICE_MODEL_MAX bytes, without the * of a pattern */
    int64_t input, cached_input, output; /* from 0 to CONFIG_PRICE_MAX */
};

/* Sorted by the bytes of their names: first those that are a whole name, then those that are the beginning of one. */
struct config_prices {
    size_t count, whole;        /* all, and of these: whole names */
    struct config_price *items; /* NULL when count is 0 */
};

enum { CONFIG_PRICES_MAX = 1024, CONFIG_PRICE_MODEL_MAX = 128 };

#define CONFIG_PRICE_UNITS INT64_C(1000000) /* of a USD */
#define CONFIG_PRICE_MAX (100000 * CONFIG_PRICE_UNITS)

enum { CONFIG_LIMIT_MAX = 1000000000, CONFIG_CONCURRENT_MAX = 65536 };

enum config_limit_backend { CONFIG_LIMIT_LOCAL, CONFIG_LIMIT_REDIS };

enum config_address_kind {
    CONFIG_ADDRESS_INHERITED, /* descriptor 0, opened by whoever started the process */
    CONFIG_ADDRESS_UNIX,
    CONFIG_ADDRESS_TCP,
};

struct config_address {
    enum config_address_kind kind;
    const char *path; /* UNIX: absolute, at most 107 bytes; otherwise NULL */
    const char *host; /* TCP: a name or a number, IPv6 without brackets; otherwise NULL */
    uint16_t port;    /* TCP: in host byte order, never 0 */
};

/* Each field is filled from the option of the same name. Texts are never NULL unless said. Times are in
 * microseconds. Everything that is pointed to lives in memory, until config_free(). */
struct config {
    struct arena memory;

    struct config_list openai_api_keys;     /* OPENAI_API_KEY; empty: only mapped client keys can be served */
    struct config_list client_api_keys;     /* CLIENT_API_KEYS; a key may be in api_key_mapping too */
    struct config_mappings api_key_mapping; /* API_KEY_MAPPING; its client keys are accepted too */

    bool debug;
    int64_t log_level;    /* an enum log_level; DEBUG has been applied: see config_log_level() */
    const char *log_file; /* empty: stderr */
    bool log_bodies;      /* at the level debug */

    struct config_aliases key_aliases;
    struct config_prices prices;
    struct config_list metrics_allow; /* networks (network.h), or the one word "none" */
    struct config_list metrics_tokens;
    int64_t metrics_max_models;
    int64_t metrics_max_keys;
    bool metrics_genai;

    int64_t workers; /* 0: no supervisor, this process serves; `auto` has been resolved */
    struct config_address listen;
    int64_t listen_mode;      /* of a unix socket, a mode_t */
    const char *listen_group; /* of a unix socket; empty: the process's */
    int64_t worker_max_requests; /* 0: no limit */
    const char *run_as;       /* a user's name or number; empty: see run_as_find() */
    const char *base_path; /* in front of /v1: empty, or /… without a slash at its end */
    const char *state_dir; /* relative to the working directory unless it begins with a slash */
    int64_t max_body_bytes;
    int64_t drain_us; /* how long a stopping process lets requests finish */

    const char *openai_base_url; /* scheme and host in lower case, no slash at its end */
    int64_t upstream_connect_us;
    int64_t upstream_first_byte_us;
    int64_t upstream_idle_us;
    int64_t upstream_total_us;
    int64_t upstream_max_retries;
    int64_t upstream_retry_base_us;
    int64_t upstream_retry_us; /* no retry later than this after the request's beginning */
    int64_t upstream_max_retry_after_us;
    int64_t upstream_breaker_us;
    const char *upstream_ca_file; /* empty: the system's */
    bool upstream_http2;

    int64_t stream_keepalive_us; /* 0: none */
    bool validate;
    bool allow_admin_api;
    struct config_list cors_allow_origins;

    int64_t rate_limit_requests_per_minute;
    int64_t rate_limit_tokens_per_minute;
    int64_t rate_limit_concurrent_requests;
    struct config_overrides rate_limit_overrides;
    int64_t rate_limit_backend;     /* an enum config_limit_backend */
    int64_t rate_limit_local_share; /* in millionths */
    int64_t rate_limit_lease_us;
    int64_t redis_timeout_ms;
    bool cache_enabled;
    const char *cache_redis_url; /* may hold a password */
    int64_t cache_ttl_us;
    int64_t cache_models_ttl_us; /* of the model list */
    int64_t cache_max_bytes;     /* of the store in the state directory */
    int64_t cache_max_entry_bytes;
    int64_t cache_scope; /* an enum config_cache_scope */
    bool cache_coalesce;
    int64_t cache_coalesce_us; /* how long a request waits for another one's answer */
    bool cache_hits_count;
};

/* Who may be given an answer that another one's request has brought. */
enum config_cache_scope {
    CONFIG_CACHE_CLIENT,   /* nobody: each client key has a cache of its own */
    CONFIG_CACHE_UPSTREAM, /* clients that use the same OpenAI key */
    CONFIG_CACHE_SHARED    /* everybody */
};

static inline enum log_level config_log_level(const struct config *c)
{
    return (enum log_level)c->log_level;
}

enum config_severity { CONFIG_WARNING, CONFIG_ERROR };

struct config_note {
    struct config_note *next;
    enum config_severity severity;
    const char *option;  /* an option's name, or the .env file's path */
    const char *message; /* one line: the value unless it is a secret, what is wrong, what is allowed */
};

/* What loading found, in order. Of each severity only the first CONFIG_NOTES_MAX are kept; all are counted.
 */
enum { CONFIG_NOTES_MAX = 200 };
struct config_report {
    struct arena memory;
    struct config_note *first;
    struct config_note **last;
    size_t errors;
    size_t warnings;
};

void config_report_init(struct config_report *r);
void config_report_free(struct config_report *r);

/* option and the formatted message are copied. */
void config_report_add(struct config_report *r, enum config_severity severity, const char *option,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A line a note: `error: WORKERS: "many" is not …`. False where the buffer's cap was reached. */
bool config_report_write(const struct config_report *r, struct buf *out);

struct config_input {
    const char *const *overrides;   /* NAME=value texts that beat the environment, ending in NULL; or NULL */
    const char *const *environment; /* the same form as environ; or NULL */
    const char *env_file;           /* NULL: .env if there is one; empty: no file; else it must exist */
};

/*
 * Fills c and adds to the report (which the caller has initialised). True where the report holds no error; c
 * can be used only then, but is to be freed in every case. The input is not kept. `auto` workers become the
 * number of processors that this process may use.
 */
__attribute__((warn_unused_result)) bool config_load(struct config *c, const struct config_input *input,
                                                     struct config_report *report);

/* Overwrites the keys, releases everything, and zeroes c. A zeroed config may be freed. */
void config_free(struct config *c);

/* Overwrites and drops the client keys (client_api_keys, and client_key of each mapping becomes NULL), for
 * after their digests have been taken. */
void config_forget_client_keys(struct config *c);

/* The effective values, NAME=value a line in the table's order, in a form that the .env parser reads. Of a
 * secret only its fingerprint is shown: `sha256:` and 12 hex digits. False where the buffer's cap was
 * reached. */
bool config_print(const struct config *c, struct buf *out);

#endif
