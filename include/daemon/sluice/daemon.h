/*
 * The processes: a supervisor and its workers, or one process that does it all (WORKERS=0).
 *
 * Signals: TERM and INT drain (a second one ends at once); USR1 opens the log file again.
 */
#ifndef SLUICE_DAEMON_H
#define SLUICE_DAEMON_H

#include "sluice/config.h"
#include "sluice/keys.h"

/* Exit statuses of the program. */
enum { DAEMON_EXIT_OK = 0, DAEMON_EXIT_FAILED = 1, DAEMON_EXIT_USAGE = 2 };

/* What a worker needs; everything is lent. */
struct daemon {
    const struct config *config;
    const struct keys *keys;
    int listen_fd;
};

/* Opens the socket that the configuration names, or checks the one that was inherited. -1 after having written to
 * error (one line) what is wrong and what to do. A stale unix socket is replaced; one in use is not. */
int listener_open(const struct config_address *address, struct buf *error);

/* Removes a unix socket's file. */
void listener_close(const struct config_address *address, int fd);

/* Serves until told to end; gives the exit status. */
int worker_run(const struct daemon *d);

/* Starts the workers, and others in place of those that die, until told to end; gives the exit status. */
int supervisor_run(const struct daemon *d);

#endif
