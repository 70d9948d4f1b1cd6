/* Arenas: zeroed, aligned, capped; cleanups run in reverse order and before the memory goes. */
#include "test.h"

#include "sluice/arena.h"

#include <stdalign.h>

static void memory_is_zeroed_aligned_and_separate(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1000000);
    unsigned char *pieces[200];
    for (size_t i = 0; i < TEST_COUNT(pieces); i++) {
        size_t size = i * i % 3001 + 1;
        pieces[i] = arena_alloc(&a, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        for (size_t j = 0; j < size; j++)
            assert_int_equal(pieces[i][j], 0);
        memset(pieces[i], (int)i, size);
    }
    for (size_t i = 0; i < TEST_COUNT(pieces); i++)
        assert_int_equal(pieces[i][i * i % 3001], i);
    arena_free(&a);
}

static void the_cap_refuses(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100);
    assert_null(arena_alloc(&a, 101));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 60));
    assert_null(arena_alloc(&a, 41));
    assert_non_null(arena_alloc(&a, 10));
    assert_true(a.used <= 100);
    while (arena_alloc(&a, 1))
        assert_true(a.used <= 100);
    assert_null(arena_copy(&a, SLICE_LITERAL("x")));
    assert_false(arena_on_free(&a, NULL, NULL));
    arena_free(&a);
    assert_non_null(arena_alloc(&a, 100));
    arena_free(&a);
}

static void a_copy_ends_in_nul(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1000);
    assert_string_equal(arena_copy(&a, SLICE_LITERAL("text")), "text");
    assert_string_equal(arena_copy(&a, slice_take(SLICE_LITERAL("text"), 2)), "te");
    assert_string_equal(arena_copy(&a, (struct slice){NULL, 0}), "");
    assert_null(arena_copy(&a, slice_make("x", SIZE_MAX)));
    arena_free(&a);
}

static char the_order[8];

static void note_order(void *arg)
{
    size_t n = strlen(the_order);
    the_order[n] = *(const char *)arg;
}

static void cleanups_run_last_first_and_once(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1000);
    memset(the_order, 0, sizeof the_order);
    assert_true(arena_on_free(&a, note_order, arena_copy(&a, SLICE_LITERAL("1"))));
    assert_true(arena_on_free(&a, note_order, arena_copy(&a, SLICE_LITERAL("2"))));
    assert_true(arena_on_free(&a, note_order, arena_copy(&a, SLICE_LITERAL("3"))));
    arena_free(&a);
    assert_string_equal(the_order, "321");
    arena_free(&a);
    assert_string_equal(the_order, "321");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_aligned_and_separate),
        cmocka_unit_test(the_cap_refuses),
        cmocka_unit_test(a_copy_ends_in_nul),
        cmocka_unit_test(cleanups_run_last_first_and_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
