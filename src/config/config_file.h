/* Reading the .env file as a whole. Private to the config layer. */
#ifndef SLUICE_CONFIG_FILE_H
#define SLUICE_CONFIG_FILE_H

#include "sluice/config.h"

struct config_file {
    char *bytes; /* NULL where there is nothing to read */
    size_t len;
};

/* False where the file cannot be read, which is then an error in the report; a file that is not required may
 * be missing, and is then empty. A regular file that others can read is a warning. */
bool config_file_read(struct config_file *file, const char *path, bool required,
                      struct config_report *report);

/* Overwrites and frees. */
void config_file_free(struct config_file *file);

#endif
