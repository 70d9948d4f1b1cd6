/*
 * What the commands beside serving have in common, `sluice cache` and `sluice limits`: they read the configuration, and work
 * as the owner of the state directory. Private to the daemon layer.
 */
#ifndef SLUICE_SUBCOMMAND_H
#define SLUICE_SUBCOMMAND_H

#include "sluice/config.h"

struct subcommand {
    const char *name;     /* behind "sluice", for messages */
    const char *env_file; /* NULL: .env */
    /* Does what was asked, and prints it; adds to message what is wrong. False: it failed. */
    bool (*work)(void *user, const struct config *config, struct buf *message);
    void *user;
};

/* The exit status. What is wrong goes to standard error. */
int subcommand_run(const struct subcommand *s);

#endif
