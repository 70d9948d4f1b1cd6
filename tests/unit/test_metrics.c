/* Counting across processes, caps, what dies with a process, and what is shown. */
#include "test.h"

#include "sluice/clock.h"
#include "sluice/metrics.h"
#include "sluice/redis.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 4, ROUNDS = 3000, DEATHS = 150 };

static char the_dir[64];
static struct metrics *m;

static const struct metrics_options plain = {.version = "1.2.3", .max_models = 3, .max_keys = 2, .genai = true};

static struct metrics *open_metrics(void)
{
    struct buf message;
    buf_init(&message, 1000);
    struct metrics *opened = metrics_open(the_dir, &plain, &message);
    if (!opened || message.len > 0)
        fail_msg("%s", buf_text(&message));
    buf_free(&message);
    return opened;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(the_dir, sizeof the_dir, "/tmp/sluice-test-metrics-XXXXXX");
    if (!mkdtemp(the_dir))
        return -1;
    m = open_metrics();
    return 0;
}

static int tear_down(void **state)
{
    char path[96];
    (void)state;
    metrics_close(&m);
    snprintf(path, sizeof path, "%s/metrics.v%d", the_dir, METRICS_VERSION);
    unlink(path);
    return rmdir(the_dir);
}

/* The page; the caller frees it. */
static char *page(enum exposition_format format)
{
    struct buf out;
    buf_init(&out, 16 << 20);
    assert_true(metrics_write(m, format, &out));
    char *text = strdup(buf_text(&out));
    buf_free(&out);
    return text;
}

static void assert_line(const char *line)
{
    char *text = page(EXPOSITION_TEXT), wanted[512];
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    if (!strstr(text, wanted))
        fail_msg("no line %s in:\n%s", line, text);
    free(text);
}

#define VALUES(...) (&(struct metrics_values){{__VA_ARGS__}})
#define TEXT(text) SLICE_LITERAL(text)

static void counters_and_histograms_add_up(void **state)
{
    (void)state;
    metrics_count(m, METRICS_REQUESTS, VALUES(TEXT("chat"), TEXT("POST"), TEXT("200")), 2);
    metrics_count(m, METRICS_REQUESTS, VALUES(TEXT("chat"), TEXT("POST"), TEXT("200")), 3);
    metrics_count(m, METRICS_UPSTREAM_ERRORS, VALUES(TEXT("cut")), 1);
    metrics_count(m, METRICS_UPSTREAM_RETRIES, NULL, 7);
    struct metrics_histogram h = metrics_find(m, METRICS_REQUEST_DURATION, VALUES(TEXT("chat")));
    metrics_observe(h, 5000);
    metrics_observe(h, 5001);
    metrics_observe(h, -4);
    metrics_observe(h, 400 * (int64_t)CLOCK_US_PER_SECOND);
    assert_line("sluice_requests_total{endpoint=\"chat\",method=\"POST\",status=\"200\"} 5");
    assert_line("sluice_upstream_errors_total{kind=\"cut\",status=\"\"} 1");
    assert_line("sluice_upstream_retries_total 7");
    assert_line("sluice_cache_requests_total{result=\"coalesced\"} 0");
    assert_line("sluice_request_duration_seconds_bucket{endpoint=\"chat\",le=\"0.005\"} 2");
    assert_line("sluice_request_duration_seconds_bucket{endpoint=\"chat\",le=\"0.01\"} 3");
    assert_line("sluice_request_duration_seconds_bucket{endpoint=\"chat\",le=\"300.0\"} 3");
    assert_line("sluice_request_duration_seconds_bucket{endpoint=\"chat\",le=\"+Inf\"} 4");
    assert_line("sluice_request_duration_seconds_count{endpoint=\"chat\"} 4");
    assert_line("sluice_request_duration_seconds_sum{endpoint=\"chat\"} 400.010001");
    assert_line("sluice_build_info{version=\"1.2.3\"} 1");
    assert_line("sluice_processes 1");
}

static void nothing_is_lost_over_a_restart(void **state)
{
    (void)state;
    metrics_count(m, METRICS_UPSTREAM_RETRIES, NULL, 7);
    metrics_close(&m);
    m = open_metrics();
    metrics_count(m, METRICS_UPSTREAM_RETRIES, NULL, 1);
    assert_line("sluice_upstream_retries_total 8");
    assert_line("sluice_process_starts_total 2");
    assert_line("sluice_process_crashes_total 0");
}

/* Every child counts the same sets, which are new, at the same time. */
static void child(void)
{
    m = open_metrics();
    for (int i = 0; i < ROUNDS; i++) {
        char model[16];
        snprintf(model, sizeof model, "m%d", i % 100);
        metrics_count(m, METRICS_REQUESTS, VALUES(slice_from_text(model), TEXT("GET"), TEXT("200")), 1);
        metrics_observe(metrics_find(m, METRICS_INTER_TOKEN, VALUES(TEXT("chat"))), i);
    }
    metrics_set(m, METRICS_STREAMS_OPEN, 5);
}

static pid_t start_child(int report)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    child();
    if (write(report, "x", 1) == 1)
        pause();
    _exit(1);
}

static void wait_for_children(int fd)
{
    char byte;
    for (int i = 0; i < CHILDREN; i++)
        assert_int_equal(read(fd, &byte, 1), 1);
}

static void processes_share_and_a_dead_ones_share_is_dropped(void **state)
{
    (void)state;
    pid_t children[CHILDREN];
    int channel[2];
    assert_int_equal(pipe(channel), 0);
    for (int i = 0; i < CHILDREN; i++)
        assert_true((children[i] = start_child(channel[1])) > 0);
    wait_for_children(channel[0]);
    assert_line("sluice_streams_open 20");
    assert_line("sluice_processes 5");
    assert_line("sluice_requests_total{endpoint=\"m7\",method=\"GET\",status=\"200\"} 120");
    assert_line("sluice_inter_token_seconds_count{endpoint=\"chat\"} 12000");
    char *text = page(EXPOSITION_TEXT);
    assert_null(strstr(strstr(text, "endpoint=\"m7\",method") + 5, "endpoint=\"m7\",method")); /* claimed once */
    free(text);
    for (int i = 0; i < CHILDREN; i++) {
        kill(children[i], SIGKILL);
        assert_int_equal(waitpid(children[i], NULL, i < 2 ? 0 : WNOHANG) >= 0, 1);
    }
    usleep(100000); /* two of them are dead and not waited for */
    assert_line("sluice_streams_open 0");
    assert_line("sluice_processes 1");
    assert_line("sluice_process_crashes_total 4");
    assert_line("sluice_inter_token_seconds_count{endpoint=\"chat\"} 12000");
    for (int i = 2; i < CHILDREN; i++)
        waitpid(children[i], NULL, 0);
    close(channel[0]);
    close(channel[1]);
}

/* Two that begin at once over two that were killed: neither may take the other's new place for a dead one's. */
static void only_the_dead_are_buried(void **state)
{
    (void)state;
    char bytes[2], line[64];
    int channel[2];
    assert_int_equal(pipe(channel), 0);
    for (int round = 0; round < DEATHS; round++) {
        pid_t children[2];
        for (int i = 0; i < 2; i++) {
            if ((children[i] = fork()) != 0)
                continue;
            alarm(60); /* not to outlive a test that fails */
            m = open_metrics();
            metrics_set(m, METRICS_STREAMS_OPEN, 1);
            if (write(channel[1], "x", 1) == 1)
                pause();
            _exit(1);
        }
        for (int i = 0; i < 2; i++)
            assert_int_equal(read(channel[0], &bytes[i], 1), 1);
        assert_int_equal(metrics_total(m, METRICS_STREAMS_OPEN), 2);
        for (int i = 0; i < 2; i++)
            kill(children[i], SIGKILL);
        for (int i = 0; i < 2; i++)
            assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    }
    assert_line("sluice_processes 1");
    snprintf(line, sizeof line, "sluice_process_crashes_total %d", 2 * DEATHS);
    assert_line(line);
    close(channel[0]);
    close(channel[1]);
}

static void names_beyond_the_limit_are_others(void **state)
{
    (void)state;
    static const char *const models[] = {"a", "b", "c", "d", "a", "e"};
    static const char *const counted[] = {"a", "b", "c", "other", "a", "other"};
    struct usage usage = {.known = true, .input_tokens = 10, .output_tokens = 3, .reasoning_tokens = 1};
    for (size_t i = 0; i < TEST_COUNT(models); i++) {
        struct slice model = metrics_model(m, slice_from_text(models[i]));
        assert_true(slice_equals_text(model, counted[i]));
        metrics_count_tokens(m, model, metrics_key(m, TEXT("k")), &usage);
    }
    assert_true(slice_equals_text(metrics_key(m, TEXT("l")), "l"));
    assert_true(slice_equals_text(metrics_key(m, TEXT("n")), "other"));
    assert_int_equal(metrics_model(m, TEXT("")).len, 0);
    assert_line("sluice_tokens_total{kind=\"input\",model=\"other\",key=\"k\"} 20");
    assert_line("sluice_tokens_total{kind=\"reasoning\",model=\"a\",key=\"k\"} 2");
}

static void money_is_shown_as_a_decimal(void **state)
{
    (void)state;
    metrics_count(m, METRICS_COST, VALUES(TEXT("a"), TEXT("k")), 12500);
    metrics_count(m, METRICS_COST, VALUES(TEXT("a"), TEXT("k")), 3000000000);
    metrics_count(m, METRICS_UNPRICED, VALUES(TEXT("b")), 2);
    assert_line("sluice_cost_usd_total{model=\"a\",key=\"k\"} 3.0000125");
    assert_line("sluice_cost_unpriced_requests_total{model=\"b\"} 2");
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(metrics_write_status(m, &out));
    assert_non_null(strstr(buf_text(&out), "\"cost\":[[\"a\",\"k\",3.0000125]]"));
    assert_non_null(strstr(buf_text(&out), "\"unpriced\":[[\"b\",2]]"));
    buf_free(&out);
}

static void a_full_family_counts_under_other(void **state)
{
    (void)state;
    char status[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(status, sizeof status, "%d", i);
        metrics_count(m, METRICS_REQUESTS, VALUES(TEXT("e"), TEXT("GET"), slice_from_text(status)), 1);
        metrics_observe(metrics_find(m, METRICS_GENAI_TOKENS, VALUES(slice_from_text(status))), 1);
    }
    assert_line("sluice_requests_total{endpoint=\"other\",method=\"other\",status=\"other\"} 4360");
    assert_line("gen_ai_client_token_usage_count{gen_ai_operation_name=\"other\",gen_ai_request_model=\"other\","
                "gen_ai_token_type=\"other\",gen_ai_provider_name=\"openai\"} 4808");
    metrics_count(m, METRICS_UPSTREAM_ERRORS, VALUES(TEXT("still"), TEXT("room")), 1);
    assert_line("sluice_upstream_errors_total{kind=\"still\",status=\"room\"} 1");
}

static void hostile_values_stay_within_theirs(void **state)
{
    (void)state;
    char large[1000];
    memset(large, 'x', sizeof large);
    metrics_count(m, METRICS_REQUESTS, VALUES(TEXT("a\x1f\"b\n"), TEXT(""), TEXT("\xff")), 1);
    metrics_count(m, METRICS_REQUESTS, VALUES(slice_make(large, sizeof large), TEXT("GET"), TEXT("1")), 1);
    assert_line("sluice_requests_total{endpoint=\"a?\\\"b\\n\",method=\"\",status=\"\xEF\xBF\xBD\"} 1");
    char *text = page(EXPOSITION_OPENMETRICS);
    assert_non_null(strstr(text, "\n# EOF\n"));
    free(text);
}

static void redis_counts_are_differences(void **state)
{
    (void)state;
    const int64_t bounds[REDIS_LATENCY_BUCKETS - 1] = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000};
    struct redis_stats before = {0}, now = {.replies = 5, .errors = 1, .timeouts = 2, .latency_sum_us = 1500000};
    now.latency[0] = 4;
    now.latency[9] = 1;
    metrics_note_redis(m, true, &now, &before, bounds);
    now.replies = 6;
    now.latency[1] = 1;
    metrics_note_redis(m, false, &now, &before, bounds);
    assert_line("sluice_redis_commands_total{result=\"reply\"} 5");
    assert_line("sluice_redis_commands_total{result=\"error\"} 1");
    assert_line("sluice_redis_latency_seconds_bucket{le=\"0.0001\"} 4");
    assert_line("sluice_redis_latency_seconds_bucket{le=\"0.05\"} 5");
    assert_line("sluice_redis_latency_seconds_count 6");
    assert_line("sluice_redis_latency_seconds_sum 1.5");
    assert_line("sluice_redis_wanted 1");
    assert_line("sluice_redis_up 0");
}

static void the_page_has_its_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        char error[64];
        snprintf(error, sizeof error, "{\"n\":%d}", i);
        metrics_note_error(m, slice_from_text(error));
    }
    for (int i = 1; i <= 100; i++)
        metrics_note_moment(m, &(struct metrics_moment){.failed = i == 1, .duration_us = i * 1000, .first_token_us = -1,
                                                        .tokens = 2});
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(metrics_write_status(m, &out));
    json_t *json = json_loadb(buf_data(&out), out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    json_t *errors = json_object_get(json, "last_errors");
    assert_int_equal(json_array_size(errors), METRICS_ERRORS_MAX);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(errors, 0), "n")), 39);
    json_t *duration = json_object_get(json, "duration"), *requests, *history = json_object_get(json, "history");
    assert_int_equal(json_integer_value(json_object_get(duration, "count")), 100);
    double p50 = json_real_value(json_object_get(duration, "p50_ms"));
    assert_true(p50 > 48 && p50 < 52);
    requests = json_object_get(history, "requests");
    assert_int_equal(json_array_size(requests), 120);
    int64_t sum = 0;
    for (size_t i = 0; i < 120; i++)
        sum += json_integer_value(json_array_get(requests, i));
    assert_int_equal(sum, 100);
    json_decref(json);
    buf_free(&out);
}

static void without_metrics_nothing_happens(void **state)
{
    (void)state;
    struct metrics *none = NULL;
    metrics_count(NULL, METRICS_REQUESTS, NULL, 1);
    metrics_observe(metrics_find(NULL, METRICS_INTER_TOKEN, NULL), 1);
    metrics_set(NULL, METRICS_STREAMS_OPEN, 1);
    metrics_note_error(NULL, TEXT("{}"));
    metrics_note_moment(NULL, &(struct metrics_moment){0});
    assert_int_equal(metrics_model(NULL, TEXT("x")).len, 0);
    metrics_close(&none);
    struct buf out, message;
    buf_init(&out, 100);
    buf_init(&message, 1000);
    assert_true(metrics_write(NULL, EXPOSITION_OPENMETRICS, &out));
    assert_string_equal(buf_text(&out), "# EOF\n");
    assert_null(metrics_open("/nonexistent", &plain, &message));
    assert_true(message.len > 0);
    buf_free(&out);
    buf_free(&message);
}

#define METRICS_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        METRICS_TEST(counters_and_histograms_add_up),
        METRICS_TEST(nothing_is_lost_over_a_restart),
        METRICS_TEST(processes_share_and_a_dead_ones_share_is_dropped),
        METRICS_TEST(only_the_dead_are_buried),
        METRICS_TEST(names_beyond_the_limit_are_others),
        METRICS_TEST(money_is_shown_as_a_decimal),
        METRICS_TEST(a_full_family_counts_under_other),
        METRICS_TEST(hostile_values_stay_within_theirs),
        METRICS_TEST(redis_counts_are_differences),
        METRICS_TEST(the_page_has_its_numbers),
        cmocka_unit_test(without_metrics_nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
