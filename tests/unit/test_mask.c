/* Secrets in texts, and traces in headers. */
#include "test.h"

#include "sluice/mask.h"

static const struct slice secrets[] = {{"opaque-client-key", 17}, {"", 0}, {"opaque", 6}};

static void assert_masked(const char *text, size_t max, const char *expected)
{
    struct buf out;
    buf_init(&out, 10000);
    assert_true(mask_put(&out, slice_from_text(text), max, secrets, 3));
    if (!slice_equals_text(buf_slice(&out), expected))
        fail_msg("%s became %.*s", text, (int)out.len, buf_data(&out));
    buf_free(&out);
}

static void secrets_are_masked(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"plain text", "plain text"},
        {"{\"k\":\"opaque-client-key\"}", "{\"k\":\"***\"}"},
        {"xopaque-client-keyx", "x***x"},
        {"opaque", "***"},
        {"sk-proj-abcDEF_123 rest", "*** rest"},
        {"\"sk-12345678\",\"sk-2\"", "\"***\",\"sk-2\""},
        {"task-force-alphabet", "task-force-alphabet"},
        {"Authorization: Bearer abcdefghij.k", "Authorization: Bearer ***"},
        {"bearer  x", "bearer  x"},
        {"Basic dXNlcjpwYXNz== and more", "Basic *** and more"},
        {"the Bearer of news", "the Bearer of news"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        assert_masked(cases[i][0], 1000, cases[i][1]);
}

static void a_cut_does_not_show_half_of_one(void **state)
{
    (void)state;
    char text[64] = "123456789 sk-abcdefghijklmnopqrstuvwxyz";
    for (size_t max = 0; max < 40; max++) {
        struct buf out;
        buf_init(&out, 1000);
        assert_true(mask_put(&out, slice_from_text(text), max, NULL, 0));
        assert_true(out.len <= 13);
        buf_free(&out);
    }
    assert_masked("1234567890opaque-client-key", 11, "1234567890***");
    assert_masked("ends in sk-ab", 1000, "ends in ***");
}

static void secret_headers(void **state)
{
    (void)state;
    static const char *const hidden[] = {"HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_PROXY_AUTHORIZATION",
                                         "HTTP_X_API_KEY", "HTTP_X_AUTH_TOKEN", "HTTP_SET_COOKIE"};
    static const char *const shown[] = {"HTTP_ACCEPT", "HTTP_IDEMPOTENCY_KEY", "HTTP_USER_AGENT", ""};
    for (size_t i = 0; i < TEST_COUNT(hidden); i++)
        assert_true(mask_hides_header(slice_from_text(hidden[i])));
    for (size_t i = 0; i < TEST_COUNT(shown); i++)
        assert_false(mask_hides_header(slice_from_text(shown[i])));
}

static void trace_ids(void **state)
{
    (void)state;
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
    static const char *const good[] = {"00-" TRACE "-" PARENT "-01", "01-" TRACE "-" PARENT "-01-more"};
    static const char *const bad[] = {"", "00-" TRACE "-" PARENT, "00-" TRACE "-" PARENT "-01-more",
                                      "ff-" TRACE "-" PARENT "-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
                                      "00-00000000000000000000000000000000-" PARENT "-01",
                                      "00-" TRACE "-0000000000000000-01", "00_" TRACE "-" PARENT "-01"};
    for (size_t i = 0; i < TEST_COUNT(good); i++)
        assert_true(slice_equals_text(mask_trace_id(slice_from_text(good[i])), TRACE));
    for (size_t i = 0; i < TEST_COUNT(bad); i++)
        if (mask_trace_id(slice_from_text(bad[i])).len != 0)
            fail_msg("%s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_masked),
        cmocka_unit_test(a_cut_does_not_show_half_of_one),
        cmocka_unit_test(secret_headers),
        cmocka_unit_test(trace_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
