/* Lateness and bursts of a stream's events. */
#include "test.h"

#include "sluice/doctor_timing.h"

enum { MS = 1000, TOLERANCE = 250 * MS };

static struct timing measured(const struct timing_sample *samples, size_t count)
{
    struct timing t;
    timing_measure(samples, count, TOLERANCE, &t);
    return t;
}

static void nothing_is_measured_of_nothing(void **state)
{
    (void)state;
    struct timing t = measured(NULL, 0);
    assert_int_equal(t.latest_us, 0);
    assert_int_equal(t.late, 0);
    assert_int_equal(t.bursts, 0);
    assert_false(t.held_to_end);
}

static void one_event_is_never_late(void **state)
{
    (void)state;
    const struct timing_sample s[] = {{0, 987654321}};
    struct timing t = measured(s, 1);
    assert_int_equal(t.latest_us, 0);
    assert_int_equal(t.largest, 0);
    assert_false(t.held_to_end);
}

/* The clocks have nothing to do with each other, and the way takes some time. */
static void a_constant_way_is_no_lateness(void **state)
{
    (void)state;
    const struct timing_sample s[] = {{0, -5000 * MS}, {100 * MS, -4900 * MS}, {200 * MS, -4800 * MS}};
    struct timing t = measured(s, TEST_COUNT(s));
    assert_int_equal(t.latest_us, 0);
    assert_int_equal(t.late, 0);
    assert_int_equal(t.bursts, 0);
}

static void jitter_below_the_tolerance_is_measured_only(void **state)
{
    (void)state;
    const struct timing_sample s[] = {{0, 10 * MS},
                                      {100 * MS, 350 * MS},
                                      {200 * MS, 450 * MS},
                                      {300 * MS, 560 * MS},
                                      {400 * MS, 410 * MS + MS}};
    struct timing t = measured(s, TEST_COUNT(s));
    assert_int_equal(t.latest_us, 250 * MS);
    assert_int_equal(t.late, 0);
}

static void all_at_the_end_is_held(void **state)
{
    (void)state;
    struct timing_sample s[12];
    for (size_t i = 0; i < TEST_COUNT(s); i++)
        s[i] = (struct timing_sample){(int64_t)i * 100 * MS, 1105 * MS};
    struct timing t = measured(s, TEST_COUNT(s));
    assert_int_equal(t.latest_us, 1100 * MS);
    assert_int_equal(t.late, 9); /* 1100 to 300 ms */
    assert_int_equal(t.bursts, 1);
    assert_int_equal(t.largest, 12);
    assert_true(t.held_to_end);
}

static void bursts_are_counted(void **state)
{
    (void)state;
    struct timing_sample s[12];
    for (int i = 0; i < 12; i++)
        s[i] = (struct timing_sample){i * 100 * MS, (i / 4 * 4 + 3) * 100 * MS + i};
    struct timing t = measured(s, TEST_COUNT(s));
    assert_int_equal(t.bursts, 3);
    assert_int_equal(t.largest, 4);
    assert_int_equal(t.late, 3); /* the first of each: 300 ms */
    assert_false(t.held_to_end);
}

static void events_sent_together_may_arrive_together(void **state)
{
    (void)state;
    const struct timing_sample s[] = {{0, 0}, {MS, 0}, {2 * MS, 0}, {500 * MS, 500 * MS}};
    struct timing t = measured(s, TEST_COUNT(s));
    assert_int_equal(t.bursts, 0);
    assert_int_equal(t.late, 0);
}

/* One held event delays nothing else. */
static void a_single_late_event_is_late(void **state)
{
    (void)state;
    const struct timing_sample s[] = {{0, 0}, {100 * MS, 400 * MS}, {800 * MS, 800 * MS}};
    struct timing t = measured(s, TEST_COUNT(s));
    assert_int_equal(t.late, 1);
    assert_int_equal(t.latest_us, 300 * MS);
    assert_int_equal(t.bursts, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_measured_of_nothing),
        cmocka_unit_test(one_event_is_never_late),
        cmocka_unit_test(a_constant_way_is_no_lateness),
        cmocka_unit_test(jitter_below_the_tolerance_is_measured_only),
        cmocka_unit_test(all_at_the_end_is_held),
        cmocka_unit_test(bursts_are_counted),
        cmocka_unit_test(events_sent_together_may_arrive_together),
        cmocka_unit_test(a_single_late_event_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
