/* The shared file: made by many at once, damaged in every way, by real files and processes. */
#include "test.h"

#include "sluice/shared_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 3 * 4096 + 8, PROCESSES = 16 };

struct place {
    char directory[64], file[96], bad[96];
    struct shared_file f;
    struct buf message;
};

static int enter(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->directory, sizeof p->directory, "/tmp/sluice-shared-XXXXXX");
    assert_non_null(mkdtemp(p->directory));
    snprintf(p->file, sizeof p->file, "%s/limits.v3", p->directory);
    snprintf(p->bad, sizeof p->bad, "%s/limits.v3.bad", p->directory);
    buf_init(&p->message, 4096);
    *state = p;
    return 0;
}

static int leave(void **state)
{
    struct place *p = *state;
    char command[128];
    shared_file_close(&p->f);
    snprintf(command, sizeof command, "rm -rf %s", p->directory);
    assert_int_equal(system(command), 0);
    buf_free(&p->message);
    free(p);
    return 0;
}

static enum shared_file_result open_file(struct place *p)
{
    shared_file_close(&p->f);
    buf_clear(&p->message);
    return shared_file_open(&p->f, p->directory, "limits", 3, SIZE, &p->message);
}

static void assert_message(struct place *p, const char *part)
{
    const char *text = buf_text(&p->message);
    if (!text || !strstr(text, part))
        fail_msg("\"%s\" is not in: %s", part, text ? text : "");
}

static void write_file(struct place *p, const char *bytes, size_t len)
{
    int fd = open(p->file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static size_t count_files(struct place *p)
{
    char command[128];
    unsigned count = 0;
    snprintf(command, sizeof command, "ls -A %s | wc -l", p->directory);
    FILE *f = popen(command, "r");
    assert_int_equal(fscanf(f, "%u", &count), 1);
    pclose(f);
    return count;
}

static void it_is_made_zeroed_and_found_again(void **state)
{
    struct place *p = *state;
    struct stat info;
    assert_int_equal(open_file(p), SHARED_FILE_MADE);
    assert_int_equal(p->f.size, SIZE);
    assert_int_equal((uintptr_t)p->f.data % SHARED_FILE_ALIGNMENT, 0);
    const char *bytes = p->f.data;
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(stat(p->file, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_true(info.st_blocks * 512 >= SIZE); /* its space is taken */
    memcpy(p->f.data, "kept", 5);
    assert_int_equal(open_file(p), SHARED_FILE_FOUND);
    assert_string_equal(p->f.data, "kept");
    assert_int_equal(count_files(p), 1);
    assert_int_equal(p->message.len, 0);
}

static void processes_that_start_at_once_share_one(void **state)
{
    struct place *p = *state;
    for (int round = 0; round < 20; round++) {
        if (round % 2)
            write_file(p, "foreign", 7); /* half of the rounds repair at once */
        else
            unlink(p->file);
        for (int i = 0; i < PROCESSES; i++) {
            if (fork() != 0)
                continue;
            if (open_file(p) == SHARED_FILE_FAILED)
                _exit(1);
            atomic_fetch_add((_Atomic int64_t *)p->f.data, 1);
            _exit(0);
        }
        int status;
        for (int i = 0; i < PROCESSES; i++) {
            assert_true(wait(&status) > 0);
            assert_int_equal(status, 0);
        }
        assert_int_equal(open_file(p), SHARED_FILE_FOUND);
        assert_int_equal(atomic_load((_Atomic int64_t *)p->f.data), PROCESSES);
        assert_int_equal(count_files(p), round ? 2 : 1);
    }
}

static void damaged_files_are_moved_aside(void **state)
{
    struct place *p = *state;
    assert_int_equal(open_file(p), SHARED_FILE_MADE);
    struct stat info;
    assert_int_equal(stat(p->file, &info), 0);
    const off_t sizes[] = {0, 1, 63, 64, 4096, info.st_size - 1, info.st_size + 1};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        assert_int_equal(truncate(p->file, sizes[i]), 0);
        assert_int_equal(open_file(p), SHARED_FILE_REBUILT);
        assert_message(p, "was damaged");
        assert_message(p, p->bad);
        assert_int_equal(stat(p->bad, &info), 0);
        assert_int_equal(info.st_size, sizes[i]);
        assert_int_equal(open_file(p), SHARED_FILE_FOUND);
    }
    /* Every byte of the header counts. */
    for (size_t at = 0; at < 64; at += 7) {
        int fd = open(p->file, O_RDWR);
        unsigned char byte;
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        byte ^= 0x40;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        close(fd);
        assert_int_equal(open_file(p), SHARED_FILE_REBUILT);
    }
}

static void what_is_no_file_of_ours_is_refused(void **state)
{
    struct place *p = *state;
    assert_int_equal(symlink("/etc/passwd", p->file), 0);
    assert_int_equal(open_file(p), SHARED_FILE_FAILED);
    assert_message(p, "is a symbolic link");
    unlink(p->file);
    assert_int_equal(mkdir(p->file, 0700), 0);
    assert_int_equal(open_file(p), SHARED_FILE_FAILED);
    assert_message(p, "is not a regular file");
    rmdir(p->file);
    assert_int_equal(mkfifo(p->file, 0600), 0);
    assert_int_equal(open_file(p), SHARED_FILE_FAILED);
    assert_message(p, "is not a regular file");
    unlink(p->file);
    assert_null(p->f.data);
    assert_int_equal(shared_file_open(&p->f, "/nonexistent", "limits", 3, SIZE, &p->message),
                     SHARED_FILE_FAILED);
    assert_message(p, "cannot be made");
}

static void a_mode_that_lets_others_in_is_closed(void **state)
{
    struct place *p = *state;
    struct stat info;
    assert_int_equal(open_file(p), SHARED_FILE_MADE);
    assert_int_equal(chmod(p->file, 0666), 0);
    assert_int_equal(open_file(p), SHARED_FILE_FOUND);
    assert_int_equal(stat(p->file, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

static void two_versions_run_side_by_side(void **state)
{
    struct place *p = *state;
    struct shared_file other;
    assert_int_equal(open_file(p), SHARED_FILE_MADE);
    assert_int_equal(shared_file_open(&other, p->directory, "limits", 4, 2 * SIZE, &p->message),
                     SHARED_FILE_MADE);
    memcpy(other.data, "four", 5);
    assert_int_equal(*(char *)p->f.data, 0);
    shared_file_close(&other);
    assert_int_equal(open_file(p), SHARED_FILE_FOUND);
}

/* In a process of its own: the limit on a file's size stands for a full disk. */
static void a_full_disk_is_an_error_at_once(void **state)
{
    struct place *p = *state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {8192, 8192};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        bool ok = open_file(p) == SHARED_FILE_FAILED && strstr(buf_text(&p->message), "cannot be filled");
        _exit(ok ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_files(p), 0); /* nothing half-made is left */
}

static void looking_makes_nothing(void **state)
{
    struct place *p = *state;
    assert_false(shared_file_open_existing(&p->f, p->directory, "limits", 3, SIZE, &p->message));
    assert_message(p, "is not there");
    assert_int_equal(count_files(p), 0);
    write_file(p, "foreign", 7);
    buf_clear(&p->message);
    assert_false(shared_file_open_existing(&p->f, p->directory, "limits", 3, SIZE, &p->message));
    assert_message(p, "is damaged");
    assert_int_equal(open_file(p), SHARED_FILE_REBUILT);
    shared_file_close(&p->f);
    assert_true(shared_file_open_existing(&p->f, p->directory, "limits", 3, SIZE, &p->message));
}

static void names_are_checked(void **state)
{
    struct place *p = *state;
    static const char *const wrong[] = {"", "a/b", "..", "A", "a-b", "abcdefghijklmnopqrstuvwxyz0123456"};
    for (size_t i = 0; i < TEST_COUNT(wrong); i++)
        assert_int_equal(shared_file_open(&p->f, p->directory, wrong[i], 1, SIZE, &p->message),
                         SHARED_FILE_FAILED);
    assert_int_equal(count_files(p), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_made_zeroed_and_found_again),
        TEST(processes_that_start_at_once_share_one),
        TEST(damaged_files_are_moved_aside),
        TEST(what_is_no_file_of_ours_is_refused),
        TEST(a_mode_that_lets_others_in_is_closed),
        TEST(two_versions_run_side_by_side),
        TEST(a_full_disk_is_an_error_at_once),
        TEST(looking_makes_nothing),
        TEST(names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
