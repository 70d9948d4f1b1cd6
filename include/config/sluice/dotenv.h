/*
 * The .env file's grammar, over bytes: no file is opened, no name is known here.
 *
 *     # a comment
 *     export NAME=value            # a comment after a blank
 *     NAME = 'taken as it is, # too'
 *     NAME="with \n \t \r \" \\ \$ escapes"
 *     NAME={"json": "with spaces # and signs"}
 *
 * A name is letters, digits, `_`, `.` and `-`, and does not begin with a digit. An unquoted value ends at the
 * line's end or before a `#` that follows a blank; blanks around it are dropped; a backslash in it means
 * itself. A value that begins with { or [ is the same, except that a `#` within double quotes belongs to it.
 * A quoted value may go on over several lines; only a comment may follow it. Lines end in LF or CRLF (within
 * quotes CRLF becomes LF); the last one needs neither. A byte order mark is skipped. An escape other than
 * those above is kept as it is written. Nothing is expanded: `$NAME` and `${NAME}` are plain text.
 */
#ifndef SLUICE_DOTENV_H
#define SLUICE_DOTENV_H

#include "sluice/slice.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    DOTENV_FILE_MAX = 64 * 1024 * 1024, /* bytes: a hundred thousand keys and their OpenAI keys */
    DOTENV_NAME_MAX = 256,
    DOTENV_VALUE_MAX = 24 * 1024 * 1024,
};

/* Lines count from 1; a value over several lines is reported by its first. What the slices point to is valid
 * only during the call. A message is a phrase that tells what is wrong and what is allowed; it never holds
 * the file's text. */
struct dotenv_sink {
    void *arg;
    void (*on_entry)(void *arg, size_t line, struct slice name, struct slice value);
    void (*on_error)(void *arg, size_t line, const char *message);
};

/* Goes on after an error, with the next line. True where there was none. The order of calls is the file's. */
bool dotenv_parse(struct slice bytes, const struct dotenv_sink *sink);

#endif
