/* The link to Redis, against a real server and against servers that misbehave. */
#include "test.h"

#include "redis_server.h"
#include "redis_wire.h"
#include "sluice/buf.h"
#include "sluice/clock.h"
#include "sluice/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROUNDS = 32, TIMEOUT_US = 50000 };

struct answer {
    int calls;
    enum redis_status status;
    enum redis_type type;
    int64_t integer;
    char text[64];
    int64_t at_us;
};

struct world {
    struct event_base *base;
    struct redis_server server;
    struct redis *link;
};

static struct world w;

static int enter(void **state)
{
    (void)state;
    if (!redis_server_is_installed())
        skip();
    w = (struct world){.base = event_base_new()};
    redis_server_start(&w.server, NULL);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    redis_free(&w.link);
    redis_server_remove(&w.server);
    event_base_free(w.base);
    return 0;
}

static struct redis *link_to(const char *text, int64_t timeout_us)
{
    struct redis_url url;
    assert_null(redis_url_parse(slice_from_text(text), &url));
    return redis_new(w.base, &url, timeout_us);
}

static void turn(int64_t us)
{
    struct timeval step = {us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND};
    event_base_loopexit(w.base, &step);
    event_base_dispatch(w.base);
}

#define WAIT_UNTIL(condition)                                                                                \
    do {                                                                                                     \
        int64_t until = clock_monotonic_us() + 15000000;                                                     \
        while (!(condition) && clock_monotonic_us() < until)                                                 \
            turn(2000);                                                                                      \
        if (!(condition))                                                                                    \
            fail_msg("not in time: %s (%s)", #condition, w.link ? redis_trouble(w.link) : "");               \
    } while (0)

static void on_answer(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct answer *a = user;
    struct slice text = redis_reply_text(reply);
    a->calls++;
    a->status = status;
    a->type = redis_reply_type(reply);
    a->integer = redis_reply_integer(reply);
    a->at_us = clock_monotonic_us();
    snprintf(a->text, sizeof a->text, "%.*s", (int)text.len, text.ptr ? text.ptr : "");
}

static struct redis_command *ask(struct answer *a, const char *one, const char *two, const char *three)
{
    const char *argv[] = {one, two, three};
    *a = (struct answer){0};
    return redis_command_argv(w.link, three ? 3 : two ? 2 : 1, argv, NULL, on_answer, a);
}

static void commands_wait_for_the_first_connection(void **state)
{
    (void)state;
    struct answer a[ROUNDS];
    w.link = link_to(w.server.url, 1000000);
    assert_false(redis_is_connected(w.link));
    for (int i = 0; i < ROUNDS; i++)
        assert_non_null(ask(&a[i], "INCR", "n", NULL));
    WAIT_UNTIL(a[ROUNDS - 1].calls);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(a[i].calls, 1);
        assert_int_equal(a[i].status, REDIS_STATUS_OK);
        assert_int_equal(a[i].integer, i + 1);
    }
    assert_true(redis_is_connected(w.link));
    assert_string_equal(redis_trouble(w.link), "");
    const struct redis_stats *s = redis_stats(w.link);
    assert_int_equal(s->commands, ROUNDS);
    assert_int_equal(s->replies, ROUNDS + 1); /* and a PING */
    assert_int_equal(s->connections, 1);
}

static void replies_of_every_type(void **state)
{
    (void)state;
    struct answer a;
    w.link = link_to(w.server.url, 1000000);
    ask(&a, "SET", "k", "a\r\nb");
    WAIT_UNTIL(a.calls);
    assert_string_equal(a.text, "OK");
    ask(&a, "GET", "k", NULL);
    WAIT_UNTIL(a.calls);
    assert_string_equal(a.text, "a\r\nb");
    ask(&a, "GET", "nothing", NULL);
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.type, REDIS_TYPE_NIL);
    ask(&a, "INCR", "k", NULL);
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.status, REDIS_STATUS_ERROR);
    assert_non_null(strstr(a.text, "not an integer"));
    ask(&a, "KEYS", "*", NULL);
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.type, REDIS_TYPE_ARRAY);
    assert_null(redis_reply_item(NULL, 0));
    assert_int_equal(redis_reply_type(NULL), REDIS_TYPE_NIL);
}

static void tcp_names_and_databases(void **state)
{
    (void)state;
    struct answer a;
    char url[64];
    snprintf(url, sizeof url, "redis://localhost:%d/3",
             w.server.port); /* ::1 comes first, and nobody is there */
    w.link = link_to(url, 2000000);
    ask(&a, "SET", "k", "v");
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.status, REDIS_STATUS_OK);
    redis_server_ask(&w.server, "EXISTS k", a.text, sizeof a.text);
    assert_string_equal(a.text, ":0\r\n"); /* not in database 0 */
}

static void names_that_do_not_exist(void **state)
{
    (void)state;
    struct answer a;
    w.link = link_to("redis://no-such-host.invalid", 5000000);
    ask(&a, "PING", NULL, NULL);
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.status, REDIS_STATUS_UNAVAILABLE);
    assert_non_null(strstr(redis_trouble(w.link), "name"));
    redis_free(&w.link);
    w.link = link_to("redis://no-such-host.invalid", TIMEOUT_US);
    redis_free(&w.link); /* while the thread may still wait */
}

static void name_of_descriptor(int fd, char name[64])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, name, 63);
    name[n > 0 ? n : 0] = '\0';
}

/* A loop may forget a descriptor a turn after it was told to: nobody else may close it meanwhile. */
static void what_a_loop_watches_of_a_resolver_only_the_loop_closes(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        char before[64], after[64];
        struct redis_resolver *r = redis_resolver_start("localhost");
        assert_non_null(r);
        int fd = redis_resolver_fd(r);
        name_of_descriptor(fd, before);
        usleep((useconds_t)(i * 50));
        name_of_descriptor(fd, after);
        assert_string_not_equal(before, "");
        assert_string_equal(before, after);
        redis_resolver_free(&r);
        name_of_descriptor(fd, after);
        assert_string_not_equal(before, after);
    }
}

static void passwords(void **state)
{
    (void)state;
    struct redis_server locked;
    struct answer a;
    char url[160];
    redis_server_start(&locked, "s3cret");
    w.link = link_to(locked.url, 1000000);
    ask(&a, "SET", "k", "v");
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.status, REDIS_STATUS_OK);
    redis_free(&w.link);
    snprintf(url, sizeof url, "unix://default:s3cret@%s", locked.socket);
    w.link = link_to(url, 1000000);
    ask(&a, "GET", "k", NULL);
    WAIT_UNTIL(a.calls);
    assert_string_equal(a.text, "v");
    redis_free(&w.link);
    const char *const wrong[] = {"", ":hunter2@"};
    for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
        snprintf(url, sizeof url, "unix://%s%s", wrong[i], locked.socket);
        w.link = link_to(url, 1000000);
        ask(&a, "GET", "k", NULL);
        WAIT_UNTIL(a.calls);
        assert_int_equal(a.status, REDIS_STATUS_UNAVAILABLE);
        assert_non_null(strstr(redis_trouble(w.link), "refuses us"));
        assert_null(strstr(redis_trouble(w.link), "hunter2"));
        redis_free(&w.link);
    }
    redis_server_remove(&locked);
}

static void a_paused_server_costs_the_time_limit_and_then_nothing(void **state)
{
    (void)state;
    struct answer a;
    char reply[64];
    w.link = link_to(w.server.url, TIMEOUT_US);
    WAIT_UNTIL(redis_is_connected(w.link));
    redis_server_ask(&w.server, "CLIENT PAUSE 4000", reply, sizeof reply);
    for (int i = 0; i < REDIS_BREAKER_FAILURES; i++) {
        int64_t started = clock_monotonic_us();
        assert_non_null(ask(&a, "INCR", "n", NULL));
        WAIT_UNTIL(a.calls);
        assert_int_equal(a.status, REDIS_STATUS_TIMEOUT);
        assert_in_range(a.at_us - started, TIMEOUT_US, 20 * TIMEOUT_US);
    }
    assert_false(redis_is_connected(w.link));
    assert_string_equal(redis_trouble(w.link), "commands time out");
    assert_null(ask(&a, "INCR", "n", NULL)); /* called back at once */
    assert_int_equal(a.status, REDIS_STATUS_UNAVAILABLE);
    WAIT_UNTIL(redis_is_connected(w.link)); /* by itself, when the pause is over */
    ask(&a, "INCR", "n", NULL);
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.status, REDIS_STATUS_OK);
    assert_int_equal(a.calls, 1);
    const struct redis_stats *s = redis_stats(w.link);
    assert_in_range(s->timeouts, REDIS_BREAKER_FAILURES, REDIS_BREAKER_FAILURES + 2);
    assert_int_equal(s->breaker_opened, 1);
}

/* They come when nobody waits for them any more, and must not be taken for another command's. */
static void late_replies_are_dropped(void **state)
{
    (void)state;
    struct answer slow[3], a;
    char reply[64];
    w.link = link_to(w.server.url, TIMEOUT_US);
    WAIT_UNTIL(redis_is_connected(w.link));
    redis_server_ask(&w.server, "CLIENT PAUSE 150", reply, sizeof reply);
    for (int i = 0; i < 3; i++)
        ask(&slow[i], "ECHO", "slow", NULL);
    WAIT_UNTIL(slow[2].calls);
    for (int i = 0; i < 3; i++)
        assert_int_equal(slow[i].status, REDIS_STATUS_TIMEOUT);
    WAIT_UNTIL(redis_stats(w.link)->late == 3);
    ask(&a, "ECHO", "quick", NULL);
    WAIT_UNTIL(a.calls);
    assert_string_equal(a.text, "quick");
    assert_int_equal(slow[0].calls, 1);
}

static void cancelled_commands_are_not_called_back(void **state)
{
    (void)state;
    struct answer early, sent, a;
    w.link = link_to(w.server.url, 1000000);
    struct redis_command *c = ask(&early, "INCR", "n", NULL); /* not connected yet */
    redis_command_cancel(&c);
    assert_null(c);
    WAIT_UNTIL(redis_is_connected(w.link));
    c = ask(&sent, "INCR", "n", NULL);
    redis_command_cancel(&c);
    ask(&a, "INCR", "n", NULL);
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.integer, 2);
    assert_int_equal(early.calls + sent.calls, 0);
}

static void a_server_that_dies_and_returns(void **state)
{
    (void)state;
    struct answer a;
    w.link = link_to(w.server.url, TIMEOUT_US);
    WAIT_UNTIL(redis_is_connected(w.link));
    turn(1100000); /* a connection that has lasted */
    redis_server_kill(&w.server);
    WAIT_UNTIL(!redis_is_connected(w.link));
    WAIT_UNTIL(redis_stats(w.link)->breaks >= 2); /* and at the first new attempt nobody was there */
    assert_null(ask(&a, "PING", NULL, NULL));     /* called back at once */
    assert_int_equal(a.status, REDIS_STATUS_UNAVAILABLE);
    turn(500000);
    redis_server_again(&w.server);
    WAIT_UNTIL(redis_is_connected(w.link));
    ask(&a, "PING", NULL, NULL);
    WAIT_UNTIL(a.calls);
    assert_string_equal(a.text, "PONG");
    assert_int_equal(redis_stats(w.link)->connections, 2);
}

static void commands_under_way_are_told_when_the_connection_breaks(void **state)
{
    (void)state;
    struct answer a[4];
    w.link = link_to(w.server.url, 5000000);
    WAIT_UNTIL(redis_is_connected(w.link));
    redis_server_freeze(&w.server);
    for (int i = 0; i < 4; i++)
        ask(&a[i], "INCR", "n", NULL);
    turn(20000);
    redis_server_kill(&w.server);
    WAIT_UNTIL(a[3].calls);
    for (int i = 0; i < 4; i++)
        assert_int_equal(a[i].status, REDIS_STATUS_UNAVAILABLE);
}

/* The process is stopped and the connection stays: only PING can tell. */
static void an_idle_link_finds_out(void **state)
{
    (void)state;
    w.link = link_to(w.server.url, TIMEOUT_US);
    WAIT_UNTIL(redis_is_connected(w.link));
    redis_server_freeze(&w.server);
    WAIT_UNTIL(!redis_is_connected(w.link));
    assert_string_equal(redis_trouble(w.link), "PING is not answered");
    WAIT_UNTIL(redis_stats(w.link)->breaker_opened == 1);
    redis_server_thaw(&w.server);
    WAIT_UNTIL(redis_is_connected(w.link));
}

static void error_replies_open_the_breaker(void **state)
{
    (void)state;
    struct answer a;
    char reply[64];
    w.link = link_to(w.server.url, 1000000);
    WAIT_UNTIL(redis_is_connected(w.link));
    for (int i = 0; i < 2 * REDIS_BREAKER_FAILURES; i++) { /* the command's own fault */
        ask(&a, "NONSENSE", NULL, NULL);
        WAIT_UNTIL(a.calls);
        assert_int_equal(a.status, REDIS_STATUS_ERROR);
        ask(&a, "EVALSHA", "0000000000000000000000000000000000000000", "0");
        WAIT_UNTIL(a.calls);
        assert_int_equal(strncmp(a.text, "NOSCRIPT", 8), 0);
    }
    assert_true(redis_is_connected(w.link));
    redis_server_ask(&w.server, "CONFIG SET maxmemory 1", reply, sizeof reply);
    for (int i = 0; i < REDIS_BREAKER_FAILURES; i++) {
        ask(&a, "SET", "k", "v");
        WAIT_UNTIL(a.calls);
        assert_int_equal(a.status, REDIS_STATUS_ERROR);
    }
    assert_false(redis_is_connected(w.link));
    assert_string_equal(redis_trouble(w.link), "the server answers with errors: OOM");
}

static void servers_that_speak_something_else(void **state)
{
    (void)state;
    static char many[100000];
    memset(many, '*', sizeof many);
    const struct {
        const char *bytes;
        size_t len;
        bool closes;
        const char *trouble;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", 28, false, "not Redis' protocol"},
        {"+OK\r\n", 5, false, ""},
        {"+PONG\r\n+PONG\r\n+PONG\r\n", 21, false, "good"}, /* a parrot: only the reply itself can tell */
        {"", 0, true, "no connection"},
        {"", 0, false, "does not answer"},
        {"$-5\r\n", 5, false, "not Redis' protocol"},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", 40, false, "not Redis' protocol"},
        {"$2147483648\r\n", 13, false, ""},
        {"*2147483647\r\n", 13, false, "too many items"},
        {"*65537\r\n", 8, false, "too many items"},
        {"*65536\r\n", 8, false, ""},
        {":99999999999999999999999999\r\n", 29, false, ""},
        {"-DENIED go away\r\n", 17, true, "refuses us: -DENIED"},
        {many, sizeof many, true, ""},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        int port;
        char url[64];
        struct answer a;
        pid_t fake = fake_server_start(cases[i].bytes, cases[i].len, cases[i].closes, &port);
        snprintf(url, sizeof url, "redis://127.0.0.1:%d", port);
        w.link = link_to(url, TIMEOUT_US);
        ask(&a, "GET", "k", NULL);
        WAIT_UNTIL(a.calls);
        assert_int_equal(a.status == REDIS_STATUS_OK, strcmp(cases[i].trouble, "good") == 0);
        if (strcmp(cases[i].trouble, "does not answer") == 0)
            WAIT_UNTIL(redis_stats(w.link)->breaks);
        else
            turn(100000);
        if (*cases[i].trouble && a.status != REDIS_STATUS_OK && i != 12 &&
            !strstr(redis_trouble(w.link), cases[i].trouble))
            fail_msg("case %zu: %s", i, redis_trouble(w.link));
        redis_free(&w.link);
        fake_server_stop(fake);
    }
}

/* Of a long array hiredis keeps the items that are complete. */
static void a_reply_that_does_not_end_is_too_long(void **state)
{
    (void)state;
    enum { ITEM = 1024 * 1024, ITEMS = REDIS_REPLY_MAX / ITEM };
    static const char array[] = "*1000\r\n", item[] = "$1048576\r\n";
    struct answer a;
    struct buf bytes;
    int port;
    char url[64];
    char *text = calloc(1, ITEM);
    assert_non_null(text);
    buf_init(&bytes, 2 * REDIS_REPLY_MAX);
    assert_true(buf_append_text(&bytes, "+PONG\r\n") && buf_append_text(&bytes, array));
    for (int i = 0; i < ITEMS; i++)
        assert_true(buf_append_text(&bytes, item) && buf_append(&bytes, text, ITEM) && buf_append_text(&bytes, "\r\n"));
    free(text);
    pid_t fake = fake_server_start(buf_data(&bytes), bytes.len, false, &port);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", port);
    w.link = link_to(url, 100 * TIMEOUT_US);
    ask(&a, "GET", "k", NULL);
    WAIT_UNTIL(a.calls);
    assert_int_equal(a.status, REDIS_STATUS_UNAVAILABLE);
    assert_non_null(strstr(redis_trouble(w.link), "too long"));
    redis_free(&w.link);
    fake_server_stop(fake);
    buf_free(&bytes);
}

static void free_within(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct answer *a = user;
    (void)reply;
    a->calls++;
    a->status = status;
    redis_free(&w.link);
}

static void the_link_may_be_freed_within_a_callback(void **state)
{
    (void)state;
    const char *argv[] = {"PING"};
    for (int round = 0; round < 4; round++) {
        struct answer a = {0}, others[3];
        w.link = link_to(w.server.url, TIMEOUT_US);
        if (round != 3)
            WAIT_UNTIL(redis_is_connected(w.link));
        if (round == 1 || round == 2)
            redis_server_freeze(&w.server);
        redis_command_argv(w.link, 1, argv, NULL, free_within, &a); /* told OK, TIMEOUT, UNAVAILABLE, OK */
        for (int i = 0; i < 3; i++)
            ask(&others[i], "PING", NULL, NULL);
        if (round == 2) {
            turn(5000);
            redis_server_kill(&w.server);
        }
        WAIT_UNTIL(a.calls);
        assert_null(w.link);
        turn(100000);
        assert_int_equal(a.calls, 1);
        for (int i = 0; i < 3; i++)
            assert_int_equal(others[i].calls, 0);
        if (round == 1)
            redis_server_thaw(&w.server);
        if (round == 2)
            redis_server_again(&w.server);
    }
}

static void too_much_at_once_is_refused(void **state)
{
    (void)state;
    static struct answer a[REDIS_PENDING_MAX + 10];
    size_t refused = 0;
    w.link = link_to(w.server.url, 5000000);
    WAIT_UNTIL(redis_is_connected(w.link));
    redis_server_freeze(&w.server);
    for (size_t i = 0; i < TEST_COUNT(a); i++)
        refused += ask(&a[i], "ECHO", "x", NULL) == NULL;
    assert_int_equal(refused, 10);
    redis_server_thaw(&w.server);
    WAIT_UNTIL(a[REDIS_PENDING_MAX - 1].calls);
    assert_int_equal(a[REDIS_PENDING_MAX - 1].status, REDIS_STATUS_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commands_wait_for_the_first_connection),
        TEST(replies_of_every_type),
        TEST(tcp_names_and_databases),
        TEST(names_that_do_not_exist),
        cmocka_unit_test(what_a_loop_watches_of_a_resolver_only_the_loop_closes),
        TEST(passwords),
        TEST(a_paused_server_costs_the_time_limit_and_then_nothing),
        TEST(late_replies_are_dropped),
        TEST(cancelled_commands_are_not_called_back),
        TEST(a_server_that_dies_and_returns),
        TEST(commands_under_way_are_told_when_the_connection_breaks),
        TEST(an_idle_link_finds_out),
        TEST(error_replies_open_the_breaker),
        TEST(servers_that_speak_something_else),
        TEST(a_reply_that_does_not_end_is_too_long),
        TEST(the_link_may_be_freed_within_a_callback),
        TEST(too_much_at_once_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
