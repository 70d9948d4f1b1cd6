/* Loading: precedence, every type's good and bad values, checks between options, and that no secret ever
 * shows. */
#include "test.h"

#include "sluice/clock.h"
#include "sluice/config.h"
#include "sluice/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* One loading, with its report as text. */
struct loaded {
    struct config config;
    struct config_report report;
    struct buf text;
    bool ok;
};

static void load_input(struct loaded *l, const struct config_input *input)
{
    config_report_init(&l->report);
    buf_init(&l->text, 1024 * 1024);
    l->ok = config_load(&l->config, input, &l->report);
    assert_true(config_report_write(&l->report, &l->text));
    assert_int_equal(l->ok, l->report.errors == 0);
}

static void load(struct loaded *l, const char *const *environment)
{
    load_input(l, &(struct config_input){.environment = environment, .env_file = ""});
}

static void unload(struct loaded *l)
{
    config_free(&l->config);
    config_report_free(&l->report);
    buf_free(&l->text);
}

static void assert_says(struct loaded *l, const char *text)
{
    if (!strstr(buf_text(&l->text), text))
        fail_msg("\"%s\" is not in:\n%s", text, buf_text(&l->text));
}

static void assert_says_not(struct loaded *l, const char *text)
{
    if (strstr(buf_text(&l->text), text))
        fail_msg("\"%s\" is in:\n%s", text, buf_text(&l->text));
}

#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define KEYS     "OPENAI_API_KEY=sk-upstream", "CLIENT_API_KEYS=client"

static void defaults(void **state)
{
    (void)state;
    struct loaded l;
    load_input(&l, &(struct config_input){.env_file = ""});
    const struct config *c = &l.config;
    assert_true(l.ok);
    assert_int_equal(l.report.warnings, 1);
    assert_says(&l, "warning: CLIENT_API_KEYS: no client keys: every API call will be answered 401");
    assert_int_equal(c->openai_api_keys.count, 0);
    assert_int_equal(c->client_api_keys.count, 0);
    assert_int_equal(c->api_key_mapping.count, 0);
    assert_false(c->debug);
    assert_int_equal(config_log_level(c), LOG_LEVEL_INFO);
    assert_string_equal(c->log_file, "");
    assert_in_range(c->workers, 1, 256);
    assert_int_equal(c->listen.kind, CONFIG_ADDRESS_INHERITED);
    assert_string_equal(c->base_path, "");
    assert_string_equal(c->state_dir, "state");
    assert_int_equal(c->max_body_bytes, 32 * 1024 * 1024);
    assert_int_equal(c->drain_us, 30 * CLOCK_US_PER_SECOND);
    assert_string_equal(c->openai_base_url, "https://api.openai.com/v1");
    assert_int_equal(c->upstream_connect_us, 10 * CLOCK_US_PER_SECOND);
    assert_int_equal(c->upstream_first_byte_us, 600 * CLOCK_US_PER_SECOND);
    assert_int_equal(c->upstream_idle_us, 300 * CLOCK_US_PER_SECOND);
    assert_int_equal(c->upstream_total_us, INT64_C(3600) * CLOCK_US_PER_SECOND);
    assert_int_equal(c->rate_limit_requests_per_minute, 60);
    assert_int_equal(c->rate_limit_tokens_per_minute, 100000);
    assert_true(c->cache_enabled);
    assert_string_equal(c->cache_redis_url, "redis://localhost:6379");
    assert_int_equal(c->cache_ttl_us, INT64_C(86400) * CLOCK_US_PER_SECOND);
    unload(&l);
}

/* For each: legal, and then printed as the third; or not legal, and then the third is in the message. */
static void assert_values(const char *name, const char *const (*cases)[2], size_t count, bool legal)
{
    for (size_t i = 0; i < count; i++) {
        char variable[8192], expected[8300];
        struct loaded l;
        snprintf(variable, sizeof variable, "%s=%s", name, cases[i][0]);
        load(&l, ENV(KEYS, variable));
        if (l.ok != legal)
            fail_msg("%s: expected %d:\n%s", variable, legal, buf_text(&l.text));
        if (legal) {
            struct buf printed;
            buf_init(&printed, 100000);
            assert_true(config_print(&l.config, &printed));
            snprintf(expected, sizeof expected, "\n%s=%s\n", name, cases[i][1]);
            if (!strstr(buf_text(&printed), expected))
                fail_msg("%s: expected %s in:\n%s", variable, expected, buf_text(&printed));
            buf_free(&printed);
        } else {
            snprintf(expected, sizeof expected, "error: %s: ", name);
            assert_says(&l, expected);
            assert_says(&l, cases[i][1]);
            assert_says(&l, "(environment); allowed: ");
        }
        unload(&l);
    }
}

#define ASSERT_GOOD(name, ...)                                                                               \
    do {                                                                                                     \
        static const char *const cases[][2] = __VA_ARGS__;                                                   \
        assert_values(name, cases, TEST_COUNT(cases), true);                                                 \
    } while (0)
#define ASSERT_BAD(name, ...)                                                                                \
    do {                                                                                                     \
        static const char *const cases[][2] = __VA_ARGS__;                                                   \
        assert_values(name, cases, TEST_COUNT(cases), false);                                                \
    } while (0)
/* Keeps the commas of a table inside one macro argument. */
#define CASES(...)                                                                                           \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }

static void bool_values(void **state)
{
    (void)state;
    ASSERT_GOOD("CACHE__ENABLED",
                CASES({"true", "true"}, {"TRUE", "true"}, {"yes", "true"}, {"On", "true"}, {"1", "true"},
                      {"t", "true"}, {"y", "true"}, {"false", "false"}, {"No", "false"}, {"off", "false"},
                      {"0", "false"}, {"f", "false"}, {"n", "false"}, {" true ", "true"}, {"", "true"}));
    ASSERT_BAD("CACHE__ENABLED", CASES({"2", "\"2\" is neither true nor false"}, {"truee", "is neither"},
                                       {"tr ue", "is neither"}, {"\x01", "\"\\u0001\" is neither"}));
}

static void int_values(void **state)
{
    (void)state;
    ASSERT_GOOD("WORKERS", CASES({"0", "0"}, {"1", "1"}, {"256", "256"}, {"007", "7"}, {"\t3 ", "3"}));
    ASSERT_BAD("WORKERS",
               CASES({"257", "\"257\" is too large"}, {"99999999999999999999", "is too large"},
                     {"9223372036854775808", "is too large"}, {"-1", "\"-1\" is not a whole number"},
                     {"+1", "is not"}, {"1.5", "is not"}, {"1e1", "is not"}, {"0x10", "is not"},
                     {"4 4", "is not"}, {"many", "allowed: a whole number from 0 to 256, or auto"}));
    ASSERT_GOOD("RATE_LIMIT__REQUESTS_PER_MINUTE", CASES({"0", "0"}, {"1000000000", "1000000000"}));
    ASSERT_BAD("RATE_LIMIT__REQUESTS_PER_MINUTE", CASES({"auto", "is not"}, {"1000000001", "is too large"}));
}

static void automatic_workers(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV(KEYS, "WORKERS=Auto"));
    assert_true(l.ok);
    assert_in_range(l.config.workers, 1, 256);
    unload(&l);
}

static void bytes_values(void **state)
{
    (void)state;
    ASSERT_GOOD("MAX_BODY_BYTES",
                CASES({"1024", "1024"}, {"2147483648", "2147483648"}, {"1KiB", "1024"}, {"1 mib", "1048576"},
                      {"2GIB", "2147483648"}, {"64\tMiB", "67108864"}));
    ASSERT_BAD("MAX_BODY_BYTES",
               CASES({"1023", "is too small"}, {"0", "is too small"}, {"2147483649", "is too large"},
                     {"3GiB", "is too large"}, {"9007199254740993KiB", "is too large"},
                     {"99999999999999999999GiB", "is too large"}, {"12x", "\"12x\" is not a number of bytes"},
                     {"KiB", "is not"}, {"-1", "is not"}, {"1.5MiB", "is not"}, {"1KB", "is not"},
                     {"1 2", "is not"}));
}

static void seconds_values(void **state)
{
    (void)state;
    ASSERT_GOOD("UPSTREAM__CONNECT_SECONDS",
                CASES({"10", "10"}, {"0.5", "0.5"}, {"0.01", "0.01"}, {"1.000001", "1.000001"},
                      {"2.50", "2.5"}, {"300", "300"}, {"300.0", "300"}, {"0.250", "0.25"}));
    ASSERT_BAD("UPSTREAM__CONNECT_SECONDS",
               CASES({"0", "is too small"}, {"0.009999", "is too small"}, {"300.000001", "is too large"},
                     {"9223372036854775807", "is too large"}, {"99999999999999999999", "is too large"},
                     {"1.0000001", "more than six decimals"}, {".5", "is not a number of seconds"},
                     {"5.", "is not"}, {"1.2.3", "is not"}, {"-1", "is not"}, {"1e3", "is not"},
                     {"10s", "is not"}, {"nan", "is not"}, {"1,5", "is not"}));
    ASSERT_GOOD("DRAIN_SECONDS", CASES({"0", "0"}, {"0.000001", "0.000001"}));
}

static void level_values(void **state)
{
    (void)state;
    ASSERT_GOOD("LOG_LEVEL", CASES({"debug", "debug"}, {"INFO", "info"}, {"Warn", "warning"},
                                   {"warning", "warning"}, {"error", "error"}, {"CRITICAL", "error"}));
    ASSERT_BAD("LOG_LEVEL", CASES({"loud", "\"loud\" is not known"}, {"2", "is not known"},
                                  {"trace", "allowed: debug, info, warning or error"}));
}

static void url_values(void **state)
{
    (void)state;
    ASSERT_GOOD("OPENAI_BASE_URL",
                CASES({"http://localhost:8001/v1", "http://localhost:8001/v1"},
                      {"HTTPS://API.OpenAI.com/V1/", "https://api.openai.com/V1"},
                      {"http://host", "http://host"}, {"http://host///", "http://host"},
                      {"http://[::1]:80/v1", "http://[::1]:80/v1"}, {"http://[FE80::1]", "http://[fe80::1]"},
                      {"http://10.0.0.1:65535/a@b", "***"},
                      {"http://my_host.local/a/b/", "http://my_host.local/a/b"}));
    ASSERT_BAD(
        "OPENAI_BASE_URL",
        CASES({"api.openai.com/v1", "\"api.openai.com/v1\" is not a URL"}, {"http:/host", "is not a URL"},
              {"ftp://host", "has the wrong scheme"}, {"://host", "has the wrong scheme"},
              {"http https://host", "contains a blank"}, {"http://", "has no host"},
              {"http:///v1", "has no host"}, {"http://:80", "has no host"},
              {"http://h?x=1", "has a query or a fragment"}, {"http://h/#x", "has a query or a fragment"},
              {"http://user@h/v1", "\"http://***:***@h/v1\" has a user name"},
              {"http://u:hunter2@h/v1", "\"http://***:***@h/v1\" has a user name"}, {"http://h:0", "has a port"},
              {"http://h:65536", "has a port"}, {"http://h:", "has a port"}, {"http://h:8a", "has a port"},
              {"http://a:b:c", "has several colons"}, {"http://::1", "needs [ and ]"},
              {"http://[::1", "has no ]"}, {"http://[]", "has no IPv6"}, {"http://[::g]", "has no IPv6"},
              {"http://[::1]x", "has a port"}, {"http://h o", "contains a blank"},
              {"http://h\x7f", "contains a blank"}, {"http://h\xc3\xa9", "not ASCII"},
              {"http://h\"", "has a host that is not"}, {"http://a,b", "has a host that is not"}));
    ASSERT_GOOD("CACHE__REDIS_URL", CASES({"redis://h", "redis://h"}, {"redis://h:1/0", "redis://h:1/0"},
                                          {"unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"},
                                          {"redis://:hunter2@h:6379/1", "redis://***:***@h:6379/1"},
                                          {"redis://u:p@ss@h", "redis://***:***@h"}));
    ASSERT_BAD("CACHE__REDIS_URL",
               CASES({"http://h", "has the wrong scheme"}, {"redi://h", "has the wrong scheme"},
                     {"rediss://h:1/0", "asks for TLS"},
                     {"redis", "is not a URL"}, {"hunter2@h", "\"***\" is not a URL"}));
}

static void address_values(void **state)
{
    (void)state;
    ASSERT_GOOD("LISTEN", CASES({"", ""}, {"/run/sluice.sock", "/run/sluice.sock"},
                                {"unix:/run/sluice.sock", "/run/sluice.sock"},
                                {"127.0.0.1:9000", "127.0.0.1:9000"}, {"localhost:1", "localhost:1"},
                                {"[::1]:9000", "[::1]:9000"}, {"/with blank #1", "\"/with blank #1\""}));
    ASSERT_BAD("LISTEN",
               CASES({"unix:", "is not an absolute path"}, {"unix:a", "is not an absolute path"},
                     {"localhost", "\"localhost\" has no port"}, {"9000", "has no port"},
                     {":9000", "has no host"}, {"::1:9000", "needs [ and ]"}, {"[::1]", "has no port"},
                     {"h:0", "has a port"}, {"h:99999", "has a port"}, {"[::1]9000", "has a port"},
                     {"a b:1", "has a host that is not"}, {"/a\nb", "contains a control character"},
                     {"*:9000", "has a host that is not"}));
}

static void address_fields(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV(KEYS, "LISTEN=[2001:db8::1]:9000"));
    assert_int_equal(l.config.listen.kind, CONFIG_ADDRESS_TCP);
    assert_string_equal(l.config.listen.host, "2001:db8::1");
    assert_int_equal(l.config.listen.port, 9000);
    assert_null(l.config.listen.path);
    unload(&l);
    load(&l, ENV(KEYS, "LISTEN=unix:/s"));
    assert_int_equal(l.config.listen.kind, CONFIG_ADDRESS_UNIX);
    assert_string_equal(l.config.listen.path, "/s");
    unload(&l);
}

static void long_paths(void **state)
{
    (void)state;
    char value[5000];
    memset(value, 'p', sizeof value);
    memcpy(value, "LISTEN=/", 8);
    for (size_t len = 107; len <= 108; len++) {
        struct loaded l;
        value[7 + len] = '\0';
        load(&l, ENV(KEYS, value));
        assert_int_equal(l.ok, len == 107);
        if (!l.ok)
            assert_says(&l, "has a path of 108 bytes");
        unload(&l);
        value[7 + len] = 'p';
    }
    memcpy(value, "STATE_DIR=", 10);
    value[10 + 4096] = '\0';
    struct loaded l;
    load(&l, ENV(KEYS, value));
    assert_says(&l, "error: STATE_DIR: \"pppp");
    assert_says(&l, "\"... is too long");
    unload(&l);
}

static void prefix_values(void **state)
{
    (void)state;
    ASSERT_GOOD("BASE_PATH", CASES({"", ""}, {"/ai", "/ai"}, {"/a/b-c_d.e~1", "/a/b-c_d.e~1"}));
    ASSERT_BAD("BASE_PATH",
               CASES({"ai", "does not begin with /"}, {"/ai/", "ends with /"}, {"/", "ends with /"},
                     {"/a//b", "contains //"}, {"/a b", "contains a character"},
                     {"/a?b", "contains a character"}, {"/%61", "contains a character"}));
}

static void path_values(void **state)
{
    (void)state;
    ASSERT_GOOD("LOG_FILE", CASES({"", ""}, {"/var/log/x", "/var/log/x"}, {"it's", "\"it's\""},
                                  {"a \"b\" \\c $d", "\"a \\\"b\\\" \\\\c \\$d\""}, {"/é", "/é"}));
    ASSERT_BAD("LOG_FILE", CASES({"a\nb", "\"a\\nb\" contains a control character"}));
}

static void key_lists(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("OPENAI_API_KEY=sk-1, sk-2", "CLIENT_API_KEYS= zeta ,alpha,,\tmid, "));
    assert_true(l.ok);
    assert_int_equal(l.report.warnings, 0);
    assert_int_equal(l.config.openai_api_keys.count, 2);
    assert_string_equal(l.config.openai_api_keys.items[1], "sk-2");
    assert_int_equal(l.config.client_api_keys.count, 3);
    assert_string_equal(l.config.client_api_keys.items[0], "zeta");
    assert_string_equal(l.config.client_api_keys.items[1], "alpha");
    assert_string_equal(l.config.client_api_keys.items[2], "mid");
    unload(&l);
    load(&l, ENV("CLIENT_API_KEYS=,, ,"));
    assert_int_equal(l.config.client_api_keys.count, 0);
    assert_null(l.config.client_api_keys.items);
    unload(&l);
}

static void repeated_keys_are_dropped_with_a_warning(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("OPENAI_API_KEY=sk", "CLIENT_API_KEYS=hunter2,other,hunter2,hunter2"));
    assert_true(l.ok);
    assert_int_equal(l.config.client_api_keys.count, 2);
    assert_string_equal(l.config.client_api_keys.items[0], "hunter2");
    assert_string_equal(l.config.client_api_keys.items[1], "other");
    assert_says(&l, "warning: CLIENT_API_KEYS: entry 3 repeats entry 1");
    assert_says(&l, "warning: CLIENT_API_KEYS: entry 4 repeats entry 1");
    assert_says_not(&l, "hunter2");
    unload(&l);
}

static void bad_keys_are_named_by_their_place(void **state)
{
    (void)state;
    char too_long[600] = "CLIENT_API_KEYS=ok,hunter";
    memset(too_long + strlen(too_long), 'x', 520);
    static const char *const cases[][2] = {
        {"CLIENT_API_KEYS=ok,,hunter 2", "entry 3 contains a blank"},
        {"CLIENT_API_KEYS=hunter\t2", "entry 1 contains a control character"},
        {"CLIENT_API_KEYS=hunter\xc3\xa9", "entry 1 contains a character that is not ASCII"},
        {"CLIENT_API_KEYS=[\"hunter\"]", "entry 1 contains a quote"},
        {"CLIENT_API_KEYS='hunter'", "entry 1 contains a quote"},
        {"OPENAI_API_KEY=hunter\n", NULL},
        {"OPENAI_API_KEY=a\nhunter", "error: OPENAI_API_KEY: entry 1 contains a control character"},
    };
    struct loaded l;
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        load(&l, ENV(cases[i][0], "OPENAI_API_KEY=sk"));
        assert_int_equal(l.ok, cases[i][1] == NULL);
        if (cases[i][1])
            assert_says(&l, cases[i][1]);
        assert_says_not(&l, "hunter");
        unload(&l);
    }
    load(&l, ENV(too_long, "OPENAI_API_KEY=sk"));
    assert_says(&l, "entry 2 is longer than 512 bytes");
    assert_says_not(&l, "hunter");
    unload(&l);
}

static void key_maps(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("API_KEY_MAPPING={\"team-b\": \"sk-b\", \"team-a\": {\"key\": \"sk-a\", \"organization\": "
                 "\"org-1\", \"project\": \"proj-1\"}, \"team-c\": {\"key\": \"sk-b\"}}"));
    const struct config_mappings *m = &l.config.api_key_mapping;
    assert_true(l.ok);
    assert_int_equal(l.report.warnings, 0);
    assert_int_equal(m->count, 3);
    assert_string_equal(m->items[0].client_key, "team-b");
    assert_string_equal(m->items[0].api_key, "sk-b");
    assert_null(m->items[0].organization);
    assert_null(m->items[0].project);
    assert_string_equal(m->items[1].client_key, "team-a");
    assert_string_equal(m->items[1].api_key, "sk-a");
    assert_string_equal(m->items[1].organization, "org-1");
    assert_string_equal(m->items[1].project, "proj-1");
    assert_string_equal(m->items[2].api_key, "sk-b");
    unload(&l);
    load(&l, ENV("API_KEY_MAPPING={}"));
    assert_true(l.ok);
    assert_null(l.config.api_key_mapping.items);
    unload(&l);
}

static void bad_key_maps(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"hunter\": \"sk\",}", "the value is not JSON: line 1, column"},
        {"{\"hunter\": \"sk\"", "it ends too early"},
        {"{\"hunter\": \"sk\"} x", "text follows its end"},
        {"{\"hunter\": \"sk\", \"hunter\": \"sk2\"}", "the same name stands twice"},
        {"{'hunter': 'sk'}", "the value is not JSON"},
        {"{\"hunter\": \"\\u0000\"}", "NUL"},
        {"{\"hunter\": \"\xff\"}", "it is not UTF-8"},
        {"hunter", "the value is not JSON"},
        {"[\"hunter\"]", "the value is JSON, but not an object"},
        {"\"hunter\"", "the value is JSON, but not an object"},
        {"{\"a\": \"sk\", \"hunter 2\": \"sk\"}", "client key 2 contains a blank"},
        {"{\"\": \"hunter\"}", "client key 1 is empty"},
        {"{\"hunter\": \"\"}", "the value of client key 1 is empty"},
        {"{\"hunter\": 5}", "the value of client key 1 is not a string"},
        {"{\"hunter\": null}", "the value of client key 1 is not a string"},
        {"{\"hunter\": {}}", "the object of client key 1 has no \"key\""},
        {"{\"hunter\": {\"key\": 1}}", "the key of client key 1 is not a string"},
        {"{\"hunter\": {\"key\": \"a b\"}}", "the key of client key 1 contains a blank"},
        {"{\"hunter\": {\"key\": \"sk\", \"project\": \"\\r\\nX: y\"}}",
         "the project of client key 1 contains a control character"},
        {"{\"hunter\": {\"key\": \"sk\", \"hunter\": \"x\"}}",
         "the object of client key 1 has an unknown member"},
        {"{\"hunter\": \"\xc3\xa9\"}", "the value of client key 1 contains a character that is not ASCII"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char variable[200];
        struct loaded l;
        snprintf(variable, sizeof variable, "API_KEY_MAPPING=%s", cases[i][0]);
        load(&l, ENV(variable, "OPENAI_API_KEY=sk-up"));
        assert_false(l.ok);
        assert_says(&l, "error: API_KEY_MAPPING: ");
        assert_says(&l, cases[i][1]);
        assert_says_not(&l, "hunter");
        assert_int_equal(l.config.api_key_mapping.count, 0);
        unload(&l);
    }
}

static void an_openai_key_is_needed_unless_all_are_mapped(void **state)
{
    (void)state;
    static const struct {
        const char *clients, *mapping, *message; /* NULL: legal */
    } cases[] = {
        {"CLIENT_API_KEYS=", "API_KEY_MAPPING=", NULL},
        {"CLIENT_API_KEYS=a", "API_KEY_MAPPING={\"a\": \"sk\"}", NULL},
        {"CLIENT_API_KEYS=", "API_KEY_MAPPING={\"a\": \"sk\"}", NULL},
        {"CLIENT_API_KEYS=a", "API_KEY_MAPPING=", "1 of 1 client keys have no OpenAI key"},
        {"CLIENT_API_KEYS=a,b,c", "API_KEY_MAPPING={\"b\": \"sk\", \"d\": \"sk\"}", "2 of 4 client keys"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct loaded l;
        load(&l, ENV(cases[i].clients, cases[i].mapping));
        assert_int_equal(l.ok, cases[i].message == NULL);
        if (cases[i].message) {
            assert_says(&l, "error: OPENAI_API_KEY: it is not set");
            assert_says(&l, cases[i].message);
        }
        unload(&l);
        load(&l, ENV(cases[i].clients, cases[i].mapping, "OPENAI_API_KEY=sk"));
        assert_true(l.ok);
        unload(&l);
    }
}

static void a_failed_key_is_not_reported_as_missing(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("OPENAI_API_KEY=a b", "CLIENT_API_KEYS=a"));
    assert_int_equal(l.report.errors, 1);
    assert_int_equal(l.report.warnings, 0);
    unload(&l);
}

static void a_client_key_should_not_be_an_openai_key(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("OPENAI_API_KEY=sk-hunter", "CLIENT_API_KEYS=a,sk-hunter,b"));
    assert_true(l.ok);
    assert_says(&l, "warning: CLIENT_API_KEYS: 1 of 3 client keys are also an OpenAI key");
    assert_says_not(&l, "hunter");
    unload(&l);
    load(&l, ENV("OPENAI_API_KEY=sk", "API_KEY_MAPPING={\"a\": \"b\", \"b\": \"b\"}"));
    assert_says(&l, "1 of 2 client keys are also an OpenAI key");
    unload(&l);
}

static void debug_beats_the_level(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV(KEYS, "DEBUG=true"));
    assert_int_equal(config_log_level(&l.config), LOG_LEVEL_DEBUG);
    assert_int_equal(l.report.warnings, 0);
    unload(&l);
    load(&l, ENV(KEYS, "DEBUG=true", "LOG_LEVEL=error"));
    assert_int_equal(config_log_level(&l.config), LOG_LEVEL_DEBUG);
    assert_says(&l, "warning: LOG_LEVEL: DEBUG is true");
    unload(&l);
    load(&l, ENV(KEYS, "DEBUG=false", "LOG_LEVEL=error"));
    assert_int_equal(config_log_level(&l.config), LOG_LEVEL_ERROR);
    unload(&l);
}

static void unknown_names_in_the_environment(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV(KEYS, "RATE_LIMIT__REQUEST_PER_MINUTE=5", "CACHE__TTL=1", "REDIS__URL=hunter2", "WORKER=3",
                 "HOME=/root", "no equals sign", "=x", ""));
    assert_true(l.ok);
    assert_int_equal(l.report.warnings, 3);
    assert_says(
        &l, "warning: RATE_LIMIT__REQUEST_PER_MINUTE: there is no such option (environment); did you mean "
            "RATE_LIMIT__REQUESTS_PER_MINUTE?");
    assert_says(&l, "did you mean CACHE__TTL_SECONDS?");
    assert_says(&l, "warning: REDIS__URL: there is no such option (environment); did you mean REDIS__TIMEOUT_MS?\n");
    assert_says_not(&l, "hunter2");
    unload(&l);
}

static void every_mistake_is_reported_at_once(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("WORKERS=x", "LISTEN=y", "LOG_LEVEL=z", "CLIENT_API_KEYS=a b", "OPENAI_BASE_URL=q",
                 "MAX_BODY_BYTES=1", "DEBUG=7"));
    assert_int_equal(l.report.errors, 7);
    unload(&l);
}

static void a_report_keeps_only_so_many(void **state)
{
    (void)state;
    struct config_report r;
    struct buf b;
    config_report_init(&r);
    buf_init(&b, 100000);
    for (int i = 0; i < CONFIG_NOTES_MAX + 5; i++)
        config_report_add(&r, CONFIG_WARNING, "X", "note %d", i);
    config_report_add(&r, CONFIG_ERROR, "Y", "after many warnings");
    assert_int_equal(r.warnings, CONFIG_NOTES_MAX + 5);
    assert_int_equal(r.errors, 1);
    assert_true(config_report_write(&r, &b));
    assert_non_null(strstr(buf_text(&b), "warning: X: note 0\nwarning: X: note 1\n"));
    assert_non_null(strstr(buf_text(&b), "error: Y: after many warnings\n... and 5 more\n"));
    buf_free(&b);
    buf_init(&b, 100);
    assert_false(config_report_write(&r, &b));
    buf_free(&b);
    config_report_free(&r);
    assert_int_equal(r.errors, 0);
    config_report_free(&r);
}

static char the_dir[64];

static int enter_dir(void **state)
{
    (void)state;
    snprintf(the_dir, sizeof the_dir, "/tmp/sluice-test-config-XXXXXX");
    return mkdtemp(the_dir) && chdir(the_dir) == 0 ? 0 : -1;
}

static int leave_dir(void **state)
{
    (void)state;
    unlink(".env");
    unlink("other.env");
    return chdir("/") == 0 ? rmdir(the_dir) : -1;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void higher_sources_win(void **state)
{
    (void)state;
    struct loaded l;
    write_file(".env",
               "export OPENAI_API_KEY=from-file\nCLIENT_API_KEYS='file-1,file-2'\nWORKERS=2\nSTATE_DIR=file\n"
               "BASE_PATH=/file\n",
               0600);
    load_input(&l, &(struct config_input){
                       .environment = ENV("WORKERS=3", "STATE_DIR=env", "BASE_PATH=", "STATE_DIR=second"),
                       .overrides = ENV("STATE_DIR=cli"),
                   });
    assert_true(l.ok);
    assert_int_equal(l.report.warnings, 0);
    assert_string_equal(l.config.openai_api_keys.items[0], "from-file");
    assert_int_equal(l.config.client_api_keys.count, 2);
    assert_int_equal(l.config.workers, 3);
    assert_string_equal(l.config.state_dir, "cli");
    assert_string_equal(l.config.base_path, ""); /* set but empty hides the file's, and means the default */
    unload(&l);
}

static void a_missing_file(void **state)
{
    (void)state;
    struct loaded l;
    load_input(&l, &(struct config_input){.environment = ENV(KEYS)});
    assert_true(l.ok);
    assert_int_equal(l.report.warnings, 0);
    unload(&l);
    load_input(&l, &(struct config_input){.environment = ENV(KEYS), .env_file = "other.env"});
    assert_false(l.ok);
    assert_says(&l, "error: other.env: this file cannot be read: No such file or directory");
    unload(&l);
}

static void a_file_by_name(void **state)
{
    (void)state;
    struct loaded l;
    write_file(".env", "WORKERS=broken\n", 0600);
    write_file("other.env", "WORKERS=5\n", 0600);
    load_input(&l, &(struct config_input){.environment = ENV(KEYS), .env_file = "other.env"});
    assert_true(l.ok);
    assert_int_equal(l.config.workers, 5);
    unload(&l);
    load_input(&l, &(struct config_input){.environment = ENV(KEYS), .env_file = ""});
    assert_true(l.ok);
    unload(&l);
}

static void a_directory_or_an_endless_file_is_an_error(void **state)
{
    (void)state;
    struct loaded l;
    load_input(&l, &(struct config_input){.environment = ENV(KEYS), .env_file = "/"});
    assert_says(&l, "error: /: this file cannot be read: Is a directory");
    unload(&l);
    load_input(&l, &(struct config_input){.environment = ENV(KEYS), .env_file = "/dev/zero"});
    assert_says(&l, "error: /dev/zero: this file is longer than 64 MiB");
    unload(&l);
    load_input(&l, &(struct config_input){.environment = ENV(KEYS), .env_file = "/dev/null"});
    assert_true(l.ok);
    assert_int_equal(l.report.warnings, 0);
    unload(&l);
}

static void a_file_that_others_can_read_is_a_warning(void **state)
{
    (void)state;
    static const struct {
        mode_t mode;
        bool warns;
    } cases[] = {{0600, false}, {0400, false}, {0640, true}, {0644, true}, {0604, true}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct loaded l;
        unlink(".env");
        write_file(".env", "OPENAI_API_KEY=a\nCLIENT_API_KEYS=b\n", cases[i].mode);
        load_input(&l, &(struct config_input){.env_file = NULL});
        assert_true(l.ok);
        assert_int_equal(l.report.warnings, cases[i].warns);
        if (cases[i].warns)
            assert_says(&l, "warning: .env: others can read this file (mode 06");
        unload(&l);
    }
}

static void mistakes_in_the_file_tell_their_line(void **state)
{
    (void)state;
    struct loaded l;
    write_file(".env",
               "OPENAI_API_KEY=sk\nhunter2\nWORKERS=lots\nWORKERS=more\nWORKER=2\nCACHE__X=1\nEDITOR=vi\n"
               "CLIENT_API_KEYS=a b\n",
               0600);
    load_input(&l, &(struct config_input){.env_file = NULL});
    assert_int_equal(l.report.errors, 3);
    assert_int_equal(l.report.warnings, 3);
    assert_says(&l, "error: .env: line 2: there is no = after the name");
    assert_says(&l,
                "warning: WORKERS: it is set on line 3 of the .env file and again on line 4, which counts");
    assert_says(&l,
                "error: WORKERS: \"more\" is not a whole number (line 4 of the .env file); allowed: a whole");
    assert_says(&l,
                "warning: WORKER: there is no such option (line 5 of the .env file); did you mean WORKERS?");
    assert_says(&l,
                "warning: CACHE__X: there is no such option (line 6 of the .env file); did you mean CACHE__");
    assert_says(&l, "error: CLIENT_API_KEYS: entry 1 contains a blank (line 8 of the .env file)");
    assert_says_not(&l, "hunter2");
    unload(&l);
}

static void print(const struct config *c, struct buf *b)
{
    buf_init(b, 100000);
    assert_true(config_print(c, b));
    assert_non_null(buf_text(b));
}

static void secrets_are_printed_as_fingerprints(void **state)
{
    (void)state;
    struct loaded l;
    struct buf b;
    load(&l,
         ENV("OPENAI_API_KEY=sk-hunter", "CLIENT_API_KEYS=abc,hunter-2", "CACHE__REDIS_URL=redis://:hunter@h",
             "API_KEY_MAPPING={\"abc\": \"hunter\", \"x\": {\"key\": \"abc\", \"project\": \"p\"}}"));
    assert_true(l.ok);
    print(&l.config, &b);
    assert_null(strstr(buf_text(&b), "hunter"));
    assert_non_null(strstr(buf_text(&b), "\nCLIENT_API_KEYS=sha256:ba7816bf8f01,sha256:"));
    assert_non_null(strstr(buf_text(&b), "\nAPI_KEY_MAPPING={\"sha256:ba7816bf8f01\": \"sha256:"));
    assert_non_null(strstr(buf_text(&b), "\": {\"key\": \"sha256:ba7816bf8f01\", \"project\": \"p\"}}\n"));
    size_t full = b.len;
    buf_free(&b);
    for (size_t cap = 0; cap < full; cap += 13) {
        buf_init(&b, cap);
        assert_false(config_print(&l.config, &b));
        buf_free(&b);
    }
    unload(&l);
}

static void what_is_printed_can_be_read_again(void **state)
{
    (void)state;
    struct loaded l, again;
    struct buf first, second;
    load(&l, ENV(KEYS, "LISTEN=/a b/#c", "STATE_DIR=$x \"q\" \\", "LOG_FILE='", "UPSTREAM__IDLE_SECONDS=0.25",
                 "WORKERS=7", "DEBUG=yes", "BASE_PATH=/ai"));
    assert_true(l.ok);
    print(&l.config, &first);
    write_file(".env", buf_text(&first), 0600);
    load_input(&again, &(struct config_input){.environment = ENV(KEYS)});
    assert_true(again.ok);
    print(&again.config, &second);
    assert_string_equal(buf_text(&first), buf_text(&second));
    assert_string_equal(again.config.state_dir, "$x \"q\" \\");
    buf_free(&first);
    buf_free(&second);
    unload(&l);
    unload(&again);
}

static void the_example_file_means_the_defaults(void **state)
{
    (void)state;
    struct loaded l, plain;
    struct buf example, first, second;
    buf_init(&example, 100000);
    assert_true(options_write_env_example(&example));
    char *text = strdup(buf_text(&example));
    assert_non_null(text);
    for (char *hash = strstr(text, "\n#"); hash; hash = strstr(hash + 1, "\n#"))
        if (hash[2] != ' ')
            hash[1] = ' '; /* uncomment each default */
    write_file(".env", text, 0600);
    free(text);
    load_input(&l, &(struct config_input){.env_file = NULL});
    load_input(&plain, &(struct config_input){.env_file = ""});
    assert_true(l.ok);
    print(&l.config, &first);
    print(&plain.config, &second);
    assert_string_equal(buf_text(&first), buf_text(&second));
    buf_free(&example);
    buf_free(&first);
    buf_free(&second);
    unload(&l);
    unload(&plain);
}

static void forgotten_client_keys_are_overwritten(void **state)
{
    (void)state;
    struct loaded l;
    struct buf b;
    load(&l, ENV("OPENAI_API_KEY=sk", "CLIENT_API_KEYS=one,two", "API_KEY_MAPPING={\"three\": \"sk3\"}"));
    const char *one = l.config.client_api_keys.items[0],
               *three = l.config.api_key_mapping.items[0].client_key;
    config_forget_client_keys(&l.config);
    config_forget_client_keys(&l.config);
    assert_memory_equal(one, "\0\0\0", 3);
    assert_memory_equal(three, "\0\0\0\0\0", 5);
    assert_int_equal(l.config.client_api_keys.count, 0);
    assert_null(l.config.api_key_mapping.items[0].client_key);
    assert_string_equal(l.config.api_key_mapping.items[0].api_key, "sk3");
    print(&l.config, &b);
    buf_free(&b);
    unload(&l);
}

static void freeing_twice_is_harmless(void **state)
{
    (void)state;
    struct config c = {.debug = false};
    config_free(&c);
    struct loaded l;
    load(&l, ENV(KEYS));
    config_free(&l.config);
    unload(&l);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, enter_dir, leave_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(bool_values),
        cmocka_unit_test(int_values),
        cmocka_unit_test(automatic_workers),
        cmocka_unit_test(bytes_values),
        cmocka_unit_test(seconds_values),
        cmocka_unit_test(level_values),
        cmocka_unit_test(url_values),
        cmocka_unit_test(address_values),
        cmocka_unit_test(address_fields),
        cmocka_unit_test(long_paths),
        cmocka_unit_test(prefix_values),
        cmocka_unit_test(path_values),
        cmocka_unit_test(key_lists),
        cmocka_unit_test(repeated_keys_are_dropped_with_a_warning),
        cmocka_unit_test(bad_keys_are_named_by_their_place),
        cmocka_unit_test(key_maps),
        cmocka_unit_test(bad_key_maps),
        cmocka_unit_test(an_openai_key_is_needed_unless_all_are_mapped),
        cmocka_unit_test(a_failed_key_is_not_reported_as_missing),
        cmocka_unit_test(a_client_key_should_not_be_an_openai_key),
        cmocka_unit_test(debug_beats_the_level),
        cmocka_unit_test(unknown_names_in_the_environment),
        cmocka_unit_test(every_mistake_is_reported_at_once),
        cmocka_unit_test(a_report_keeps_only_so_many),
        FILE_TEST(higher_sources_win),
        FILE_TEST(a_missing_file),
        FILE_TEST(a_file_by_name),
        FILE_TEST(a_directory_or_an_endless_file_is_an_error),
        FILE_TEST(a_file_that_others_can_read_is_a_warning),
        FILE_TEST(mistakes_in_the_file_tell_their_line),
        cmocka_unit_test(secrets_are_printed_as_fingerprints),
        FILE_TEST(what_is_printed_can_be_read_again),
        FILE_TEST(the_example_file_means_the_defaults),
        cmocka_unit_test(forgotten_client_keys_are_overwritten),
        cmocka_unit_test(freeing_twice_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
