/* Buffers: the cap always holds, and a refused append changes nothing. */
#include "test.h"

#include "sluice/buf.h"

static void assert_holds(const struct buf *b, const char *text)
{
    assert_true(slice_equals_text(buf_slice(b), text));
}

static void a_new_buffer_is_empty(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_null(buf_data(&b));
    assert_int_equal(buf_room(&b), 10);
    assert_string_equal(buf_text(&b), "");
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    buf_free(&b);
    buf_free(&b);
}

static void appends_add_up(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_true(buf_append(&b, NULL, 0));
    assert_true(buf_append_text(&b, "one"));
    assert_true(buf_append_char(&b, ' '));
    assert_true(buf_append_slice(&b, SLICE_LITERAL("two")));
    assert_true(buf_append_slice(&b, (struct slice){NULL, 0}));
    assert_true(buf_printf(&b, " %d%s", 3, "!"));
    assert_holds(&b, "one two 3!");
    assert_string_equal(buf_text(&b), "one two 3!");
    buf_clear(&b);
    assert_holds(&b, "");
    buf_free(&b);
}

static void integers_are_written_in_decimal(void **state)
{
    (void)state;
    static const int64_t numbers[] = {0, 7, -1, 10, 999, -1000, 1234567890, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < TEST_COUNT(numbers); i++) {
        struct buf b, expected;
        buf_init(&b, 100);
        buf_init(&expected, 100);
        assert_true(buf_append_int(&b, numbers[i]));
        assert_true(buf_printf(&expected, "%lld", (long long)numbers[i]));
        assert_holds(&b, buf_text(&expected));
        buf_free(&b);
        buf_free(&expected);
    }
    struct buf small;
    buf_init(&small, 2);
    assert_false(buf_append_int(&small, -10));
    assert_true(buf_append_int(&small, 10));
    assert_holds(&small, "10");
    buf_free(&small);
}

static void the_cap_refuses_and_keeps_the_content(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    assert_true(buf_append_text(&b, "12345"));
    assert_int_equal(buf_room(&b), 0);
    assert_false(buf_append_char(&b, '6'));
    assert_false(buf_printf(&b, "%d", 6));
    assert_false(buf_append_text(&b, "67"));
    assert_null(buf_reserve(&b, 1));
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_true(buf_printf(&b, "%s", ""));
    assert_holds(&b, "12345");
    assert_string_equal(buf_text(&b), "12345");
    buf_consume(&b, 1);
    assert_true(buf_append_char(&b, '6'));
    assert_holds(&b, "23456");
    assert_string_equal(buf_text(&b), "23456");
    buf_free(&b);
}

static void a_cap_of_zero_holds_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    assert_false(buf_append_char(&b, 'a'));
    assert_true(buf_append_text(&b, ""));
    assert_string_equal(buf_text(&b), "");
    buf_free(&b);
}

static void every_cap_is_exact(void **state)
{
    (void)state;
    for (size_t cap = 1; cap < 1200; cap += 7) {
        struct buf b;
        buf_init(&b, cap);
        for (size_t i = 0; i < cap; i++)
            assert_true(buf_append_char(&b, (char)('a' + i % 26)));
        assert_false(buf_append_char(&b, 'x'));
        assert_int_equal(strlen(buf_text(&b)), cap);
        assert_true(b.size <= cap + 1 || b.size <= 256);
        buf_free(&b);
    }
}

static void reserved_bytes_count_only_after_commit(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(buf_append_text(&b, "ab"));
    char *to = buf_reserve(&b, 600);
    assert_non_null(to);
    memset(to, 'c', 600);
    assert_holds(&b, "ab");
    buf_commit(&b, 3);
    assert_holds(&b, "abccc");
    buf_free(&b);
}

/* A queue in steady state: bytes come in at the back and leave at the front. */
static void consuming_keeps_order_over_many_wraps(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    unsigned char in = 0, out = 0;
    for (size_t round = 0; round < 5000; round++) {
        size_t n = round * 37 % 301;
        while (n-- > 0 && buf_append_char(&b, (char)in))
            in++;
        size_t take = round * 53 % 293;
        take = take < b.len ? take : b.len;
        for (size_t i = 0; i < take; i++)
            assert_int_equal((unsigned char)buf_data(&b)[i], out++);
        buf_consume(&b, take);
    }
    assert_true(b.size <= 1001);
    buf_free(&b);
}

static void an_emptied_large_buffer_gives_its_memory_back(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_non_null(buf_reserve(&b, 50000));
    buf_commit(&b, 50000);
    memset(b.mem, 'x', 50000);
    buf_consume(&b, 49999);
    assert_int_equal(b.len, 1);
    assert_true(b.size > 0);
    buf_consume(&b, 9);
    assert_int_equal(b.size, 0);
    assert_int_equal(b.max, 100000);
    assert_true(buf_append_char(&b, 'a'));
    assert_holds(&b, "a");
    buf_consume(&b, 1);
    assert_true(b.size > 0);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_buffer_is_empty),
        cmocka_unit_test(appends_add_up),
        cmocka_unit_test(integers_are_written_in_decimal),
        cmocka_unit_test(the_cap_refuses_and_keeps_the_content),
        cmocka_unit_test(a_cap_of_zero_holds_nothing),
        cmocka_unit_test(every_cap_is_exact),
        cmocka_unit_test(reserved_bytes_count_only_after_commit),
        cmocka_unit_test(consuming_keeps_order_over_many_wraps),
        cmocka_unit_test(an_emptied_large_buffer_gives_its_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
