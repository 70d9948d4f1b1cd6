/* The options of the limits: overrides of single keys, shares, and Redis URLs. */
#include "test.h"

#include "sluice/config.h"
#include "sluice/redis_url.h"

#include <stdio.h>

struct loaded {
    struct config config;
    struct config_report report;
    struct buf text;
    bool ok;
};

static void load(struct loaded *l, const char *const *environment)
{
    config_report_init(&l->report);
    buf_init(&l->text, 100000);
    l->ok = config_load(&l->config, &(struct config_input){.environment = environment, .env_file = ""},
                        &l->report);
    assert_true(config_report_write(&l->report, &l->text));
}

static void unload(struct loaded *l)
{
    config_report_free(&l->report);
    config_free(&l->config);
    buf_free(&l->text);
}

#define KEYS     "OPENAI_API_KEY=sk-up", "CLIENT_API_KEYS=one,two", "API_KEY_MAPPING={\"three\":\"sk-3\"}"
#define ENV(...) ((const char *const[]){KEYS, __VA_ARGS__, NULL})

static void assert_bad(const char *variable, const char *message)
{
    struct loaded l;
    load(&l, ENV(variable));
    const char *text = buf_text(&l.text);
    if (l.ok || !strstr(text, message))
        fail_msg("%s: expected \"%s\" in:\n%s", variable, message, text);
    assert_null(strstr(text, "hunter")); /* no secret is quoted */
    unload(&l);
}

static void assert_printed(const char *variable, const char *expected)
{
    struct loaded l;
    struct buf printed;
    buf_init(&printed, 100000);
    load(&l, ENV(variable));
    if (!l.ok)
        fail_msg("%s:\n%s", variable, buf_text(&l.text));
    assert_true(config_print(&l.config, &printed));
    if (!strstr(buf_text(&printed), expected))
        fail_msg("%s: expected %s in:\n%s", variable, expected, buf_text(&printed));
    buf_free(&printed);
    unload(&l);
}

static void the_defaults(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("DEBUG=false"));
    assert_true(l.ok);
    assert_int_equal(l.config.rate_limit_concurrent_requests, 0);
    assert_int_equal(l.config.rate_limit_overrides.count, 0);
    assert_int_equal(l.config.rate_limit_backend, CONFIG_LIMIT_LOCAL);
    assert_int_equal(l.config.rate_limit_local_share, 1000000);
    assert_int_equal(l.config.rate_limit_lease_us, 30000000);
    assert_int_equal(l.config.redis_timeout_ms, 50);
    unload(&l);
}

static void overrides_are_read(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("RATE_LIMIT__OVERRIDES={\"two\": {\"tokens_per_minute\": 0, \"requests_per_minute\": "
                 "1000000000}, "
                 "\"three\": {\"concurrent_requests\": 65536}, \"one\": {}}"));
    assert_true(l.ok);
    const struct config_overrides *o = &l.config.rate_limit_overrides;
    struct digest two;
    assert_true(digest_sha256(SLICE_LITERAL("two"), &two));
    assert_int_equal(o->count, 3);
    assert_true(digest_equals(&o->items[0].client_key, &two));
    assert_int_equal(o->items[0].tokens_per_minute, 0);
    assert_int_equal(o->items[0].requests_per_minute, 1000000000);
    assert_int_equal(o->items[0].concurrent_requests, -1);
    assert_int_equal(o->items[1].concurrent_requests, 65536);
    assert_int_equal(o->items[2].requests_per_minute, -1);
    unload(&l);
}

static void wrong_overrides_are_named_by_their_place(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "not an object"},
        {"{", "is not JSON"},
        {"{\"hunter\": 5}", "the value of client key 1 is not an object"},
        {"{\"hunter\": {}}", "client key 1 is neither in CLIENT_API_KEYS nor in API_KEY_MAPPING"},
        {"{\"one\": {}, \"hunter\": {\"requests_per_minute\": 1}}", "client key 2 is neither"},
        {"{\"one\": {}, \"one\": {}}", "twice"},
        {"{\"\": {}}", "client key 1 is empty"},
        {"{\"two\": {}, \"one\": {\"hunter\": 1}}", "client key 2 has an unknown member"},
        {"{\"one\": {\"requests_per_minute\": -1}}",
         "the requests_per_minute of client key 1 is not a whole number"},
        {"{\"one\": {\"requests_per_minute\": 1.5}}", "not a whole number"},
        {"{\"one\": {\"requests_per_minute\": \"60\"}}", "not a whole number"},
        {"{\"one\": {\"requests_per_minute\": null}}", "not a whole number"},
        {"{\"one\": {\"tokens_per_minute\": 1000000001}}", "from 0 to 1000000000"},
        {"{\"one\": {\"tokens_per_minute\": 99999999999999999999999}}", "is not JSON"},
        {"{\"one\": {\"concurrent_requests\": 65537}}", "from 0 to 65536"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char variable[512];
        snprintf(variable, sizeof variable, "RATE_LIMIT__OVERRIDES=%s", cases[i][0]);
        assert_bad(variable, cases[i][1]);
    }
}

static void numbers_have_bounds(void **state)
{
    (void)state;
    assert_bad("RATE_LIMIT__CONCURRENT_REQUESTS=-1", "is not a whole number");
    assert_bad("RATE_LIMIT__CONCURRENT_REQUESTS=65537", "is too large");
    assert_bad("RATE_LIMIT__REQUESTS_PER_MINUTE=-60", "is not a whole number");
    assert_bad("RATE_LIMIT__TOKENS_PER_MINUTE=1e6", "is not a whole number");
    assert_bad("RATE_LIMIT__LOCAL_SHARE=0", "is too small");
    assert_bad("RATE_LIMIT__LOCAL_SHARE=1.5", "is too large");
    assert_bad("RATE_LIMIT__LOCAL_SHARE=half",
               "is not a decimal number (environment); allowed: a decimal number from "
               "0.01 to 1");
    assert_bad("RATE_LIMIT__BACKEND=memcached", "is not known");
    assert_bad("RATE_LIMIT__LEASE_SECONDS=0.5", "is too small");
    assert_bad("REDIS__TIMEOUT_MS=0", "is too small");
    assert_printed("RATE_LIMIT__LOCAL_SHARE=0.25", "\nRATE_LIMIT__LOCAL_SHARE=0.25\n");
    assert_printed("RATE_LIMIT__BACKEND=Redis", "\nRATE_LIMIT__BACKEND=redis\n");
}

static void overrides_are_printed_as_fingerprints(void **state)
{
    (void)state;
    assert_printed(
        "RATE_LIMIT__OVERRIDES={\"one\": {\"requests_per_minute\": 5, \"concurrent_requests\": 2}, "
        "\"three\": {}}",
        "\nRATE_LIMIT__OVERRIDES={\"sha256:7692c3ad3540\": {\"requests_per_minute\": 5, "
        "\"concurrent_requests\": 2}, \"sha256:8b5b9db0c13d\": {}}\n");
}

static void redis_urls_are_cut(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        struct redis_url parts;
    } cases[] = {
        {"redis://h", {.host = "h", .port = 6379}},
        {"REDIS://127.0.0.1:1/15", {.host = "127.0.0.1", .port = 1, .database = 15}},
        {"redis://[::1]/", {.host = "::1", .port = 6379}},
        {"redis://[::1]:7000", {.host = "::1", .port = 7000}},
        {"redis://:s%40cret@h:1", {.host = "h", .port = 1, .password = "s@cret"}},
        {"redis://me:a@b@h", {.host = "h", .port = 6379, .user = "me", .password = "a@b"}},
        {"unix:///run/r.sock", {.path = "/run/r.sock"}},
        {"unix:///run/a%20b?db=65535", {.path = "/run/a b", .database = 65535}},
        {"unix://u:p@/r", {.path = "/r", .user = "u", .password = "p"}},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct redis_url got;
        const char *wrong = redis_url_parse(slice_from_text(cases[i].url), &got);
        if (wrong)
            fail_msg("%s %s", cases[i].url, wrong);
        assert_string_equal(got.host, cases[i].parts.host);
        assert_string_equal(got.path, cases[i].parts.path);
        assert_string_equal(got.user, cases[i].parts.user);
        assert_string_equal(got.password, cases[i].parts.password);
        assert_int_equal(got.port, cases[i].parts.port);
        assert_int_equal(got.database, cases[i].parts.database);
    }
}

static void wrong_redis_urls_say_why(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "is not a URL"},
        {"redis:", "is not a URL"},
        {"redis://", "has no host"},
        {"redis://:1", "has no host"},
        {"redis://h:0", "has a port"},
        {"redis://h:65536", "has a port"},
        {"redis://h:", "has a port"},
        {"redis://h:1:2", "has a port"},
        {"redis://[::1", "has no ]"},
        {"redis://[x]", "a host that"},
        {"redis://[::1]x", "has a port"},
        {"redis://h/x", "has a database"},
        {"redis://h/65536", "a database"},
        {"redis://u@h", "without a password"},
        {"redis://:%4@h", "wrong %"},
        {"redis://:%00@h", "wrong %"},
        {"redis://a b", "contains a blank"},
        {"redis://a,b", "has a host that"},
        {"unix://h/p", "no absolute"},
        {"unix:///", "no absolute path"},
        {"unix:///p?x=1", "has a query"},
        {"unix:///p?db=x", "database"},
        {"rediss://h", "asks for TLS"},
        {"http://h", "has the wrong scheme"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct redis_url got;
        const char *wrong = redis_url_parse(slice_from_text(cases[i][0]), &got);
        if (!wrong || !strstr(wrong, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], wrong ? wrong : "taken");
    }
    char url[4000] = "redis://";
    memset(url + 8, 'h', sizeof url - 8);
    assert_non_null(redis_url_parse(slice_make(url, sizeof url), &(struct redis_url){.port = 0}));
    assert_non_null(redis_url_parse(slice_make(url, 8 + 256), &(struct redis_url){.port = 0}));
    assert_null(redis_url_parse(slice_make(url, 8 + 255), &(struct redis_url){.port = 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults),
        cmocka_unit_test(overrides_are_read),
        cmocka_unit_test(wrong_overrides_are_named_by_their_place),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(overrides_are_printed_as_fingerprints),
        cmocka_unit_test(redis_urls_are_cut),
        cmocka_unit_test(wrong_redis_urls_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
