/* Heads of answers: no value makes a line of its own, no line is written in part. */
#include "test.h"

#include "sluice/http_response.h"

static void a_head_is_written(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(http_response_begin(&b, 429));
    assert_true(http_response_header(&b, SLICE_LITERAL("A"), SLICE_LITERAL("b\tc \x80")));
    assert_true(http_response_header(&b, SLICE_LITERAL("Empty"), (struct slice){NULL, 0}));
    assert_true(http_response_end(&b));
    assert_string_equal(buf_text(&b), "Status: 429 Too Many Requests\r\nA: b\tc \x80\r\nEmpty: \r\n\r\n");
    buf_free(&b);
}

static void unknown_statuses_have_a_phrase_too(void **state)
{
    (void)state;
    assert_string_equal(http_status_text(200), "OK");
    assert_string_equal(http_status_text(504), "Gateway Timeout");
    assert_string_equal(http_status_text(299), "Status");
    assert_string_equal(http_status_text(-1), "Status");
}

static void control_characters_leave_a_header_out(void **state)
{
    (void)state;
    static const struct slice bad[] = {
        SLICE_LITERAL("a\r\nX: y"), SLICE_LITERAL("a\n"),  SLICE_LITERAL("\r"),
        SLICE_LITERAL("a\0b"),      SLICE_LITERAL("\x7f"), SLICE_LITERAL("\x1b[0m"),
    };
    struct buf b;
    buf_init(&b, 1000);
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        assert_true(http_response_header(&b, SLICE_LITERAL("Name"), bad[i]));
        assert_true(http_response_header(&b, bad[i], SLICE_LITERAL("value")));
    }
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void every_byte_of_a_value_is_looked_at(void **state)
{
    (void)state;
    enum { TEXT = 27 };
    for (int byte = 0; byte < 256; byte++)
        for (size_t at = 0; at < TEXT; at++) {
            char text[TEXT];
            struct buf b;
            memset(text, '\t', TEXT);
            memset(text, 'a', TEXT - 3);
            text[at] = (char)byte;
            buf_init(&b, 100);
            assert_true(http_response_header(&b, SLICE_LITERAL("N"), slice_make(text, TEXT)));
            bool control = (byte < 0x20 && byte != '\t') || byte == 0x7F;
            if ((b.len == 0) != control)
                fail_msg("byte %d at %zu", byte, at);
            buf_free(&b);
        }
}

static void a_line_that_does_not_fit_leaves_no_part(void **state)
{
    (void)state;
    static const char line[] = "Name: value\r\n";
    for (size_t cap = 0; cap < sizeof line + 1; cap++) {
        struct buf b;
        buf_init(&b, cap);
        bool fits = cap >= sizeof line - 1;
        assert_int_equal(http_response_header(&b, SLICE_LITERAL("Name"), SLICE_LITERAL("value")), fits);
        assert_string_equal(buf_text(&b), fits ? line : "");
        buf_free(&b);
    }
    struct buf none;
    buf_init(&none, 1);
    assert_false(http_response_begin(&none, 200));
    assert_false(http_response_end(&none));
    buf_free(&none);
}

static void only_known_headers_pass(void **state)
{
    (void)state;
    static const char *const pass[] = {"Content-Type", "x-request-id",   "X-RateLimit-Limit-Requests",
                                       "Retry-After",  "retry-after-ms", "OpenAI-Version",
                                       "openai-",      "ETag",           "Location"};
    static const char *const stop[] = {"",
                                       "Set-Cookie",
                                       "Content-Length",
                                       "Transfer-Encoding",
                                       "Connection",
                                       "Server",
                                       "Date",
                                       "Authorization",
                                       "Status",
                                       "openai",
                                       "x-request",
                                       "x-request-id2",
                                       "CF-Ray",
                                       "Strict-Transport-Security"};
    for (size_t i = 0; i < TEST_COUNT(pass); i++)
        if (!http_response_passes(slice_from_text(pass[i])))
            fail_msg("%s does not pass", pass[i]);
    for (size_t i = 0; i < TEST_COUNT(stop); i++)
        if (http_response_passes(slice_from_text(stop[i])))
            fail_msg("%s passes", stop[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_written),
        cmocka_unit_test(unknown_statuses_have_a_phrase_too),
        cmocka_unit_test(control_characters_leave_a_header_out),
        cmocka_unit_test(every_byte_of_a_value_is_looked_at),
        cmocka_unit_test(a_line_that_does_not_fit_leaves_no_part),
        cmocka_unit_test(only_known_headers_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
