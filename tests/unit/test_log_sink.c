/* A log that is not read holds nobody up. */
#include "test.h"

#include "sluice/clock.h"
#include "sluice/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINES = 2000, READ_MAX = 4 << 20 };

static int saved_stderr;
static char filler[900];

static int set_up(void **state)
{
    (void)state;
    memset(filler, 'x', sizeof filler - 1);
    saved_stderr = dup(STDERR_FILENO);
    return saved_stderr < 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_close();
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    return 0;
}

/* Far more than any pipe or socket takes; must return at once. */
static uint64_t fill(void)
{
    uint64_t before = log_counts()->dropped;
    int64_t began = clock_monotonic_us();
    for (int i = 0; i < LINES; i++)
        log_message(LOG_LEVEL_INFO, "filler", "%d %s", i, filler);
    assert_true(clock_monotonic_us() - began < 5 * (int64_t)CLOCK_US_PER_SECOND);
    return log_counts()->dropped - before;
}

/* All that can be read now, cut into lines, each of which must be JSON. Gives their number, and apart from them the sum of
 * the "count" of lines about dropped ones. */
static size_t read_all(int fd, uint64_t *reported)
{
    char *text = calloc(1, READ_MAX);
    size_t len = 0, lines = 0;
    ssize_t n;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while ((n = read(fd, text + len, READ_MAX - 1 - len)) > 0)
        len += (size_t)n;
    for (char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        if (!line)
            fail_msg("not JSON: %.*s", (int)(end - at), at);
        json_t *count = json_object_get(line, "count");
        lines += count == NULL;
        *reported += (uint64_t)json_integer_value(count);
        json_decref(line);
    }
    free(text);
    return lines;
}

/* Fills it, reads it, writes again: no line is torn, and what was dropped is told. */
static void check(int fd)
{
    uint64_t reported = 0, dropped = fill();
    assert_true(dropped > 0 && dropped < LINES);
    size_t lines = read_all(fd, &reported);
    log_message(LOG_LEVEL_INFO, "again", "first"); /* the rest of a cut line goes before it */
    log_message(LOG_LEVEL_INFO, "again", "second");
    lines += read_all(fd, &reported);
    assert_int_equal(reported, dropped);
    assert_int_equal(lines, LINES - dropped + 2);
}

static void a_full_pipe(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    assert_true(log_open("", LOG_LEVEL_INFO));
    check(ends[0]);
    /* the file that others share stays as it was */
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

static void a_full_socket(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    dup2(ends[1], STDERR_FILENO);
    assert_true(log_open("", LOG_LEVEL_INFO));
    check(ends[0]);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

/* A socket cannot be opened by its name, nor a file of another user: what is open already is taken. */
static void the_names_of_standard_output_and_error(void **state)
{
    static const struct {
        const char *name;
        int fd;
    } cases[] = {{"/dev/stdout", STDOUT_FILENO}, {"/dev/stderr", STDERR_FILENO}};
    int ends[2];
    (void)state;
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        uint64_t reported = 0;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        fflush(stdout);
        int saved = dup(cases[i].fd);
        dup2(ends[1], cases[i].fd);
        bool opened = log_open(cases[i].name, LOG_LEVEL_INFO);
        log_message(LOG_LEVEL_INFO, "before", "1");
        bool reopened = log_reopen();
        log_message(LOG_LEVEL_INFO, "behind", "2");
        close(cases[i].fd);
        bool without = log_reopen();
        log_close();
        dup2(saved, cases[i].fd);
        close(saved);
        assert_true(opened);
        assert_true(reopened);
        assert_false(without);
        assert_int_equal(read_all(ends[0], &reported), 2);
        close(ends[0]);
        close(ends[1]);
    }
}

static void a_fifo_that_nobody_reads(void **state)
{
    char dir[] = "/tmp/sluice-test-sink-XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true(log_open(path, LOG_LEVEL_INFO));
    assert_true(fill() > 0);
    assert_true(log_reopen());
    log_close();
    unlink(path);
    rmdir(dir);
}

static void a_disk_that_is_full(void **state)
{
    (void)state;
    uint64_t before = log_counts()->dropped;
    assert_true(log_open("/dev/full", LOG_LEVEL_INFO));
    log_message(LOG_LEVEL_INFO, "lost", "1");
    log_message(LOG_LEVEL_INFO, "lost", "2");
    assert_int_equal(log_counts()->dropped - before, 2);
}

static void a_reader_that_has_gone(void **state)
{
    int ends[2];
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    assert_true(log_open("", LOG_LEVEL_INFO));
    close(ends[0]);
    close(ends[1]);
    uint64_t before = log_counts()->dropped;
    log_message(LOG_LEVEL_INFO, "lost", "1");
    assert_int_equal(log_counts()->dropped - before, 1);
}

static int wakes;

static void wake(void *arg)
{
    assert_ptr_equal(arg, &wakes);
    wakes++;
}

static off_t size_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

/* Lines wait for the end of the turn, but not behind graver ones, nor when they are many, nor for another file. */
static void lines_that_wait(void **state)
{
    char dir[] = "/tmp/sluice-test-sink-XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log", dir);
    assert_true(log_open(path, LOG_LEVEL_INFO));
    uint64_t before = log_counts()->lines;
    log_gather(wake, &wakes);
    log_message(LOG_LEVEL_INFO, "one", "1");
    log_message(LOG_LEVEL_INFO, "two", "2");
    assert_int_equal(wakes, 1);
    assert_int_equal(size_of(path), 0);
    log_flush();
    off_t two = size_of(path);
    assert_true(two > 0);
    log_message(LOG_LEVEL_INFO, "three", "3");
    log_message(LOG_LEVEL_ERROR, "four", "4");
    assert_true(size_of(path) > two);
    off_t four = size_of(path);
    for (int i = 0; i < 1000; i++)
        log_message(LOG_LEVEL_INFO, "many", "%s", filler);
    assert_true(size_of(path) > four + 900000);
    assert_true(log_reopen());
    log_message(LOG_LEVEL_INFO, "last", "5");
    log_gather(NULL, NULL);
    assert_int_equal(log_counts()->lines - before, 1005);
    uint64_t reported = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read_all(fd, &reported), 1005);
    close(fd);
    log_close();
    unlink(path);
    rmdir(dir);
}

#define SINK_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SINK_TEST(a_full_pipe),         SINK_TEST(a_full_socket),         SINK_TEST(a_fifo_that_nobody_reads),
        SINK_TEST(a_disk_that_is_full), SINK_TEST(a_reader_that_has_gone), SINK_TEST(lines_that_wait),
        SINK_TEST(the_names_of_standard_output_and_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
