/*
 * The one table of options. Parsing, --check-config, --print-config, --help, the manual page, the README's
 * table and .env.example are all made from it: to add an option, add a field to struct config and a row to
 * the table.
 */
#ifndef SLUICE_OPTIONS_H
#define SLUICE_OPTIONS_H

#include "sluice/buf.h"
#include "sluice/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
    OPTION_BOOL,
    OPTION_INT,
    OPTION_BYTES,   /* whole bytes, or with KiB, MiB, GiB */
    OPTION_SECONDS, /* decimal seconds, kept as microseconds */
    OPTION_CHOICE,
    OPTION_SHARE, /* a decimal number, kept in millionths */
    OPTION_URL,
    OPTION_REDIS_URL, /* redis_url.h */
    OPTION_PATH,
    OPTION_NAME, /* a word, such as a user's or a group's name */
    OPTION_MODE, /* of a file, in octal */
    OPTION_PREFIX, /* of a URL's path: empty, or /… without a slash at its end */
    OPTION_ADDRESS,
    OPTION_LIST,     /* words, separated by commas */
    OPTION_KEY_LIST, /* the same, of keys */
    OPTION_NETWORKS,  /* a list of addresses and networks, or "none" */
    OPTION_ALIASES,   /* a JSON object: client key → name */
    OPTION_OVERRIDES, /* a JSON object: client key → limits */
    OPTION_PRICES,    /* a JSON object: model or beginning of one → prices */
    OPTION_KEY_MAP,  /* a JSON object: client key → key, or {"key", "organization", "project"} */
};

/* Ends in a row without text. The first row with a value names it; later ones with the same value are
 * aliases. */
struct option_choice {
    const char *text;
    int64_t value;
};

struct option {
    const char *name;
    enum option_type type;
    const char *default_text; /* parsed as a written value is; "" where absent is legal */
    const char *default_note; /* what the default means, for the docs; NULL: default_text says it */
    int64_t min, max;         /* numbers: inclusive, in the unit in which the value is kept */
    size_t offset;            /* of the field in struct config, whose C type follows from the type */
    const struct option_choice *choices;
    const char *schemes;        /* URL: separated by blanks */
    int64_t (*automatic)(void); /* numbers: what the word `auto` means; NULL: not a legal value */
    bool user_info;             /* URL: may hold a user name and a password */
    bool secret;                /* never shown, neither in messages nor by --print-config */
    bool reloadable;            /* a reload (SIGHUP) takes a new value; otherwise a restart does */
    bool essential;             /* stands uncommented in .env.example */
    const char *prose;          /* one or two sentences, ending in a full stop */
};

/* The row at index, in the order of the docs; NULL past the end. */
const struct option *options_at(size_t index);

/* Number of rows, as a constant for arrays beside the table. */
enum { OPTIONS_COUNT = 58 };

enum { OPTION_SHARE_WHOLE = 1000000 };

/* The index of the option with exactly this name, or OPTIONS_COUNT. */
size_t options_find(struct slice name);

/* The option whose name is nearest (single letters missing, added, wrong or swapped; case does not count; the
 * beginning of a name, as in CACHE__TTL, is one edit away), and how many such edits away it is. NULL where
 * that is more than max, or more than half of the name while no option has its prefix; *edits is then
 * undefined. */
const struct option *options_find_nearest(struct slice name, size_t max, size_t *edits);

/* True for a name like RATE_LIMIT__X: it begins with a prefix that belongs to Sluice. */
bool options_own_prefix(struct slice name);

/* What values are legal, as a phrase: `a whole number from 0 to 256, or auto`. */
bool options_put_allowed(struct buf *b, const struct option *o);

/* The docs. Each answers false where the buffer's cap was reached. */
typedef bool options_writer(struct buf *b);
bool options_write_help(struct buf *b);        /* for --help: 80 columns */
bool options_write_markdown(struct buf *b);    /* | option | default | meaning | */
bool options_write_man(struct buf *b);         /* .TP entries */
bool options_write_env_example(struct buf *b); /* a .env file with every default as a comment */

/* "help", "markdown", "man" or "env"; NULL for another form. */
options_writer *options_find_writer(const char *form);

#endif
