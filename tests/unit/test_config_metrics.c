/* The options of the metrics, and names of client keys. */
#include "test.h"

#include "sluice/keys.h"

#include <stdio.h>

struct loaded {
    struct config config;
    struct config_report report;
    struct buf text;
    bool ok;
};

#define KEYS "OPENAI_API_KEY=sk-up", "CLIENT_API_KEYS=hunter-one,hunter-two"
#define ENV(...) ((const char *const[]){KEYS, __VA_ARGS__, NULL})

static void load(struct loaded *l, const char *const *environment)
{
    config_report_init(&l->report);
    buf_init(&l->text, 100000);
    l->ok = config_load(&l->config, &(struct config_input){.environment = environment, .env_file = ""}, &l->report);
    assert_true(config_report_write(&l->report, &l->text));
}

static void unload(struct loaded *l)
{
    config_report_free(&l->report);
    config_free(&l->config);
    buf_free(&l->text);
}

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

static void the_defaults(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("DEBUG=false"));
    assert_true(l.ok);
    assert_int_equal(l.config.metrics_allow.count, 2);
    assert_string_equal(l.config.metrics_allow.items[1], "::1");
    assert_int_equal(l.config.metrics_tokens.count, 0);
    assert_int_equal(l.config.metrics_max_models, 100);
    assert_int_equal(l.config.key_aliases.count, 0);
    assert_false(l.config.metrics_genai || l.config.log_bodies);
    unload(&l);
}

static void networks_are_checked(void **state)
{
    (void)state;
    assert_bad("METRICS__ALLOW=10.0.0.0/8,x", "entry 2 is no address and no network");
    assert_bad("METRICS__ALLOW=none,::1", "entry 1 is no address");
    assert_bad("METRICS__ALLOW=10.0.0.1/8", "entry 1 is no address");
    struct loaded l;
    load(&l, ENV("METRICS__ALLOW=none"));
    assert_true(l.ok && l.config.metrics_allow.count == 1);
    unload(&l);
}

static void wrong_names_are_told_by_their_place(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "not an object"},
        {"{", "is not JSON"},
        {"{\"hunter-one\": 5}", "the name of client key 1 is not a string"},
        {"{\"hunter-one\": \"\"}", "the name of client key 1 is empty"},
        {"{\"hunter-one\": \"a\\\"b\"}", "contains a control character, a quote or a backslash"},
        {"{\"hunter-one\": \"my hunter-one key\"}", "is a part of the key, or holds it"},
        {"{\"hunter-one\": \"hunter-on\"}", "is a part of the key, or holds it"},
        {"{\"hunter-one\": \"0123456789012345678901234567890123456789012345678\"}", "longer than 48 bytes"},
        {"{\"hunter-two\": \"b\", \"hunter-three\": \"a\"}", "client key 2 is neither in CLIENT_API_KEYS"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char variable[512];
        snprintf(variable, sizeof variable, "KEY_ALIASES=%s", cases[i][0]);
        assert_bad(variable, cases[i][1]);
    }
}

static void a_name_takes_the_place_of_the_fingerprint(void **state)
{
    (void)state;
    struct loaded l;
    load(&l, ENV("KEY_ALIASES={\"hunter-two\": \"team b\"}"));
    assert_true(l.ok);
    struct keys *keys = keys_new(&l.config);
    const struct client_key *one, *two;
    assert_true(keys_find(keys, SLICE_LITERAL("hunter-one"), &one) && keys_find(keys, SLICE_LITERAL("hunter-two"), &two));
    assert_string_equal(one->name, one->fingerprint);
    assert_string_equal(two->name, "team b");
    keys_free(&keys);
    struct buf printed;
    buf_init(&printed, 100000);
    assert_true(config_print(&l.config, &printed));
    assert_non_null(strstr(buf_text(&printed), "\": \"team b\"}\n"));
    assert_null(strstr(buf_text(&printed), "hunter"));
    buf_free(&printed);
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults),
        cmocka_unit_test(networks_are_checked),
        cmocka_unit_test(wrong_names_are_told_by_their_place),
        cmocka_unit_test(a_name_takes_the_place_of_the_fingerprint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
