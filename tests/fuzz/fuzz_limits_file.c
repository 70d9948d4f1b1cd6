/*
 * The shared file of the limits with any contents: the input is a program that fills its tables with anything, also
 * while they are in use, and uses them as two processes do. Nothing in the file is trusted, every answer is within
 * its bounds, and where nothing was put into the file no limit is exceeded.
 *
 * The tables are small (LIMITS_SMALL), so that a few bytes of the input fill them.
 */
#include "fuzz.h"

#include "limits_table.h"
#include "sluice/clock.h"
#include "sluice/limits_view.h"

#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, DIRECTORY_MAX = 64, WORD = 8 };
enum { STEPS_MAX = 48, OPENINGS_MAX = 3, PROCESSES = 2, KEYS = 3, HELD_MAX = 8 };
enum { REQUESTS_LIMIT = 60, TOKENS_LIMIT = 1000, CONCURRENT_LIMIT = 3, LEARNED_MAX = 1000000000 };

#define LONGEST_WAIT_US INT64_C(86460000000)

static char directory[DIRECTORY_MAX] = "/tmp/sluice-fuzz-XXXXXX";
static struct config config = {.rate_limit_requests_per_minute = REQUESTS_LIMIT,
                               .rate_limit_tokens_per_minute = TOKENS_LIMIT,
                               .rate_limit_concurrent_requests = CONCURRENT_LIMIT,
                               .rate_limit_local_share = 1000000};
static struct shared_file file; /* the fuzzer's own view of it */

struct program {
    struct slice rest;
    struct limits *processes[PROCESSES];
    struct client_key keys[KEYS];
    struct limits_reservation *held[HELD_MAX];
    size_t held_of[HELD_MAX]; /* whose they are */
    size_t openings; /* the dear part */
    bool spoiled;
};

static void clean(void)
{
    char path[2 * DIRECTORY_MAX];
    snprintf(path, sizeof path, "%s/limits.v1", directory);
    unlink(path);
    rmdir(directory);
}

static struct limits *open_limits(void)
{
    struct buf message;
    buf_init(&message, PAGE);
    struct limits *l = limits_new(NULL, &config, NULL, &message);
    FUZZ_ASSERT(l && message.len == 0);
    return l;
}

static void begin(void)
{
    struct buf message;
    if (config.state_dir)
        return;
    FUZZ_ASSERT(mkdtemp(directory));
    config.state_dir = directory;
    atexit(clean);
    struct limits *l = open_limits();
    limits_free(&l);
    buf_init(&message, PAGE);
    FUZZ_ASSERT(shared_file_open_existing(&file, directory, LIMITS_FILE, LIMITS_LAYOUT,
                                          sizeof(struct limits_shared), &message));
}

static uint8_t take(struct program *p)
{
    uint8_t byte = p->rest.len > 0 ? (uint8_t)p->rest.ptr[0] : 0;
    p->rest = slice_skip(p->rest, 1);
    return byte;
}

/* ---- the file ----------------------------------------------------------------------------------------------- */

/* One item of a table, its words as they are in the input, or as milliseconds from now. */
static void take_item(struct program *p, char *item, size_t size, unsigned times)
{
    size_t n = size < p->rest.len ? size : p->rest.len;
    memset(item, 0, size);
    if (n > 0)
        memcpy(item, p->rest.ptr, n);
    p->rest = slice_skip(p->rest, n);
    for (size_t i = 0; i < size / WORD; i++) {
        int32_t ms;
        memcpy(&ms, item + i * WORD, sizeof ms);
        int64_t time = clock_wall_us() * 1000 + (int64_t)ms * 1000000;
        if (times >> i & 1)
            memcpy(item + i * WORD, &time, sizeof time);
    }
}

static void fill(struct program *p)
{
    struct limits_shared *s = file.data;
    const struct {
        void *items;
        size_t size, count;
    } tables[] = {
        {s, offsetof(struct limits_shared, processes), 1},
        {s->processes, sizeof *s->processes, LIMITS_PROCESSES},
        {s->slots, sizeof *s->slots, LIMITS_KEYS + 1},
        {s->leases, sizeof *s->leases, LIMITS_LEASES},
        {s->tickets, sizeof *s->tickets, LIMITS_TICKETS},
    };
    char item[sizeof *s->slots];
    size_t table = take(p) % (sizeof tables / sizeof *tables);
    size_t first = take(p) % tables[table].count, count = take(p);
    unsigned times = take(p);
    take_item(p, item, tables[table].size, times);
    for (size_t i = first; i < tables[table].count && i - first <= count; i++)
        memcpy((char *)tables[table].items + i * tables[table].size, item, tables[table].size);
    p->spoiled = true;
}

/* ---- its use ------------------------------------------------------------------------------------------------ */

static void check_bucket(const struct ratelimit_bucket *b, int64_t limit)
{
    FUZZ_ASSERT(b->limit == limit && b->remaining >= 0 && b->remaining <= limit);
    FUZZ_ASSERT(b->reset_us >= 0 && b->reset_us <= LONGEST_WAIT_US);
}

static void check_decision(const struct limits_decision *d)
{
    check_bucket(&d->requests, REQUESTS_LIMIT);
    check_bucket(&d->tokens, TOKENS_LIMIT);
    FUZZ_ASSERT(d->retry_after_us >= 0 && d->retry_after_us <= LONGEST_WAIT_US);
    FUZZ_ASSERT(d->concurrent_limit == CONCURRENT_LIMIT && !d->fallback);
}

static void on_decision(void *user, const struct limits_decision *d)
{
    ++*(int *)user;
    check_decision(d);
}

static struct limits *process(struct program *p, size_t which)
{
    if (!p->processes[which]) {
        p->processes[which] = open_limits();
        p->openings++;
    }
    return p->processes[which];
}

static void check_concurrent(const struct program *p)
{
    size_t held[KEYS] = {0};
    for (size_t i = 0; i < HELD_MAX; i++)
        if (p->held[i])
            held[p->held_of[i]]++;
    for (size_t i = 0; i < KEYS && !p->spoiled; i++)
        FUZZ_ASSERT(held[i] <= CONCURRENT_LIMIT);
}

static void admit(struct program *p, uint8_t how)
{
    size_t place = 0, key = how / PROCESSES % KEYS;
    int calls = 0;
    while (place < HELD_MAX && p->held[place])
        place++;
    if (place == HELD_MAX)
        return;
    p->held_of[place] = key;
    limits_admit(process(p, how % PROCESSES), &p->keys[key], take(p) * 8, &p->held[place], on_decision, &calls);
    FUZZ_ASSERT(calls == 1);
    check_concurrent(p);
}

static void settle(struct program *p, uint8_t how)
{
    struct limits_reservation **r = &p->held[how % HELD_MAX];
    if (how & 0x80)
        limits_cancel(r);
    else
        limits_settle(r, take(p) * 16);
    FUZZ_ASSERT(!*r);
}

static void learn(struct program *p, uint8_t how)
{
    struct limits *l = process(p, how % PROCESSES);
    const struct client_key *key = &p->keys[how / PROCESSES % KEYS];
    limits_learn(l, key, take(p));
    int64_t learned = limits_learned_output(l, key);
    FUZZ_ASSERT(learned >= 0 && learned <= LEARNED_MAX);
}

static void on_row(void *user, const struct limits_view_row *row)
{
    ++*(size_t *)user;
    FUZZ_ASSERT(row->fingerprint[0] == '\0' || limits_view_is_fingerprint(row->fingerprint));
    check_bucket(&row->requests, REQUESTS_LIMIT);
    check_bucket(&row->tokens, TOKENS_LIMIT);
    FUZZ_ASSERT(row->concurrent >= 0 && row->concurrent <= LIMITS_TICKETS);
    FUZZ_ASSERT(row->learned_output >= -1 && row->learned_output <= LEARNED_MAX);
}

static void look(struct program *p, uint8_t how)
{
    struct limits_decision d;
    const struct client_key *key = &p->keys[how / PROCESSES % KEYS];
    limits_look(process(p, how % PROCESSES), key, &d);
    check_bucket(&d.requests, REQUESTS_LIMIT);
    check_bucket(&d.tokens, TOKENS_LIMIT);
}

/* As `sluice limits` does. */
static void view(struct program *p, uint8_t how)
{
    struct buf message;
    size_t rows = 0;
    if (p->openings++ >= OPENINGS_MAX)
        return;
    buf_init(&message, PAGE);
    if (how & 1)
        FUZZ_ASSERT(limits_view_list(&config, on_row, &rows, &message) && rows <= LIMITS_KEYS + 1);
    else
        FUZZ_ASSERT(limits_view_reset(&config, p->keys[how / 2 % KEYS].fingerprint, &message) == (message.len == 0));
    buf_free(&message);
}

static void leave(struct program *p, size_t which)
{
    limits_free(&p->processes[which]);
    FUZZ_ASSERT(!p->processes[which]);
}

static void step(struct program *p)
{
    uint8_t op = take(p), how = take(p);
    switch (op % 8) {
    case 0:
    case 1:
        fill(p);
        break;
    case 2:
    case 3:
        admit(p, how);
        break;
    case 4:
        settle(p, how);
        break;
    case 5:
        learn(p, how);
        break;
    case 6:
        if (how & 0x80)
            view(p, how);
        else
            look(p, how);
        break;
    default:
        if (p->openings < OPENINGS_MAX)
            leave(p, how % PROCESSES);
    }
}

/* A byte of settings and the keys' bytes come first: tags in the file may be theirs. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct program p = {.rest = slice_make(data, size)};
    begin();
    memset(file.data, 0, file.size);
    uint8_t settings = take(&p);
    p.spoiled = settings & 1; /* a lease that has ended before the next step gives back what is held */
    config.rate_limit_lease_us = p.spoiled ? 4 : INT64_C(3600000000);
    for (size_t i = 0; i < KEYS; i++) {
        p.keys[i] = (struct client_key){.count = 1};
        memset(p.keys[i].digest.bytes, take(&p), DIGEST_SIZE);
        digest_hex(p.keys[i].digest.bytes, (KEY_FINGERPRINT_SIZE - 1) / 2, p.keys[i].fingerprint);
    }
    for (int i = 0; i < STEPS_MAX && p.rest.len > 0; i++)
        step(&p);
    for (size_t i = 0; i < PROCESSES; i++)
        leave(&p, i);
    for (size_t i = 0; i < HELD_MAX; i++)
        FUZZ_ASSERT(!p.held[i]);
    return 0;
}
