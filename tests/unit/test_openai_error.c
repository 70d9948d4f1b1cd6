/* The error table: every entry is whole, and every answer is JSON whatever its arguments hold. */
#include "test.h"

#include "sluice/openai_error.h"

#include <jansson.h>

static json_t *write_and_parse(const struct openai_error *error)
{
    struct buf b;
    buf_init(&b, 100000);
    assert_true(openai_error_write(&b, error));
    json_t *json = json_loadb(buf_data(&b), b.len, 0, NULL);
    assert_non_null(json);
    json_t *inner = json_object_get(json, "error");
    assert_int_equal(json_object_size(json), 1);
    assert_int_equal(json_object_size(inner), 4);
    json_incref(inner);
    json_decref(json);
    buf_free(&b);
    return inner;
}

static void assert_member(const json_t *object, const char *name, const char *expected)
{
    const json_t *value = json_object_get(object, name);
    assert_non_null(value);
    if (expected)
        assert_string_equal(json_string_value(value), expected);
    else
        assert_true(json_is_null(value));
}

static void every_entry_is_whole(void **state)
{
    (void)state;
    for (int id = 0; id < OPENAI_ERROR_COUNT; id++) {
        const struct openai_error_info *info = openai_error_info((enum openai_error_id)id);
        assert_non_null(info->name);
        assert_in_range(info->status, 400, 599);
        assert_non_null(info->type);
        assert_true(strlen(info->message) > 0 && strlen(info->when) > 0 && strlen(info->advice) > 0);
        assert_int_equal(strspn(info->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(info->name));
        for (int other = 0; other < id; other++)
            assert_string_not_equal(info->name, openai_error_info((enum openai_error_id)other)->name);
        size_t holes = 0;
        for (const char *p = info->message; (p = strstr(p, "{}")); p += 2)
            holes++;
        assert_true(holes <= OPENAI_ERROR_ARGS);

        const struct openai_error error = {.id = (enum openai_error_id)id, .args = {SLICE_LITERAL("one")}};
        json_t *json = write_and_parse(&error);
        assert_member(json, "type", info->type);
        assert_member(json, "param", info->param);
        assert_member(json, "code", info->code);
        const char *message = json_string_value(json_object_get(json, "message"));
        assert_null(strstr(message, "{}"));
        assert_int_equal(strstr(message, "one") != NULL, holes > 0);
        json_decref(json);
    }
}

static void arguments_go_in_in_order(void **state)
{
    (void)state;
    const struct openai_error error = {
        .id = OPENAI_ERROR_INVALID_TYPE,
        .param = SLICE_LITERAL("n"),
        .args = {SLICE_LITERAL("n"), SLICE_LITERAL("an integer"), SLICE_LITERAL("a string")}};
    json_t *json = write_and_parse(&error);
    assert_member(json, "message", "Invalid type for 'n': expected an integer, but got a string instead.");
    assert_member(json, "param", "n");
    assert_member(json, "code", "invalid_type");
    json_decref(json);
}

static void hostile_arguments_stay_text(void **state)
{
    (void)state;
    const struct openai_error error = {.id = OPENAI_ERROR_UNKNOWN_URL,
                                       .param = SLICE_LITERAL("\",\"x\":\"\\"),
                                       .args = {SLICE_LITERAL("{}\"}\n\x01\xff"), SLICE_LITERAL("{}")}};
    json_t *json = write_and_parse(&error);
    assert_member(json, "message", "Invalid URL ({}\"}\n\x01\xEF\xBF\xBD {})");
    assert_member(json, "param", "\",\"x\":\"\\");
    json_decref(json);
}

static void a_small_buffer_refuses(void **state)
{
    (void)state;
    const struct openai_error error = {.id = OPENAI_ERROR_NO_MODEL};
    struct buf whole;
    buf_init(&whole, 1000);
    assert_true(openai_error_write(&whole, &error));
    for (size_t cap = 0; cap <= whole.len; cap++) {
        struct buf b;
        buf_init(&b, cap);
        assert_int_equal(openai_error_write(&b, &error), cap == whole.len);
        buf_free(&b);
    }
    buf_free(&whole);
}

static void keys_are_masked(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "****"},
        {"ab", "****"},
        {"abc", "****"},
        {"abcdef", "a****"},
        {"abcdefghi", "ab****i"},
        {"sk-proj-0123456789abcdefghijklmnopqrstuvwxyzMxYA", "sk-proj-****MxYA"},
        {"\x01\xff\n aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x80", "????aaaa****aaa?"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char out[OPENAI_MASKED_KEY_SIZE];
        openai_error_mask_key(slice_from_text(cases[i][0]), out);
        assert_string_equal(out, cases[i][1]);
    }
    char key[400], out[OPENAI_MASKED_KEY_SIZE];
    memset(key, 'k', sizeof key);
    for (size_t len = 0; len <= sizeof key; len++) {
        openai_error_mask_key(slice_make(key, len), out);
        assert_true(3 * (strlen(out) - 4) <= len);
    }
}

static void the_table_can_be_printed(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_true(openai_error_write_markdown(&b));
    size_t lines = 0;
    for (size_t i = 0; i < b.len; i++)
        lines += buf_data(&b)[i] == '\n';
    assert_int_equal(lines, OPENAI_ERROR_COUNT + 2);
    buf_free(&b);
    buf_init(&b, 100);
    assert_false(openai_error_write_markdown(&b));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_is_whole),
        cmocka_unit_test(arguments_go_in_in_order),
        cmocka_unit_test(hostile_arguments_stay_text),
        cmocka_unit_test(a_small_buffer_refuses),
        cmocka_unit_test(keys_are_masked),
        cmocka_unit_test(the_table_can_be_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
