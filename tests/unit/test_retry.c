/* Retries: hints, pauses, durations. */
#include "test.h"

#include "sluice/retry.h"

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"8ms", 8000},          {"1s", 1000000},   {"6m0s", 360000000},     {"11m32.334s", 692334000},
        {"1h36m16.107s", 5776107000}, {"0s", 0},   {"120ms", 120000},       {"", -1},
        {"s", -1},              {"5", -1},         {"1x", -1},              {"1.5h", 5400000000},
        {"99999999999999999999h", INT64_C(31622400000000)},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        if (retry_parse_duration(slice_from_text(cases[i].text)) != cases[i].us)
            fail_msg("%s is %lld", cases[i].text, (long long)retry_parse_duration(slice_from_text(cases[i].text)));
}

static void headers_are_hints(void **state)
{
    (void)state;
    enum { NOW = 1700000000 }; /* Tue, 14 Nov 2023 22:13:20 GMT */
    static const struct {
        const char *name, *value;
        int64_t after_us, reset_us;
        int should_retry;
    } cases[] = {
        {"Retry-After", "2", 2000000, -1, -1},
        {"retry-after", "1.5", 1500000, -1, -1},
        {"retry-after-ms", "250", 250000, -1, -1},
        {"retry-after", "Tue, 14 Nov 2023 22:13:25 GMT", 5000000, -1, -1},
        {"retry-after", "Tue, 14 Nov 2022 22:13:25 GMT", 0, -1, -1},
        {"retry-after", "soon", -1, -1, -1},
        {"retry-after", "", -1, -1, -1},
        {"retry-after", "-1", -1, -1, -1},
        {"x-should-retry", "true", -1, -1, 1},
        {"X-Should-Retry", "false", -1, -1, 0},
        {"x-should-retry", "maybe", -1, -1, -1},
        {"x-ratelimit-reset-tokens", "6m0s", -1, 360000000, -1},
        {"content-type", "2", -1, -1, -1},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct retry_hints h;
        retry_hints_init(&h);
        retry_hints_take(&h, slice_from_text(cases[i].name), slice_from_text(cases[i].value), NOW);
        if (h.after_us != cases[i].after_us || h.reset_us != cases[i].reset_us ||
            h.should_retry != cases[i].should_retry)
            fail_msg("%s: %s", cases[i].name, cases[i].value);
    }
}

static void milliseconds_beat_seconds(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct retry_hints h;
        retry_hints_init(&h);
        for (int i = 0; i < 2; i++)
            if (i == order)
                retry_hints_take(&h, SLICE_LITERAL("retry-after-ms"), SLICE_LITERAL("300"), 0);
            else
                retry_hints_take(&h, SLICE_LITERAL("retry-after"), SLICE_LITERAL("1"), 0);
        assert_int_equal(h.after_us, 300000);
    }
}

static void pauses_double_up_to_a_bound(void **state)
{
    (void)state;
    assert_int_equal(retry_pause_us(500000, 1, 0), 0);
    assert_int_equal(retry_pause_us(500000, 1, UINT32_MAX), 500000);
    assert_int_equal(retry_pause_us(500000, 2, UINT32_MAX), 1000000);
    assert_int_equal(retry_pause_us(500000, 5, UINT32_MAX), 8000000);
    assert_int_equal(retry_pause_us(500000, 1000, UINT32_MAX), 8000000);
    assert_in_range(retry_pause_us(500000, 3, UINT32_MAX / 2), 999000, 1001000);
}

static void statuses(void **state)
{
    (void)state;
    static const int yes[] = {408, 409, 429, 500, 502, 503, 504, 529};
    static const int no[] = {0, 200, 400, 401, 403, 404, 413, 422, 501, 505};
    for (size_t i = 0; i < TEST_COUNT(yes); i++)
        assert_true(retry_status_is_retryable(yes[i]));
    for (size_t i = 0; i < TEST_COUNT(no); i++)
        assert_false(retry_status_is_retryable(no[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(headers_are_hints),
        cmocka_unit_test(milliseconds_beat_seconds),
        cmocka_unit_test(pauses_double_up_to_a_bound),
        cmocka_unit_test(statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
