/* The limits on one machine: one process, many processes, dying ones, and damaged files. */
#include "test.h"

#include "limits_lease.h"
#include "limits_table.h"
#include "limits_world.h"
#include "sluice/bucket.h"
#include "sluice/clock.h"
#include "sluice/limits_view.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static struct limits_world w;

static int enter(void **state)
{
    (void)state;
    world_enter(&w, WORLD_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=60", "RATE_LIMIT__TOKENS_PER_MINUTE=1000",
                              "RATE_LIMIT__LEASE_SECONDS=1"));
    world_open(&w);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    world_leave(&w);
    return 0;
}

static enum limits_verdict admit(int64_t tokens, struct limits_reservation **out)
{
    return world_admit(&w, &w.key, tokens, out).d.verdict;
}

/* ---- one process
 * --------------------------------------------------------------------------------------------- */

static void sixty_requests_and_not_one_more(void **state)
{
    (void)state;
    static struct limits_reservation *r[200];
    int64_t started = clock_boot_us();
    int admitted = 0, i = 0;
    struct told t;
    for (; i < 200; i++) {
        t = world_admit(&w, &w.key, 0, &r[i]);
        admitted += t.d.verdict == LIMITS_ADMITTED;
        if (i == 0) {
            assert_int_equal(t.d.requests.limit, 60);
            assert_int_equal(t.d.requests.remaining, 59);
            assert_int_equal(t.d.requests.reset_us, 1000000);
            assert_int_equal(t.d.tokens.limit, 1000);
            assert_int_equal(t.d.tokens.remaining, 1000);
            assert_int_equal(t.d.tokens.reset_us, 0);
            assert_false(t.d.fallback);
        }
    }
    assert_in_range(admitted, 60, 60 + (clock_boot_us() - started) / 1000000);
    assert_int_equal(t.d.verdict, LIMITS_REFUSED_REQUESTS);
    assert_int_equal(t.d.requests.remaining, 0);
    assert_in_range(t.d.retry_after_us, 1, 1000000);
    assert_int_equal(limits_stats(w.limits)->refused_requests, 200 - admitted);
    assert_int_equal(world_admit(&w, &w.other, 0, &r[0]).d.verdict,
                     LIMITS_ADMITTED); /* another key is another matter */
    for (int j = 1; j < 60; j++)
        limits_settle(&r[j], 0);
    assert_null(r[1]);
    assert_int_equal(admit(0, &r[1]), LIMITS_REFUSED_REQUESTS); /* a request that was made stays made */
}

static void tokens_are_reserved_and_settled(void **state)
{
    (void)state;
    static struct limits_reservation *a, *b, *c;
    struct limits_decision d;
    assert_int_equal(admit(600, &a), LIMITS_ADMITTED);
    struct told t = world_admit(&w, &w.key, 500, &b);
    assert_int_equal(t.d.verdict, LIMITS_REFUSED_TOKENS);
    assert_in_range(t.d.retry_after_us, 5900000, 6000000); /* 100 tokens at 1,000 a minute */
    assert_int_equal(t.d.requested_tokens, 500);
    assert_in_range(t.d.tokens.remaining, 400, 401);
    assert_int_equal(t.d.requests.remaining, 59); /* a refusal takes nothing */
    limits_settle(&a, 100);
    assert_int_equal(admit(500, &b), LIMITS_ADMITTED);
    limits_settle(&b, 1400); /* more than there is: a debt of 500 */
    limits_look(w.limits, &w.key, &d);
    assert_int_equal(d.tokens.remaining, 0);
    assert_in_range(d.tokens.reset_us, 89000000, 90000000);
    assert_int_equal(admit(1, &c), LIMITS_REFUSED_TOKENS);
    assert_int_equal(admit(0, &c), LIMITS_ADMITTED); /* what uses no tokens goes on */
    limits_cancel(&c);
}

static void a_request_that_was_not_made_costs_nothing(void **state)
{
    (void)state;
    static struct limits_reservation *r;
    struct limits_decision d;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(admit(1000, &r), LIMITS_ADMITTED);
        limits_cancel(&r);
        assert_null(r);
    }
    limits_look(w.limits, &w.key, &d);
    assert_int_equal(d.requests.remaining, 60);
    assert_int_equal(d.tokens.remaining, 1000);
    limits_cancel(&r);
    limits_settle(&r, 5); /* NULL is ignored */
}

static void a_request_larger_than_the_bucket_is_admitted_when_it_is_full(void **state)
{
    (void)state;
    static struct limits_reservation *a, *b;
    assert_int_equal(admit(5000, &a), LIMITS_ADMITTED);
    assert_int_equal(admit(1, &b), LIMITS_REFUSED_TOKENS);
    limits_settle(&a, 10);
    struct told t = world_admit(&w, &w.key, 5000, &b);
    assert_int_equal(t.d.verdict, LIMITS_REFUSED_TOKENS);
    assert_in_range(t.d.retry_after_us, 500000, 600000); /* until it is full again */
}

static void requests_at_once(void **state)
{
    (void)state;
    static struct limits_reservation *r[8];
    world_configure(&w, WORLD_ENV("RATE_LIMIT__CONCURRENT_REQUESTS=5", "RATE_LIMIT__REQUESTS_PER_MINUTE=0",
                                  "RATE_LIMIT__TOKENS_PER_MINUTE=0"));
    world_open(&w);
    for (int i = 0; i < 5; i++)
        assert_int_equal(admit(10, &r[i]), LIMITS_ADMITTED);
    struct told t = world_admit(&w, &w.key, 10, &r[5]);
    assert_int_equal(t.d.verdict, LIMITS_REFUSED_CONCURRENT);
    assert_int_equal(t.d.concurrent_limit, 5);
    assert_int_equal(t.d.retry_after_us, 1000000);
    assert_int_equal(t.d.requests.limit, 0);
    limits_settle(&r[2], 1);
    assert_int_equal(admit(10, &r[2]), LIMITS_ADMITTED);
    limits_cancel(&r[0]);
    assert_int_equal(admit(10, &r[0]), LIMITS_ADMITTED);
    assert_int_equal(admit(10, &r[5]), LIMITS_REFUSED_CONCURRENT);
    assert_int_equal(world_admit(&w, &w.other, 10, &r[6]).d.verdict, LIMITS_ADMITTED);
    world_close(&w); /* all of it is given back */
    for (int i = 0; i < 5; i++)
        assert_null(r[i]);
    world_open(&w);
    for (int i = 0; i < 5; i++)
        assert_int_equal(admit(10, &r[i]), LIMITS_ADMITTED);
}

static void a_refusal_by_tokens_gives_the_place_back(void **state)
{
    (void)state;
    static struct limits_reservation *r[3];
    world_configure(&w, WORLD_ENV("RATE_LIMIT__CONCURRENT_REQUESTS=2", "RATE_LIMIT__TOKENS_PER_MINUTE=10"));
    world_open(&w);
    assert_int_equal(admit(10, &r[0]), LIMITS_ADMITTED);
    for (int i = 0; i < 10; i++)
        assert_int_equal(admit(10, &r[1]), LIMITS_REFUSED_TOKENS);
    assert_int_equal(admit(0, &r[1]), LIMITS_ADMITTED);
    assert_int_equal(admit(0, &r[2]), LIMITS_REFUSED_CONCURRENT);
}

static void overrides_and_no_limits(void **state)
{
    (void)state;
    static struct limits_reservation *r;
    struct limits_decision d;
    world_configure(&w, WORLD_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=2",
                                  "RATE_LIMIT__OVERRIDES={\"two\": {\"requests_per_minute\": 0}, "
                                  "\"one\": {\"tokens_per_minute\": 7}}"));
    world_open(&w);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(world_admit(&w, &w.other, 0, &r).d.verdict, LIMITS_ADMITTED);
        limits_settle(&r, 0);
    }
    limits_look(w.limits, &w.key, &d);
    assert_int_equal(d.tokens.limit, 7);
    assert_int_equal(d.requests.limit, 2);
    assert_int_equal(d.requests.remaining, 2);
    limits_look(w.limits, &w.other, &d);
    assert_int_equal(d.requests.limit, 0);
    assert_int_equal(d.tokens.limit, 100000);
}

static void limits_survive_a_restart(void **state)
{
    (void)state;
    static struct limits_reservation *r;
    struct limits_decision d;
    for (int i = 0; i < 60; i++) {
        assert_int_equal(admit(10, &r), LIMITS_ADMITTED);
        limits_settle(&r, 10);
    }
    world_close(&w);
    world_open(&w);
    limits_look(w.limits, &w.key, &d);
    assert_in_range(d.requests.remaining, 0, 1);
    assert_in_range(d.tokens.remaining, 400, 420);
    assert_int_equal(w.message.len, 0);
}

static void answers_are_learned(void **state)
{
    (void)state;
    assert_int_equal(limits_learned_output(w.limits, &w.key), 0);
    limits_learn(w.limits, &w.key, 100);
    assert_int_equal(limits_learned_output(w.limits, &w.key), 100);
    assert_int_equal(limits_learned_output(w.limits, &w.other),
                     100); /* of the machine, while it has none of its own */
    for (int i = 0; i < 200; i++)
        limits_learn(w.limits, &w.key, 900);
    assert_in_range(limits_learned_output(w.limits, &w.key), 895, 900);
    limits_learn(w.limits, &w.other, 7);
    assert_int_equal(limits_learned_output(w.limits, &w.other), 7);
    limits_learn(w.limits, &w.other, -1);
    limits_learn(w.limits, &w.other, INT64_MAX);
    assert_in_range(limits_learned_output(w.limits, &w.other), 100000000, 1000000000);
}

/* ---- many processes
 * ------------------------------------------------------------------------------------------ */

enum { PROCESSES = 8 };

static void eight_processes_share_sixty(void **state)
{
    (void)state;
    struct crowd c;
    long long admitted, tokens;
    world_close(&w);
    for (int round = 0; round < 3; round++) {
        char file[96];
        snprintf(file, sizeof file, "%s/limits.v%d", w.directory, LIMITS_LAYOUT);
        unlink(file);
        crowd_start(&c, w.directory, PROCESSES, "admit", 2000, 0,
                    WORLD_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=60"));
        int64_t started = clock_boot_us();
        crowd_go(&c);
        crowd_hear(&c, PROCESSES, &admitted, &tokens);
        assert_in_range(admitted, 60, 60 + (clock_boot_us() - started) / 1000000);
        crowd_join(&c);
    }
}

/* Reserved by one number and settled by another, from all sides at once: the books agree to the token. */
static void eight_processes_keep_the_books(void **state)
{
    (void)state;
    struct crowd c;
    long long admitted, tokens;
    struct limits_decision d;
    const char *const *env =
        WORLD_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=0", "RATE_LIMIT__TOKENS_PER_MINUTE=60000000");
    world_configure(&w, env);
    world_open(&w);
    crowd_start(&c, w.directory, PROCESSES, "settle", 2000, 1000, env);
    int64_t started = clock_boot_us();
    crowd_go(&c);
    crowd_hear(&c, PROCESSES, &admitted, &tokens);
    limits_look(w.limits, &w.key, &d);
    int64_t refilled = clock_boot_us() - started + 2; /* a token a microsecond */
    assert_int_equal(admitted, PROCESSES * 2000);
    assert_in_range(d.tokens.remaining, 60000000 - tokens, 60000000 - tokens + refilled);
    crowd_join(&c);
}

static void what_killed_processes_held_comes_back(void **state)
{
    (void)state;
    struct crowd c;
    long long admitted, tokens;
    static struct limits_reservation *r[41];
    struct limits_decision d;
    const char *const *env =
        WORLD_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=100000", "RATE_LIMIT__TOKENS_PER_MINUTE=1000",
                  "RATE_LIMIT__CONCURRENT_REQUESTS=40", "RATE_LIMIT__LEASE_SECONDS=1");
    world_configure(&w, env);
    world_open(&w);
    crowd_start(&c, w.directory, PROCESSES, "hold", 1000, 20, env);
    crowd_go(&c);
    crowd_hear(&c, PROCESSES, &admitted, &tokens);
    assert_int_equal(admitted, 40);
    assert_int_equal(tokens, 800);
    assert_int_equal(admit(20, &r[0]), LIMITS_REFUSED_CONCURRENT);
    world_turn(&w, 1500000); /* they live, and keep what they have for longer than a lease */
    assert_int_equal(admit(20, &r[0]), LIMITS_REFUSED_CONCURRENT);
    limits_look(w.limits, &w.key, &d);
    int64_t before = d.tokens.remaining;
    crowd_kill(&c);
    int64_t started = clock_boot_us();
    while (limits_stats(w.limits)->reclaimed < 40 && clock_boot_us() - started < 3000000) {
        world_turn(&w, 10000);
        if (admit(0, &r[0]) == LIMITS_ADMITTED)
            limits_cancel(&r[0]);
    }
    assert_int_equal(limits_stats(w.limits)->reclaimed, 40);
    assert_true(clock_boot_us() - started < 2000000); /* a lease, and what a busy machine takes */
    limits_look(w.limits, &w.key, &d);
    assert_in_range(d.tokens.remaining, before + 800 > 1000 ? 1000 : before + 800, 1000);
    for (int i = 0; i < 40; i++)
        assert_int_equal(admit(20, &r[i]), LIMITS_ADMITTED);
    assert_int_equal(admit(20, &r[40]), LIMITS_REFUSED_CONCURRENT);
}

/* Taken for dead while it slept, it is charged in full for what it used, and not twice. */
static void a_process_that_slept_is_charged_in_full(void **state)
{
    (void)state;
    struct crowd c;
    long long admitted, tokens;
    struct limits_decision d;
    const char *const *env = WORLD_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=0",
                                       "RATE_LIMIT__TOKENS_PER_MINUTE=1000", "RATE_LIMIT__LEASE_SECONDS=1");
    world_configure(&w, env);
    world_open(&w);
    crowd_start(&c, w.directory, 1, "late", 10, 90, env);
    crowd_go(&c);
    crowd_hear(&c, 1, &admitted, &tokens);
    assert_int_equal(tokens, 900);
    world_turn(&w, 1300000);
    limits_look(w.limits, &w.key, &d);
    assert_int_equal(d.tokens.remaining, 1000);
    assert_int_equal(waitpid(c.pids[0], NULL, WUNTRACED | WNOHANG), c.pids[0]);
    kill(c.pids[0], SIGCONT);
    crowd_hear(&c, 1, &admitted, &tokens);
    limits_look(w.limits, &w.key, &d);
    assert_in_range(d.tokens.remaining, 990, 991); /* ten times one token */
    crowd_join(&c);
}

static void killed_in_the_middle_again_and_again(void **state)
{
    (void)state;
    const char *const *env = WORLD_ENV("RATE_LIMIT__REQUESTS_PER_MINUTE=0", "RATE_LIMIT__TOKENS_PER_MINUTE=0",
                                       "RATE_LIMIT__CONCURRENT_REQUESTS=50", "RATE_LIMIT__LEASE_SECONDS=1");
    static struct limits_reservation *r[51];
    world_configure(&w, env);
    for (int round = 0; round < 10; round++) {
        struct crowd c;
        crowd_start(&c, w.directory, PROCESSES, "settle", 10000000, 10, env);
        crowd_go(&c);
        usleep((useconds_t)(1000 + 3700 * round));
        crowd_kill(&c);
    }
    world_open(&w);
    world_turn(&w, 1200000);
    for (int i = 0; i < 50; i++)
        assert_int_equal(admit(1, &r[i]), LIMITS_ADMITTED);
    assert_int_equal(admit(1, &r[50]), LIMITS_REFUSED_CONCURRENT);
}

/* ---- the file
 * ------------------------------------------------------------------------------------------------ */

static void a_damaged_file_is_replaced_with_a_warning(void **state)
{
    (void)state;
    static struct limits_reservation *r;
    char file[96];
    snprintf(file, sizeof file, "%s/limits.v%d", w.directory, LIMITS_LAYOUT);
    for (int size = 0; size < 200000; size = size * 3 + 100) {
        world_close(&w);
        assert_int_equal(truncate(file, size), 0);
        world_open(&w);
        assert_non_null(strstr(buf_text(&w.message), "was damaged"));
        assert_int_equal(admit(1, &r), LIMITS_ADMITTED);
        limits_settle(&r, 1);
    }
    world_close(&w);
    unlink(file);
    assert_int_equal(symlink("/etc/passwd", file), 0);
    buf_clear(&w.message);
    assert_null(limits_new(w.base, &w.config, NULL, &w.message));
    assert_non_null(strstr(buf_text(&w.message), "is a symbolic link"));
}

/* The header is right and all the rest is noise: nothing of it is trusted. */
static void noise_in_the_file_is_survived(void **state)
{
    (void)state;
    static struct limits_reservation *r[4] = {NULL};
    struct limits_decision d;
    char file[96];
    unsigned state_of_noise = 1;
    world_configure(&w, WORLD_ENV("RATE_LIMIT__CONCURRENT_REQUESTS=3", "RATE_LIMIT__LEASE_SECONDS=1"));
    snprintf(file, sizeof file, "%s/limits.v%d", w.directory, LIMITS_LAYOUT);
    for (int round = 0; round < 6; round++) {
        int fd = open(file, O_RDWR);
        unsigned noise[1024];
        off_t size = lseek(fd, 0, SEEK_END);
        for (off_t at = SHARED_FILE_ALIGNMENT; at + (off_t)sizeof noise <= size; at += (off_t)sizeof noise) {
            for (size_t i = 0; i < TEST_COUNT(noise); i++)
                noise[i] = round == 0   ? UINT32_MAX
                           : round == 1 ? 0x7fffffff
                                        : (unsigned)rand_r(&state_of_noise);
            assert_int_equal(pwrite(fd, noise, sizeof noise, at), sizeof noise);
        }
        close(fd);
        world_open(&w);
        for (int i = 0; i < 4; i++)
            world_admit(&w, &w.key, 5, &r[i]);
        limits_learn(w.limits, &w.key, 5);
        assert_in_range(limits_learned_output(w.limits, &w.key), 0, 1000000000);
        limits_look(w.limits, &w.key, &d);
        assert_in_range(d.tokens.remaining, 0, 100000);
        limits_settle(&r[0], 3);
        limits_cancel(&r[1]);
        world_turn(&w, 300000);
        world_close(&w);
    }
}

/* ---- for people
 * ---------------------------------------------------------------------------------------------- */

struct rows {
    size_t count;
    struct limits_view_row one;
};

static void on_row(void *user, const struct limits_view_row *row)
{
    struct rows *rows = user;
    rows->count++;
    if (strcmp(row->fingerprint, w.key.fingerprint) == 0)
        rows->one = *row;
}

static void what_is_left_is_shown_and_filled(void **state)
{
    (void)state;
    static struct limits_reservation *a, *b, *c;
    struct rows rows = {0};
    world_configure(&w, WORLD_ENV("RATE_LIMIT__OVERRIDES={\"one\": {\"requests_per_minute\": 5, "
                                  "\"concurrent_requests\": 3}}"));
    world_open(&w);
    assert_int_equal(admit(1000, &a), LIMITS_ADMITTED);
    assert_int_equal(admit(2000, &b), LIMITS_ADMITTED);
    assert_int_equal(world_admit(&w, &w.other, 1, &c).d.verdict, LIMITS_ADMITTED);
    limits_learn(w.limits, &w.key, 77);
    assert_true(limits_view_list(&w.config, on_row, &rows, &w.message));
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.one.requests.limit, 5);
    assert_int_equal(rows.one.requests.remaining, 3);
    assert_in_range(rows.one.tokens.remaining, 97000, 97010);
    assert_int_equal(rows.one.concurrent, 2);
    assert_int_equal(rows.one.concurrent_limit, 3);
    assert_int_equal(rows.one.learned_output, 77);
    assert_true(limits_view_reset(&w.config, w.key.fingerprint, &w.message));
    assert_true(limits_view_list(&w.config, on_row, &rows, &w.message));
    assert_int_equal(rows.one.requests.remaining, 5);
    assert_int_equal(rows.one.tokens.remaining, 100000);
    assert_int_equal(rows.one.concurrent, 2);
    assert_false(limits_view_reset(&w.config, "0123456789ab", &w.message));
    assert_non_null(strstr(buf_text(&w.message), "0123456789ab has been seen"));
    assert_false(limits_view_is_fingerprint("0123456789a"));
    assert_false(limits_view_is_fingerprint("0123456789AB"));
}

/* ---- the table by itself, with a clock of the test's
 * ---------------------------------------------------------- */

static struct limits_tag neighbour(uint64_t n)
{
    return (struct limits_tag){.high = 1000 + n, .low = 7 + n * LIMITS_KEYS};
}

static void places_are_given_up_and_shared(void **state)
{
    (void)state;
    struct shared_file f;
    struct limits_slot *slots[LIMITS_WAYS];
    int64_t now = 1000 * SECOND;
    assert_int_equal(shared_file_open(&f, w.directory, "table", 1, sizeof(struct limits_shared), &w.message),
                     SHARED_FILE_MADE);
    struct limits_shared *s = f.data;
    assert_null(limits_slot_find(s, neighbour(0)));
    for (uint64_t i = 0; i < LIMITS_WAYS; i++) {
        slots[i] = limits_slot_get(s, neighbour(i), now);
        assert_true(limits_tat_admit(&slots[i]->tokens_tat, 60, now, 60));
        for (uint64_t j = 0; j < i; j++)
            assert_ptr_not_equal(slots[i], slots[j]);
    }
    for (uint64_t i = 0; i < LIMITS_WAYS; i++)
        assert_ptr_equal(limits_slot_find(s, neighbour(i)), slots[i]);
    assert_true(limits_slot_is_shared(s, limits_slot_get(s, neighbour(99), now)));
    now += 590 * SECOND;
    assert_true(limits_slot_is_shared(s, limits_slot_get(s, neighbour(99), now)));
    assert_ptr_equal(limits_slot_get(s, neighbour(0), now), slots[0]); /* still used */
    atomic_store(&slots[1]->tokens_tat, now + 3000 * SECOND);          /* in debt */
    atomic_store(&s->tickets[5], 3);                                   /* something is under way */
    atomic_store(&slots[2]->tickets, UINT64_C(4) << 32 | 4);
    now += 20 * SECOND;
    assert_ptr_equal(limits_slot_get(s, neighbour(99), now), slots[3]);
    assert_int_equal(atomic_load(&slots[3]->tokens_tat), 0);
    assert_null(limits_slot_find(s, neighbour(3)));
    assert_ptr_equal(limits_slot_find(s, neighbour(99)), slots[3]);
    /* Whoever was emptying a place has died; another one completes it. */
    atomic_store(&slots[4]->tag_high, 1);
    atomic_store(&slots[4]->used_ns, now);
    assert_true(limits_slot_is_shared(s, limits_slot_get(s, neighbour(98), now)));
    assert_ptr_equal(limits_slot_get(s, neighbour(98), now + 11 * SECOND), slots[4]);
    /* Whoever made a place has died before it was complete. */
    atomic_store(&slots[4]->tag_low, 0);
    assert_ptr_equal(limits_slot_find(s, neighbour(98)), slots[4]);
    shared_file_close(&f);
}

/* Another start of the machine: the clock goes on, and never behind what the file has seen. */
static void the_clock_goes_on_over_a_restart_of_the_machine(void **state)
{
    (void)state;
    struct limits_shared *s = calloc(1, sizeof *s);
    int64_t wall = clock_wall_us() * 1000;
    int64_t now = limits_clock_ns(limits_clock_open(s));
    assert_in_range(now, wall - 3 * SECOND, wall + 3 * SECOND);
    uint64_t word = atomic_load(&s->clock);
    assert_int_equal(limits_clock_open(s), limits_clock_open(s));
    assert_int_equal(atomic_load(&s->clock), word);
    atomic_store(&s->clock,
                 word ^ (UINT64_C(1) << 63)); /* the former start, with its clock ahead of the wall's */
    atomic_store(&s->seen_ns, wall + 5000 * SECOND);
    now = limits_clock_ns(limits_clock_open(s));
    assert_in_range(now, wall + 5000 * SECOND, wall + 5005 * SECOND);
    atomic_store(&s->clock, 0);
    atomic_store(&s->seen_ns, INT64_MAX); /* not believed */
    now = limits_clock_ns(limits_clock_open(s));
    assert_in_range(now, wall - 3 * SECOND, wall + 10 * SECOND);
    free(s);
}

static void members_are_bounded(void **state)
{
    (void)state;
    struct shared_file f;
    static struct limits_member m[LIMITS_PROCESSES + 1];
    int64_t now = 1000 * SECOND;
    size_t ticket;
    assert_int_equal(
        shared_file_open(&f, w.directory, "members", 1, sizeof(struct limits_shared), &w.message),
        SHARED_FILE_MADE);
    struct limits_shared *s = f.data;
    struct limits_slot *slot = limits_slot_get(s, neighbour(0), now);
    for (size_t i = 0; i <= LIMITS_PROCESSES; i++)
        limits_member_join(&m[i], s, SECOND, now);
    struct limits_member *last = &m[LIMITS_PROCESSES];
    assert_int_equal(last->index, LIMITS_PROCESSES);
    assert_int_equal(limits_lease_take(last, slot, 5), LIMITS_NO_LEASE);
    assert_int_equal(limits_ticket_take(last, slot, 2, &ticket), LIMITS_TICKET_UNCOUNTED);
    assert_int_equal(limits_ticket_take(&m[0], slot, 2, &ticket), LIMITS_TICKET_TAKEN);
    assert_int_equal(limits_ticket_count(s, slot), 1);
    limits_member_beat(last, now + 2 * SECOND); /* all the others are silent */
    limits_member_beat(last, now + 3 * SECOND);
    assert_true(last->index < LIMITS_PROCESSES);
    assert_int_equal(limits_ticket_count(s, slot), 0);
    shared_file_close(&f);
}

/* More than the ones that are always looked at first, by two processes, given back in another order. */
static void every_ticket_is_found(void **state)
{
    (void)state;
    enum { LIMIT = 200 };
    struct shared_file f;
    static struct limits_member m[2];
    int64_t now = 1000 * SECOND;
    size_t tickets[LIMIT], more;
    assert_int_equal(shared_file_open(&f, w.directory, "tickets", 1, sizeof(struct limits_shared), &w.message),
                     SHARED_FILE_MADE);
    struct limits_shared *s = f.data;
    struct limits_slot *slot = limits_slot_get(s, neighbour(0), now);
    for (size_t i = 0; i < 2; i++)
        limits_member_join(&m[i], s, SECOND, now);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < LIMIT; i++)
            assert_int_equal(limits_ticket_take(&m[i % 2], slot, LIMIT, &tickets[i]), LIMITS_TICKET_TAKEN);
        assert_int_equal(limits_ticket_count(s, slot), LIMIT);
        assert_int_equal(limits_ticket_take(&m[0], slot, LIMIT, &more), LIMITS_TICKET_REFUSED);
        limits_ticket_drop(&m[1], tickets[151], limits_lease_owner(&m[1]));
        assert_int_equal(limits_ticket_take(&m[0], slot, LIMIT, &more), LIMITS_TICKET_TAKEN);
        assert_int_equal(more, tickets[151]);
        limits_ticket_drop(&m[0], more, limits_lease_owner(&m[0]));
        for (size_t i = 0; i < LIMIT; i++)
            limits_ticket_drop(&m[i % 2], tickets[i], limits_lease_owner(&m[i % 2]));
        assert_int_equal(limits_ticket_count(s, slot), 0);
    }
    shared_file_close(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(sixty_requests_and_not_one_more),
        TEST(tokens_are_reserved_and_settled),
        TEST(a_request_that_was_not_made_costs_nothing),
        TEST(a_request_larger_than_the_bucket_is_admitted_when_it_is_full),
        TEST(requests_at_once),
        TEST(a_refusal_by_tokens_gives_the_place_back),
        TEST(overrides_and_no_limits),
        TEST(limits_survive_a_restart),
        TEST(answers_are_learned),
        TEST(eight_processes_share_sixty),
        TEST(eight_processes_keep_the_books),
        TEST(what_killed_processes_held_comes_back),
        TEST(a_process_that_slept_is_charged_in_full),
        TEST(killed_in_the_middle_again_and_again),
        TEST(a_damaged_file_is_replaced_with_a_warning),
        TEST(noise_in_the_file_is_survived),
        TEST(what_is_left_is_shown_and_filled),
        TEST(places_are_given_up_and_shared),
        TEST(the_clock_goes_on_over_a_restart_of_the_machine),
        TEST(members_are_bounded), TEST(every_ticket_is_found),
    };
    world_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
