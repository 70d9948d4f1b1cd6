/* JSON text: what is written is always valid, whatever bytes come in; jansson is the judge. */
#include "test.h"

#include "sluice/json_out.h"

#include <jansson.h>
#include <stdio.h>

static void strings_are_escaped(void **state)
{
    (void)state;
    static const struct {
        struct slice in;
        const char *out;
    } cases[] = {
        {SLICE_LITERAL(""), "\"\""},
        {{NULL, 0}, "\"\""},
        {SLICE_LITERAL("plain text 123"), "\"plain text 123\""},
        {SLICE_LITERAL("a\"b\\c/d"), "\"a\\\"b\\\\c/d\""},
        {SLICE_LITERAL("\n\r\t\b\f\x01\x1f\x7f"), "\"\\n\\r\\t\\u0008\\u000c\\u0001\\u001f\\u007f\""},
        {SLICE_LITERAL("a\0b"), "\"a\\u0000b\""},
        {SLICE_LITERAL("é€😀"), "\"é€😀\""},
        {SLICE_LITERAL("\xff"), "\"\\ufffd\""},
        {SLICE_LITERAL("\xc3"), "\"\\ufffd\""},            /* cut off */
        {SLICE_LITERAL("\xc0\x80"), "\"\\ufffd\\ufffd\""}, /* overlong NUL */
        {SLICE_LITERAL("\xe0\x80\x80x"), "\"\\ufffd\\ufffd\\ufffdx\""},
        {SLICE_LITERAL("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
        {SLICE_LITERAL("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {SLICE_LITERAL("\xe2\x82"), "\"\\ufffd\\ufffd\""},
        {SLICE_LITERAL("a\x80z"), "\"a\\ufffdz\""},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct buf b;
        buf_init(&b, 1000);
        assert_true(json_put_string(&b, cases[i].in));
        assert_string_equal(buf_text(&b), cases[i].out);
        buf_free(&b);
    }
}

static void any_two_bytes_give_valid_json(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    for (int i = 0; i < 65536; i++) {
        char bytes[2] = {(char)(i >> 8), (char)i};
        buf_clear(&b);
        assert_true(json_put_string(&b, slice_make(bytes, 2)));
        json_t *json = json_loadb(buf_data(&b), b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        json_decref(json);
    }
    buf_free(&b);
}

/* Text is looked at in pieces of several bytes. */
static void any_byte_anywhere_gives_valid_json(void **state)
{
    (void)state;
    enum { TEXT = 20 };
    for (int byte = 0; byte < 256; byte++)
        for (size_t at = 0; at < TEXT; at++) {
            char text[TEXT];
            struct buf b;
            memset(text, 'a', TEXT);
            text[at] = (char)byte;
            buf_init(&b, 200);
            assert_true(json_put_string(&b, slice_make(text, TEXT)));
            json_t *json = json_loads(buf_text(&b), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            assert_non_null(json);
            if (byte < 0x80)
                assert_true(slice_equals(slice_make(json_string_value(json), json_string_length(json)),
                                         slice_make(text, TEXT)));
            json_decref(json);
            buf_free(&b);
        }
}

static void members_make_an_object(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(buf_append_char(&b, '{'));
    assert_true(json_put_member_string(&b, "text", SLICE_LITERAL("a\"b")));
    assert_true(json_put_member_int(&b, "least", INT64_MIN));
    assert_true(json_put_member_int(&b, "most", INT64_MAX));
    assert_true(json_put_member_bool(&b, "yes", true));
    assert_true(json_put_member_thousandths(&b, "none", 0));
    assert_true(json_put_member_thousandths(&b, "some", 12009));
    assert_true(json_put_name(&b, "list"));
    assert_true(buf_append_text(&b, "[1]"));
    assert_true(json_put_name(&b, "inner"));
    assert_true(buf_append_char(&b, '{'));
    assert_true(json_put_member_bool(&b, "no", false));
    assert_true(buf_append_text(&b, "}}"));
    assert_string_equal(buf_text(&b),
                        "{\"text\":\"a\\\"b\",\"least\":-9223372036854775808,\"most\":9223372036854775807,"
                        "\"yes\":true,\"none\":0.000,\"some\":12.009,\"list\":[1],\"inner\":{\"no\":false}}");
    buf_free(&b);
}

static void a_member_beyond_the_cap_leaves_no_trace(void **state)
{
    (void)state;
    for (size_t cap = 1; cap < 60; cap++) {
        struct buf b;
        buf_init(&b, cap);
        assert_true(buf_append_char(&b, '{'));
        bool first = json_put_member_string(&b, "name", SLICE_LITERAL("value\n"));
        bool second = json_put_member_int(&b, "count", 12345);
        bool third = json_put_member_bool(&b, "flag", true);
        bool fourth = json_put_member_thousandths(&b, "ms", 1);
        b.max = cap + 1;
        assert_true(buf_append_char(&b, '}'));
        json_t *json = json_loads(buf_text(&b), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(json);
        assert_int_equal(json_object_size(json), first + second + third + fourth);
        json_decref(json);
        buf_free(&b);
    }
}

static void billionths_are_exact(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "0.000000001"},
        {12500, "0.0000125"},
        {100000000, "0.1"},
        {1000000000, "1"},
        {10000000000, "10"},
        {1250000000, "1.25"},
        {UINT64_MAX, "18446744073.709551615"},
        {UINT64_MAX - 709551615, "18446744073"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char text[JSON_BILLIONTHS_SIZE], wanted[64];
        struct buf b;
        buf_init(&b, 1000);
        snprintf(wanted, sizeof wanted, "\"a\":%s", cases[i].text);
        assert_string_equal(json_format_billionths(cases[i].value, text), cases[i].text);
        assert_true(json_put_member_billionths(&b, "a", cases[i].value));
        assert_string_equal(buf_text(&b), wanted);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(any_two_bytes_give_valid_json),
        cmocka_unit_test(any_byte_anywhere_gives_valid_json),
        cmocka_unit_test(members_make_an_object),
        cmocka_unit_test(billionths_are_exact),
        cmocka_unit_test(a_member_beyond_the_cap_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
