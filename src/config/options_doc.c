/* Everything that people read about options, written from the table. */
#include "sluice/options.h"

#include "sluice/config.h"

#include "option_value.h"
#include "sluice/clock.h"

enum { OPTIONS_HELP_WIDTH = 80, OPTIONS_ENV_WIDTH = 100 };

static bool options_put_seconds(struct buf *b, int64_t us)
{
    double seconds = (double)us / CLOCK_US_PER_SECOND;
    return buf_printf(b, "%.10g", seconds);
}

static bool options_put_range(struct buf *b, const struct option *o)
{
    if (o->type == OPTION_SECONDS)
        return options_put_seconds(b, o->min) && buf_append_text(b, " to ") &&
               options_put_seconds(b, o->max) && buf_append_text(b, " seconds");
    long long min = o->min, max = o->max;
    if (o->type == OPTION_BYTES)
        return buf_printf(b, "%lld to %lld bytes, also written with KiB, MiB or GiB", min, max);
    return buf_printf(b, "a whole number from %lld to %lld%s", min, max, o->automatic ? ", or auto" : "");
}

static bool options_is_alias(const struct option *o, const struct option_choice *choice)
{
    for (const struct option_choice *c = o->choices; c < choice; c++)
        if (c->value == choice->value)
            return true;
    return false;
}

static bool options_put_choices(struct buf *b, const struct option *o)
{
    bool ok = true;
    for (const struct option_choice *c = o->choices; ok && c->text; c++) {
        if (options_is_alias(o, c))
            continue;
        bool last = !c[1].text || options_is_alias(o, &c[1]);
        ok = (c == o->choices || buf_append_text(b, last ? " or " : ", ")) && buf_append_text(b, c->text);
    }
    return ok;
}

static bool options_put_url(struct buf *b, const struct option *o)
{
    const char *second = strchr(o->schemes, ' ');
    int first = second ? (int)(second - o->schemes) : (int)strlen(o->schemes);
    return buf_printf(b, "%.*s://HOST[:PORT][/PATH]", first, o->schemes) &&
           (!second || buf_printf(b, " or %s://HOST...", second + 1)) &&
           buf_append_text(b, o->user_info ? ", without query and fragment"
                                           : ", without user name, query and fragment");
}

bool options_put_allowed(struct buf *b, const struct option *o)
{
    switch (o->type) {
    case OPTION_BOOL:
        return buf_append_text(b, "true or false (also yes, no, on, off, 1, 0)");
    case OPTION_INT:
    case OPTION_BYTES:
    case OPTION_SECONDS:
        return options_put_range(b, o);
    case OPTION_CHOICE:
        return options_put_choices(b, o);
    case OPTION_SHARE:
        return buf_printf(b, "a decimal number from %g to %g", (double)o->min / OPTION_SHARE_WHOLE,
                          (double)o->max / OPTION_SHARE_WHOLE);
    case OPTION_REDIS_URL:
        return buf_append_text(b, "redis://[[user]:password@]host[:port][/database] or unix:///path[?db=NUMBER]");
    case OPTION_URL:
        return options_put_url(b, o);
    case OPTION_NAME:
        return buf_printf(b, "a name of at most %d letters, digits, '-', '_' and '.'", OPTION_NAME_MAX);
    case OPTION_MODE:
        return buf_append_text(b, "a mode in octal, such as 0660");
    case OPTION_PATH:
        return buf_printf(b, "a path of at most %d bytes, without control characters", OPTION_PATH_MAX);
    case OPTION_PREFIX:
        return buf_append_text(b,
                               "empty, or a path that begins with / and does not end with it, such as /ai");
    case OPTION_ADDRESS:
        return buf_printf(b, "unix:/path or /path (at most %d bytes), HOST:PORT or [IPv6]:PORT",
                          OPTION_UNIX_PATH_MAX);
    case OPTION_LIST:
        return buf_append_text(b, "words without blanks, separated by commas");
    case OPTION_KEY_LIST:
        return buf_printf(b,
                          "keys separated by commas, each at most %d visible ASCII characters without quotes",
                          OPTION_KEY_MAX);
    case OPTION_NETWORKS:
        return buf_append_text(b, "none, or addresses and networks such as 10.0.0.0/8 and ::1, separated by commas");
    case OPTION_ALIASES:
        return buf_printf(b, "a JSON object {\"client key\": \"name\"}, with names of at most %d bytes", CONFIG_ALIAS_MAX);
    case OPTION_OVERRIDES:
        return buf_printf(b,
                          "a JSON object {\"client key\": {\"requests_per_minute\": N, \"tokens_per_minute\": N, "
                          "\"concurrent_requests\": N}} with any of the three, each from 0 to %d, %d for the last",
                          CONFIG_LIMIT_MAX, CONFIG_CONCURRENT_MAX);
    case OPTION_PRICES:
        return buf_printf(b,
                          "a JSON object {\"model\": {\"input\": USD, \"cached_input\": USD, \"output\": USD}} of at most %d "
                          "models, where cached_input may be missing and USD is a number from 0 to %lld with at most six "
                          "decimals, for a million tokens",
                          CONFIG_PRICES_MAX, (long long)(CONFIG_PRICE_MAX / CONFIG_PRICE_UNITS));
    case OPTION_KEY_MAP:
        return buf_printf(
            b,
            "a JSON object {\"client key\": \"OpenAI key\"}, where a value may also be {\"key\": "
            "\"...\", \"organization\": \"...\", \"project\": \"...\"}, with keys of at most %d "
            "visible ASCII characters without quotes",
            OPTION_KEY_MAX);
    }
    return false;
}

static const char *options_default(const struct option *o)
{
    return o->default_note ? o->default_note : o->default_text;
}

/* Breaks at blanks; every line begins with indent. A word longer than the width stands alone. */
static bool options_put_wrapped(struct buf *b, const char *indent, size_t width, const char *text)
{
    size_t column = 0;
    bool ok = true;
    while (ok && *text) {
        size_t word = strcspn(text, " ");
        bool breaks = column > 0 && column + 1 + word > width;
        if (column == 0 || breaks) {
            ok = (!breaks || buf_append_char(b, '\n')) && buf_append_text(b, indent);
            column = strlen(indent);
        } else {
            ok = buf_append_char(b, ' ');
            column++;
        }
        ok = ok && buf_append(b, text, word);
        column += word;
        text += word + strspn(text + word, " ");
    }
    return ok && buf_append_char(b, '\n');
}

/* The prose, and what is legal where the prose does not say it. False without memory too. */
static bool options_put_meaning(struct buf *b, const struct option *o)
{
    bool plain = o->type == OPTION_INT || o->type == OPTION_BYTES || o->type == OPTION_SECONDS ||
                 o->type == OPTION_SHARE || o->type == OPTION_CHOICE || o->type == OPTION_REDIS_URL;
    bool ok = buf_append_text(b, o->prose);
    if (ok && plain)
        ok = buf_append_text(b, " Allowed: ") && options_put_allowed(b, o) && buf_append_char(b, '.');
    return ok;
}

static bool options_wrap_meaning(struct buf *b, const struct option *o, const char *indent, size_t width)
{
    struct buf meaning;
    buf_init(&meaning, b->max);
    const char *text = options_put_meaning(&meaning, o) ? buf_text(&meaning) : NULL;
    bool ok = text && options_put_wrapped(b, indent, width, text);
    buf_free(&meaning);
    return ok;
}

bool options_write_help(struct buf *b)
{
    bool ok = true;
    for (size_t i = 0; ok && i < OPTIONS_COUNT; i++) {
        const struct option *o = options_at(i);
        ok = buf_printf(b, "  %s (default: %s)\n", o->name, options_default(o)) &&
             options_wrap_meaning(b, o, "      ", OPTIONS_HELP_WIDTH);
    }
    return ok;
}

/* A bar would end the cell. */
static bool options_put_cell(struct buf *b, struct slice text)
{
    bool ok = true;
    for (size_t i = 0; ok && i < text.len; i++)
        ok = (text.ptr[i] != '|' || buf_append_char(b, '\\')) && buf_append_char(b, text.ptr[i]);
    return ok;
}

static bool options_put_row(struct buf *b, const struct option *o)
{
    struct buf meaning;
    buf_init(&meaning, b->max);
    const char *quote = o->default_note ? "" : "`";
    bool ok = options_put_meaning(&meaning, o) &&
              buf_printf(b, "| `%s` | %s%s%s | ", o->name, quote, options_default(o), quote) &&
              options_put_cell(b, buf_slice(&meaning)) && buf_append_text(b, " |\n");
    buf_free(&meaning);
    return ok;
}

bool options_write_markdown(struct buf *b)
{
    bool ok = buf_append_text(b, "| option | default | meaning |\n| --- | --- | --- |\n");
    for (size_t i = 0; ok && i < OPTIONS_COUNT; i++)
        ok = options_put_row(b, options_at(i));
    return ok;
}

/* roff: a backslash is an escape, and a plain minus may be set as a hyphen, which nobody can paste. */
static bool options_put_roff(struct buf *b, struct slice text)
{
    bool ok = true;
    for (size_t i = 0; ok && i < text.len; i++) {
        char c = text.ptr[i];
        ok = c == '\\'  ? buf_append_text(b, "\\e")
             : c == '-' ? buf_append_text(b, "\\-")
                        : buf_append_char(b, c);
    }
    return ok;
}

/* No text begins with a dot or an apostrophe, which would be a request: the prose is ours, the default is
 * quoted. */
static bool options_put_man_entry(struct buf *b, const struct option *o)
{
    struct buf meaning;
    buf_init(&meaning, b->max);
    bool ok = options_put_meaning(&meaning, o) && buf_printf(b, ".TP\n.B %s\n", o->name) &&
              options_put_roff(b, buf_slice(&meaning)) && buf_append_text(b, "\nDefault: ") &&
              options_put_roff(b, slice_from_text(options_default(o))) && buf_append_text(b, ".\n");
    buf_free(&meaning);
    return ok;
}

bool options_write_man(struct buf *b)
{
    bool ok = true;
    for (size_t i = 0; ok && i < OPTIONS_COUNT; i++)
        ok = options_put_man_entry(b, options_at(i));
    return ok;
}

bool options_write_env_example(struct buf *b)
{
    bool ok = true;
    for (size_t i = 0; ok && i < OPTIONS_COUNT; i++) {
        const struct option *o = options_at(i);
        ok = (i == 0 || buf_append_char(b, '\n')) && options_wrap_meaning(b, o, "# ", OPTIONS_ENV_WIDTH) &&
             buf_printf(b, "%s%s=%s\n", o->essential ? "" : "#", o->name, o->default_text);
    }
    return ok;
}

options_writer *options_find_writer(const char *form)
{
    static const struct {
        const char *form;
        options_writer *writer;
    } writers[] = {
        {"help", options_write_help},
        {"markdown", options_write_markdown},
        {"man", options_write_man},
        {"env", options_write_env_example},
    };
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        if (strcmp(form, writers[i].form) == 0)
            return writers[i].writer;
    return NULL;
}
