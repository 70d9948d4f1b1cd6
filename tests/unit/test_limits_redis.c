/* The limits in Redis: the script against bucket.c, several machines, and a server that is slow, gone or
 * strange. */
#include "test.h"

#include "limits_script.h"
#include "limits_world.h"
#include "redis_server.h"
#include "sluice/bucket.h"
#include "sluice/clock.h"
#include "sluice/limits_view.h"
#include "sluice/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SCHEDULES = 200, STEPS = 100, HELD = 8 };

static struct limits_world w;
static struct redis_server server;
static char url[192], tcp_url[64];

#define REDIS_ENV(...) WORLD_ENV("RATE_LIMIT__BACKEND=redis", url, __VA_ARGS__)

static int enter(void **state)
{
    (void)state;
    if (!redis_server_is_installed())
        skip();
    redis_server_start(&server, NULL);
    snprintf(url, sizeof url, "CACHE__REDIS_URL=%s", server.url);
    snprintf(tcp_url, sizeof tcp_url, "CACHE__REDIS_URL=redis://localhost:%d", server.port);
    world_enter(&w, REDIS_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=60", "RATE_LIMIT__TOKENS_PER_MINUTE=1000",
                              "RATE_LIMIT__LEASE_SECONDS=1", "REDIS__TIMEOUT_MS=2000"));
    world_open(&w);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    world_leave(&w);
    redis_server_remove(&server);
    return 0;
}

static struct told admit(int64_t tokens, struct limits_reservation **out)
{
    return world_admit(&w, &w.key, tokens, out);
}

#define WAIT_UNTIL(condition)                                                                                \
    do {                                                                                                     \
        int64_t until = clock_monotonic_us() + 15000000;                                                     \
        while (!(condition) && clock_monotonic_us() < until)                                                 \
            world_turn(&w, 5000);                                                                            \
        if (!(condition))                                                                                    \
            fail_msg("not in time: %s", #condition);                                                         \
    } while (0)

/* ---- the script
 * ---------------------------------------------------------------------------------------------- */

struct reply {
    int calls;
    int64_t values[4];
    char text[128];
};

static void on_reply(void *user, enum redis_status status, const struct redis_reply *reply)
{
    struct reply *r = user;
    struct slice text = redis_reply_text(reply);
    r->calls++;
    snprintf(r->text, sizeof r->text, "%d %.*s", (int)status, (int)text.len, text.ptr ? text.ptr : "");
    for (size_t i = 0; i < 4; i++)
        r->values[i] = redis_reply_integer(redis_reply_item(reply, i));
    if (redis_reply_count(reply) != 4)
        r->values[0] = -1;
}

static struct reply run(int64_t now, const char *op, const char *const *arguments)
{
    char seconds[24], nanoseconds[24];
    const char *argv[24] = {"EVAL", limits_script, "2",        "{k}:buckets", "{k}:leases",
                            op,     seconds,       nanoseconds};
    struct reply r = {0};
    int argc = 8;
    snprintf(seconds, sizeof seconds, "%lld", (long long)(now / 1000000000));
    snprintf(nanoseconds, sizeof nanoseconds, "%lld", (long long)(now % 1000000000));
    for (; *arguments; arguments++)
        argv[argc++] = *arguments;
    redis_command_argv(w.redis, argc, argv, NULL, on_reply, &r);
    while (!r.calls)
        event_base_loop(w.base, EVLOOP_ONCE);
    if (r.values[0] < 0)
        fail_msg("%s", r.text);
    return r;
}

struct model {
    int64_t requests_limit, tokens_limit, requests, tokens;
    struct {
        char member[48];
        int64_t tokens;
    } held[HELD];
    size_t count;
    uint64_t ids;
};

static void cost_text(char *out, int64_t limit, int64_t n)
{
    snprintf(out, 24, "%lld", limit ? (long long)bucket_cost(limit, n) : -1LL);
}

static void step_admit(struct model *m, int64_t now, int64_t n)
{
    char member[48], request[24], tokens[24];
    snprintf(member, sizeof member, "%llu:%lld", (unsigned long long)m->ids++,
             m->tokens_limit ? (long long)bucket_cost(m->tokens_limit, n) : 0LL);
    cost_text(request, m->requests_limit, 1);
    cost_text(tokens, m->tokens_limit, n);
    struct reply got =
        run(now, "admit", (const char *const[]){member, "100000000", "8", request, tokens, NULL});
    int64_t r = m->requests, t = m->tokens;
    int64_t expected = m->requests_limit && !bucket_admit(&r, m->requests_limit, now, 1)
                           ? LIMITS_REFUSED_REQUESTS
                       : m->tokens_limit && !bucket_admit(&t, m->tokens_limit, now, n) ? LIMITS_REFUSED_TOKENS
                       : m->count == HELD ? LIMITS_REFUSED_CONCURRENT
                                          : LIMITS_ADMITTED;
    assert_int_equal(got.values[0], expected);
    if (expected != LIMITS_ADMITTED)
        return;
    m->requests = r;
    m->tokens = t;
    m->held[m->count].tokens = n;
    memcpy(m->held[m->count++].member, member, sizeof member);
}

static void step_end(struct model *m, int64_t now, bool cancel, int64_t used)
{
    char cost[24];
    m->count--;
    cost_text(cost, cancel ? m->requests_limit : m->tokens_limit, cancel ? 1 : used);
    run(now, cancel ? "cancel" : "settle", (const char *const[]){m->held[m->count].member, cost, "0", NULL});
    if (m->tokens_limit)
        bucket_settle(&m->tokens, m->tokens_limit, now, m->held[m->count].tokens, cancel ? 0 : used);
    if (cancel && m->requests_limit)
        bucket_settle(&m->requests, m->requests_limit, now, 1, 0);
}

static void the_script_is_the_same_arithmetic(void **state)
{
    (void)state;
    static const int64_t limits[] = {0, 1, 7, 60, 1000, 99991, 1000000000};
    unsigned seed = 12345;
    world_configure(&w, REDIS_ENV("REDIS__TIMEOUT_MS=5000"));
    world_open(&w);
    WAIT_UNTIL(redis_is_connected(w.redis));
    for (int i = 0; i < SCHEDULES; i++) {
        struct model m = {.requests_limit = limits[rand_r(&seed) % 7],
                          .tokens_limit = limits[rand_r(&seed) % 7]};
        int64_t now = INT64_C(1700000000000000000) + rand_r(&seed) * INT64_C(1000);
        int64_t most = m.tokens_limit ? m.tokens_limit : 1000;
        run(now, "reset", (const char *const[]){NULL});
        for (int step = 0; step < STEPS; step++) {
            now += rand_r(&seed) % 3 ? rand_r(&seed) * INT64_C(3) : 0;
            now -= rand_r(&seed) % 20 ? 0 : rand_r(&seed); /* Redis' clock may step back as well */
            int64_t n = rand_r(&seed) % 6 ? 1 + rand_r(&seed) % most : most + rand_r(&seed) % most;
            if (m.count > 0 && rand_r(&seed) % 2)
                step_end(&m, now, rand_r(&seed) % 4 == 0, n);
            else
                step_admit(&m, now, rand_r(&seed) % 10 ? n : 0);
            struct reply got = run(now, "look", (const char *const[]){NULL});
            assert_int_equal(got.values[1], bucket_wait_full(m.requests, now));
            assert_int_equal(got.values[2], bucket_wait_full(m.tokens, now));
            assert_int_equal(got.values[3], m.count);
        }
    }
}

static void the_script_gives_back_what_expired(void **state)
{
    (void)state;
    int64_t now = INT64_C(1700000000000000000), minute = BUCKET_MINUTE_NS;
    WAIT_UNTIL(redis_is_connected(w.redis));
    run(now, "admit", (const char *const[]){"a:30000000000", "10", "2", "1000000000", "30000000000", NULL});
    run(now, "admit", (const char *const[]){"b:30000000000", "20", "2", "1000000000", "30000000000", NULL});
    assert_int_equal(run(now, "look", (const char *const[]){NULL}).values[2], minute);
    now += INT64_C(9000000000);
    run(now, "renew", (const char *const[]){"10", "a:30000000000", "unknown:5", NULL});
    now += INT64_C(9000000000); /* a was renewed */
    struct reply r = run(now, "look", (const char *const[]){NULL});
    assert_int_equal(r.values[2], minute - INT64_C(18000000000));
    assert_int_equal(r.values[3], 2);
    now += INT64_C(1500000000); /* a is over, b is not */
    r = run(now, "look", (const char *const[]){NULL});
    assert_int_equal(r.values[2], minute - INT64_C(19500000000) - INT64_C(30000000000));
    assert_int_equal(r.values[3], 1);
    r = run(now, "settle",
            (const char *const[]){"a:30000000000", "6000000000", "1", NULL}); /* told again: nothing */
    assert_int_equal(r.values[2], INT64_C(10500000000));
    r = run(now, "settle",
            (const char *const[]){"a:30000000000", "6000000000", "0", NULL}); /* too late: in full */
    assert_int_equal(r.values[2], INT64_C(16500000000));
    assert_int_equal(r.values[1], 0);
    char ttl[64];
    redis_server_ask(&server, "TTL {k}:buckets", ttl, sizeof ttl);
    assert_in_range(atoi(ttl + 1), 60, 80);
    redis_server_ask(&server, "TTL {k}:leases", ttl, sizeof ttl);
    assert_in_range(atoi(ttl + 1), 50, 80);
}

/* ---- admission
 * ----------------------------------------------------------------------------------------------- */

static void redis_decides(void **state)
{
    (void)state;
    static struct limits_reservation *a, *b;
    struct limits_decision d;
    struct told t = admit(600, &a); /* at once: it waits for the connection */
    assert_int_equal(t.d.verdict, LIMITS_ADMITTED);
    assert_false(t.d.fallback);
    assert_int_equal(t.d.requests.remaining, 59);
    assert_int_equal(t.d.tokens.remaining, 400);
    t = admit(500, &b);
    assert_int_equal(t.d.verdict, LIMITS_REFUSED_TOKENS);
    assert_in_range(t.d.retry_after_us, 5500000, 6000000);
    limits_settle(&a, 900);
    assert_null(a);
    world_turn(&w, 50000);
    limits_look(w.limits, &w.key, &d);
    assert_in_range(d.tokens.remaining, 100, 103);
    assert_in_range(d.requests.remaining, 59, 60);
    assert_int_equal(admit(90, &a).d.verdict, LIMITS_ADMITTED);
    limits_cancel(&a);
    world_turn(&w, 50000);
    limits_look(w.limits, &w.key, &d);
    assert_in_range(d.tokens.remaining, 100, 105);
    assert_int_equal(limits_stats(w.limits)->fallbacks, 0);
    assert_in_range(redis_stats(w.redis)->replies, 6,
                    8); /* a round trip each, but one more for the unknown script */
}

static void a_forgotten_script_is_sent_again(void **state)
{
    (void)state;
    static struct limits_reservation *r;
    char reply[64];
    for (int i = 0; i < 4; i++) {
        struct told t = admit(10, &r);
        assert_int_equal(t.d.verdict, LIMITS_ADMITTED);
        assert_false(t.d.fallback);
        assert_in_range(t.d.tokens.remaining, 1000 - 10 * (i + 1), 1000);
        redis_server_ask(&server, "SCRIPT FLUSH", reply, sizeof reply);
        limits_settle(&r, 10);
        world_turn(&w, 30000);
        redis_server_ask(&server, "SCRIPT FLUSH", reply, sizeof reply);
    }
    struct limits_decision d;
    limits_look(w.limits, &w.key, &d);
    assert_in_range(d.tokens.remaining, 960, 970);
    assert_in_range(d.requests.remaining, 56, 57);
}

static void requests_at_once(void **state)
{
    (void)state;
    static struct limits_reservation *r[4];
    world_configure(&w, REDIS_ENV("RATE_LIMIT__CONCURRENT_REQUESTS=3", "RATE_LIMIT__TOKENS_PER_MINUTE=0",
                                  "RATE_LIMIT__REQUESTS_PER_MINUTE=0", "RATE_LIMIT__LEASE_SECONDS=1",
                                  "REDIS__TIMEOUT_MS=2000"));
    world_open(&w);
    for (int i = 0; i < 3; i++)
        assert_int_equal(admit(5, &r[i]).d.verdict, LIMITS_ADMITTED);
    assert_int_equal(admit(5, &r[3]).d.verdict, LIMITS_REFUSED_CONCURRENT);
    world_turn(&w, 2500000); /* longer than a lease: they are renewed */
    assert_int_equal(admit(5, &r[3]).d.verdict, LIMITS_REFUSED_CONCURRENT);
    limits_settle(&r[1], 5);
    world_turn(&w, 50000);
    assert_int_equal(admit(5, &r[1]).d.verdict, LIMITS_ADMITTED);
    world_close(&w); /* as if it had crashed: nobody renews */
    usleep(1100000);
    world_open(&w);
    for (int i = 0; i < 3; i++)
        assert_int_equal(admit(5, &r[i]).d.verdict, LIMITS_ADMITTED);
}

/* Two state directories are two machines. */
static void two_machines_share_sixty(void **state)
{
    (void)state;
    struct crowd here, there;
    char elsewhere[] = "/tmp/sluice-limits-XXXXXX", command[64];
    long long admitted, more, tokens;
    const char *const *env = REDIS_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=60", "REDIS__TIMEOUT_MS=5000");
    assert_non_null(mkdtemp(elsewhere));
    crowd_start(&here, w.directory, 4, "admit", 100, 0, env);
    crowd_start(&there, elsewhere, 4, "admit", 100, 0, env);
    int64_t started = clock_boot_us();
    crowd_go(&here);
    crowd_go(&there);
    crowd_hear(&here, 4, &admitted, &tokens);
    crowd_hear(&there, 4, &more, &tokens);
    assert_in_range(admitted + more, 60, 60 + (clock_boot_us() - started) / 1000000);
    crowd_join(&here);
    crowd_join(&there);
    snprintf(command, sizeof command, "rm -rf %s", elsewhere);
    assert_int_equal(system(command), 0);
}

static void two_machines_keep_the_books(void **state)
{
    (void)state;
    struct crowd c;
    long long admitted, tokens;
    static struct limits_reservation *r;
    const char *const *env = REDIS_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=0",
                                       "RATE_LIMIT__TOKENS_PER_MINUTE=60000000", "REDIS__TIMEOUT_MS=5000");
    world_configure(&w, env);
    world_open(&w);
    crowd_start(&c, w.directory, 4, "settle", 300, 1000, env);
    int64_t started = clock_boot_us();
    crowd_go(&c);
    crowd_hear(&c, 4, &admitted, &tokens);
    crowd_join(&c);
    struct told t = admit(0, &r);
    int64_t refilled = clock_boot_us() - started + 2;
    assert_int_equal(admitted, 1200);
    assert_in_range(t.d.tokens.remaining, 60000000 - tokens, 60000000 - tokens + refilled);
}

static void on_row(void *user, const struct limits_view_row *row)
{
    struct limits_view_row *rows = user;
    rows[strcmp(row->fingerprint, w.key.fingerprint) == 0] = *row;
}

static void what_is_left_is_shown_and_filled(void **state)
{
    (void)state;
    static struct limits_reservation *a, *b;
    struct limits_view_row rows[2] = {0};
    assert_int_equal(admit(400, &a).d.verdict, LIMITS_ADMITTED);
    assert_int_equal(world_admit(&w, &w.other, 1, &b).d.verdict, LIMITS_ADMITTED);
    assert_true(limits_view_list(&w.config, on_row, rows, &w.message));
    assert_string_equal(rows[0].fingerprint, w.other.fingerprint);
    assert_in_range(rows[1].tokens.remaining, 600, 601);
    assert_int_equal(rows[1].concurrent, 1);
    assert_true(limits_view_reset(&w.config, w.key.fingerprint, &w.message));
    assert_int_equal(admit(1000, &a).d.verdict, LIMITS_ADMITTED);
    assert_false(limits_view_reset(&w.config, "0123456789ab", &w.message));
    redis_server_kill(&server);
    assert_false(limits_view_list(&w.config, on_row, rows, &w.message));
    assert_non_null(strstr(buf_text(&w.message), "Redis did not answer"));
}

/* ---- without Redis
 * ------------------------------------------------------------------------------------------- */

static size_t count_log(const char *event)
{
    char path[128], text[65536];
    snprintf(path, sizeof path, "%s/log", w.directory);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0, count = 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    for (const char *at = text; (at = strstr(at, event)); at++)
        count++;
    return count;
}

static void begin_log(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/log", w.directory);
    assert_true(log_open(path, LOG_LEVEL_INFO));
}

static void a_paused_server(void **state)
{
    (void)state;
    static struct limits_reservation *r[40];
    char reply[64];
    int admitted = 0;
    int64_t longest = 0, started = clock_monotonic_us();
    world_configure(&w, REDIS_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=60", "RATE_LIMIT__LOCAL_SHARE=0.25",
                                  "RATE_LIMIT__LEASE_SECONDS=1"));
    world_open(&w);
    begin_log();
    WAIT_UNTIL(redis_is_connected(w.redis));
    redis_server_ask(&server, "CLIENT PAUSE 3000", reply, sizeof reply);
    for (int i = 0; i < 40; i++) {
        int64_t before = clock_monotonic_us();
        struct told t = admit(1, &r[i]);
        int64_t took = clock_monotonic_us() - before;
        longest = took > longest ? took : longest;
        admitted += t.d.verdict == LIMITS_ADMITTED;
        assert_true(t.d.fallback);
        assert_int_equal(t.d.requests.limit, 15);
    }
    assert_in_range(longest, 49000, 1000000);
    assert_in_range(admitted, 15, 16 + (clock_monotonic_us() - started) / 4000000);
    assert_int_equal(limits_stats(w.limits)->fallbacks, 40);
    assert_int_equal(count_log("\"limits_local\""), 1);
    WAIT_UNTIL(redis_is_connected(w.redis));
    struct told t =
        admit(1, &r[39]); /* what was given meanwhile is forgotten; what Redis did late counts there */
    assert_false(t.d.fallback);
    assert_int_equal(t.d.verdict, LIMITS_ADMITTED);
    assert_in_range(t.d.requests.remaining, 50, 59);
    assert_int_equal(count_log("\"limits_redis\""), 1);
    assert_int_equal(count_log("\"limits_local\""), 1);
    log_close();
}

static void a_dead_server_and_its_return(void **state)
{
    (void)state;
    static struct limits_reservation *before, *r, *held[10];
    begin_log();
    assert_false(admit(100, &before).d.fallback);
    for (int i = 0; i < 10; i++)
        assert_int_equal(admit(50, &held[i]).d.verdict, LIMITS_ADMITTED);
    world_turn(&w, 1100000);
    redis_server_kill(&server);
    WAIT_UNTIL(!redis_is_connected(w.redis));
    struct told t = admit(100, &r);
    assert_true(t.d.fallback);
    assert_int_equal(t.d.verdict, LIMITS_ADMITTED);
    assert_in_range(t.d.tokens.remaining, 300, 400); /* it goes on where Redis was last seen */
    limits_settle(&before, 150);                     /* owed, as nobody is there to be told */
    assert_null(before);
    for (int i = 0; i < 10; i++)
        limits_cancel(&held[i]);
    world_turn(&w, 300000);
    redis_server_again(&server);
    WAIT_UNTIL(redis_is_connected(w.redis));
    world_turn(&w, 700000); /* now it is told */
    limits_settle(&r, 100); /* of the local buckets, which count no more */
    t = admit(1, &r);
    assert_false(t.d.fallback);
    assert_in_range(t.d.tokens.remaining, 849, 875);
    assert_int_equal(count_log("\"limits_local\""), 1);
    assert_int_equal(count_log("\"limits_redis\""), 1);
    log_close();
}

static void a_server_that_was_never_there(void **state)
{
    (void)state;
    static struct limits_reservation *r[61];
    char nowhere[64];
    snprintf(nowhere, sizeof nowhere, "CACHE__REDIS_URL=redis://127.0.0.1:%d", free_port());
    world_configure(&w,
                    WORLD_ENV("RATE_LIMIT__BACKEND=redis", nowhere, "RATE_LIMIT__REQUESTS_PER_MINUTE=60"));
    begin_log();
    world_open(&w);
    int64_t started = clock_monotonic_us();
    int admitted = 0;
    for (int i = 0; i < 61; i++)
        admitted += admit(1, &r[i]).d.verdict == LIMITS_ADMITTED;
    assert_in_range(admitted, 60, 61);
    assert_true(clock_monotonic_us() - started < 300000);
    assert_int_equal(count_log("\"limits_local\""), 1);
    log_close();
}

static void strange_answers(void **state)
{
    (void)state;
    static struct limits_reservation *r;
    static const char *const answers[] = {
        "+PONG\r\n+OK\r\n",
        "+PONG\r\n:0\r\n",
        "+PONG\r\n*0\r\n",
        "+PONG\r\n*4\r\n:0\r\n:0\r\n:0\r\n+x\r\n",
        "+PONG\r\n*4\r\n:4\r\n:0\r\n:0\r\n:0\r\n",
        "+PONG\r\n*4\r\n:-1\r\n:0\r\n:0\r\n:0\r\n",
        "+PONG\r\n*4\r\n:0\r\n:-5\r\n:0\r\n:0\r\n",
        "+PONG\r\n*4\r\n:0\r\n:0\r\n:9223372036854775807\r\n:0\r\n",
        "+PONG\r\n*4\r\n$1\r\n0\r\n:0\r\n:0\r\n:0\r\n",
        "+PONG\r\n*-1\r\n",
        "+PONG\r\n-ERR no\r\n",
        "+PONG\r\n-NOSCRIPT no\r\n-NOSCRIPT no\r\n",
        "+PONG\r\n-MOVED 1 127.0.0.1:1\r\n",
        "+PONG\r\n~garbage",
    };
    log_open("/dev/null", LOG_LEVEL_ERROR);
    for (size_t i = 0; i < TEST_COUNT(answers); i++) {
        int port;
        char strange[64];
        pid_t fake = fake_server_start(answers[i], strlen(answers[i]), false, &port);
        snprintf(strange, sizeof strange, "CACHE__REDIS_URL=redis://127.0.0.1:%d", port);
        world_configure(&w, WORLD_ENV("RATE_LIMIT__BACKEND=redis", strange));
        world_open(&w);
        struct told t = admit(1, &r);
        assert_int_equal(t.d.verdict, LIMITS_ADMITTED);
        if (i != 3) /* the fourth number is not looked at */
            assert_true(t.d.fallback);
        limits_settle(&r, 1);
        world_turn(&w, 20000);
        world_close(&w);
        fake_server_stop(fake);
    }
    log_close();
}

static void names_over_tcp(void **state)
{
    (void)state;
    static struct limits_reservation *r;
    world_configure(&w, WORLD_ENV("RATE_LIMIT__BACKEND=redis", tcp_url, "REDIS__TIMEOUT_MS=2000"));
    world_open(&w);
    assert_false(admit(1, &r).d.fallback);
}

static void a_request_is_given_up_while_redis_is_asked(void **state)
{
    (void)state;
    static struct limits_reservation *r;
    struct told t = {0};
    WAIT_UNTIL(redis_is_connected(w.redis));
    limits_admit(w.limits, &w.key, 1, &r, world_on_decision, &t);
    assert_non_null(r);
    limits_cancel(&r);
    limits_admit(w.limits, &w.key, 1, &r, world_on_decision, &t);
    limits_settle(&r, 1); /* the same */
    limits_admit(w.limits, &w.key, 1, &r, world_on_decision, &t);
    world_turn(&w, 50000);
    assert_int_equal(t.calls, 1);
    limits_admit(w.limits, &w.key, 1, &r, world_on_decision, &t);
    world_close(&w);
    assert_null(r);
    assert_int_equal(t.calls, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_script_is_the_same_arithmetic),
        TEST(the_script_gives_back_what_expired),
        TEST(redis_decides),
        TEST(a_forgotten_script_is_sent_again),
        TEST(requests_at_once),
        TEST(two_machines_share_sixty),
        TEST(two_machines_keep_the_books),
        TEST(what_is_left_is_shown_and_filled),
        TEST(a_paused_server),
        TEST(a_dead_server_and_its_return),
        TEST(a_server_that_was_never_there),
        TEST(strange_answers),
        TEST(names_over_tcp),
        TEST(a_request_is_given_up_while_redis_is_asked),
    };
    world_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
