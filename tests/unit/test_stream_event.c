/* What an event of a stream says. */
#include "test.h"

#include "sluice/stream_event.h"

#include <stdlib.h>

static struct stream_event read_text(const char *data)
{
    struct stream_event e;
    stream_event_read(slice_from_text(data), &e);
    return e;
}

static void deltas_are_counted(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t tokens;
    } cases[] = {
        {"{\"choices\":[{\"delta\":{\"content\":\" fox\"}}]}", 1},
        {"{\"choices\":[{\"delta\":{\"content\":\"\"}}]}", 0},
        {"{\"choices\":[{\"delta\":{\"content\":null}}]}", 0},
        {"{\"choices\":[{\"delta\":{\"content\": \"12345678\"}},{\"delta\":{\"content\":\"1234\"}}]}", 3},
        {"{\"choices\":[{\"delta\":{\"content\":\"a\\\"b\"}}]}", 1},
        {"{\"choices\":[{\"delta\":{\"content\":\"\\\"text\\\":\\\"abc\"}}]}", 4},
        {"{\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{\\\"x\\\":1}\"}}]}}]}", 3},
        {"{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\",\"refusal\":\"no\"}}]}", 1},
        {"{\"choices\":[{\"text\":\"four\"}]}", 1},
        {"{\"type\":\"response.output_text.delta\",\"delta\":\"four\"}", 1},
        {"{\"subtext\":\"four\",\"id\":\"x: y\"}", 0},
        {"{\"content\":\"never ends", 3},
        {"{\"content\":\"ends with a backslash\\", 6},
        {"[DONE]", 0},
        {"", 0},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        if (read_text(cases[i].data).delta_tokens != cases[i].tokens)
            fail_msg("%s: %zu", cases[i].data, read_text(cases[i].data).delta_tokens);
}

static void null_usage_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *data, *part;
    } cases[] = {
        {"{\"a\":1,\"usage\":null}", ",\"usage\":null"},
        {"{\"a\": 1, \"usage\": null}", ", \"usage\": null"},
        {"{\"a\":1 ,\n\"usage\" : null,\"b\":2}", ",\n\"usage\" : null"},
        {"{\"a\":\",\\\"usage\\\":null\"}", ""},
        {"{\"usage\":null}", ""},
        {"\"usage\":null", ""},
        {"{\"a\":1,\"usage\":nul", ""},
        {"{\"a\":1,\"usage\":{}}", ""},
        {"{\"a\":1,\"usage\":", ""},
        {"{\"a\":1,\"my_usage\":null}", ""},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct slice part = read_text(cases[i].data).null_usage;
        if (!slice_equals_text(part, cases[i].part))
            fail_msg("%s: %.*s", cases[i].data, (int)part.len, part.ptr);
    }
}

static void usage_is_an_object(void **state)
{
    (void)state;
    assert_true(read_text("{\"choices\":[],\"usage\":{\"total_tokens\":3}}").has_usage);
    assert_true(read_text("{ \"choices\" : [ ] , \"usage\" : { } }").has_usage);
    assert_true(read_text("{\"response\":{\"usage\":{}}}").has_usage);
    assert_false(read_text("{\"usage\":null}").has_usage);
    assert_false(read_text("{\"content\":\"\\\"usage\\\":{\"}").has_usage);
    assert_false(read_text("[DONE]").has_usage);
}

static void an_end_has_a_reason(void **state)
{
    (void)state;
    assert_true(read_text("{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}").finishes);
    assert_true(read_text("{\"finish_reason\" : \"length\", \"a\": 1}").finishes);
    assert_false(read_text("{\"choices\":[{\"finish_reason\":null}]}").finishes);
    assert_false(read_text("{\"content\":\"\\\"finish_reason\\\":\\\"stop\\\"\"}").finishes);
}

/* No byte before or behind the data is looked at: the address sanitizer watches. */
static void any_cut_is_taken(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": 1, \"usage\": null,\"content\":\"x\\\"y\",\"finish_reason\":\"stop\",\"usage\":{\"a\":1}}";
    size_t len = strlen(text);
    for (size_t from = 0; from <= len; from++)
        for (size_t to = from; to <= len; to++) {
            struct stream_event e;
            char *copy = malloc(to > from ? to - from : 1);
            memcpy(copy, text + from, to - from);
            stream_event_read(slice_make(copy, to - from), &e);
            assert_true(e.null_usage.len == 0 || (e.null_usage.ptr >= copy && e.null_usage.len <= to - from));
            free(copy);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deltas_are_counted), cmocka_unit_test(null_usage_is_found),
        cmocka_unit_test(usage_is_an_object), cmocka_unit_test(an_end_has_a_reason),
        cmocka_unit_test(any_cut_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
