/* Usage: each shape that answers have, found in whole bodies and in pieces, never in what a model wrote. */
#include "test.h"

#include "sluice/buf.h"
#include "sluice/usage.h"

#include <stdlib.h>
#include <time.h>

struct usage_case {
    const char *text;
    int64_t input, output, total, cached, reasoning;
};

static void every_shape_is_read(void **state)
{
    (void)state;
    static const struct usage_case cases[] = {
        /* Chat Completions */
        {"{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,\"total_tokens\":21,"
         "\"prompt_tokens_details\":{\"cached_tokens\":4},"
         "\"completion_tokens_details\":{\"reasoning_tokens\":7}}}",
         9, 12, 21, 4, 7},
        /* Responses */
        {"{\"usage\": {\"input_tokens\": 1, \"input_tokens_details\": {\"cached_tokens\": 2},"
         "\"output_tokens\": 3, \"output_tokens_details\": {\"reasoning_tokens\": 4}, \"total_tokens\": 5}}",
         1, 3, 5, 2, 4},
        /* Embeddings */
        {"{\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}", 8, 0, 8, 0, 0},
        /* no total */
        {"{\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}", 2, 3, 5, 0, 0},
        {"{\"usage\":{}}", 0, 0, 0, 0, 0},
        /* blanks, and what follows */
        {"{ \"usage\" \n:\t {\"total_tokens\":1} , \"x\": [1", 0, 0, 1, 0, 0},
        /* a tail that begins in the middle */
        {"nt\":\"...\"}}],\"usage\":{\"total_tokens\":2},\"service_tier\":\"default\"}", 0, 0, 2, 0, 0},
        /* the last one wins, null ones do not count */
        {"{\"usage\":{\"total_tokens\":1},\"usage\":{\"total_tokens\":2}}", 0, 0, 2, 0, 0},
        {"{\"usage\":{\"total_tokens\":1},\"a\":{\"usage\":null}}", 0, 0, 1, 0, 0},
        {"{\"usage\":{\"total_tokens\":1},\"usage\":5,\"usage\":[],\"usage\":\"{\"}", 0, 0, 1, 0, 0},
        /* values that are not counts */
        {"{\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":\"7\",\"total_tokens\":1.5}}", 0, 0, 0, 0,
         0},
        {"{\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":null}}", 1, 0, 1, 0, 0},
        {"{\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":[3]}}", 1, 0, 1, 0, 0},
        {"{\"usage\":{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":1}}", INT64_MAX, 1, 0, 0,
         0},
        {"{\"usage\":{\"prompt_tokens\":\"1\",\"input_tokens\":5,\"total_tokens\":1e3,\"cached_tokens\":7}}", 0, 0, 0,
         0, 0},
        {"{\"usage\":{\"prompt_tokens\":[1],\"completion_tokens\":-99999999999999999999}}", 0, 0, 0, 0, 0},
        {"{\"usage\":{\"prompt_tokens_details\":{\"deep\":{\"cached_tokens\":9}}}}", 0, 0, 0, 0, 0},
        /* a member counts once, and names may be written with escapes */
        {"{\"usage\":{\"total_tokens\":1,\"total_tokens\":2}}", 0, 0, 2, 0, 0},
        {"{\"usage\":{\"total\\u005ftokens\":4}}", 0, 0, 4, 0, 0},
        /* "usage" as a value, and within a text that a model wrote */
        {"{\"usage\":{\"total_tokens\":3},\"a\":[\"usage\",\"usage\"]}", 0, 0, 3, 0, 0},
        {"{\"usage\":{\"total_tokens\":3},\"content\":\"say \\\"usage\\\":{\\\"total_tokens\\\":99}\"}", 0, 0,
         3, 0, 0},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        const struct usage_case *c = &cases[i];
        struct usage u = {0};
        if (!usage_find(slice_from_text(c->text), &u))
            fail_msg("nothing found in %s", c->text);
        assert_true(u.known);
        assert_int_equal(u.input_tokens, c->input);
        assert_int_equal(u.output_tokens, c->output);
        assert_int_equal(u.total_tokens, c->total);
        assert_int_equal(u.cached_tokens, c->cached);
        assert_int_equal(u.reasoning_tokens, c->reasoning);
    }
}

static void what_is_no_usage_changes_nothing(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "\"usag",
        "\"usage\"",
        "\"usage\":",
        "\"usage\":{",
        "\"usage\":{\"total_tokens\":1",
        "\"usage\":null",
        "\"usage\":[{}]",
        "usage:{\"total_tokens\":1}",
        "\"usages\":{\"total_tokens\":1}",
        "\"my_usage\":{\"total_tokens\":1}",
        "\"Usage\":{\"total_tokens\":1}",
        "\\\"usage\":{\"total_tokens\":1}",
        "\"usage\":{\"total_tokens\":99999999999999999999}",
        "\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":9223372036854775808}}",
        "\"usage\":{\"total_tokens\":1,}",
        "\"usage\":{\"total_tokens\":01}",
        "\"usage\":{\"a\":\"\x01\"}",
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct usage u = {.total_tokens = 77};
        if (usage_find(slice_from_text(cases[i]), &u))
            fail_msg("found in %s", cases[i]);
        assert_false(u.known);
        assert_int_equal(u.total_tokens, 77);
    }
    struct usage u;
    assert_false(usage_find((struct slice){NULL, 0}, &u));
}

/* Each of these is a text that a hostile upstream could send. */
static void no_text_makes_it_slow(void **state)
{
    (void)state;
    static const char *const pieces[] = {"\"",          "\"usage\"", "\"usage\":{", "\"usage\":{\"a\":1,",
                                         "\"usage\": ", "{\"a\":"};
    for (size_t i = 0; i < TEST_COUNT(pieces); i++) {
        struct buf b;
        struct usage u;
        buf_init(&b, 256 * 1024);
        while (buf_append_text(&b, pieces[i]))
            continue;
        clock_t start = clock(); /* the process' own time, whatever else the machine does */
        assert_false(usage_find(buf_slice(&b), &u));
        assert_true(clock() - start < 2 * CLOCKS_PER_SEC);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_is_read),
        cmocka_unit_test(what_is_no_usage_changes_nothing),
        cmocka_unit_test(no_text_makes_it_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
