/* The log: each line is one JSON object, whatever is given to it. */
#include "test.h"

#include "sluice/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char the_dir[64];
static char the_path[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(the_dir, sizeof the_dir, "/tmp/sluice-test-log-XXXXXX");
    if (!mkdtemp(the_dir))
        return -1;
    snprintf(the_path, sizeof the_path, "%s/log", the_dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    log_close();
    unlink(the_path);
    return rmdir(the_dir);
}

/* Reads the log's lines into lines[], up to max; the caller frees each with json_decref(). */
static size_t read_lines(const char *path, json_t **lines, size_t max)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *line = NULL;
    size_t size = 0, count = 0;
    while (count < max && getline(&line, &size, file) > 0) {
        lines[count] = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(lines[count]);
        count++;
    }
    free(line);
    fclose(file);
    return count;
}

static const char *member(const json_t *line, const char *name)
{
    return json_string_value(json_object_get(line, name));
}

static void a_line_tells_when_what_and_who(void **state)
{
    (void)state;
    assert_true(log_open(the_path, LOG_LEVEL_INFO));
    log_message(LOG_LEVEL_WARNING, "test_event", "said \"%s\" %d times", "hello\n", 2);
    json_t *line = NULL;
    assert_int_equal(read_lines(the_path, &line, 2), 1);
    assert_int_equal(strlen(member(line, "time")), strlen("2026-01-31T23:59:59.123456Z"));
    assert_string_equal(member(line, "level"), "warning");
    assert_string_equal(member(line, "event"), "test_event");
    assert_string_equal(member(line, "message"), "said \"hello\n\" 2 times");
    assert_int_equal(json_integer_value(json_object_get(line, "pid")), getpid());
    json_decref(line);
}

static void a_child_process_tells_its_own_pid(void **state)
{
    (void)state;
    json_t *lines[3];
    assert_true(log_open(the_path, LOG_LEVEL_INFO));
    log_message(LOG_LEVEL_INFO, "parent", "1");
    pid_t pid = fork();
    if (pid == 0) {
        log_message(LOG_LEVEL_INFO, "child", "2");
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    log_message(LOG_LEVEL_INFO, "parent", "3");
    const pid_t expected[] = {getpid(), pid, getpid()};
    assert_int_equal(read_lines(the_path, lines, 3), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_integer_value(json_object_get(lines[i], "pid")), expected[i]);
        json_decref(lines[i]);
    }
}

static void the_file_is_private(void **state)
{
    (void)state;
    struct stat st;
    assert_true(log_open(the_path, LOG_LEVEL_INFO));
    assert_int_equal(stat(the_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void levels_below_are_dropped(void **state)
{
    (void)state;
    static const char *const names[] = {"debug", "info", "warning", "error"};
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
        unlink(the_path);
        assert_true(log_open(the_path, (enum log_level)level));
        for (int each = LOG_LEVEL_DEBUG; each <= LOG_LEVEL_ERROR; each++)
            log_message((enum log_level)each, "each", "text");
        json_t *lines[5];
        size_t count = read_lines(the_path, lines, 5);
        assert_int_equal(count, 4 - level);
        for (size_t i = 0; i < count; i++) {
            assert_string_equal(member(lines[i], "level"), names[(size_t)level + i]);
            json_decref(lines[i]);
        }
    }
}

static void a_line_that_is_too_long_stays_valid(void **state)
{
    (void)state;
    char *text = malloc(20000);
    assert_non_null(text);
    memset(text, 'x', 19999);
    text[19999] = '\0';
    assert_true(log_open(the_path, LOG_LEVEL_INFO));
    struct buf *line = log_begin(LOG_LEVEL_INFO, "long");
    assert_non_null(line);
    assert_true(json_put_member_int(line, "before", 1));
    assert_false(json_put_member_string(line, "text", slice_from_text(text)));
    assert_true(json_put_member_int(line, "after", 2));
    log_end(line);
    log_message(LOG_LEVEL_INFO, "cut", "%s", text);
    json_t *lines[3];
    assert_int_equal(read_lines(the_path, lines, 3), 2);
    assert_null(json_object_get(lines[0], "text"));
    assert_int_equal(json_integer_value(json_object_get(lines[0], "after")), 2);
    assert_true(strlen(member(lines[1], "message")) > 1000);
    json_decref(lines[0]);
    json_decref(lines[1]);
    free(text);
}

static void a_line_full_of_members_keeps_its_end(void **state)
{
    (void)state;
    assert_true(log_open(the_path, LOG_LEVEL_INFO));
    struct buf *line = log_begin(LOG_LEVEL_INFO, "full");
    char name[16];
    int i = 0;
    do
        snprintf(name, sizeof name, "m%d", i);
    while (json_put_member_int(line, name, i++));
    log_end(line);
    json_t *read = NULL;
    assert_int_equal(read_lines(the_path, &read, 2), 1);
    assert_true(json_object_size(read) > 1000);
    json_decref(read);
}

static void reopening_follows_a_rotation(void **state)
{
    (void)state;
    char moved[112];
    json_t *lines[2];
    snprintf(moved, sizeof moved, "%s.1", the_path);
    assert_true(log_open(the_path, LOG_LEVEL_INFO));
    log_message(LOG_LEVEL_INFO, "first", "1");
    assert_int_equal(rename(the_path, moved), 0);
    log_message(LOG_LEVEL_INFO, "second", "2");
    assert_true(log_reopen());
    log_message(LOG_LEVEL_INFO, "third", "3");
    assert_int_equal(read_lines(moved, lines, 2), 2);
    json_decref(lines[0]);
    json_decref(lines[1]);
    assert_int_equal(read_lines(the_path, lines, 2), 1);
    assert_string_equal(member(lines[0], "event"), "third");
    json_decref(lines[0]);
    unlink(moved);
}

static void a_file_that_cannot_be_opened_changes_nothing(void **state)
{
    (void)state;
    assert_true(log_open(the_path, LOG_LEVEL_INFO));
    assert_false(log_open("/nonexistent/dir/log", LOG_LEVEL_ERROR));
    assert_int_equal(errno, ENOENT);
    log_message(LOG_LEVEL_INFO, "still", "here");
    json_t *line = NULL;
    assert_int_equal(read_lines(the_path, &line, 1), 1);
    json_decref(line);
}

static void without_a_path_the_log_is_stderr(void **state)
{
    (void)state;
    int saved = dup(STDERR_FILENO);
    int fd = open(the_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(saved >= 0 && fd >= 0);
    dup2(fd, STDERR_FILENO);
    bool opened = log_open("", LOG_LEVEL_INFO);
    log_message(LOG_LEVEL_INFO, "on_stderr", "text");
    bool reopened = log_reopen();
    log_close();
    bool again = log_open(NULL, LOG_LEVEL_INFO);
    log_message(LOG_LEVEL_INFO, "after_close", "text");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    json_t *lines[3];
    assert_true(opened && reopened && again);
    assert_int_equal(read_lines(the_path, lines, 3), 2);
    assert_string_equal(member(lines[1], "event"), "after_close");
    json_decref(lines[0]);
    json_decref(lines[1]);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_line_tells_when_what_and_who),
        LOG_TEST(a_child_process_tells_its_own_pid),
        LOG_TEST(the_file_is_private),
        LOG_TEST(levels_below_are_dropped),
        LOG_TEST(a_line_that_is_too_long_stays_valid),
        LOG_TEST(a_line_full_of_members_keeps_its_end),
        LOG_TEST(reopening_follows_a_rotation),
        LOG_TEST(a_file_that_cannot_be_opened_changes_nothing),
        LOG_TEST(without_a_path_the_log_is_stderr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
