/* Values of the simple types, and the form of every complaint about a value. */
#include "option_value.h"

#include "sluice/clock.h"
#include "sluice/json_out.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

enum { OPTION_SHOWN_MAX = 80, OPTION_MESSAGE_MAX = 1000 };

/* Quoted and escaped, so that a stray control character or a whole file shows as what it is. */
static void option_put_shown(struct buf *b, const struct option_value *v)
{
    struct buf plain;
    buf_init(&plain, OPTION_SHOWN_MAX);
    if ((v->option->type == OPTION_URL || v->option->type == OPTION_REDIS_URL) && memchr(v->text.ptr, '@', v->text.len))
        option_put_url(&plain, v->text);
    else
        buf_append_slice(&plain, slice_take(v->text, OPTION_SHOWN_MAX));
    json_put_string(b, buf_slice(&plain));
    if (v->text.len > OPTION_SHOWN_MAX)
        buf_append_text(b, "...");
    buf_append_char(b, ' ');
    buf_free(&plain);
}

bool option_reject(const struct option_value *v, const char *format, ...)
{
    char phrase[OPTION_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(phrase, sizeof phrase, format, args);
    va_end(args);

    struct buf message;
    buf_init(&message, OPTION_MESSAGE_MAX);
    if (!v->option->secret)
        option_put_shown(&message, v);
    buf_printf(&message, "%s (%s); allowed: ", phrase, v->origin);
    options_put_allowed(&message, v->option);
    const char *text = buf_text(&message);
    config_report_add(v->report, CONFIG_ERROR, v->option->name, "%s", text ? text : phrase);
    buf_free(&message);
    return false;
}

bool option_reject_memory(const struct option_value *v)
{
    config_report_add(v->report, CONFIG_ERROR, v->option->name,
                      "there is not enough memory for the value (%s)", v->origin);
    return false;
}

bool option_parse_number(struct slice text, int64_t max, int64_t *out)
{
    int64_t number = 0;
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        int64_t digit = text.ptr[i] - '0';
        if (number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *out = number;
    return number <= max;
}

static bool option_is_digits(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return text.len > 0;
}

/* number is valid only where parsed; otherwise it was too large to be one. */
static bool option_set_bounded(const struct option_value *v, bool parsed, int64_t number, int64_t *field)
{
    if (!parsed || number > v->option->max)
        return option_reject(v, "is too large");
    if (number < v->option->min)
        return option_reject(v, "is too small");
    *field = number;
    return true;
}

static bool option_set_int(const struct option_value *v, int64_t *field)
{
    if (v->option->automatic && slice_equals_nocase(v->text, SLICE_LITERAL("auto"))) {
        *field = v->option->automatic();
        return true;
    }
    if (!option_is_digits(v->text))
        return option_reject(v, "is not a whole number");
    int64_t number = 0;
    bool parsed = option_parse_number(v->text, INT64_MAX, &number);
    return option_set_bounded(v, parsed, number, field);
}

static bool option_set_bytes(const struct option_value *v, int64_t *field)
{
    static const struct option_choice units[] = {
        {"", 1}, {"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}};
    size_t digits = 0;
    while (digits < v->text.len && option_is_digits(slice_take(slice_skip(v->text, digits), 1)))
        digits++;
    struct slice suffix = slice_trim(slice_skip(v->text, digits));
    size_t unit = 0;
    while (unit < 4 && !slice_equals_nocase(suffix, slice_from_text(units[unit].text)))
        unit++;
    if (digits == 0 || unit == 4)
        return option_reject(v, "is not a number of bytes");
    int64_t number = 0;
    bool parsed = option_parse_number(slice_take(v->text, digits), INT64_MAX / units[unit].value, &number);
    return option_set_bounded(v, parsed, number * units[unit].value, field);
}

/* A decimal number in millionths; what is the phrase for what it is not. */
static bool option_set_decimal(const struct option_value *v, const char *what, int64_t *field)
{
    const char *dot = memchr(v->text.ptr, '.', v->text.len);
    struct slice whole = dot ? slice_take(v->text, (size_t)(dot - v->text.ptr)) : v->text;
    struct slice part = dot ? slice_skip(v->text, whole.len + 1) : SLICE_LITERAL("0");
    if (!option_is_digits(whole) || !option_is_digits(part))
        return option_reject(v, "is not %s", what);
    if (part.len > 6)
        return option_reject(v, "has more than six decimals");
    int64_t seconds = 0, fraction = 0;
    bool parsed = option_parse_number(whole, INT64_MAX / CLOCK_US_PER_SECOND - 1, &seconds);
    option_parse_number(part, CLOCK_US_PER_SECOND, &fraction);
    for (size_t i = part.len; i < 6; i++)
        fraction *= 10;
    return option_set_bounded(v, parsed, seconds * CLOCK_US_PER_SECOND + fraction, field);
}

static const struct option_choice *option_find_choice(const struct option_choice *choices, struct slice text)
{
    for (; choices->text; choices++)
        if (slice_equals_nocase(text, slice_from_text(choices->text)))
            return choices;
    return NULL;
}

static bool option_set_choice(const struct option_value *v, int64_t *field)
{
    const struct option_choice *choice = option_find_choice(v->option->choices, v->text);
    if (!choice)
        return option_reject(v, "is not known");
    *field = choice->value;
    return true;
}

static bool option_set_bool(const struct option_value *v, bool *field)
{
    static const struct option_choice words[] = {
        {"true", 1}, {"yes", 1}, {"on", 1}, {"1", 1}, {"t", 1}, {"y", 1},  {"false", 0},
        {"no", 0},   {"off", 0}, {"0", 0},  {"f", 0}, {"n", 0}, {NULL, 0},
    };
    const struct option_choice *word = option_find_choice(words, v->text);
    if (!word)
        return option_reject(v, "is neither true nor false");
    *field = word->value != 0;
    return true;
}

static bool option_set_text(const struct option_value *v, const char **field)
{
    char *copy = arena_copy(&v->config->memory, v->text);
    if (!copy)
        return option_reject_memory(v);
    *field = copy;
    return true;
}

static bool option_set_path(const struct option_value *v, const char **field)
{
    if (v->text.len > OPTION_PATH_MAX)
        return option_reject(v, "is too long");
    if (option_has_control(v->text))
        return option_reject(v, "contains a control character");
    return option_set_text(v, field);
}

static bool option_set_name(const struct option_value *v, const char **field)
{
    if (v->text.len > OPTION_NAME_MAX)
        return option_reject(v, "is too long");
    for (size_t i = 0; i < v->text.len; i++)
        if (!isalnum((unsigned char)v->text.ptr[i]) && !strchr("-_.", v->text.ptr[i]))
            return option_reject(v, "contains another character");
    return option_set_text(v, field);
}

static bool option_set_mode(const struct option_value *v, int64_t *field)
{
    int64_t mode = 0;
    for (size_t i = 0; i < v->text.len; i++) {
        if (v->text.ptr[i] < '0' || v->text.ptr[i] > '7' || mode > v->option->max)
            return option_reject(v, "is not a mode");
        mode = mode * 8 + (v->text.ptr[i] - '0');
    }
    return option_set_bounded(v, true, mode, field);
}

static bool option_is_prefix_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           strchr("/-._~", c) != NULL;
}

static bool option_set_prefix(const struct option_value *v, const char **field)
{
    struct slice s = v->text;
    if (s.len > OPTION_PATH_MAX)
        return option_reject(v, "is too long");
    if (s.len > 0 && s.ptr[0] != '/')
        return option_reject(v, "does not begin with /");
    if (s.len > 0 && s.ptr[s.len - 1] == '/')
        return option_reject(v, "ends with /");
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\0' || !option_is_prefix_char(s.ptr[i]))
            return option_reject(v, "contains a character that a path of a URL cannot hold as it is");
        if (s.ptr[i] == '/' && s.ptr[i + 1] == '/')
            return option_reject(v, "contains //");
    }
    return option_set_text(v, field);
}

bool option_set_value(const struct option_value *v)
{
    void *field = (char *)v->config + v->option->offset;
    switch (v->option->type) {
    case OPTION_BOOL:
        return option_set_bool(v, field);
    case OPTION_INT:
        return option_set_int(v, field);
    case OPTION_BYTES:
        return option_set_bytes(v, field);
    case OPTION_SECONDS:
        return option_set_decimal(v, "a number of seconds", field);
    case OPTION_SHARE:
        return option_set_decimal(v, "a decimal number", field);
    case OPTION_CHOICE:
        return option_set_choice(v, field);
    case OPTION_URL:
        return option_set_url(v, field);
    case OPTION_REDIS_URL:
        return option_set_redis_url(v, field);
    case OPTION_NAME:
        return option_set_name(v, field);
    case OPTION_MODE:
        return option_set_mode(v, field);
    case OPTION_PATH:
        return option_set_path(v, field);
    case OPTION_PREFIX:
        return option_set_prefix(v, field);
    case OPTION_ADDRESS:
        return option_set_address(v, field);
    case OPTION_LIST:
    case OPTION_KEY_LIST:
        return option_set_key_list(v, field);
    case OPTION_NETWORKS:
        return option_set_networks(v, field);
    case OPTION_ALIASES:
        return option_set_aliases(v, field);
    case OPTION_OVERRIDES:
        return option_set_overrides(v, field);
    case OPTION_PRICES:
        return option_set_prices(v, field);
    case OPTION_KEY_MAP:
        return option_set_key_map(v, field);
    }
    return false;
}
