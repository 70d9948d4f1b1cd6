/*
 * The command line of `sluice doctor`, and the client key, which need not stand on it.
 */
#ifndef SLUICE_DOCTOR_ARGUMENTS_H
#define SLUICE_DOCTOR_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

enum { ARGUMENTS_KEY_MAX = 1024, ARGUMENTS_URL_MAX = 2048, ARGUMENTS_MESSAGE_MAX = 512 };

struct arguments {
    char root[ARGUMENTS_URL_MAX]; /* what stands before /v1: scheme, host, port and BASE_PATH, no slash at its
                                     end */
    const char *path;             /* of root: empty, or /... */
    char key[ARGUMENTS_KEY_MAX];  /* empty: none was given */
    bool tls;                     /* https */
    bool insecure;                /* certificates are not checked */
    bool as_json;
    bool help;
    int64_t silence_s;                   /* 0: not asked */
    char message[ARGUMENTS_MESSAGE_MAX]; /* what is wrong */
};

/* False: message says what is wrong. A key in argv is copied and overwritten. */
bool arguments_parse(struct arguments *a, int argc, char **argv);

void arguments_print_help(void);

#endif
