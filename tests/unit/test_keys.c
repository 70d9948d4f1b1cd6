/* The key table: who is let in, with which upstream key, and that no client key is kept. */
#include "test.h"

#include "sluice/keys.h"

#include <stdio.h>
#include <stdlib.h>

#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

/* From the environment, as the program makes it; the client keys are forgotten before the first search. */
static struct keys *make(struct config *config, const char *const *environment)
{
    struct config_report report;
    config_report_init(&report);
    assert_true(config_load(config, &(struct config_input){.environment = environment, .env_file = ""}, &report));
    config_report_free(&report);
    struct keys *keys = keys_new(config);
    assert_non_null(keys);
    config_forget_client_keys(config);
    return keys;
}

static void drop(struct config *config, struct keys *keys)
{
    keys_free(&keys);
    assert_null(keys);
    config_free(config);
}

static const struct client_key *find(const struct keys *keys, const char *secret)
{
    const struct client_key *key;
    assert_true(keys_find(keys, slice_from_text(secret), &key));
    return key;
}

static const struct upstream_key *upstream_of(const struct keys *keys, const struct client_key *key)
{
    return keys_upstream(keys, key->first);
}

static void client_keys_share_the_upstream_key(void **state)
{
    (void)state;
    struct config config;
    struct keys *keys = make(&config, ENV("OPENAI_API_KEY=sk-up", "CLIENT_API_KEYS=one,two"));
    assert_int_equal(keys_count(keys), 2);
    const struct client_key *one = find(keys, "one"), *two = find(keys, "two");
    assert_non_null(one);
    assert_non_null(two);
    assert_int_equal(one->first, two->first);
    assert_int_equal(one->count, 1);
    assert_string_equal(upstream_of(keys, one)->authorization, "Authorization: Bearer sk-up");
    assert_null(upstream_of(keys, one)->organization);
    assert_null(upstream_of(keys, one)->project);
    /* printf one | sha256sum */
    assert_string_equal(one->fingerprint, "7692c3ad3540");
    assert_string_not_equal(two->fingerprint, one->fingerprint);
    assert_int_equal(strlen(upstream_of(keys, one)->fingerprint), KEY_FINGERPRINT_SIZE - 1);
    drop(&config, keys);
}

static void other_keys_are_unknown(void **state)
{
    (void)state;
    struct config config;
    struct keys *keys = make(&config, ENV("OPENAI_API_KEY=sk-up", "CLIENT_API_KEYS=one,two"));
    static const char *const wrong[] = {"", "on", "one ", " one", "ONE", "onetwo", "one,two", "sk-up",
                                        "7692c3ad3540"};
    for (size_t i = 0; i < TEST_COUNT(wrong); i++)
        if (find(keys, wrong[i]))
            fail_msg("\"%s\" is let in", wrong[i]);
    const struct client_key *key;
    assert_true(keys_find(keys, (struct slice){NULL, 0}, &key) && !key);
    assert_true(keys_find(keys, SLICE_LITERAL("one\0"), &key) && !key);
    drop(&config, keys);
}

static void no_keys_let_nobody_in(void **state)
{
    (void)state;
    struct config config;
    struct keys *keys = make(&config, ENV("OPENAI_API_KEY=sk-up"));
    assert_int_equal(keys_count(keys), 0);
    assert_null(find(keys, ""));
    assert_null(find(keys, "sk-up"));
    drop(&config, keys);
    struct keys *none = NULL;
    keys_free(&none);
}

static void mapped_keys_have_their_own(void **state)
{
    (void)state;
    struct config config;
    struct keys *keys =
        make(&config, ENV("OPENAI_API_KEY=sk-up", "CLIENT_API_KEYS=shared,a",
                          "API_KEY_MAPPING={\"a\":\"sk-a\","
                          "\"b\":{\"key\":\"sk-b\",\"organization\":\"org-1\",\"project\":\"proj-1\"}}"));
    assert_int_equal(keys_count(keys), 3);
    assert_string_equal(upstream_of(keys, find(keys, "shared"))->authorization, "Authorization: Bearer sk-up");
    /* A mapping beats the common key, whatever the order in which they are written. */
    assert_string_equal(upstream_of(keys, find(keys, "a"))->authorization, "Authorization: Bearer sk-a");
    const struct upstream_key *b = upstream_of(keys, find(keys, "b"));
    assert_string_equal(b->authorization, "Authorization: Bearer sk-b");
    assert_string_equal(b->organization, "OpenAI-Organization: org-1");
    assert_string_equal(b->project, "OpenAI-Project: proj-1");
    assert_null(find(keys, "sk-a"));
    drop(&config, keys);
}

static void several_upstream_keys_are_a_pool(void **state)
{
    (void)state;
    struct config config;
    struct keys *keys = make(&config, ENV("OPENAI_API_KEY=sk-1,sk-2,sk-3", "CLIENT_API_KEYS=one",
                                          "API_KEY_MAPPING={\"a\":\"sk-a\"}"));
    assert_int_equal(keys_upstream_count(keys), 4);
    assert_int_equal(find(keys, "one")->count, 3);
    assert_int_equal(find(keys, "a")->count, 1);
    const struct client_key *one = find(keys, "one");
    for (size_t i = 0; i < 3; i++) {
        char line[64];
        snprintf(line, sizeof line, "Authorization: Bearer sk-%zu", i + 1);
        assert_string_equal(keys_upstream(keys, one->first + i)->authorization, line);
    }
    drop(&config, keys);
}

static void a_mapping_alone_is_enough(void **state)
{
    (void)state;
    struct config config;
    struct keys *keys = make(&config, ENV("API_KEY_MAPPING={\"a\":\"sk-a\"}"));
    assert_int_equal(keys_count(keys), 1);
    assert_non_null(find(keys, "a"));
    assert_null(find(keys, "b"));
    drop(&config, keys);
}

/* Enough for collisions in every table, and for a table that is exactly half full. */
static void many_keys_are_all_found(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 1025; count = count < 40 ? count + 1 : count * 2 - count / 3) {
        struct buf list;
        struct config config;
        char key[32];
        buf_init(&list, 1024 * 1024);
        assert_true(buf_append_text(&list, "CLIENT_API_KEYS="));
        for (size_t i = 0; i < count; i++)
            assert_true(buf_printf(&list, "%skey-%zu", i ? "," : "", i));
        struct keys *keys = make(&config, ENV("OPENAI_API_KEY=sk-up", buf_text(&list)));
        assert_int_equal(keys_count(keys), count);
        for (size_t i = 0; i < 2 * count; i++) {
            snprintf(key, sizeof key, "key-%zu", i);
            assert_int_equal(find(keys, key) != NULL, i < count);
        }
        buf_free(&list);
        drop(&config, keys);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_keys_share_the_upstream_key),
        cmocka_unit_test(other_keys_are_unknown),
        cmocka_unit_test(no_keys_let_nobody_in),
        cmocka_unit_test(mapped_keys_have_their_own),
        cmocka_unit_test(several_upstream_keys_are_a_pool),
        cmocka_unit_test(a_mapping_alone_is_enough),
        cmocka_unit_test(many_keys_are_all_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
