/* The canonical form: pairs that say the same, pairs that do not, and bounds. */
#include "test.h"

#include "sluice/canonical.h"
#include "sluice/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { FORM_MAX = 8 * 1024 * 1024 };

static const char *const ignored[] = {"user", "stream", NULL};

static enum canonical_result form(struct slice json, const char *const *but, struct buf *out)
{
    buf_init(out, FORM_MAX);
    return canonical_write(json, but, out);
}

static void same_text(struct slice a, struct slice b, bool same)
{
    struct buf x, y;
    struct digest p, q;
    assert_int_equal(form(a, ignored, &x), CANONICAL_OK);
    assert_int_equal(form(b, ignored, &y), CANONICAL_OK);
    if (slice_equals(buf_slice(&x), buf_slice(&y)) != same)
        fail_msg("%.*s\n%.*s\n%s\n%s", (int)a.len, a.ptr, (int)b.len, b.ptr, buf_text(&x), buf_text(&y));
    assert_int_equal(canonical_digest(SLICE_LITERAL("p"), a, ignored, &p), CANONICAL_OK);
    assert_int_equal(canonical_digest(SLICE_LITERAL("p"), b, ignored, &q), CANONICAL_OK);
    assert_true(digest_equals(&p, &q) == same);
    buf_free(&x);
    buf_free(&y);
}

static void what_says_the_same_is_the_same(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"},
        {"{\"a\":{\"x\":1,\"y\":[{\"p\":1,\"q\":2}]}}",
         " { \"a\" : { \"y\" : [ {\"q\":2,\n\"p\":1} ] , \"x\":1 } } "},
        {"\"A\"", "\"\\u0041\""},
        {"\"/\"", "\"\\/\""},
        {"\"\\n\"", "\"\\u000a\""},
        {"\"\xE2\x82\xAC\"", "\"\\u20aC\""},
        {"\"\xF0\x9F\x98\x80\"", "\"\\uD83D\\ude00\""},
        {"{\"\\u0061\":1,\"b\":2}", "{\"b\":2,\"a\":1}"},
        {"0", "-0"},
        {"0", "0.0"},
        {"0", "0e0"},
        {"0", "0.000E-999999999999999999999999"},
        {"1", "1.0"},
        {"1", "10e-1"},
        {"1", "0.1e1"},
        {"1", "1E0"},
        {"1", "1e+0"},
        {"100", "1e2"},
        {"100", "1E+02"},
        {"-12300.50", "-123005e-1"},
        {"0.00012", "1.2e-4"},
        {"12345678901234567890123", "12345678901234567890.123e3"},
        {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
        {"{\"a\":1,\"b\":3,\"\\u0061\":2}", "{\"b\":3,\"a\":2}"},
        {"{\"a\":1,\"user\":\"x\"}", "{\"a\":1}"},
        {"{\"a\":1,\"stream\":true}", "{\"stream\":false,\"a\":1,\"us\\u0065r\":{\"deep\":[1]}}"},
        {"{\"user\":1}", "{}"},
        {"[]", " [ ] "},
    };
    for (size_t i = 0; i < TEST_COUNT(pairs); i++)
        same_text(slice_from_text(pairs[i][0]), slice_from_text(pairs[i][1]), true);
}

static void what_differs_differs(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"[1,2]", "[2,1]"},
        {"[[1],2]", "[1,[2]]"},
        {"{\"a\":null}", "{}"},
        {"{\"a\":0}", "{\"a\":false}"},
        {"\"1\"", "1"},
        {"\"null\"", "null"},
        {"\"\"", "null"},
        {"[]", "{}"},
        {"[]", "[[]]"},
        {"[null]", "[]"},
        {"{\"a\":1}", "{\"A\":1}"},
        {"{\"a\":\"b\"}", "{\"b\":\"a\"}"},
        {"9007199254740993", "9007199254740992"},
        {"0.1", "0.10000000000000001"},
        {"1e400", "1e401"},
        {"1", "-1"},
        {"1e5", "1e-5"},
        {"10", "1"},
        {"0.1", "0.01"},
        {"1e99999999999999999999", "2e99999999999999999999"},
        {"1e99999999999999999999", "1e-99999999999999999999"},
        {"\"a\\u0000b\"", "\"a\""},
        {"\"\\\\u0041\"", "\"A\""},
        {"\"a\\\"b\"", "\"a\\\\\\\"b\""},
        {"{\"a\":{\"user\":1}}", "{\"a\":{}}"},
        {"[{\"user\":1}]", "[{}]"},
        {"{\"a\":{\"b\":1},\"c\":2}", "{\"a\":{\"b\":1,\"c\":2}}"},
        {"{\"User\":1}", "{}"},
        {"\"\xC3\xA9\"", "\"e\xCC\x81\""},
    };
    for (size_t i = 0; i < TEST_COUNT(pairs); i++)
        same_text(slice_from_text(pairs[i][0]), slice_from_text(pairs[i][1]), false);
}

static void the_form_is_known(void **state)
{
    (void)state;
    struct buf b;
    assert_int_equal(
        form(SLICE_LITERAL("{\"b\":[1.0,-120,0.5,\"\\u0001\\\"\\/\"],\"a\":{\"d\":true,\"c\":null}}"), NULL,
             &b),
        CANONICAL_OK);
    assert_string_equal(buf_text(&b),
                        "{\"a\":{\"c\":null,\"d\":true},\"b\":[1,-12e1,5e-1,\"\\u0001\\\"/\"]}");
    buf_free(&b);
}

static void what_is_no_json_has_none(void **state)
{
    (void)state;
    struct digest d;
    struct buf b;
    assert_int_equal(canonical_digest(SLICE_LITERAL(""), SLICE_LITERAL("{"), NULL, &d), CANONICAL_NOT_JSON);
    assert_int_equal(canonical_digest(SLICE_LITERAL(""), SLICE_LITERAL(""), NULL, &d), CANONICAL_NOT_JSON);
    assert_int_equal(form(SLICE_LITERAL("[1,2"), NULL, &b), CANONICAL_NOT_JSON);
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void bounds_hold(void **state)
{
    (void)state;
    struct digest d;
    struct buf b;
    buf_init(&b, 2 * CANONICAL_BYTES_MAX);
    assert_true(buf_append_char(&b, '['));
    while (b.len < CANONICAL_BYTES_MAX)
        assert_true(buf_append_text(&b, "1,"));
    assert_true(buf_append_text(&b, "1]"));
    assert_int_equal(canonical_digest(SLICE_LITERAL(""), buf_slice(&b), NULL, &d), CANONICAL_TOO_COMPLEX);
    buf_clear(&b);
    assert_true(buf_append_char(&b, '{'));
    for (size_t i = 0; i <= CANONICAL_MEMBERS_MAX; i++)
        assert_true(buf_printf(&b, "%s\"%zu\":0", i > 0 ? "," : "", i));
    assert_true(buf_append_char(&b, '}'));
    assert_int_equal(canonical_digest(SLICE_LITERAL(""), buf_slice(&b), NULL, &d), CANONICAL_TOO_COMPLEX);
    buf_free(&b);
}

/* The dearest texts below the bounds: names that differ late and are escaped; deep nesting. */
static void the_dearest_text_is_bearable(void **state)
{
    (void)state;
    struct digest d;
    struct buf b;
    buf_init(&b, 2 * CANONICAL_BYTES_MAX);
    assert_true(buf_append_char(&b, '{'));
    for (size_t i = 0; i < 30000; i++)
        assert_true(buf_printf(&b, "%s\"\\u0061%0*zu\":0", i > 0 ? "," : "", 100, 30000 - i));
    assert_true(buf_append_char(&b, '}'));
    int64_t before = clock_monotonic_us();
    assert_int_equal(canonical_digest(SLICE_LITERAL(""), buf_slice(&b), NULL, &d), CANONICAL_OK);
    int64_t wide = clock_monotonic_us() - before;
    buf_clear(&b);
    for (int i = 0; i < 250; i++)
        assert_true(buf_append_text(&b, "{\"b\":0,\"a\":"));
    assert_true(buf_append_char(&b, '"'));
    while (b.len < CANONICAL_BYTES_MAX - 1000)
        assert_true(buf_append_text(&b, "0123456789"));
    assert_true(buf_append_char(&b, '"'));
    for (int i = 0; i < 250; i++)
        assert_true(buf_append_char(&b, '}'));
    before = clock_monotonic_us();
    assert_int_equal(canonical_digest(SLICE_LITERAL(""), buf_slice(&b), NULL, &d), CANONICAL_OK);
    print_message("wide %lld us, deep %lld us\n", (long long)wide,
                  (long long)(clock_monotonic_us() - before));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_says_the_same_is_the_same),
        cmocka_unit_test(what_differs_differs),
        cmocka_unit_test(the_form_is_known),
        cmocka_unit_test(what_is_no_json_has_none),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(the_dearest_text_is_bearable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
