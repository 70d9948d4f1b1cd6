/* Slices: views, with every edge at the empty one. */
#include "test.h"

#include "sluice/slice.h"

static void text_and_literal_give_the_same_slice(void **state)
{
    (void)state;
    assert_true(slice_equals(SLICE_LITERAL("abc"), slice_from_text("abc")));
    assert_int_equal(slice_from_text(NULL).len, 0);
    assert_int_equal(slice_from_text("").len, 0);
}

static void comparing(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same, same_nocase;
    } cases[] = {
        {"", "", true, true},      {"a", "", false, false},     {"a", "a", true, true},
        {"a", "A", false, true},   {"abc", "ab", false, false}, {"Bearer", "bEARER", false, true},
        {"a ", "a", false, false},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct slice a = slice_from_text(cases[i].a), b = slice_from_text(cases[i].b);
        assert_int_equal(slice_equals(a, b), cases[i].same);
        assert_int_equal(slice_equals_text(a, cases[i].b), cases[i].same);
        assert_int_equal(slice_equals_nocase(a, b), cases[i].same_nocase);
    }
    assert_true(slice_equals((struct slice){NULL, 0}, SLICE_LITERAL("")));
    assert_false(slice_equals(SLICE_LITERAL("a\0b"), SLICE_LITERAL("a\0c")));
}

static void prefixes(void **state)
{
    (void)state;
    struct slice s = SLICE_LITERAL("Bearer key");
    assert_true(slice_starts_with(s, SLICE_LITERAL("Bearer ")));
    assert_true(slice_starts_with(s, SLICE_LITERAL("")));
    assert_true(slice_starts_with(s, s));
    assert_false(slice_starts_with(s, SLICE_LITERAL("bearer ")));
    assert_true(slice_starts_with_nocase(s, SLICE_LITERAL("bearer ")));
    assert_false(slice_starts_with(SLICE_LITERAL("Bear"), s));
    assert_false(slice_starts_with((struct slice){NULL, 0}, s));
    assert_true(slice_starts_with((struct slice){NULL, 0}, (struct slice){NULL, 0}));
}

static void skipping_and_taking_stop_at_the_end(void **state)
{
    (void)state;
    struct slice s = SLICE_LITERAL("abc");
    assert_true(slice_equals_text(slice_skip(s, 0), "abc"));
    assert_true(slice_equals_text(slice_skip(s, 2), "c"));
    assert_int_equal(slice_skip(s, 3).len, 0);
    assert_int_equal(slice_skip(s, SIZE_MAX).len, 0);
    assert_true(slice_equals_text(slice_take(s, 2), "ab"));
    assert_true(slice_equals_text(slice_take(s, SIZE_MAX), "abc"));
    assert_int_equal(slice_take(s, 0).len, 0);
}

static void trimming(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},   {" ", ""},    {" \t\r\n", ""}, {"a", "a"}, {"  a  ", "a"}, {"\ta b\r\n", "a b"},
        {"a", "a"}, {"\v", "\v"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        assert_true(slice_equals_text(slice_trim(slice_from_text(cases[i][0])), cases[i][1]));
    assert_int_equal(slice_trim(SLICE_LITERAL(" \0 ")).len, 1);
    assert_int_equal(slice_trim((struct slice){NULL, 0}).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_literal_give_the_same_slice),
        cmocka_unit_test(comparing),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(skipping_and_taking_stop_at_the_end),
        cmocka_unit_test(trimming),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
