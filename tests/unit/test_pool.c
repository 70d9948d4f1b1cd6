/* The pool of upstream keys: choice, breaker, rests, and that workers share what they learn. */
#include "test.h"

#include "sluice/pool.h"

#include <sys/wait.h>
#include <unistd.h>

struct fixture {
    struct config config;
    struct keys *keys;
    struct pool_shared *shared;
    struct pool *pool;
    const struct client_key *client;
};

static void set_up(struct fixture *f, const char *upstream_keys, int64_t open_us)
{
    struct config_report report;
    const char *environment[] = {upstream_keys, "CLIENT_API_KEYS=one", NULL};
    config_report_init(&report);
    assert_true(config_load(&f->config, &(struct config_input){.environment = environment, .env_file = ""}, &report));
    config_report_free(&report);
    f->keys = keys_new(&f->config);
    f->shared = pool_shared_new(keys_upstream_count(f->keys));
    f->pool = pool_new(f->keys, f->shared, open_us);
    assert_true(keys_find(f->keys, SLICE_LITERAL("one"), &f->client));
    assert_non_null(f->pool);
}

static void tear_down(struct fixture *f)
{
    pool_free(&f->pool);
    pool_shared_free(&f->shared);
    keys_free(&f->keys);
    config_free(&f->config);
}

static void use(struct fixture *f, enum pool_outcome outcome)
{
    struct pool_choice c = pool_choose(f->pool, f->client);
    assert_true(c.chosen);
    pool_report(f->pool, f->client, c.index, outcome, 1000000);
}

static void the_least_used_key_is_chosen(void **state)
{
    (void)state;
    struct fixture f;
    size_t uses[3] = {0};
    set_up(&f, "OPENAI_API_KEY=a,b,c", 1000000);
    for (int i = 0; i < 9; i++)
        uses[pool_choose(f.pool, f.client).index]++;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(uses[i], 3);
    pool_report(f.pool, f.client, 1, POOL_SUCCEEDED, 0);
    assert_int_equal(pool_choose(f.pool, f.client).index, 1);
    tear_down(&f);
}

static void failures_in_a_row_open_the_breaker(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "OPENAI_API_KEY=a", 50000);
    for (int i = 0; i < POOL_FAILURES - 1; i++)
        use(&f, POOL_FAILED);
    use(&f, POOL_SUCCEEDED);
    for (int i = 0; i < POOL_FAILURES; i++)
        use(&f, POOL_FAILED);
    struct pool_choice c = pool_choose(f.pool, f.client);
    assert_false(c.chosen);
    assert_int_equal(c.refusal, POOL_REFUSED_OPEN);
    assert_true(c.retry_after_us > 0);
    assert_true(pool_is_open(f.pool));
    usleep(60000);
    struct pool_choice probe = pool_choose(f.pool, f.client); /* half open: one probe */
    assert_true(probe.chosen);
    assert_false(pool_choose(f.pool, f.client).chosen);
    pool_report(f.pool, f.client, probe.index, POOL_FAILED, 0);
    assert_false(pool_choose(f.pool, f.client).chosen);
    usleep(60000);
    use(&f, POOL_SUCCEEDED);
    use(&f, POOL_SUCCEEDED);
    assert_false(pool_is_open(f.pool));
    tear_down(&f);
}

static void a_probe_that_tells_nothing_makes_room_for_another(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "OPENAI_API_KEY=a", 1000);
    for (int i = 0; i < POOL_FAILURES; i++)
        use(&f, POOL_FAILED);
    usleep(2000);
    use(&f, POOL_UNKNOWN);
    use(&f, POOL_SUCCEEDED);
    use(&f, POOL_SUCCEEDED);
    tear_down(&f);
}

static void a_rejected_key_is_out_where_there_are_others(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "OPENAI_API_KEY=a,b", 1000000);
    use(&f, POOL_REJECTED);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pool_choose(f.pool, f.client).index, 1);
    use(&f, POOL_REJECTED);
    struct pool_choice c = pool_choose(f.pool, f.client);
    assert_false(c.chosen);
    assert_int_equal(c.refusal, POOL_REFUSED_DISABLED);
    tear_down(&f);
    set_up(&f, "OPENAI_API_KEY=a", 1000000);
    use(&f, POOL_REJECTED);
    use(&f, POOL_REJECTED);
    tear_down(&f);
}

static void a_limited_key_rests_while_another_works(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "OPENAI_API_KEY=a,b", 1000000);
    use(&f, POOL_LIMITED);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pool_choose(f.pool, f.client).index, 1);
    pool_report(f.pool, f.client, 1, POOL_LIMITED, 1000000);
    assert_true(pool_choose(f.pool, f.client).chosen);
    tear_down(&f);
}

static void workers_share_what_they_learn(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "OPENAI_API_KEY=a", 1000000);
    for (int worker = 0; worker < 3; worker++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (int i = 0; i < POOL_FAILURES / 3; i++) {
                struct pool_choice c = pool_choose(f.pool, f.client);
                pool_report(f.pool, f.client, c.index, POOL_FAILED, 0);
            }
            _exit(0);
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    assert_false(pool_choose(f.pool, f.client).chosen);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_used_key_is_chosen),
        cmocka_unit_test(failures_in_a_row_open_the_breaker),
        cmocka_unit_test(a_probe_that_tells_nothing_makes_room_for_another),
        cmocka_unit_test(a_rejected_key_is_out_where_there_are_others),
        cmocka_unit_test(a_limited_key_rests_while_another_works),
        cmocka_unit_test(workers_share_what_they_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
