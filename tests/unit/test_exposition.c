/* Metrics as text, in both formats. */
#include "test.h"

#include "sluice/exposition.h"

static struct buf out;

static struct exposition begin(enum exposition_format format)
{
    buf_free(&out);
    buf_init(&out, 100000);
    return (struct exposition){.out = &out, .format = format};
}

static void the_format_is_chosen(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        enum exposition_format format;
    } cases[] = {
        {"", EXPOSITION_TEXT},
        {"*/*", EXPOSITION_TEXT},
        {"text/html,application/xhtml+xml,*/*;q=0.8", EXPOSITION_TEXT},
        {"application/openmetrics-text", EXPOSITION_OPENMETRICS},
        {"text/plain;version=0.0.4;q=0.5,*/*;q=0.1", EXPOSITION_TEXT},
        /* Prometheus 2.42 */
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text; q=0", EXPOSITION_TEXT},
        {"application/openmetrics-text;q=0.2, text/plain;q=0.9", EXPOSITION_TEXT},
        {",;,;q=,", EXPOSITION_TEXT},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        if (exposition_choose(slice_from_text(cases[i].accept)) != cases[i].format)
            fail_msg("%s", cases[i].accept);
}

static void write_one_of_each(struct exposition *e)
{
    static const char *const texts[] = {"0.1", "1.0"};
    struct exposition_labels labels = {2, {{"a", SLICE_LITERAL("x")}, {"b", SLICE_LITERAL("y z")}}};
    exposition_family(e, "t_build_info", EXPOSITION_INFO, "What it is.");
    exposition_value(e, &labels, 1);
    exposition_family(e, "t_bytes_total", EXPOSITION_COUNTER, "Bytes.");
    exposition_count(e, NULL, UINT64_MAX);
    exposition_family(e, "t_usd_total", EXPOSITION_COUNTER, "Money.");
    exposition_billionths(e, &labels, 1250);
    exposition_family(e, "t_open", EXPOSITION_GAUGE, "Open.");
    exposition_value(e, NULL, -1.5);
    exposition_family(e, "t_seconds", EXPOSITION_HISTOGRAM, "Times.");
    exposition_histogram(e, &labels, &(struct exposition_buckets){2, texts, (const uint64_t[]){3, 0, 4}, 12.25});
    exposition_histogram(e, NULL, &(struct exposition_buckets){2, texts, (const uint64_t[]){0, 0, 0}, 0});
}

static void text_format(void **state)
{
    (void)state;
    struct exposition e = begin(EXPOSITION_TEXT);
    write_one_of_each(&e);
    assert_true(exposition_end(&e));
    assert_string_equal(buf_text(&out), "# HELP t_build_info What it is.\n"
                                        "# TYPE t_build_info gauge\n"
                                        "t_build_info{a=\"x\",b=\"y z\"} 1\n"
                                        "# HELP t_bytes_total Bytes.\n"
                                        "# TYPE t_bytes_total counter\n"
                                        "t_bytes_total 18446744073709551615\n"
                                        "# HELP t_usd_total Money.\n"
                                        "# TYPE t_usd_total counter\n"
                                        "t_usd_total{a=\"x\",b=\"y z\"} 0.00000125\n"
                                        "# HELP t_open Open.\n"
                                        "# TYPE t_open gauge\n"
                                        "t_open -1.5\n"
                                        "# HELP t_seconds Times.\n"
                                        "# TYPE t_seconds histogram\n"
                                        "t_seconds_bucket{a=\"x\",b=\"y z\",le=\"0.1\"} 3\n"
                                        "t_seconds_bucket{a=\"x\",b=\"y z\",le=\"1.0\"} 3\n"
                                        "t_seconds_bucket{a=\"x\",b=\"y z\",le=\"+Inf\"} 7\n"
                                        "t_seconds_sum{a=\"x\",b=\"y z\"} 12.25\n"
                                        "t_seconds_count{a=\"x\",b=\"y z\"} 7\n"
                                        "t_seconds_bucket{le=\"0.1\"} 0\n"
                                        "t_seconds_bucket{le=\"1.0\"} 0\n"
                                        "t_seconds_bucket{le=\"+Inf\"} 0\n"
                                        "t_seconds_sum 0\n"
                                        "t_seconds_count 0\n");
}

static void openmetrics(void **state)
{
    (void)state;
    struct exposition e = begin(EXPOSITION_OPENMETRICS);
    write_one_of_each(&e);
    assert_true(exposition_end(&e));
    const char *text = buf_text(&out);
    assert_non_null(strstr(text, "# TYPE t_build info\nt_build_info{"));
    assert_non_null(strstr(text, "# TYPE t_bytes counter\n# UNIT t_bytes bytes\nt_bytes_total 1"));
    assert_non_null(strstr(text, "# TYPE t_seconds histogram\n# UNIT t_seconds seconds\n"));
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
}

static void values_are_escaped(void **state)
{
    (void)state;
    struct exposition e = begin(EXPOSITION_TEXT);
    struct exposition_labels labels = {1, {{"v", SLICE_LITERAL("a\"b\\c\nd\xff\xc3\xa9\xe2\x82")}}};
    e.name = "n";
    exposition_count(&e, &labels, 0);
    assert_true(exposition_end(&e));
    assert_string_equal(buf_text(&out), "n{v=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\xc3\xa9\xEF\xBF\xBD\xEF\xBF\xBD\"} 0\n");
}

static void what_does_not_fit_is_left_out(void **state)
{
    (void)state;
    struct exposition e = begin(EXPOSITION_OPENMETRICS);
    struct buf small;
    buf_init(&small, 5000);
    e.out = &small;
    for (int i = 0; i < 1000; i++)
        exposition_family(&e, "n_total", EXPOSITION_COUNTER, "Help."), exposition_count(&e, NULL, 1);
    assert_false(exposition_end(&e));
    assert_true(small.len > 1000);
    assert_int_equal(buf_data(&small)[small.len - 1], '\n');
    buf_free(&small);
}

static void labels_that_are_too_long_are_left_out(void **state)
{
    (void)state;
    static const char *const texts[] = {"1.0"};
    char large[3000];
    memset(large, 'x', sizeof large);
    struct exposition e = begin(EXPOSITION_TEXT);
    struct exposition_labels labels = {1, {{"v", slice_make(large, sizeof large)}}};
    e.name = "n";
    exposition_count(&e, &labels, 0);
    exposition_histogram(&e, &labels, &(struct exposition_buckets){1, texts, (const uint64_t[]){1, 2}, 1});
    assert_true(exposition_end(&e));
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_format_is_chosen),
        cmocka_unit_test(text_format),
        cmocka_unit_test(openmetrics),
        cmocka_unit_test(values_are_escaped),
        cmocka_unit_test(what_does_not_fit_is_left_out),
        cmocka_unit_test(labels_that_are_too_long_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
