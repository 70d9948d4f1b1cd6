/* The command line. */
#ifndef SLUICE_COMMAND_H
#define SLUICE_COMMAND_H

#include "sluice/buf.h"

enum command_action {
    COMMAND_SERVE,
    COMMAND_CHECK_CONFIG,
    COMMAND_PRINT_CONFIG,
    COMMAND_PRINT_OPTIONS, /* for the documents: the option table in the form of argument */
    COMMAND_PRINT_ERRORS,  /* for the documents: the error table */
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_WRONG /* message says what is wrong */
};

enum { COMMAND_OVERRIDES_MAX = 2, COMMAND_TEXT_MAX = 512 };

struct command {
    enum command_action action;
    const char *env_file; /* NULL: not given */
    const char *argument;
    const char *overrides[COMMAND_OVERRIDES_MAX + 1]; /* NAME=value, ending in NULL */
    char listen[COMMAND_TEXT_MAX];
    char message[COMMAND_TEXT_MAX];
};

/* argv's texts are kept, not copied. */
void command_parse(struct command *c, int argc, char **argv);

/* The text of --help; false at the buffer's cap. */
bool command_write_help(struct buf *b);

#endif
