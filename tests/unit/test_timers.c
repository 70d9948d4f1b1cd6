/* Room for timers: what was reserved is there when memory is not. */
#include "test.h"

#include "sluice/timers.h"

#include <event2/event_struct.h>
#include <stdlib.h>

enum { TIMERS = 5000 };

static bool no_memory; /* for libevent */

static void *get(size_t size)
{
    return no_memory ? NULL : malloc(size);
}

static void *get_again(void *block, size_t size)
{
    return no_memory ? NULL : realloc(block, size);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ++*(size_t *)arg;
}

/* Arms timers without memory; gives how many could be. */
static size_t arm_without_memory(struct event_base *base, struct event *timers, size_t count, size_t *fired)
{
    const struct timeval soon = {0, 1000};
    size_t armed = 0;
    no_memory = true;
    while (armed < count && event_assign(&timers[armed], base, -1, 0, on_timer, fired) == 0 &&
           event_add(&timers[armed], &soon) == 0)
        armed++;
    no_memory = false;
    return armed;
}

static void reserved_timers_need_no_memory(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 8, 9, 100, TIMERS};
    static struct event timers[TIMERS];
    for (size_t i = 0; i < TEST_COUNT(counts); i++) {
        struct event_base *base = event_base_new();
        size_t fired = 0;
        assert_true(timers_reserve(base, counts[i]));
        assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
        assert_int_equal(arm_without_memory(base, timers, counts[i], &fired), counts[i]);
        event_base_dispatch(base);
        assert_int_equal(fired, counts[i]);
        /* They have fired; the room stays. */
        assert_int_equal(arm_without_memory(base, timers, counts[i], &fired), counts[i]);
        event_base_dispatch(base);
        event_base_free(base);
    }
}

/* What the room is for: this is what happens without. */
static void without_room_arming_fails(void **state)
{
    (void)state;
    static struct event timers[TIMERS];
    struct event_base *base = event_base_new();
    size_t fired = 0, armed = arm_without_memory(base, timers, TIMERS, &fired);
    assert_true(armed < TIMERS);
    event_base_dispatch(base);
    event_base_free(base);
}

static void a_want_of_memory_is_told(void **state)
{
    (void)state;
    struct event_base *base = event_base_new();
    no_memory = true;
    assert_false(timers_reserve(base, TIMERS));
    no_memory = false;
    assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    assert_true(timers_reserve(base, TIMERS));
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserved_timers_need_no_memory),
        cmocka_unit_test(without_room_arming_fails),
        cmocka_unit_test(a_want_of_memory_is_told),
    };
    event_set_mem_functions(get, get_again, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
