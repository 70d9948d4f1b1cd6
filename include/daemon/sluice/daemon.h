/*
 * The processes: a supervisor and its workers, or one process that does it all (WORKERS=0).
 *
 * Signals of the supervisor: TERM, INT and QUIT drain (a second one ends at once); HUP reloads the configuration; USR1
 * opens the log file again; USR2 runs the program's file again, in the same process, as an upgrade. A worker takes
 * TERM, INT and USR1 alike, and QUIT to retire: it hands its idle connections over, finishes its requests without a
 * time limit, and ends.
 */
#ifndef SLUICE_DAEMON_H
#define SLUICE_DAEMON_H

#include "sluice/config.h"
#include "sluice/handover.h"
#include "sluice/keys.h"
#include "sluice/pool.h"

#include <signal.h>
#include <sys/types.h>

/* Exit statuses of the program. */
enum { DAEMON_EXIT_OK = 0, DAEMON_EXIT_FAILED = 1, DAEMON_EXIT_USAGE = 2 };

/* A configuration and what was made of it. */
struct settings {
    struct config config;
    struct keys *keys;
    struct pool_shared *health; /* of the upstream keys, for all workers */
};

/* Where a configuration comes from; the same at start and at each reload. */
struct settings_source {
    const char *const *overrides;
    const char *env_file;
};

/* Loads into *s, which settings_free() releases in every case. False: the report tells why. */
bool settings_load(struct settings *s, const struct settings_source *source, struct config_report *report);
void settings_free(struct settings *s);

/* Names, separated by commas, the options that differ and that a reload cannot change. */
void settings_put_fixed_changes(const struct settings *before, const struct settings *after, struct buf *names);

/* Everything that a process of ours works with. */
struct daemon {
    struct settings *settings;
    struct settings_source source;
    int listen_fd;
    bool own_socket;          /* opened by us: nobody else will answer at it */
    struct handover handover; /* between retiring and serving workers */
    const char *program;      /* absolute path of the program's file */
    char *const *arguments;
};

/* The user that the process works as. */
struct run_as {
    bool changes; /* it is another one now, who is root */
    uid_t uid;
    gid_t gid;
    char name[72]; /* for messages; and for the user's further groups, where the machine knows the name */
};

/* Whom RUN_AS names. Root without RUN_AS becomes www-data; anybody else stays who he is. False after having written to
 * error what is wrong. */
bool run_as_find(const char *option, struct run_as *as, struct buf *error);

/* Root becomes the owner of a directory that is there, so that a command works on files as who made them does. */
bool run_as_owner_of(const char *directory, struct buf *error);

/* Makes a log file that is not there yet, for this user. What goes wrong shows where the log is opened. */
void run_as_make_log(const struct run_as *as, const char *path);

/* Changes the user and all groups, of all three kinds, and makes sure that there is no way back. False after having
 * written to error what is wrong: then nothing must be served. */
bool run_as_become(const struct run_as *as, struct buf *error);

/* From here on: no core dump, no look into the memory by others of the same user, and no program that is run gets more
 * rights than this one. What is forked or run inherits the last, and must ask for the others itself. */
void run_as_seal(void);

/* Opens the socket that the configuration names, or checks the one that was inherited. -1 after having written to
 * error (one line) what is wrong and what to do. A stale unix socket is replaced; one in use is not. */
int listener_open(const struct config *config, struct buf *error);

/* Gives a unix socket's file to this user, and to his group where LISTEN_GROUP does not name one. */
bool listener_give(const struct config *config, const struct run_as *as, struct buf *error);

/* Removes a unix socket's file. */
void listener_close(const struct config *config, int fd);

/* Makes the state directory (mode 0700) if it is missing, and checks that it is this user's alone: a directory, no symbolic
 * link, closed to others; if it was open to them, without anything of theirs in it. Root gives one of its own, with what
 * is in it, to the user that it will become. False after having written to error what is wrong. */
bool state_dir_prepare(const char *path, const struct run_as *as, struct buf *error);

/* Whether the user that the process has become can use it. */
bool state_dir_check(const char *path, struct buf *error);

/* An upgrade: the program's file is run again in the same process, with the socket and the workers of the old one.
 * What it inherits stands in one variable of the environment. */
enum { UPGRADE_WORKERS_MAX = 512 };
struct upgrade {
    bool active; /* this process was started by an upgrade */
    int listen_fd;
    struct handover handover;
    pid_t workers[UPGRADE_WORKERS_MAX];
    size_t worker_count;
};

/* Takes the variable out of the environment. */
void upgrade_receive(struct upgrade *u);

/* Whether the program's file and the configuration can be run: asks `program --check-config`. Does not wait: gives
 * the process whose exit status tells, or -1. */
pid_t upgrade_probe(const struct daemon *d);

/* Runs the file. Returns only where that failed, with errno. */
void upgrade_execute(const struct daemon *d, const pid_t *workers, size_t count);

/* Serves until told to end; gives the exit status. blocked: the signals to be blocked once the worker can take its own;
 * NULL: as they are. */
int worker_run(const struct daemon *d, const sigset_t *blocked);

/* Starts the workers, and others in place of those that die, until told to end; gives the exit status. upgrade tells
 * of an upgrade's former workers. */
int supervisor_run(struct daemon *d, const struct upgrade *upgrade);

/* A worker asks its supervisor by this signal to be replaced. */
int supervisor_replace_signal(void);

#endif
