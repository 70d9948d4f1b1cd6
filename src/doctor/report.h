/* What the checks found: a line each, at once, or all of it as one JSON object at the end. */
#ifndef SLUICE_DOCTOR_REPORT_H
#define SLUICE_DOCTOR_REPORT_H

#include "sluice/buf.h"

enum report_status {
    REPORT_OK,
    REPORT_NOTE, /* to be known, not to be mended */
    REPORT_WARN,
    REPORT_FAIL
};

enum { REPORT_MAX = 256 * 1024 };

struct report {
    bool as_json;
    size_t faults;
    size_t warnings;
    struct buf checks; /* the members of the JSON array */
};

void report_init(struct report *r, bool as_json);
void report_free(struct report *r);

/* change may be NULL or empty; the explanation is one line, without a key. */
void report_add(struct report *r, enum report_status status, const char *name, const char *change,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Prints what is left to print; gives the exit status. */
int report_finish(struct report *r, const char *url, const char *server);

#endif
