/* The .env file holds secrets: its bytes are overwritten before they are given back. */
#include "config_file.h"

#include "sluice/dotenv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CONFIG_FILE_FIRST_SIZE = 64 * 1024,
    CONFIG_FILE_SIZE = DOTENV_FILE_MAX + 1 /* the byte more tells a file that is too long */
};

static void config_file_check_mode(int fd, const char *path, struct config_report *report)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRGRP | S_IROTH)))
        config_report_add(
            report, CONFIG_WARNING, path,
            "others can read this file (mode %04o) though it holds secrets; `chmod 600` closes it",
            (unsigned)(st.st_mode & 07777));
}

/* realloc() might leave a copy behind. */
static bool config_file_grow(struct config_file *file, size_t *size)
{
    size_t larger = *size == 0 ? CONFIG_FILE_FIRST_SIZE : 4 * *size;
    if (larger > CONFIG_FILE_SIZE)
        larger = CONFIG_FILE_SIZE;
    char *bytes = malloc(larger);
    if (!bytes)
        return false;
    if (file->len > 0)
        memcpy(bytes, file->bytes, file->len);
    size_t len = file->len;
    config_file_free(file);
    *file = (struct config_file){bytes, len};
    *size = larger;
    return true;
}

/* False, with errno, where reading fails. */
static bool config_file_fill(struct config_file *file, int fd)
{
    size_t size = 0;
    while (file->len < CONFIG_FILE_SIZE) {
        if (file->len == size && !config_file_grow(file, &size))
            return false;
        ssize_t n = read(fd, file->bytes + file->len, size - file->len);
        if (n == 0)
            return true;
        if (n > 0)
            file->len += (size_t)n;
        else if (errno != EINTR)
            return false;
    }
    errno = EFBIG;
    return false;
}

/* errno tells why. */
static bool config_file_reject(const char *path, struct config_report *report)
{
    if (errno == EFBIG)
        config_report_add(report, CONFIG_ERROR, path, "this file is longer than 64 MiB, which is the limit");
    else
        config_report_add(report, CONFIG_ERROR, path, "this file cannot be read: %s", strerror(errno));
    return false;
}

bool config_file_read(struct config_file *file, const char *path, bool required, struct config_report *report)
{
    *file = (struct config_file){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return (!required && errno == ENOENT) || config_file_reject(path, report);
    bool ok = config_file_fill(file, fd);
    if (ok)
        config_file_check_mode(fd, path, report);
    else
        config_file_reject(path, report);
    close(fd);
    return ok;
}

void config_file_free(struct config_file *file)
{
    if (file->bytes)
        explicit_bzero(file->bytes, file->len);
    free(file->bytes);
    *file = (struct config_file){NULL, 0};
}
