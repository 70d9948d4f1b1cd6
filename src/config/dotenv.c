/*
 * The .env parser: one pass, from the front; `rest` is what has not been read yet.
 *
 * Every function that reads leaves `rest` behind what it took. After an error dotenv_parse() sets it to the
 * line after the one that was at fault, so that one missing quote does not hide the mistakes below it.
 */
#include "sluice/dotenv.h"

#include "sluice/buf.h"

struct dotenv_parser {
    struct slice rest;
    size_t line;       /* of rest's first byte */
    const char *error; /* NULL: none */
    bool unclosed;     /* the error is a quote without its end: everything below was read as its value */
    struct buf value;  /* of the entry being read */
};

static bool dotenv_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool dotenv_is_name_start(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool dotenv_is_name_char(char c)
{
    return dotenv_is_name_start(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

/* NUL at the end: a NUL within the bytes is never legal, so that callers need not tell the two apart. */
static char dotenv_peek(const struct dotenv_parser *p)
{
    return p->rest.len > 0 ? p->rest.ptr[0] : '\0';
}

static void dotenv_skip_blanks(struct dotenv_parser *p)
{
    while (dotenv_is_blank(dotenv_peek(p)))
        p->rest = slice_skip(p->rest, 1);
}

/* Up to the line's end, which stays in rest. */
static struct slice dotenv_take_line(struct dotenv_parser *p)
{
    const char *end = p->rest.len > 0 ? memchr(p->rest.ptr, '\n', p->rest.len) : NULL;
    struct slice text = end ? slice_take(p->rest, (size_t)(end - p->rest.ptr)) : p->rest;
    p->rest = slice_skip(p->rest, text.len);
    return text;
}

static void dotenv_skip_line(struct dotenv_parser *p)
{
    dotenv_take_line(p);
    if (p->rest.len > 0) {
        p->rest = slice_skip(p->rest, 1);
        p->line++;
    }
}

static bool dotenv_fail(struct dotenv_parser *p, const char *message)
{
    p->error = message;
    return false;
}

static bool dotenv_put(struct dotenv_parser *p, struct slice text)
{
    return buf_append_slice(&p->value, text) || dotenv_fail(p, "a value is at most 24 MiB long");
}

/* Where a comment begins in an unquoted value, or its length. In JSON a `#` within a string is text. */
static size_t dotenv_find_comment(struct slice text, bool json)
{
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        if (json && quoted && text.ptr[i] == '\\')
            i++;
        else if (json && text.ptr[i] == '"')
            quoted = !quoted;
        else if (text.ptr[i] == '#' && !quoted && i > 0 && dotenv_is_blank(text.ptr[i - 1]))
            return i;
    }
    return text.len;
}

static bool dotenv_read_plain(struct dotenv_parser *p)
{
    struct slice text = dotenv_take_line(p);
    bool json = text.len > 0 && (text.ptr[0] == '{' || text.ptr[0] == '[');
    return dotenv_put(p, slice_trim(slice_take(text, dotenv_find_comment(text, json))));
}

/* rest begins with a backslash. */
static bool dotenv_read_escape(struct dotenv_parser *p)
{
    static const char escapes[] = "ntr\"\\$";
    static const char meanings[] = "\n\t\r\"\\$";
    char c = p->rest.len > 1 ? p->rest.ptr[1] : '\0';
    const char *known = c ? strchr(escapes, c) : NULL;
    if (!known) {
        struct slice backslash = slice_take(p->rest, 1);
        p->rest = slice_skip(p->rest, 1);
        return dotenv_put(p, backslash);
    }
    p->rest = slice_skip(p->rest, 2);
    return dotenv_put(p, slice_make(&meanings[known - escapes], 1));
}

/* Bytes of a quoted value that mean themselves: up to the closing quote, an escape or a line's end. */
static bool dotenv_read_literal(struct dotenv_parser *p, char quote)
{
    size_t n = 0;
    while (n < p->rest.len && p->rest.ptr[n] != quote && p->rest.ptr[n] != '\n' &&
           !(quote == '"' && p->rest.ptr[n] == '\\'))
        n++;
    struct slice text = slice_take(p->rest, n);
    p->rest = slice_skip(p->rest, n);
    bool crlf = dotenv_peek(p) == '\n' && text.len > 0 && text.ptr[text.len - 1] == '\r';
    return dotenv_put(p, slice_take(text, crlf ? n - 1 : n));
}

static bool dotenv_read_newline(struct dotenv_parser *p)
{
    p->rest = slice_skip(p->rest, 1);
    p->line++;
    return dotenv_put(p, SLICE_LITERAL("\n"));
}

/* rest begins with the opening quote. */
static bool dotenv_read_quoted(struct dotenv_parser *p)
{
    char quote = dotenv_peek(p);
    p->rest = slice_skip(p->rest, 1);
    while (p->rest.len > 0 && dotenv_peek(p) != quote) {
        char c = dotenv_peek(p);
        bool ok = c == '\n'                   ? dotenv_read_newline(p)
                  : c == '\\' && quote == '"' ? dotenv_read_escape(p)
                                              : dotenv_read_literal(p, quote);
        if (!ok)
            return false;
    }
    p->unclosed = p->rest.len == 0;
    if (p->unclosed)
        return dotenv_fail(p,
                           "the quote that opens here is never closed; write a quote within a value as \\\", "
                           "or put the value in quotes of the other kind");
    p->rest = slice_skip(p->rest, 1);
    struct slice tail = slice_trim(dotenv_take_line(p));
    if (tail.len > 0 && tail.ptr[0] != '#')
        return dotenv_fail(
            p, "there is text after the closing quote; only a comment may follow it (JSON goes in "
               "single quotes, or in none)");
    return true;
}

static bool dotenv_read_value(struct dotenv_parser *p)
{
    buf_clear(&p->value);
    bool blank = dotenv_is_blank(dotenv_peek(p));
    dotenv_skip_blanks(p);
    char c = dotenv_peek(p);
    bool ok;
    if (c == '"' || c == '\'') {
        ok = dotenv_read_quoted(p);
    } else if (c == '#' && blank) {
        dotenv_take_line(p);
        ok = true;
    } else {
        ok = dotenv_read_plain(p);
    }
    if (ok && p->value.len > 0 && memchr(buf_data(&p->value), '\0', p->value.len))
        return dotenv_fail(p, "there is a NUL byte in the value; a value is text");
    return ok;
}

/* `export` counts only where a blank and then a name follow: a variable may be called export. */
static void dotenv_skip_export(struct dotenv_parser *p)
{
    struct slice after = slice_skip(p->rest, strlen("export"));
    if (!slice_starts_with(p->rest, SLICE_LITERAL("export")) || after.len == 0 ||
        !dotenv_is_blank(after.ptr[0]))
        return;
    while (after.len > 0 && dotenv_is_blank(after.ptr[0]))
        after = slice_skip(after, 1);
    if (after.len > 0 && dotenv_is_name_start(after.ptr[0]))
        p->rest = after;
}

/* Takes the name and the equals sign. */
static bool dotenv_read_name(struct dotenv_parser *p, struct slice *name)
{
    dotenv_skip_export(p);
    size_t n = 0;
    while (n < p->rest.len && dotenv_is_name_char(p->rest.ptr[n]))
        n++;
    *name = slice_take(p->rest, n);
    if (n == 0 || !dotenv_is_name_start(name->ptr[0]))
        return dotenv_fail(p, "this is not NAME=value; a name is made of letters, digits and _");
    if (n > DOTENV_NAME_MAX)
        return dotenv_fail(p, "a name is at most 256 bytes long");
    p->rest = slice_skip(p->rest, n);
    dotenv_skip_blanks(p);
    if (dotenv_peek(p) != '=')
        return dotenv_fail(p, "there is no = after the name; write NAME=value, or # in front of a comment");
    p->rest = slice_skip(p->rest, 1);
    return true;
}

/* True where the line is empty or a comment. */
static bool dotenv_skip_nothing(struct dotenv_parser *p)
{
    dotenv_skip_blanks(p);
    char c = dotenv_peek(p);
    bool crlf = c == '\r' && (p->rest.len == 1 || p->rest.ptr[1] == '\n');
    return p->rest.len == 0 || c == '\n' || c == '#' || crlf;
}

/* One entry. After a quote that is never closed, reading goes on at the line after it. */
static bool dotenv_read_entry(struct dotenv_parser *p, const struct dotenv_sink *sink)
{
    struct dotenv_parser start = *p;
    struct slice name;
    p->unclosed = false;
    if (dotenv_read_name(p, &name) && dotenv_read_value(p)) {
        sink->on_entry(sink->arg, start.line, name, buf_slice(&p->value));
        return true;
    }
    if (p->unclosed) {
        p->rest = start.rest;
        p->line = start.line;
    }
    sink->on_error(sink->arg, p->line, p->error);
    return false;
}

bool dotenv_parse(struct slice bytes, const struct dotenv_sink *sink)
{
    if (bytes.len > DOTENV_FILE_MAX) {
        sink->on_error(sink->arg, 1, "the file is longer than 64 MiB");
        return false;
    }
    struct dotenv_parser p = {.rest = bytes, .line = 1};
    if (slice_starts_with(bytes, SLICE_LITERAL("\xEF\xBB\xBF")))
        p.rest = slice_skip(bytes, 3);
    buf_init(&p.value, DOTENV_VALUE_MAX);
    bool ok = true;
    while (p.rest.len > 0) {
        if (!dotenv_skip_nothing(&p) && !dotenv_read_entry(&p, sink))
            ok = false;
        dotenv_skip_line(&p);
    }
    if (p.value.mem)
        explicit_bzero(p.value.mem, p.value.size);
    buf_free(&p.value);
    return ok;
}
