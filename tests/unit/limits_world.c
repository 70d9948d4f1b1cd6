#include "limits_world.h"

#include "test.h"

#include "sluice/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 24, WORK_ARGS = 6, DECISION_US = 10000000 };

/* ---- the world
 * ----------------------------------------------------------------------------------------------- */

struct client_key world_key(const char *text)
{
    struct client_key key = {.count = 1};
    assert_true(digest_sha256(slice_from_text(text), &key.digest));
    digest_hex(key.digest.bytes, (KEY_FINGERPRINT_SIZE - 1) / 2, key.fingerprint);
    return key;
}

static void load_config(struct limits_world *w, const char *const *environment)
{
    static char directory[128];
    const char *all[ENVIRONMENT_MAX] = {"OPENAI_API_KEY=sk", "CLIENT_API_KEYS=one,two", directory};
    struct config_report report;
    struct buf text;
    int n = 3;
    snprintf(directory, sizeof directory, "STATE_DIR=%s", w->directory);
    for (; *environment; environment++)
        all[n++] = *environment;
    config_report_init(&report);
    buf_init(&text, 65536);
    bool ok = config_load(&w->config, &(struct config_input){.environment = all, .env_file = ""}, &report);
    config_report_write(&report, &text);
    if (!ok)
        fail_msg("%s", buf_text(&text));
    buf_free(&text);
    config_report_free(&report);
}

void world_enter(struct limits_world *w, const char *const *environment)
{
    *w = (struct limits_world){.directory = "/tmp/sluice-limits-XXXXXX"};
    assert_non_null(mkdtemp(w->directory));
    buf_init(&w->message, 4096);
    w->base = event_base_new();
    w->key = world_key("one");
    w->other = world_key("two");
    load_config(w, environment);
}

void world_configure(struct limits_world *w, const char *const *environment)
{
    world_close(w);
    config_free(&w->config);
    load_config(w, environment);
}

void world_open(struct limits_world *w)
{
    struct redis_url url;
    buf_clear(&w->message);
    if (w->config.rate_limit_backend == CONFIG_LIMIT_REDIS) {
        assert_null(redis_url_parse(slice_from_text(w->config.cache_redis_url), &url));
        w->redis = redis_new(w->base, &url, w->config.redis_timeout_ms * CLOCK_US_PER_MS);
    }
    w->limits = limits_new(w->base, &w->config, w->redis, &w->message);
    if (!w->limits)
        fail_msg("%s", buf_text(&w->message));
}

void world_close(struct limits_world *w)
{
    limits_free(&w->limits);
    redis_free(&w->redis);
}

void world_leave(struct limits_world *w)
{
    char command[128];
    world_close(w);
    config_free(&w->config);
    buf_free(&w->message);
    event_base_free(w->base);
    snprintf(command, sizeof command, "rm -rf %s", w->directory);
    assert_int_equal(system(command), 0);
}

void world_on_decision(void *user, const struct limits_decision *decision)
{
    struct told *t = user;
    t->calls++;
    t->d = *decision;
}

void world_turn(struct limits_world *w, int64_t us)
{
    struct timeval step = {us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND};
    event_base_loopexit(w->base, &step);
    event_base_dispatch(w->base);
}

struct told world_admit(struct limits_world *w, const struct client_key *key, int64_t tokens,
                        struct limits_reservation **out)
{
    struct told t = {0};
    limits_admit(w->limits, key, tokens, out, world_on_decision, &t);
    for (int64_t until = clock_monotonic_us() + DECISION_US; !t.calls && clock_monotonic_us() < until;)
        event_base_loop(w->base, EVLOOP_ONCE);
    assert_int_equal(t.calls, 1);
    assert_true((*out != NULL) == (t.d.verdict == LIMITS_ADMITTED));
    return t;
}

/* ---- another process
 * ----------------------------------------------------------------------------------------- */

struct work {
    struct limits_world w;
    const char *kind;
    int count, tokens;
    struct limits_reservation **held;
    long long admitted, used;
};

static void work_ask(struct work *k, int i)
{
    bool settle = strcmp(k->kind, "settle") == 0;
    int64_t tokens = settle ? 1 + (i * 7919) % k->tokens : k->tokens;
    bool admitted = world_admit(&k->w, &k->w.key, tokens, &k->held[i]).d.verdict == LIMITS_ADMITTED;
    k->admitted += admitted;
    if (admitted && settle) {
        int64_t used = 1 + (i * 104729) % (2 * k->tokens);
        k->used += used;
        limits_settle(&k->held[i], used);
    } else if (admitted) {
        k->used += tokens;
    }
}

static void work_report(const struct work *k)
{
    char line[64];
    int n = snprintf(line, sizeof line, "%lld %lld\n", k->admitted, k->used);
    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        _exit(3);
}

static void work_run(struct work *k)
{
    char byte;
    if (write(STDOUT_FILENO, "r", 1) != 1 ||
        read(STDIN_FILENO, &byte, 1) != 0) /* all begin when it is closed */
        _exit(4);
    for (int i = 0; i < k->count; i++)
        work_ask(k, i);
    work_report(k);
    if (strcmp(k->kind, "hold") == 0)
        for (;;)
            world_turn(&k->w, 1000000);
    if (strcmp(k->kind, "late") == 0) {
        raise(SIGSTOP);
        for (int i = 0; i < k->count; i++)
            limits_settle(&k->held[i], 1);
        work_report(k);
    }
    if (k->w.redis)
        world_turn(&k->w, 200000); /* what is told without waiting goes out */
}

/* PROGRAM --crowd DIRECTORY KIND COUNT TOKENS NAME=value... */
void world_main(int argc, char **argv)
{
    if (argc < WORK_ARGS || strcmp(argv[1], "--crowd") != 0)
        return;
    struct work k = {.kind = argv[3], .count = atoi(argv[4]), .tokens = atoi(argv[5])};
    snprintf(k.w.directory, sizeof k.w.directory, "%s", argv[2]);
    buf_init(&k.w.message, 4096);
    k.w.base = event_base_new();
    k.w.key = world_key("one");
    k.held = calloc((size_t)k.count + 1, sizeof(struct limits_reservation *));
    load_config(&k.w, (const char *const *)argv + WORK_ARGS);
    world_open(&k.w);
    if (k.w.redis)
        for (int i = 0; i < 500 && !redis_is_connected(k.w.redis); i++)
            world_turn(&k.w, 10000);
    work_run(&k);
    _exit(0);
}

/* ---- the crowd
 * ----------------------------------------------------------------------------------------------- */

static void crowd_member(struct crowd *c, const char *directory, const char *work, int requests, int tokens,
                         const char *const *environment)
{
    char count[16], each[16];
    const char *argv[ENVIRONMENT_MAX + WORK_ARGS] = {"crowd", "--crowd", directory, work, count, each};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(count, sizeof count, "%d", requests);
    snprintf(each, sizeof each, "%d", tokens);
    for (int i = WORK_ARGS; *environment; environment++)
        argv[i++] = *environment;
    dup2(c->go[0], STDIN_FILENO);
    dup2(c->report[1], STDOUT_FILENO);
    execv("/proc/self/exe", (char *const *)argv);
    _exit(127);
}

void crowd_start(struct crowd *c, const char *directory, int count, const char *work, int requests,
                 int tokens, const char *const *environment)
{
    char byte;
    c->count = count;
    assert_int_equal(pipe2(c->go, O_CLOEXEC), 0);
    assert_int_equal(pipe2(c->report, O_CLOEXEC), 0);
    for (int i = 0; i < count; i++) {
        c->pids[i] = fork();
        if (c->pids[i] == 0)
            crowd_member(c, directory, work, requests, tokens, environment);
    }
    for (int i = 0; i < count; i++)
        assert_int_equal(read(c->report[0], &byte, 1), 1);
    close(c->go[0]);
}

void crowd_go(struct crowd *c)
{
    close(c->go[1]);
}

void crowd_hear(struct crowd *c, int n, long long *admitted, long long *tokens)
{
    *admitted = *tokens = 0;
    for (int i = 0; i < n; i++) {
        char line[64];
        size_t len = 0;
        while (len + 1 < sizeof line && read(c->report[0], line + len, 1) == 1 && line[len] != '\n')
            len++;
        line[len] = '\0';
        long long a = 0, t = 0;
        assert_int_equal(sscanf(line, "%lld %lld", &a, &t), 2);
        *admitted += a;
        *tokens += t;
    }
}

void crowd_kill(struct crowd *c)
{
    for (int i = 0; i < c->count; i++)
        kill(c->pids[i], SIGKILL);
    for (int i = 0; i < c->count; i++)
        waitpid(c->pids[i], NULL, 0);
    close(c->report[0]);
    close(c->report[1]);
}

void crowd_join(struct crowd *c)
{
    int status;
    for (int i = 0; i < c->count; i++) {
        assert_int_equal(waitpid(c->pids[i], &status, 0), c->pids[i]);
        assert_int_equal(status, 0);
    }
    close(c->report[0]);
    close(c->report[1]);
}
