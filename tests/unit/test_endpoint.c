/* The endpoint table. */
#include "test.h"

#include "sluice/endpoint.h"

static void paths_match_whole(void **state)
{
    (void)state;
    const struct endpoint *e = endpoint_find(SLICE_LITERAL("/chat/completions"));
    assert_non_null(e);
    assert_string_equal(e->name, "chat.completions");
    static const char *const others[] = {"",
                                         "/",
                                         "/chat",
                                         "chat/completions",
                                         "/chat/completions/",
                                         "/chat/completions2",
                                         "/Chat/completions",
                                         "/chat%2Fcompletions",
                                         "//chat/completions"};
    for (size_t i = 0; i < TEST_COUNT(others); i++)
        assert_null(endpoint_find(slice_from_text(others[i])));
    assert_null(endpoint_find((struct slice){NULL, 0}));
}

static void methods_are_those_of_the_table(void **state)
{
    (void)state;
    static const char *const names[] = {"GET", "POST", "DELETE"};
    static const unsigned bits[] = {ENDPOINT_GET, ENDPOINT_POST, ENDPOINT_DELETE};
    static const char *const never[] = {"", "get", "HEAD", "OPTIONS", "PUT", "PATCH", "POSTS", "POS"};
    for (unsigned methods = 0; methods < 8; methods++) {
        const struct endpoint e = {"name", "/path", methods};
        for (size_t i = 0; i < TEST_COUNT(names); i++)
            assert_int_equal(endpoint_allows(&e, slice_from_text(names[i])), (methods & bits[i]) != 0);
        for (size_t i = 0; i < TEST_COUNT(never); i++)
            assert_false(endpoint_allows(&e, slice_from_text(never[i])));
    }
    assert_true(endpoint_allows(endpoint_find(SLICE_LITERAL("/chat/completions")), SLICE_LITERAL("POST")));
    assert_false(endpoint_allows(endpoint_find(SLICE_LITERAL("/chat/completions")), SLICE_LITERAL("GET")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_match_whole),
        cmocka_unit_test(methods_are_those_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
