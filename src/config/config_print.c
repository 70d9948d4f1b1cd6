/* The effective values, as the .env parser would read them; of secrets only fingerprints. */
#include "sluice/config.h"
#include "sluice/digest.h"

#include "option_value.h"
#include "sluice/json_out.h"

enum { CONFIG_FINGERPRINT_BYTES = 6 };

static bool config_put_fingerprint(struct buf *b, const char *secret)
{
    struct digest digest;
    char hex[2 * CONFIG_FINGERPRINT_BYTES + 1];
    if (!secret || !digest_sha256(slice_from_text(secret), &digest))
        return buf_append_text(b, "(hidden)");
    digest_hex(digest.bytes, CONFIG_FINGERPRINT_BYTES, hex);
    return buf_printf(b, "sha256:%s", hex);
}

static bool config_put_list(struct buf *b, const struct config_list *list)
{
    bool ok = true;
    for (size_t i = 0; ok && i < list->count; i++)
        ok = (i == 0 || buf_append_char(b, ',')) && config_put_fingerprint(b, list->items[i]);
    return ok;
}

static bool config_put_identifier(struct buf *b, const char *name, const char *value)
{
    return !value || (buf_printf(b, ", \"%s\": ", name) && json_put_string(b, slice_from_text(value)));
}

static bool config_put_mapping(struct buf *b, const struct config_mapping *m)
{
    bool object = m->organization || m->project;
    return buf_append_char(b, '"') && config_put_fingerprint(b, m->client_key) &&
           buf_append_text(b, object ? "\": {\"key\": \"" : "\": \"") &&
           config_put_fingerprint(b, m->api_key) && buf_append_char(b, '"') &&
           config_put_identifier(b, "organization", m->organization) &&
           config_put_identifier(b, "project", m->project) && (!object || buf_append_char(b, '}'));
}

static bool config_put_mappings(struct buf *b, const struct config_mappings *map)
{
    if (map->count == 0)
        return true;
    bool ok = buf_append_char(b, '{');
    for (size_t i = 0; ok && i < map->count; i++)
        ok = (i == 0 || buf_append_text(b, ", ")) && config_put_mapping(b, &map->items[i]);
    return ok && buf_append_char(b, '}');
}

/* In double quotes where the .env parser would take something in it for its own. */
static bool config_put_text(struct buf *b, const char *text)
{
    if (!strpbrk(text, "\"'#\\ "))
        return buf_append_text(b, text);
    bool ok = buf_append_char(b, '"');
    for (; ok && *text; text++)
        ok = (!strchr("\"\\$", *text) || buf_append_char(b, '\\')) && buf_append_char(b, *text);
    return ok && buf_append_char(b, '"');
}

/* Of a second, of a whole, of a USD. */
static bool config_put_millionths(struct buf *b, int64_t value)
{
    long long whole = value / 1000000, fraction = value % 1000000;
    if (fraction == 0)
        return buf_printf(b, "%lld", whole);
    int digits = 6;
    for (; fraction % 10 == 0; fraction /= 10)
        digits--;
    return buf_printf(b, "%lld.%0*lld", whole, digits, fraction);
}

static bool config_put_limit(struct buf *b, const char *name, int64_t value, bool *first)
{
    if (value < 0)
        return true;
    bool ok = buf_printf(b, "%s\"%s\": %lld", *first ? "" : ", ", name, (long long)value);
    *first = false;
    return ok;
}

static bool config_put_override(struct buf *b, const struct config_override *o)
{
    char hex[2 * CONFIG_FINGERPRINT_BYTES + 1];
    bool first = true;
    digest_hex(o->client_key.bytes, CONFIG_FINGERPRINT_BYTES, hex);
    return buf_printf(b, "\"sha256:%s\": {", hex) &&
           config_put_limit(b, "requests_per_minute", o->requests_per_minute, &first) &&
           config_put_limit(b, "tokens_per_minute", o->tokens_per_minute, &first) &&
           config_put_limit(b, "concurrent_requests", o->concurrent_requests, &first) && buf_append_char(b, '}');
}

static bool config_put_overrides(struct buf *b, const struct config_overrides *map)
{
    bool ok = map->count == 0 || buf_append_char(b, '{');
    for (size_t i = 0; ok && i < map->count; i++)
        ok = (i == 0 || buf_append_text(b, ", ")) && config_put_override(b, &map->items[i]);
    return ok && (map->count == 0 || buf_append_char(b, '}'));
}

static bool config_put_aliases(struct buf *b, const struct config_aliases *map)
{
    bool ok = map->count == 0 || buf_append_char(b, '{');
    for (size_t i = 0; ok && i < map->count; i++) {
        char hex[2 * CONFIG_FINGERPRINT_BYTES + 1];
        digest_hex(map->items[i].client_key.bytes, CONFIG_FINGERPRINT_BYTES, hex);
        ok = buf_printf(b, "%s\"sha256:%s\": \"%s\"", i > 0 ? ", " : "", hex, map->items[i].name);
    }
    return ok && (map->count == 0 || buf_append_char(b, '}'));
}

static bool config_put_prices(struct buf *b, const struct config_prices *prices)
{
    bool ok = prices->count == 0 || buf_append_char(b, '{');
    for (size_t i = 0; ok && i < prices->count; i++) {
        const struct config_price *p = &prices->items[i];
        ok = buf_printf(b, "%s\"%s%s\": {\"input\": ", i > 0 ? ", " : "", p->model, i < prices->whole ? "" : "*") &&
             config_put_millionths(b, p->input) && buf_append_text(b, ", \"cached_input\": ") &&
             config_put_millionths(b, p->cached_input) && buf_append_text(b, ", \"output\": ") &&
             config_put_millionths(b, p->output) && buf_append_char(b, '}');
    }
    return ok && (prices->count == 0 || buf_append_char(b, '}'));
}

static bool config_put_choice(struct buf *b, const struct option_choice *choice, int64_t value)
{
    while (choice->text && choice->value != value)
        choice++;
    return buf_append_text(b, choice->text ? choice->text : "");
}

static bool config_put_address(struct buf *b, const struct config_address *a)
{
    if (a->kind == CONFIG_ADDRESS_UNIX)
        return config_put_text(b, a->path);
    if (a->kind == CONFIG_ADDRESS_TCP)
        return buf_printf(b, strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host, a->port);
    return true;
}

/* A redirection of buf for the URL's masked form, which then needs the quoting of a text. */
static bool config_put_url(struct buf *b, const char *url)
{
    struct buf masked;
    buf_init(&masked, b->max);
    bool ok = option_put_url(&masked, slice_from_text(url));
    const char *text = ok ? buf_text(&masked) : NULL;
    ok = text && config_put_text(b, text);
    buf_free(&masked);
    return ok;
}

static bool config_put_words(struct buf *b, const struct config_list *list)
{
    bool ok = true;
    for (size_t i = 0; ok && i < list->count; i++)
        ok = buf_printf(b, "%s%s", i ? "," : "", list->items[i]);
    return ok;
}

static bool config_put_value(struct buf *b, const struct option *o, const struct config *c)
{
    const void *field = (const char *)c + o->offset;
    switch (o->type) {
    case OPTION_BOOL:
        return buf_append_text(b, *(const bool *)field ? "true" : "false");
    case OPTION_INT:
    case OPTION_BYTES:
        return buf_printf(b, "%lld", (long long)*(const int64_t *)field);
    case OPTION_SECONDS:
    case OPTION_SHARE:
        return config_put_millionths(b, *(const int64_t *)field);
    case OPTION_CHOICE:
        return config_put_choice(b, o->choices, *(const int64_t *)field);
    case OPTION_URL:
    case OPTION_REDIS_URL:
        return config_put_url(b, *(const char *const *)field);
    case OPTION_MODE:
        return buf_printf(b, "%04llo", (unsigned long long)*(const int64_t *)field);
    case OPTION_PATH:
    case OPTION_NAME:
    case OPTION_PREFIX:
        return config_put_text(b, *(const char *const *)field);
    case OPTION_ADDRESS:
        return config_put_address(b, field);
    case OPTION_ALIASES:
        return config_put_aliases(b, field);
    case OPTION_NETWORKS:
    case OPTION_LIST:
        return config_put_words(b, field);
    case OPTION_KEY_LIST:
        return config_put_list(b, field);
    case OPTION_OVERRIDES:
        return config_put_overrides(b, field);
    case OPTION_PRICES:
        return config_put_prices(b, field);
    case OPTION_KEY_MAP:
        return config_put_mappings(b, field);
    }
    return false;
}

bool config_print(const struct config *c, struct buf *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < OPTIONS_COUNT; i++) {
        const struct option *o = options_at(i);
        ok = buf_printf(out, "%s=", o->name) && config_put_value(out, o, c) && buf_append_char(out, '\n');
    }
    return ok;
}
