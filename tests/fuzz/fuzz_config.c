/*
 * Every option's grammar, by way of a .env file: loading always ends with a report that agrees with its
 * result, and what a legal configuration prints is a legal configuration that prints the same, but for its
 * fingerprints.
 */
#include "fuzz.h"

#include "sluice/config.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int the_fd = -1;
static char the_path[64];

static void write_file(struct slice bytes)
{
    if (the_fd < 0) {
        the_fd = memfd_create("env", MFD_CLOEXEC);
        FUZZ_ASSERT(the_fd >= 0 && fchmod(the_fd, 0600) == 0);
        snprintf(the_path, sizeof the_path, "/proc/self/fd/%d", the_fd);
    }
    FUZZ_ASSERT(ftruncate(the_fd, 0) == 0);
    FUZZ_ASSERT(pwrite(the_fd, bytes.ptr, bytes.len, 0) == (ssize_t)bytes.len);
}

/* The printed form into out where the file is legal. */
static bool load(struct slice file, struct buf *out)
{
    struct config config;
    struct config_report report;
    struct buf text;
    write_file(file);
    config_report_init(&report);
    buf_init(&text, 1024 * 1024);
    buf_init(out, 16 * 1024 * 1024);
    bool ok = config_load(&config, &(struct config_input){.env_file = the_path}, &report);
    FUZZ_ASSERT(ok == (report.errors == 0));
    FUZZ_ASSERT(config_report_write(&report, &text));
    FUZZ_ASSERT((text.len == 0) == (report.errors + report.warnings == 0));
    if (ok)
        FUZZ_ASSERT(config_print(&config, out));
    config_free(&config);
    config_report_free(&report);
    buf_free(&text);
    return ok;
}

static struct slice take_line(struct slice *rest)
{
    const char *end = memchr(rest->ptr, '\n', rest->len);
    FUZZ_ASSERT(end);
    struct slice line = slice_take(*rest, (size_t)(end - rest->ptr));
    *rest = slice_skip(*rest, line.len + 1);
    return line;
}

static void compare(struct slice a, struct slice b)
{
    while (a.len > 0) {
        struct slice line = take_line(&a), again = take_line(&b);
        const char *fingerprint = line.len > 0 ? memmem(line.ptr, line.len, "sha256:", 7) : NULL;
        FUZZ_ASSERT(fingerprint || slice_equals(line, again));
    }
    FUZZ_ASSERT(b.len == 0);
}

/* A URL with an @ in its path is hidden as a whole, and then cannot be read again. */
static bool is_hidden(struct slice printed)
{
    return memmem(printed.ptr, printed.len, "=***\n", 5) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf first, second;
    if (size == 0 || !load(slice_make(data, size), &first))
        return 0;
    if (!is_hidden(buf_slice(&first)) && first.len < 200000) {
        FUZZ_ASSERT(load(buf_slice(&first), &second));
        compare(buf_slice(&first), buf_slice(&second));
        buf_free(&second);
    }
    buf_free(&first);
    return 0;
}
