/* Rate limits in headers. */
#include "test.h"

#include "sluice/ratelimit_headers.h"

static void durations_are_those_of_the_api(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "0s"},           {-5, "0s"},          {1, "1ms"},        {8000, "8ms"},
        {999001, "1s"},      {1000000, "1s"},     {1500000, "1.5s"}, {360000000, "6m0s"},
        {692334000, "11m32.334s"}, {5776107000, "1h36m16.107s"}, {3600000000, "1h0m0s"}, {59999999, "1m0s"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char text[RATELIMIT_DURATION_SIZE];
        ratelimit_format_duration(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
    }
    char longest[RATELIMIT_DURATION_SIZE];
    ratelimit_format_duration(INT64_MAX, longest);
}

static void headers_of_a_bucket(void **state)
{
    (void)state;
    struct buf head;
    buf_init(&head, 1000);
    assert_true(ratelimit_put_headers(&head, "requests", &(struct ratelimit_bucket){60, 59, 1000000}));
    assert_string_equal(buf_text(&head), "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\n"
                                         "x-ratelimit-reset-requests: 1s\r\n");
    buf_clear(&head);
    assert_true(ratelimit_put_headers(&head, "tokens", &(struct ratelimit_bucket){0, 0, 0}));
    assert_int_equal(head.len, 0);
    buf_free(&head);
    buf_init(&head, 10);
    assert_false(ratelimit_put_headers(&head, "tokens", &(struct ratelimit_bucket){1, 1, 1}));
    buf_free(&head);
    assert_true(ratelimit_is_header(SLICE_LITERAL("X-RateLimit-Reset-Tokens")));
    assert_false(ratelimit_is_header(SLICE_LITERAL("x-request-id")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_those_of_the_api),
        cmocka_unit_test(headers_of_a_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
