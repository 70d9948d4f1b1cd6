/* JSON in place: what is accepted, tokens, values, strings. */
#include "test.h"

#include "sluice/json_scan.h"

#include <stdio.h>
#include <stdlib.h>

static bool accepts(const char *text)
{
    struct json_value value;
    return json_value_read(slice_from_text(text), &value);
}

static void what_is_json_is_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}",
        "[]",
        "\"\"",
        "0",
        "-0",
        "1",
        "-1.5e+10",
        "0.0",
        "0e0",
        "1E-2",
        "true",
        "false",
        "null",
        " \t\r\n[ 1 , 2 ] \n",
        "{\"a\":{\"b\":[{}]}}",
        "{\"\":1,\"\":2}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFFFF\"",
        "\"\\ud83d\\ude00\"",
        "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
        "123456789012345678901234567890",
        "\"\x7F\"",
        "[[[[[[]]]]]]",
        "1e400",
    };
    for (size_t i = 0; i < TEST_COUNT(good); i++)
        if (!accepts(good[i]))
            fail_msg("refused: %s", good[i]);
}

static void what_is_not_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{,}",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "True",
        "tru",
        "nul",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12G4\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\ud800\\ud800\"",
        "\"\n\"",
        "\"\x01\"",
        "\"\xC3\"",
        "\"\xC0\x80\"",
        "\"\xED\xA0\x80\"",
        "\"\xF4\x90\x80\x80\"",
        "\"\xFF\"",
        "1 2",
        "{}{}",
        "[1 2]",
        "// c\n1",
        "[1]x",
        "\xEF\xBB\xBF{}",
        "{]",
        "[}",
        "'a'",
        "\f1",
        "[1,,2]",
    };
    for (size_t i = 0; i < TEST_COUNT(bad); i++)
        if (accepts(bad[i]))
            fail_msg("accepted: %s", bad[i]);
    struct json_value value;
    assert_false(json_value_read(SLICE_LITERAL("1\0"), &value));
    assert_false(json_value_read((struct slice){NULL, 0}, &value));
}

static void depth_has_a_bound(void **state)
{
    (void)state;
    char text[2 * JSON_SCAN_DEPTH_MAX + 3] = {0};
    memset(text, '[', JSON_SCAN_DEPTH_MAX);
    memset(text + JSON_SCAN_DEPTH_MAX, ']', JSON_SCAN_DEPTH_MAX);
    assert_true(accepts(text));
    memset(text, '[', JSON_SCAN_DEPTH_MAX + 1);
    memset(text + JSON_SCAN_DEPTH_MAX + 1, ']', JSON_SCAN_DEPTH_MAX + 1);
    assert_false(accepts(text));
}

static void tokens_come_in_order(void **state)
{
    (void)state;
    static const struct {
        enum json_kind kind;
        const char *text;
    } want[] = {
        {JSON_KIND_OBJECT, "{"},    {JSON_KIND_NAME, "a\\n"}, {JSON_KIND_ARRAY, "["},
        {JSON_KIND_NUMBER, "1.50"}, {JSON_KIND_TRUE, "true"}, {JSON_KIND_END, "]"},
        {JSON_KIND_NAME, "b"},      {JSON_KIND_STRING, "x"},  {JSON_KIND_END, "}"},
        {JSON_KIND_DONE, ""},       {JSON_KIND_DONE, ""},
    };
    struct json_scan s;
    struct slice token;
    json_scan_init(&s, SLICE_LITERAL(" { \"a\\n\" : [ 1.50 , true ] , \"b\":\"x\" } "));
    for (size_t i = 0; i < TEST_COUNT(want); i++) {
        assert_int_equal(json_scan_next(&s, &token), want[i].kind);
        assert_true(slice_equals_text(token, want[i].text));
    }
}

static void an_error_stays(void **state)
{
    (void)state;
    struct json_scan s;
    struct slice token;
    json_scan_init(&s, SLICE_LITERAL("[x, 1]"));
    assert_int_equal(json_scan_next(&s, &token), JSON_KIND_ARRAY);
    for (int i = 0; i < 5; i++)
        assert_int_equal(json_scan_next(&s, &token), JSON_KIND_ERROR);
}

static struct json_value value_of(const char *text)
{
    struct json_value value;
    assert_true(json_value_read(slice_from_text(text), &value));
    return value;
}

static void members_are_found(void **state)
{
    (void)state;
    struct json_value o = value_of("{\"a\":1,\"b\":{\"c\":[2]},\"a\":3,\"\\u0064\":null}"), v;
    assert_true(json_value_find(o, "a", &v));
    assert_true(slice_equals_text(v.raw, "3"));
    assert_true(json_value_find(o, "d", &v));
    assert_int_equal(v.kind, JSON_KIND_NULL);
    assert_false(json_value_find(o, "e", &v));
    assert_int_equal(v.kind, JSON_KIND_ERROR);
    assert_true(json_value_find_path(o, (const char *const[]){"b", "c", NULL}, &v));
    assert_true(slice_equals_text(v.raw, "[2]"));
    assert_false(json_value_find_path(o, (const char *const[]){"a", "c", NULL}, &v));
    assert_false(json_value_find(value_of("[1]"), "a", &v));
}

static void elements_are_read(void **state)
{
    (void)state;
    static const char *const want[] = {"1", "\"a,b\"", "[2,[3]]", "{\"x\":[]}", "null"};
    struct json_items items;
    struct json_value v;
    size_t n = 0;
    assert_true(json_items_begin(&items, value_of("[1,\"a,b\", [2,[3]] ,{\"x\":[]},null]")));
    for (; json_items_next(&items, NULL, &v); n++)
        assert_true(slice_equals_text(v.raw, want[n]));
    assert_int_equal(n, TEST_COUNT(want));
    assert_false(items.failed);
    assert_false(json_items_begin(&items, value_of("\"[1]\"")));
    assert_false(json_items_next(&items, NULL, &v));
}

static void strings_are_compared_decoded(void **state)
{
    (void)state;
    assert_true(json_scan_text_is(SLICE_LITERAL("a\\u0062c"), "abc"));
    assert_true(json_scan_text_is(SLICE_LITERAL("\\u20AC\\ud83d\\ude00"), "\xE2\x82\xAC\xF0\x9F\x98\x80"));
    assert_false(json_scan_text_is(SLICE_LITERAL("ab\\u0000"), "ab"));
    assert_false(json_scan_text_is(SLICE_LITERAL("ab"), "abc"));
    assert_true(json_value_is_text(value_of("\"\\/x\""), "/x"));
    assert_false(json_value_is_text(value_of("1"), "1"));
}

static void numbers_are_told(void **state)
{
    (void)state;
    static const char *const zero[] = {"0", "-0", "0.000", "0e99", "-0.0E-5"}, *const not_zero[] = {
                                                                                   "1", "0.001", "1e-99",
                                                                                   "\"0\""};
    int64_t n;
    for (size_t i = 0; i < TEST_COUNT(zero); i++)
        assert_true(json_value_is_zero(value_of(zero[i])));
    for (size_t i = 0; i < TEST_COUNT(not_zero); i++)
        assert_false(json_value_is_zero(value_of(not_zero[i])));
    assert_true(json_value_int(value_of("-123456789012345678"), &n));
    assert_true(n == -123456789012345678);
    assert_false(json_value_int(value_of("1234567890123456789"), &n));
    assert_false(json_value_int(value_of("1.0"), &n));
    assert_false(json_value_int(value_of("\"1\""), &n));
}

static void compact_keeps_strings(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    assert_true(
        json_scan_put_compact(&b, SLICE_LITERAL(" { \"a b\" :\n[ 1 , \"c \\\" d\\\\\" , \"\" ] }\r\n")));
    assert_string_equal(buf_text(&b), "{\"a b\":[1,\"c \\\" d\\\\\",\"\"]}");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json_is_accepted), cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(depth_has_a_bound),        cmocka_unit_test(tokens_come_in_order),
        cmocka_unit_test(an_error_stays),           cmocka_unit_test(members_are_found),
        cmocka_unit_test(elements_are_read),        cmocka_unit_test(strings_are_compared_decoded),
        cmocka_unit_test(numbers_are_told),         cmocka_unit_test(compact_keeps_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
