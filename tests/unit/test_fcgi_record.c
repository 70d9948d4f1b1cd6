/* Record framing: every cut of a record is incomplete, every other version is bad, and no length of a PARAMS
 * stream is trusted. */
#include "test.h"

#include "sluice/fcgi_record.h"

#include <stdlib.h>

static void a_record_is_taken_apart(void **state)
{
    (void)state;
    static const char bytes[] = "\x01\x04\x12\x34\x00\x03\x02\x00"
                                "abc\0\0"
                                "\x01\x05";
    struct fcgi_record r;
    assert_int_equal(fcgi_record_parse(SLICE_LITERAL(bytes), &r), FCGI_RECORD_OK);
    assert_int_equal(r.type, FCGI_RECORD_PARAMS);
    assert_int_equal(r.request_id, 0x1234);
    assert_true(slice_equals_text(r.content, "abc"));
    assert_ptr_equal(r.whole.ptr, bytes);
    assert_int_equal(r.whole.len, 13);
}

static void every_cut_of_a_record_is_incomplete(void **state)
{
    (void)state;
    static const char bytes[] = "\x01\x05\xff\xff\x00\x05\x03\x00"
                                "hello...";
    struct fcgi_record r;
    for (size_t n = 0; n < sizeof bytes - 1; n++)
        assert_int_equal(fcgi_record_parse(slice_make(bytes, n), &r), FCGI_RECORD_INCOMPLETE);
    assert_int_equal(fcgi_record_parse(SLICE_LITERAL(bytes), &r), FCGI_RECORD_OK);
    assert_int_equal(fcgi_record_parse((struct slice){NULL, 0}, &r), FCGI_RECORD_INCOMPLETE);
}

static void another_version_is_bad_from_its_first_byte(void **state)
{
    (void)state;
    static const char *const firsts[] = {"\x02", "\x10", "G", "\xff", "\x81"};
    struct fcgi_record r;
    for (size_t i = 0; i < TEST_COUNT(firsts); i++) {
        char bytes[FCGI_RECORD_HEADER_SIZE] = {0};
        bytes[0] = firsts[i][0];
        for (size_t n = 1; n <= sizeof bytes; n++)
            assert_int_equal(fcgi_record_parse(slice_make(bytes, n), &r), FCGI_RECORD_BAD);
    }
}

static void the_smallest_and_the_largest_record(void **state)
{
    (void)state;
    struct fcgi_record r;
    char *bytes = calloc(1, FCGI_RECORD_MAX_SIZE);
    assert_non_null(bytes);
    bytes[0] = 1;
    assert_int_equal(fcgi_record_parse(slice_make(bytes, FCGI_RECORD_HEADER_SIZE), &r), FCGI_RECORD_OK);
    assert_int_equal(r.content.len, 0);
    assert_int_equal(r.whole.len, FCGI_RECORD_HEADER_SIZE);
    memset(bytes + 4, 0xFF, 3);
    assert_int_equal(fcgi_record_parse(slice_make(bytes, FCGI_RECORD_MAX_SIZE - 1), &r),
                     FCGI_RECORD_INCOMPLETE);
    assert_int_equal(fcgi_record_parse(slice_make(bytes, FCGI_RECORD_MAX_SIZE), &r), FCGI_RECORD_OK);
    assert_int_equal(r.content.len, 65535);
    assert_int_equal(r.whole.len, FCGI_RECORD_MAX_SIZE);
    free(bytes);
}

struct params_case {
    struct slice bytes;
    size_t max_pairs;
    bool sound;
};

#define PARAMS(bytes, max, sound)                                                                            \
    {                                                                                                        \
        {bytes, sizeof bytes - 1}, max, sound                                                                \
    }

static void params_are_checked_to_the_last_byte(void **state)
{
    (void)state;
    static const struct params_case cases[] = {
        PARAMS("", 0, true),
        PARAMS("\1\1ab", 1, true),
        PARAMS("\1\1ab", 0, false),
        PARAMS("\1\1ab\1\0c", 2, true),
        PARAMS("\1\1ab\1\0c", 1, false),
        PARAMS("\0\0", 1, true),
        PARAMS("\0\3abc", 1, true),
        PARAMS("\x80\0\0\1\x80\0\0\2abb", 1, true),
        PARAMS("\1\x80\0\0\2abb", 1, true),
        /* cut within a length */
        PARAMS("\1", 9, false),
        PARAMS("\x80", 9, false),
        PARAMS("\x80\0\0", 9, false),
        PARAMS("\x80\0\0\1", 9, false),
        PARAMS("\1\x80\0\0", 9, false),
        /* lengths beyond the end */
        PARAMS("\2\0a", 9, false),
        PARAMS("\1\2ab", 9, false),
        PARAMS("\1\1abX", 9, false),
        PARAMS("\xff\xff\xff\xff\0a", 9, false),
        PARAMS("\1\xff\xff\xff\xff"
               "ab",
               9, false),
        PARAMS("\xff\xff\xff\xff\xff\xff\xff\xff"
               "ab",
               9, false),
        PARAMS("\x80\0\0\xff\x80\0\0\1a", 9, false),
        /* NUL within a name or a value */
        PARAMS("\1\1\0b", 9, false),
        PARAMS("\1\1a\0", 9, false),
        PARAMS("\1\1ab\1\3ca\0b", 9, false),
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        if (fcgi_params_are_sound(cases[i].bytes, cases[i].max_pairs) != cases[i].sound)
            fail_msg("case %zu: expected %d", i, cases[i].sound);
}

static void written_records_can_be_read(void **state)
{
    (void)state;
    uint8_t out[FCGI_RECORD_END_SIZE];
    struct fcgi_record r;
    fcgi_record_write_end(0xABCD, FCGI_END_CANT_MULTIPLEX, out);
    assert_int_equal(fcgi_record_parse(slice_make(out, sizeof out), &r), FCGI_RECORD_OK);
    assert_int_equal(r.type, FCGI_RECORD_END);
    assert_int_equal(r.request_id, 0xABCD);
    assert_memory_equal(r.content.ptr, "\0\0\0\0\1\0\0\0", 8);
    assert_int_equal(r.whole.len, sizeof out);

    fcgi_record_write_header(FCGI_RECORD_PARAMS, 0x0102, 0xFEFD, out);
    assert_memory_equal(out, "\1\4\1\2\xfe\xfd\0\0", FCGI_RECORD_HEADER_SIZE);
}

static void management_records_are_answered(void **state)
{
    (void)state;
    uint8_t out[FCGI_RECORD_END_SIZE];
    assert_int_equal(fcgi_record_write_management(FCGI_RECORD_GET_VALUES, out), FCGI_RECORD_HEADER_SIZE);
    assert_memory_equal(out, "\1\12\0\0\0\0\0\0", FCGI_RECORD_HEADER_SIZE);
    static const uint8_t others[] = {0, FCGI_RECORD_BEGIN, FCGI_RECORD_UNKNOWN, 77, 255};
    for (size_t i = 0; i < TEST_COUNT(others); i++) {
        assert_int_equal(fcgi_record_write_management(others[i], out), sizeof out);
        assert_memory_equal(out, "\1\13\0\0\0\10\0\0", FCGI_RECORD_HEADER_SIZE);
        assert_int_equal(out[FCGI_RECORD_HEADER_SIZE], others[i]);
        assert_memory_equal(out + FCGI_RECORD_HEADER_SIZE + 1, "\0\0\0\0\0\0\0", 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_taken_apart),
        cmocka_unit_test(every_cut_of_a_record_is_incomplete),
        cmocka_unit_test(another_version_is_bad_from_its_first_byte),
        cmocka_unit_test(the_smallest_and_the_largest_record),
        cmocka_unit_test(params_are_checked_to_the_last_byte),
        cmocka_unit_test(written_records_can_be_read),
        cmocka_unit_test(management_records_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
