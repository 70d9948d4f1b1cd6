/* The bucket's arithmetic against a plain reference: the same bucket in exact fractions. */
#include "test.h"

#include "sluice/bucket.h"

#include <stdio.h>
#include <stdlib.h>

enum { SCHEDULES = 8000, STEPS = 200, OUTSTANDING = 16 };

__extension__ typedef __int128 wide;

static uint64_t seed;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int64_t below(int64_t n)
{
    return (int64_t)(rnd() % (uint64_t)n);
}

/* ---- the reference
 * ------------------------------------------------------------------------------------------- */

/* When it is full, times the limit: a unit is a minute of that, exactly. slack is what rounding may have
 * changed. */
struct reference {
    wide full;
    int64_t limit;
    int64_t operations;
};

static wide reference_debt(const struct reference *r, int64_t now)
{
    wide debt = r->full - (wide)now * r->limit;
    return debt > 0 ? debt : 0;
}

/* moved: by so many nanoseconds of rounding. */
static bool reference_has_room(const struct reference *r, int64_t now, int64_t n, int64_t moved)
{
    wide debt = reference_debt(r, now) + (wide)moved * r->limit;
    return n < 1 || debt <= 0 || debt + (wide)n * BUCKET_MINUTE_NS <= (wide)r->limit * BUCKET_MINUTE_NS;
}

static void reference_move(struct reference *r, int64_t now, int64_t n)
{
    wide debt = reference_debt(r, now) + (wide)n * BUCKET_MINUTE_NS;
    r->full = (wide)now * r->limit + (debt > 0 ? debt : 0);
}

/* ---- schedules
 * ----------------------------------------------------------------------------------------------- */

static int64_t some_limit(void)
{
    static const int64_t limits[] = {1,    2,     3,      7,       59,        60,        61,
                                     1000, 99991, 100000, 1000003, 999999937, 1000000000};
    return rnd() % 4 ? limits[rnd() % TEST_COUNT(limits)] : 1 + below(2000000);
}

static int64_t some_units(int64_t limit)
{
    switch (rnd() % 8) {
    case 0:
        return 0;
    case 1:
        return limit;
    case 2:
        return limit + 1 + below(3 * limit);
    case 3:
    case 4:
        return 1;
    default:
        return 1 + below(limit);
    }
}

static int64_t some_time(int64_t limit)
{
    switch (rnd() % 4) {
    case 0:
        return 0;
    case 1:
        return below(3 * (BUCKET_MINUTE_NS / limit) + 2);
    case 2:
        return below(1000);
    default:
        return below(BUCKET_MINUTE_NS / 10);
    }
}

static void check_admission(int64_t *tat, struct reference *r, int64_t now, int64_t n, bool strict)
{
    int64_t slack = r->operations, remaining = bucket_remaining(*tat, r->limit, now);
    int64_t wait = bucket_wait_admit(*tat, r->limit, now, n), seen = *tat, copy = seen, later = seen;
    bool admitted = bucket_admit(tat, r->limit, now, n);
    if (!admitted && reference_has_room(r, now, n, strict ? 0 : slack))
        fail_msg("refused %lld of %lld though there is room", (long long)n, (long long)r->limit);
    if (admitted && !reference_has_room(r, now, n, -slack - 1))
        fail_msg("admitted %lld of %lld though there is no room", (long long)n, (long long)r->limit);
    /* What it says of itself is what it does. */
    assert_int_equal(admitted, wait == 0);
    assert_in_range(remaining, 0, r->limit);
    assert_true(bucket_admit(&copy, r->limit, now, remaining));
    copy = seen;
    assert_true(bucket_wait_full(copy, now) == 0 || !bucket_admit(&copy, r->limit, now, remaining + 1));
    assert_true(bucket_admit(&later, r->limit, now + wait, n));
    if (!admitted && wait > 1) {
        later = *tat;
        assert_false(bucket_admit(&later, r->limit, now + wait - 1, n));
    }
    if (admitted && n > 0)
        reference_move(r, now, n);
    r->operations += admitted && n > 0;
}

/* Requests only, never more than the bucket holds, with a clock that also steps back. */
static void never_more_than_burst_and_rate(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        seed = 88172645463325252u + (uint64_t)i * 2654435761u;
        struct reference r = {.limit = some_limit()};
        int64_t tat = 0, start = INT64_C(1700000000000000000) + below(BUCKET_MINUTE_NS), now = start,
                latest = start, earliest = start;
        wide taken = 0;
        for (int step = 0; step < STEPS; step++) {
            now += rnd() % 16 ? some_time(r.limit) : -below(BUCKET_MINUTE_NS);
            latest = now > latest ? now : latest;
            earliest = now < earliest ? now : earliest;
            int64_t n = some_units(r.limit), before = tat;
            if (n > r.limit)
                continue;
            check_admission(&tat, &r, now, n, true);
            taken += tat != before ? n : 0;
            wide room = (wide)r.limit * (BUCKET_MINUTE_NS + (latest - earliest) + r.operations);
            if (taken * BUCKET_MINUTE_NS > room)
                fail_msg("schedule %d: too much", i);
        }
    }
}

/* With reservations that are settled in either direction, and requests larger than the bucket. */
static void settlement_agrees_with_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        seed = 362436069u + (uint64_t)i * 2654435761u;
        struct reference r = {.limit = some_limit()};
        int64_t tat = 0, now = 1 + below(INT64_C(1800000000000000000)), held[OUTSTANDING];
        int count = 0;
        for (int step = 0; step < STEPS; step++) {
            now += some_time(r.limit);
            if (count > 0 && rnd() % 2) {
                int64_t taken = held[--count],
                        used = rnd() % 4 ? below(taken + 1) : taken + below(r.limit + 1);
                bucket_settle(&tat, r.limit, now, taken, used);
                reference_move(&r, now, used - taken);
                r.operations += 2;
            } else if (count < OUTSTANDING) {
                int64_t n = some_units(r.limit), before = tat;
                check_admission(&tat, &r, now, n, false);
                if (tat != before)
                    held[count++] = n;
            }
            wide ours = (wide)bucket_wait_full(tat, now) * r.limit, theirs = reference_debt(&r, now);
            wide apart = ours > theirs ? ours - theirs : theirs - ours;
            if (apart > (wide)(r.operations + 1) * r.limit)
                fail_msg("schedule %d, step %d: the books differ", i, step);
        }
    }
}

/* ---- single rules
 * -------------------------------------------------------------------------------------------- */

static void a_burst_is_exactly_the_limit(void **state)
{
    (void)state;
    const int64_t limits[] = {1, 7, 60, 61, 997, 100000, 244949};
    for (size_t i = 0; i < TEST_COUNT(limits); i++) {
        int64_t tat = 0, now = 1700000000000000000, admitted = 0;
        for (int64_t n = 0; n < 2 * limits[i]; n++)
            admitted += bucket_admit(&tat, limits[i], now, 1);
        assert_int_equal(admitted, limits[i]);
        assert_int_equal(bucket_remaining(tat, limits[i], now), 0);
    }
}

static void a_request_larger_than_the_bucket_waits_until_it_is_full(void **state)
{
    (void)state;
    int64_t tat = 0, now = 1000000000000;
    assert_true(bucket_admit(&tat, 100, now, 1));
    assert_false(bucket_admit(&tat, 100, now, 250));
    int64_t wait = bucket_wait_admit(tat, 100, now, 250);
    assert_int_equal(wait, BUCKET_MINUTE_NS / 100);
    now += wait;
    assert_true(bucket_admit(&tat, 100, now, 250));
    assert_int_equal(bucket_wait_full(tat, now), BUCKET_MINUTE_NS / 100 * 250); /* it owes 150 */
    assert_int_equal(bucket_remaining(tat, 100, now), 0);
    assert_int_equal(bucket_wait_admit(tat, 100, now, 1), BUCKET_MINUTE_NS / 100 * 151);
}

static void a_debt_has_a_bound(void **state)
{
    (void)state;
    int64_t tat = 0, now = 1000000000000;
    for (int i = 0; i < 10; i++)
        bucket_settle(&tat, 1, now, 0, INT64_MAX);
    assert_int_equal(bucket_wait_full(tat, now), BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS);
    assert_false(bucket_admit(&tat, 1, now, 1));
    /* A number that says more is not ours: the bucket counts as empty, so that nobody waits for years. */
    tat = now + 100 * BUCKET_DEBT_MAX_NS;
    assert_int_equal(bucket_wait_full(tat, now), BUCKET_MINUTE_NS);
    assert_false(bucket_admit(&tat, 1, now, 1));
    assert_true(bucket_admit(&tat, 1, now + BUCKET_MINUTE_NS + 100 * BUCKET_DEBT_MAX_NS, 1));
}

static void a_clock_that_steps_back_gives_nothing(void **state)
{
    (void)state;
    const int64_t steps[] = {1, BUCKET_MINUTE_NS, 60 * BUCKET_MINUTE_NS, 10 * BUCKET_DEBT_MAX_NS,
                             INT64_C(1) << 60};
    for (size_t i = 0; i < TEST_COUNT(steps); i++) {
        int64_t tat = 0, now = 1800000000000000000, admitted = 0;
        assert_true(bucket_admit(&tat, 60, now, 60));
        now -= steps[i];
        for (int second = 0; second < 60; second++, now += 1000000000)
            while (bucket_admit(&tat, 60, now, 1))
                admitted++;
        assert_in_range(admitted, 0, 60);
        assert_true(steps[i] < BUCKET_DEBT_MAX_NS ? admitted < 60 : admitted == 59);
    }
}

static void nothing_overflows(void **state)
{
    (void)state;
    const int64_t edges[] = {
        INT64_MIN,        INT64_MIN + 1,      -BUCKET_MINUTE_NS, -1,       0, 1, 60, 1000000000,
        BUCKET_MINUTE_NS, BUCKET_DEBT_MAX_NS, INT64_MAX - 1,     INT64_MAX};
    enum { N = TEST_COUNT(edges) };
    for (size_t i = 0; i < N * N * N * N; i++) {
        int64_t tat = edges[i % N], limit = edges[i / N % N], now = edges[i / N / N % N],
                n = edges[i / N / N / N];
        int64_t remaining = bucket_remaining(tat, limit, now), wait = bucket_wait_admit(tat, limit, now, n);
        assert_true(remaining >= 0 && (remaining == 0 || remaining <= limit));
        assert_in_range(wait, 0, BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS);
        assert_in_range(bucket_cost(limit, n), 0, BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS);
        bool admitted = bucket_admit(&tat, limit, now, n);
        assert_int_equal(admitted, wait == 0);
        if (admitted && n >= 1 && bucket_cost(limit, n) > BUCKET_MINUTE_NS / 2)
            assert_false(bucket_admit(&tat, limit, now, n)); /* not even at the end of time */
        bucket_settle(&tat, limit, now, n, limit);
        assert_in_range(bucket_wait_full(tat, now), 0, BUCKET_MINUTE_NS + BUCKET_DEBT_MAX_NS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_more_than_burst_and_rate),
        cmocka_unit_test(settlement_agrees_with_the_reference),
        cmocka_unit_test(a_burst_is_exactly_the_limit),
        cmocka_unit_test(a_request_larger_than_the_bucket_waits_until_it_is_full),
        cmocka_unit_test(a_debt_has_a_bound),
        cmocka_unit_test(a_clock_that_steps_back_gives_nothing),
        cmocka_unit_test(nothing_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
