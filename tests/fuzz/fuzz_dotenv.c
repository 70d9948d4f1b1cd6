/*
 * The .env parser: whatever the bytes, entries are well formed, lines are the file's and come in order, and
 * the result tells the truth. Every value that was read can be written in double quotes and read again.
 */
#include "fuzz.h"

#include "sluice/buf.h"
#include "sluice/dotenv.h"

struct seen {
    size_t lines; /* the file has */
    size_t last_line;
    size_t entries;
    size_t errors;
    struct buf quoted; /* the entries as a file in which all values are quoted */
};

static void check_line(struct seen *seen, size_t line)
{
    FUZZ_ASSERT(line >= 1 && line <= seen->lines);
    FUZZ_ASSERT(line >= seen->last_line);
    seen->last_line = line;
}

static void check_name(struct slice name)
{
    FUZZ_ASSERT(name.len > 0 && name.len <= DOTENV_NAME_MAX);
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool start = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        bool digit = c >= '0' && c <= '9';
        FUZZ_ASSERT(start || (i > 0 && (digit || c == '.' || c == '-')));
    }
}

static void quote(struct buf *b, struct slice name, struct slice value)
{
    static const char special[] = "\n\r\t\"\\$";
    static const char letters[] = "nrt\"\\$";
    buf_append_slice(b, name);
    buf_append_text(b, "=\"");
    for (size_t i = 0; i < value.len; i++) {
        const char *found = strchr(special, value.ptr[i]);
        if (found)
            buf_append_char(b, '\\');
        buf_append_char(b, found ? letters[found - special] : value.ptr[i]);
    }
    buf_append_text(b, "\"\n");
}

static void on_entry(void *arg, size_t line, struct slice name, struct slice value)
{
    struct seen *seen = arg;
    check_line(seen, line);
    check_name(name);
    FUZZ_ASSERT(value.len <= DOTENV_VALUE_MAX);
    FUZZ_ASSERT(value.len == 0 || !memchr(value.ptr, '\0', value.len));
    seen->entries++;
    quote(&seen->quoted, name, value);
}

static void on_error(void *arg, size_t line, const char *message)
{
    struct seen *seen = arg;
    check_line(seen, line);
    FUZZ_ASSERT(message && *message);
    seen->errors++;
}

static void parse(struct slice bytes, struct seen *seen)
{
    *seen = (struct seen){.lines = 1};
    for (size_t i = 0; i < bytes.len; i++)
        seen->lines += bytes.ptr[i] == '\n';
    buf_init(&seen->quoted, 4 * DOTENV_FILE_MAX);
    const struct dotenv_sink sink = {seen, on_entry, on_error};
    FUZZ_ASSERT(dotenv_parse(bytes, &sink) == (seen->errors == 0));
    FUZZ_ASSERT(seen->entries + seen->errors <= seen->lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen first, second;
    parse(slice_make(data, size), &first);
    if (first.quoted.len <= DOTENV_FILE_MAX) {
        parse(buf_slice(&first.quoted), &second);
        FUZZ_ASSERT(second.errors == 0);
        FUZZ_ASSERT(slice_equals(buf_slice(&first.quoted), buf_slice(&second.quoted)));
        buf_free(&second.quoted);
    }
    buf_free(&first.quoted);
    return 0;
}
