/*
 * What an admission by the shared file costs: CPU time of admit and settle together, in one process and in
 * several that want the same key.
 *
 *     sluice-bench-limits [PROCESSES [REQUESTS]]
 */
#include "sluice/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_PROCESSES = 1, DEFAULT_REQUESTS = 1000000 };

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void on_decision(void *user, const struct limits_decision *decision)
{
    *(long *)user += decision->verdict == LIMITS_ADMITTED;
}

static void measure(const char *what, struct limits *limits, const struct client_key *key, int64_t tokens,
                    long requests)
{
    long admitted = 0;
    double started = cpu_seconds();
    for (long i = 0; i < requests; i++) {
        struct limits_reservation *r;
        limits_admit(limits, key, tokens, &r, on_decision, &admitted);
        limits_settle(&r, tokens / 2);
    }
    double each = (cpu_seconds() - started) / (double)requests * 1e6;
    printf("%-28s %.3f µs CPU a request, %ld of %ld admitted\n", what, each, admitted, requests);
    fflush(stdout);
}

static void run(const struct config *config, long requests)
{
    struct client_key key = {.count = 1};
    struct buf message;
    buf_init(&message, 4096);
    struct limits *limits = limits_new(NULL, config, NULL, &message);
    if (!limits || !digest_sha256(SLICE_LITERAL("bench"), &key.digest)) {
        fprintf(stderr, "%s\n", limits ? "no digest" : buf_text(&message));
        exit(1);
    }
    measure("requests and tokens", limits, &key, 100, requests);
    measure("no tokens", limits, &key, 0, requests);
    measure("refused", limits, &key, INT64_MAX, requests);
    limits_free(&limits);
    buf_free(&message);
}

int main(int argc, char **argv)
{
    int processes = argc > 1 ? atoi(argv[1]) : DEFAULT_PROCESSES;
    long requests = argc > 2 ? atol(argv[2]) : DEFAULT_REQUESTS;
    char directory[] = "/tmp/sluice-bench-XXXXXX", command[64];
    if (!mkdtemp(directory))
        return 1;
    struct config config = {.rate_limit_requests_per_minute = 1000000000,
                            .rate_limit_tokens_per_minute = 1000000000,
                            .rate_limit_concurrent_requests = 100,
                            .rate_limit_lease_us = 30000000,
                            .rate_limit_local_share = 1000000,
                            .state_dir = directory};
    for (int i = 0; i < processes; i++)
        if (fork() == 0) {
            run(&config, requests);
            return 0;
        }
    while (wait(NULL) > 0)
        continue;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}
