/* Asking for a stream's usage without the client's knowledge. */
#include "test.h"

#include "sluice/stream_usage.h"

static void requests_are_asked(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"model\":\"m\"}", "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\"}"},
        {" { } ", " {\"stream_options\":{\"include_usage\":true} } "},
        {"{\"stream_options\":null,\"n\":1}", "{\"stream_options\":{\"include_usage\":true},\"n\":1}"},
        {"{\"stream_options\":{}}", "{\"stream_options\":{\"include_usage\":true}}"},
        {"{\"stream_options\":{\"x\":1}}", "{\"stream_options\":{\"include_usage\":true,\"x\":1}}"},
        {"{\"stream_options\":{\"include_usage\": false}}", "{\"stream_options\":{\"include_usage\": true}}"},
        {"{\"stream_options\":{\"include_usage\":null}}", "{\"stream_options\":{\"include_usage\":true}}"},
        {"{\"a\":1.0,\"b\":12345678901234567890,\"stream_options\":{}}",
         "{\"a\":1.0,\"b\":12345678901234567890,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"stream_options\":3}", NULL},
        {"[]", NULL},
        {"{", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct buf out;
        buf_init(&out, 1000);
        bool ok = stream_usage_ask(slice_from_text(cases[i][0]), &out);
        if (ok != (cases[i][1] != NULL) || (ok && !slice_equals_text(buf_slice(&out), cases[i][1])))
            fail_msg("%s gives %.*s", cases[i][0], (int)out.len, buf_data(&out));
        buf_free(&out);
        buf_init(&out, 5);
        assert_false(stream_usage_ask(slice_from_text(cases[i][0]), &out));
        assert_int_equal(out.len, 0);
        buf_free(&out);
    }
}

static void the_extra_chunk_is_known(void **state)
{
    (void)state;
    assert_true(stream_usage_is_extra(SLICE_LITERAL("{\"choices\":[],\"usage\":{\"total_tokens\":3}}")));
    assert_true(stream_usage_is_extra(SLICE_LITERAL("{ \"choices\" : [ ] , \"usage\" : {} }")));
    assert_false(stream_usage_is_extra(SLICE_LITERAL("{\"choices\":[],\"usage\":null}")));
    assert_false(stream_usage_is_extra(SLICE_LITERAL("{\"choices\":[{}],\"usage\":{}}")));
    assert_false(stream_usage_is_extra(SLICE_LITERAL("{\"choices\":[]}")));
    assert_false(stream_usage_is_extra(SLICE_LITERAL("[DONE]")));
    assert_false(stream_usage_is_extra((struct slice){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_asked),
        cmocka_unit_test(the_extra_chunk_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
