/* `sluice cache`: the command line, and what it says of both engines. */
#include "cache_world.h"

#include "cache_command.h"
#include "redis_server.h"
#include "sluice/cache_lmdb.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 6, OUTPUT_MAX = 8192, ENTRIES = 30 };

static struct redis_server server;

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    world_open(w);
    setenv("OPENAI_API_KEY", "sk-x", 1);
    setenv("CLIENT_API_KEYS", "a", 1);
    setenv("STATE_DIR", w->dir, 1);
    setenv("CACHE__MAX_BYTES", "4MiB", 1);
    setenv("CACHE__REDIS_URL", "redis://127.0.0.1:1", 1);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_close(*state);
    free(*state);
    redis_server_remove(&server);
    return 0;
}

/* Runs the command with its output in a file; gives the status. */
static int run(const struct world *w, const char *const *arguments, char *output)
{
    char *argv[ARGUMENTS_MAX + 2] = {(char[]){"cache"}};
    int argc = 1;
    for (; arguments[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    fflush(stdout);
    fflush(stderr);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    int file = open(world_path(w, "output"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    int status = cache_command_main(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    ssize_t n = pread(file, output, OUTPUT_MAX - 1, 0);
    output[n > 0 ? n : 0] = '\0';
    close(file);
    close(out);
    close(err);
    return status;
}

#define RUN(...) run(w, (const char *const[]){__VA_ARGS__, NULL}, output)
#define ASSERT_SAYS(text)                                                                                    \
    do {                                                                                                     \
        if (!strstr(output, text))                                                                           \
            fail_msg("does not say %s:\n%s", text, output);                                                  \
    } while (0)

static void wrong_lines_are_told(void **state)
{
    struct world *w = *state;
    char output[OUTPUT_MAX];
    static const char *const lines[][4] = {{NULL},
                                           {"stats", "clear"},
                                           {"nonsense"},
                                           {"clear", "--key"},
                                           {"clear", "--key", "0123"},
                                           {"stats", "--key", "001122334455"},
                                           {"stats", "--env-file"}};
    for (size_t i = 0; i < TEST_COUNT(lines); i++) {
        assert_int_equal(run(w, lines[i], output), 2);
        ASSERT_SAYS("usage: sluice cache");
    }
    assert_int_equal(RUN("clear", "--key", "sk-whole"), 2);
    ASSERT_SAYS("--key takes a fingerprint, 12 hexadecimal digits");
    assert_null(strstr(output, "sk-whole"));
    assert_int_equal(RUN("--help"), 0);
    ASSERT_SAYS("--key FINGERPRINT");
    setenv("CACHE__MAX_BYTES", "many", 1);
    assert_int_equal(RUN("stats"), 2);
    ASSERT_SAYS("CACHE__MAX_BYTES");
}

static void looking_makes_no_store(void **state)
{
    struct world *w = *state;
    char output[OUTPUT_MAX];
    assert_int_equal(RUN("stats"), 0);
    ASSERT_SAYS("no store yet");
    ASSERT_SAYS("not connected");
    assert_int_not_equal(access(world_path(w, "cache-v1"), F_OK), 0);
}

static void fill_local(const struct world *w)
{
    struct buf record, text;
    buf_init(&record, 10000);
    buf_init(&text, 1000);
    struct cache_lmdb *store = cache_lmdb_open(w->dir, 4 << 20, &text, &text);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        struct digest key = world_key(i);
        struct cache_owner owner = {{(uint8_t)(i % 3), 2, 3, 4, 5, 6}};
        world_record(&record, &key, 1000, i, 60000);
        assert_int_equal(cache_lmdb_put(store, &key, &owner, INT64_MAX, buf_slice(&record)), CACHE_LMDB_OK);
    }
    cache_lmdb_close(&store);
    buf_free(&record);
    buf_free(&text);
}

static void the_store_is_shown_and_cleared(void **state)
{
    struct world *w = *state;
    char output[OUTPUT_MAX];
    fill_local(w);
    assert_int_equal(RUN("stats"), 0);
    ASSERT_SAYS("30 entries");
    ASSERT_SAYS("of 4.0 MiB used; 30 stored");
    assert_int_equal(RUN("clear", "--key", "sha256:010203040506"), 0);
    ASSERT_SAYS("10 entries removed");
    assert_int_equal(RUN("clear", "--key", "010203040506"), 1);
    ASSERT_SAYS("STATE_DIR  0 entries removed");
    ASSERT_SAYS("no entry and no configured key has the fingerprint 010203040506");
    assert_int_equal(RUN("clear"), 0);
    ASSERT_SAYS("20 entries removed");
    assert_int_equal(RUN("stats"), 0);
    ASSERT_SAYS("STATE_DIR  0 entries");
}

static void redis_is_shown_and_cleared(void **state)
{
    struct world *w = *state;
    char output[OUTPUT_MAX], command[200], reply[100], hex[DIGEST_HEX_SIZE];
    if (!redis_server_is_installed())
        skip();
    redis_server_start(&server, NULL);
    setenv("CACHE__REDIS_URL", server.url, 1);
    for (uint64_t i = 0; i < 5; i++) {
        struct digest key = world_key(i);
        digest_hex(key.bytes, DIGEST_SIZE, hex);
        snprintf(command, sizeof command, "SET sluice:cache:v1:%s x", hex);
        redis_server_ask(&server, command, reply, sizeof reply);
    }
    assert_int_equal(RUN("stats"), 0);
    ASSERT_SAYS("Redis      5 entries");
    assert_int_equal(RUN("clear", "--key", "010203040506"), 1);
    ASSERT_SAYS("Redis      0 entries removed");
    ASSERT_SAYS("no entry and no configured key");
    assert_int_equal(RUN("clear"), 0);
    ASSERT_SAYS("Redis      5 entries removed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(wrong_lines_are_told),
        TEST(looking_makes_no_store),
        TEST(the_store_is_shown_and_cleared),
        TEST(redis_is_shown_and_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
