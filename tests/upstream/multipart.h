/* Reads multipart/form-data bodies. */
#ifndef SIM_MULTIPART_H
#define SIM_MULTIPART_H

#include "http.h"

struct multipart_part {
    struct slice name, filename, data;
};

/* Steps over r's parts; start with cursor 0. */
bool multipart_next(const struct request *r, size_t *cursor, struct multipart_part *part);

/* The part that is a file, and the plain field called name; empty slices when absent. */
struct multipart_part multipart_file(const struct request *r);
struct slice multipart_field(const struct request *r, const char *name);

#endif
