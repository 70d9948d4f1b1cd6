/*
 * Limits in a state directory of their own, and other processes that ask for the same: the test's own
 * program, started anew with arguments.
 */
#ifndef SLUICE_LIMITS_WORLD_H
#define SLUICE_LIMITS_WORLD_H

#include "sluice/limits.h"

#include <sys/types.h>

struct limits_world {
    char directory[64];
    struct config config;
    struct buf message;
    struct event_base *base;
    struct redis *redis;
    struct limits *limits;
    struct client_key key, other;
};

/* The test's own arguments, NAME=value, ending in NULL, beside a directory and two client keys, "one" and
 * "two". */
void world_enter(struct limits_world *w, const char *const *environment);
void world_leave(struct limits_world *w);

/* Anew, with other options. */
void world_configure(struct limits_world *w, const char *const *environment);

/* w->limits, by the configuration; with a Redis link if it says so. */
void world_open(struct limits_world *w);
void world_close(struct limits_world *w);

#define WORLD_ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

struct client_key world_key(const char *text);

/* What a callback was told. */
struct told {
    int calls;
    struct limits_decision d;
};

void world_on_decision(void *user, const struct limits_decision *decision);

/* Asks and runs the loop until there is a decision. */
struct told world_admit(struct limits_world *w, const struct client_key *key, int64_t tokens,
                        struct limits_reservation **out);

/* Runs the loop for so long. */
void world_turn(struct limits_world *w, int64_t us);

/* ---- other processes
 * ----------------------------------------------------------------------------------------- */

/* To be called first in main(): in a process that world_start() started it does not return. */
void world_main(int argc, char **argv);

struct crowd {
    pid_t pids[64];
    int count;
    int go[2];     /* its closing lets all begin at once */
    int report[2]; /* a line of numbers from each */
};

/* Processes that each open the limits of directory and then, when all have, do `work`:
 *
 *   admit COUNT TOKENS   ask COUNT times; keep all
 *   settle COUNT TOKENS  ask COUNT times for up to TOKENS; settle each by another number
 *   hold COUNT TOKENS    ask COUNT times, report, and wait to be killed
 *   late COUNT TOKENS    the same, but settle to 1 token each when a line comes
 *
 * Each reports: how many were admitted, tokens in the end. */
void crowd_start(struct crowd *c, const char *directory, int count, const char *work, int requests,
                 int tokens, const char *const *environment);
void crowd_go(struct crowd *c);

/* The sum of what n of them report. */
void crowd_hear(struct crowd *c, int n, long long *admitted, long long *tokens);

void crowd_kill(struct crowd *c);

/* Waits for their end, which must be a good one. */
void crowd_join(struct crowd *c);

#endif
