/* The two clocks and the text form of a time. */
#include "test.h"

#include "sluice/clock.h"

#include <time.h>

static void the_monotonic_clock_never_steps_back(void **state)
{
    (void)state;
    int64_t last = clock_monotonic_us();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_monotonic_us();
        assert_true(now >= last);
        last = now;
    }
}

static void both_clocks_count_microseconds(void **state)
{
    (void)state;
    int64_t start = clock_monotonic_us();
    nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    int64_t passed = clock_monotonic_us() - start;
    assert_in_range(passed, 20 * CLOCK_US_PER_MS, 10 * CLOCK_US_PER_SECOND);
    int64_t seconds = clock_wall_us() / CLOCK_US_PER_SECOND;
    assert_in_range(seconds, time(NULL) - 2, time(NULL) + 2);
}

static void times_have_one_text_form(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {999999, "1970-01-01T00:00:00.999999Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z"},
        {INT64_C(1769903999123456), "2026-01-31T23:59:59.123456Z"},
        {INT64_C(4102444800000000), "2100-01-01T00:00:00.000000Z"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char text[CLOCK_TEXT_SIZE];
        clock_format_utc(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_monotonic_clock_never_steps_back),
        cmocka_unit_test(both_clocks_count_microseconds),
        cmocka_unit_test(times_have_one_text_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
