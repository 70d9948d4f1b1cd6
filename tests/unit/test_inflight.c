/* Leases among processes: one leader, and exactly one in its place. */
#include "cache_world.h"

#include "sluice/inflight.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEASE = 5 * CLOCK_US_PER_SECOND, PROCESSES = 8 };

struct fixture {
    struct world world;
    struct inflight table;
    struct buf message;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    world_open(&f->world);
    buf_init(&f->message, 1000);
    *state = f;
    return inflight_open(&f->table, f->world.dir, &f->message) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    inflight_close(&f->table);
    world_close(&f->world);
    buf_free(&f->message);
    free(f);
    return 0;
}

static void the_first_leads_the_others_follow(void **state)
{
    struct fixture *f = *state;
    struct digest key = world_key(1), other = world_key(2);
    struct inflight_claim first = inflight_claim(&f->table, &key, LEASE);
    assert_int_equal(first.role, INFLIGHT_LEADER);
    struct inflight_claim second = inflight_claim(&f->table, &key, LEASE);
    assert_int_equal(second.role, INFLIGHT_FOLLOWER);
    assert_true(inflight_is_led(&f->table, &second));
    assert_int_equal(inflight_claim(&f->table, &other, LEASE).role, INFLIGHT_LEADER);
    assert_int_equal(inflight_count(&f->table), 2);
    inflight_release(&f->table, &second); /* is none of its business */
    assert_true(inflight_is_led(&f->table, &second));
    inflight_release(&f->table, &first);
    assert_false(inflight_is_led(&f->table, &second));
    assert_int_equal(inflight_claim(&f->table, &key, LEASE).role, INFLIGHT_LEADER);
}

static void a_lease_ends_unless_renewed(void **state)
{
    struct fixture *f = *state;
    struct digest key = world_key(1);
    enum { SHORT = 150 * CLOCK_US_PER_MS };
    struct inflight_claim leader = inflight_claim(&f->table, &key, SHORT);
    struct inflight_claim follower = inflight_claim(&f->table, &key, SHORT);
    for (int i = 0; i < 6; i++) {
        usleep(50 * 1000);
        assert_true(inflight_renew(&f->table, &leader, SHORT));
        assert_true(inflight_is_led(&f->table, &follower));
    }
    usleep(SHORT + 140 * 1000);
    assert_false(inflight_is_led(&f->table, &follower));
    struct inflight_claim next = inflight_claim(&f->table, &key, LEASE);
    assert_int_equal(next.role, INFLIGHT_LEADER);
    assert_false(inflight_renew(&f->table, &leader, SHORT));
    inflight_release(&f->table, &leader); /* lost: it is not its any more */
    assert_true(inflight_is_led(&f->table, &next));
}

static void another_key_in_the_slot_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct digest key = world_key(1), other = key;
    other.bytes[2] ^= 1; /* bytes 0 and 1 choose the slot, 2 and 3 are the tag */
    struct inflight_claim first = inflight_claim(&f->table, &key, LEASE);
    struct inflight_claim second = inflight_claim(&f->table, &other, LEASE);
    assert_int_equal(first.role, INFLIGHT_LEADER);
    assert_int_equal(second.role, INFLIGHT_LEADER);
    assert_true(second.slot == INFLIGHT_NONE);
    assert_true(inflight_renew(&f->table, &second, LEASE));
    inflight_release(&f->table, &second);
    assert_true(inflight_is_led(&f->table, &first));
}

static void words_of_another_time_are_no_leases(void **state)
{
    struct fixture *f = *state;
    uint64_t *words = f->table.file.data;
    struct digest key = world_key(1);
    srandom(1);
    size_t live = 0;
    for (int i = 0; i < 20000; i++) {
        words[i] = (uint64_t)getpid() << 42 | ((uint64_t)random() << 16 & ((UINT64_C(1) << 42) - 1));
    }
    live = inflight_count(&f->table);
    assert_true(live < 20); /* a minute of 50 days */
    memset(words, 0xFF, INFLIGHT_SLOTS * sizeof *words);
    assert_int_equal(inflight_count(&f->table), 0);
    assert_int_equal(inflight_claim(&f->table, &key, LEASE).role, INFLIGHT_LEADER);
}

static void a_leader_that_settles_says_so(void **state)
{
    struct fixture *f = *state;
    struct digest key = world_key(1);
    struct inflight_claim found;
    assert_false(inflight_find_settling(&f->table, &key, &found));
    struct inflight_claim leader = inflight_claim(&f->table, &key, LEASE);
    struct inflight_claim early = inflight_claim(&f->table, &key, LEASE);
    assert_false(inflight_find_settling(&f->table, &key, &found));
    assert_true(inflight_settle(&f->table, &leader, LEASE));
    struct inflight_claim late = inflight_claim(&f->table, &key, LEASE);
    assert_int_equal(late.role, INFLIGHT_FOLLOWER);
    assert_false(inflight_is_settling(&early));
    assert_true(inflight_is_settling(&late));
    assert_true(inflight_is_led(&f->table, &early));
    assert_true(inflight_find_settling(&f->table, &key, &found));
    assert_true(inflight_is_led(&f->table, &found));
    assert_true(inflight_renew(&f->table, &leader, LEASE));
    assert_true(inflight_find_settling(&f->table, &key, &found));
    key.bytes[2] ^= 1; /* the slot is the same, the tag is not */
    assert_false(inflight_find_settling(&f->table, &key, &found));
    inflight_release(&f->table, &leader);
    key.bytes[2] ^= 1;
    assert_false(inflight_find_settling(&f->table, &key, &found));
    assert_false(inflight_is_led(&f->table, &late));
    assert_int_equal(inflight_claim(&f->table, &key, LEASE).role, INFLIGHT_LEADER);
}

/* ---- processes --------------------------------------------------------------------------------------- */

/* Runs fn in a child with the table opened anew; the child ends with what it gives. */
static pid_t start(struct fixture *f, int (*fn)(struct inflight *t, void *arg), void *arg)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct inflight mine;
    alarm(60); /* whatever becomes of the test */
    if (!inflight_open(&mine, f->world.dir, &f->message))
        _exit(99);
    _exit(fn(&mine, arg));
}

static int lead_and_sleep(struct inflight *t, void *arg)
{
    struct digest key = world_key(1);
    int role = inflight_claim(t, &key, INFLIGHT_LEASE_MAX_S * (int64_t)CLOCK_US_PER_SECOND).role;
    if (write(*(int *)arg, "x", 1) != 1)
        return 98;
    pause();
    return role;
}

static void a_killed_leader_is_replaced_at_once(void **state)
{
    struct fixture *f = *state;
    struct digest key = world_key(1);
    int pipes[2];
    char byte;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = start(f, lead_and_sleep, &pipes[1]);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    struct inflight_claim claim = inflight_claim(&f->table, &key, LEASE);
    assert_int_equal(claim.role, INFLIGHT_FOLLOWER);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(inflight_is_led(&f->table, &claim));
    assert_int_equal(inflight_claim(&f->table, &key, LEASE).role, INFLIGHT_LEADER);
    close(pipes[0]);
    close(pipes[1]);
}

struct race {
    _Atomic int ready, go, leaders[200];
};

/* Many claim the same keys at the same moment; nobody releases. */
static int race_for_keys(struct inflight *t, void *arg)
{
    struct race *r = arg;
    atomic_fetch_add(&r->ready, 1);
    for (size_t i = 0; i < TEST_COUNT(r->leaders); i++) {
        struct digest key = world_key(i);
        while (atomic_load(&r->go) <= (int)i)
            sched_yield();
        struct inflight_claim claim = inflight_claim(t, &key, 30 * (int64_t)CLOCK_US_PER_SECOND);
        if (claim.role == INFLIGHT_LEADER && claim.slot != INFLIGHT_NONE)
            atomic_fetch_add(&r->leaders[i], 1);
        atomic_fetch_add(&r->ready, 1);
    }
    pause();
    return 0;
}

static void of_many_exactly_one_leads(void **state)
{
    struct fixture *f = *state;
    struct race *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = start(f, race_for_keys, r);
    for (size_t i = 0; i <= TEST_COUNT(r->leaders); i++) {
        while (atomic_load(&r->ready) < PROCESSES * (int)(i + 1))
            usleep(50);
        atomic_store(&r->go, (int)i + 1);
    }
    int led = 0;
    for (size_t i = 0; i < TEST_COUNT(r->leaders); i++)
        led += atomic_load(&r->leaders[i]) == 1;
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(kill(pids[i], SIGKILL), 0);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    }
    assert_int_equal(inflight_count(&f->table), 0);
    for (size_t i = 0; i < TEST_COUNT(r->leaders); i++)
        assert_in_range(atomic_load(&r->leaders[i]), 0, 1);
    assert_in_range(led, TEST_COUNT(r->leaders) - 8, TEST_COUNT(r->leaders)); /* some keys meet in one slot */
    munmap(r, sizeof *r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_leads_the_others_follow),
        TEST(a_lease_ends_unless_renewed),
        TEST(another_key_in_the_slot_is_not_waited_for),
        TEST(words_of_another_time_are_no_leases),
        TEST(a_leader_that_settles_says_so),
        TEST(a_killed_leader_is_replaced_at_once),
        TEST(of_many_exactly_one_leads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
