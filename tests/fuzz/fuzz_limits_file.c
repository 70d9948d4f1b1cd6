/*
 * The shared file of the limits with any contents: the input is written over its beginning, its middle and
 * its end, and then it is used. Nothing in it is trusted, and every answer is within its bounds.
 */
#include "fuzz.h"

#include "sluice/limits.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, REQUESTS = 4, DIRECTORY_MAX = 64 };

static char directory[DIRECTORY_MAX] = "/tmp/sluice-fuzz-XXXXXX";
static char file[2 * DIRECTORY_MAX];
static struct config config = {.rate_limit_requests_per_minute = 60,
                               .rate_limit_tokens_per_minute = 1000,
                               .rate_limit_concurrent_requests = 3,
                               .rate_limit_lease_us = 1000000,
                               .rate_limit_local_share = 1000000};

static void clean(void)
{
    unlink(file);
    rmdir(directory);
}

static void on_decision(void *user, const struct limits_decision *d)
{
    ++*(int *)user;
    FUZZ_ASSERT(d->requests.remaining >= 0 && d->requests.remaining <= 60);
    FUZZ_ASSERT(d->tokens.remaining >= 0 && d->tokens.remaining <= 1000);
    FUZZ_ASSERT(d->retry_after_us >= 0 && d->retry_after_us <= INT64_C(86460000000));
}

static struct limits *open_limits(void)
{
    struct buf message;
    buf_init(&message, PAGE);
    struct limits *l = limits_new(NULL, &config, NULL, &message);
    FUZZ_ASSERT(l);
    buf_free(&message);
    return l;
}

static void begin(void)
{
    if (config.state_dir)
        return;
    FUZZ_ASSERT(mkdtemp(directory));
    config.state_dir = directory;
    snprintf(file, sizeof file, "%s/limits.v1", directory);
    atexit(clean);
}

/* The slot of the key is in the middle, and so is what it points at. */
static void spoil(const uint8_t *data, size_t size)
{
    int fd = open(file, O_RDWR);
    off_t end = lseek(fd, 0, SEEK_END);
    for (off_t at = PAGE; at + (off_t)size <= end; at += (off_t)(size * 16 > PAGE ? size * 16 : PAGE))
        FUZZ_ASSERT(pwrite(fd, data, size, at) == (ssize_t)size);
    close(fd);
}

static void use(const struct client_key *key)
{
    struct limits_reservation *r[REQUESTS];
    struct limits *l = open_limits();
    int calls = 0;
    for (int i = 0; i < REQUESTS; i++)
        limits_admit(l, key, 100, &r[i], on_decision, &calls);
    FUZZ_ASSERT(calls == REQUESTS);
    limits_learn(l, key, 10);
    int64_t learned = limits_learned_output(l, key);
    FUZZ_ASSERT(learned >= 0 && learned <= 1000000000);
    limits_settle(&r[0], 50);
    limits_cancel(&r[1]);
    limits_free(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_key key = {.count = 1};
    if (size < 8 || size > 65536)
        return 0;
    memcpy(key.digest.bytes, data,
           size < DIGEST_SIZE ? size : DIGEST_SIZE); /* a slot may look like the key's */
    begin();
    struct limits *l = open_limits();
    limits_free(&l);
    spoil(data, size);
    use(&key);
    return 0;
}
