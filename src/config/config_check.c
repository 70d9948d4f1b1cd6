/* The keys, checked against each other: one sorted list of all of them tells who shares which, and who is there. */
#include "config_check.h"

#include <stdlib.h>

enum config_key_use { CONFIG_KEY_CLIENT = 1, CONFIG_KEY_MAPPED = 2, CONFIG_KEY_UPSTREAM = 4 };

struct config_key {
    const char *text;
    enum config_key_use use;
};

struct config_key_counts {
    size_t unmapped; /* client keys that would use OPENAI_API_KEY */
    size_t clients;
    size_t shared; /* client keys that are an OpenAI key as well */
};

static int config_compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct config_key *)a)->text, ((const struct config_key *)b)->text);
}

static size_t config_gather_list(struct config_key *keys, size_t n, const struct config_list *list,
                                 enum config_key_use use)
{
    for (size_t i = 0; i < list->count; i++)
        keys[n++] = (struct config_key){list->items[i], use};
    return n;
}

static size_t config_gather_keys(const struct config *c, struct config_key *keys)
{
    size_t n = config_gather_list(keys, 0, &c->openai_api_keys, CONFIG_KEY_UPSTREAM);
    n = config_gather_list(keys, n, &c->client_api_keys, CONFIG_KEY_CLIENT);
    for (size_t i = 0; i < c->api_key_mapping.count; i++) {
        const struct config_mapping *m = &c->api_key_mapping.items[i];
        keys[n++] = (struct config_key){m->client_key, CONFIG_KEY_MAPPED};
        keys[n++] = (struct config_key){m->api_key, CONFIG_KEY_UPSTREAM};
    }
    return n;
}

static void config_count_key(struct config_key_counts *counts, unsigned uses)
{
    bool client = uses & (CONFIG_KEY_CLIENT | CONFIG_KEY_MAPPED);
    counts->clients += client;
    counts->unmapped += client && !(uses & CONFIG_KEY_MAPPED);
    counts->shared += client && (uses & CONFIG_KEY_UPSTREAM);
}

/* False without memory. */
static bool config_count_keys(const struct config *c, struct config_key_counts *counts)
{
    size_t max = c->openai_api_keys.count + c->client_api_keys.count + 2 * c->api_key_mapping.count;
    struct config_key *keys = calloc(max + 1, sizeof *keys);
    if (!keys)
        return false;
    size_t n = config_gather_keys(c, keys);
    qsort(keys, n, sizeof *keys, config_compare_keys);
    unsigned uses = 0;
    for (size_t i = 0; i < n; i++) {
        uses |= keys[i].use;
        if (i + 1 < n && strcmp(keys[i].text, keys[i + 1].text) == 0)
            continue;
        config_count_key(counts, uses);
        uses = 0;
    }
    free(keys);
    return true;
}

void config_check_keys(const struct config *c, struct config_report *report)
{
    struct config_key_counts counts = {0};
    if (!config_count_keys(c, &counts))
        config_report_add(report, CONFIG_ERROR, "CLIENT_API_KEYS",
                          "there is not enough memory to check the keys");
    if (counts.clients == 0)
        config_report_add(report, CONFIG_WARNING, "CLIENT_API_KEYS",
                          "no client keys: every API call will be answered 401; set CLIENT_API_KEYS or "
                          "API_KEY_MAPPING");
    if (counts.unmapped > 0 && c->openai_api_keys.count == 0)
        config_report_add(
            report, CONFIG_ERROR, "OPENAI_API_KEY",
            "it is not set, but %zu of %zu client keys have no OpenAI key of their own; set it, or "
            "give each client key one in API_KEY_MAPPING",
            counts.unmapped, counts.clients);
    if (counts.shared > 0)
        config_report_add(
            report, CONFIG_WARNING, "CLIENT_API_KEYS",
            "%zu of %zu client keys are also an OpenAI key: whoever has one can go around this proxy; "
            "give clients keys of their own",
            counts.shared, counts.clients);
}

static int config_compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

/* NULL without memory. */
static struct digest *config_digest_clients(const struct config *c, size_t *count)
{
    *count = c->client_api_keys.count + c->api_key_mapping.count;
    struct digest *digests = calloc(*count + 1, sizeof *digests);
    bool ok = digests != NULL;
    for (size_t i = 0; ok && i < *count; i++) {
        size_t mapped = i - c->client_api_keys.count;
        const char *key = i < c->client_api_keys.count ? c->client_api_keys.items[i]
                                                       : c->api_key_mapping.items[mapped].client_key;
        ok = digest_sha256(slice_from_text(key), &digests[i]);
    }
    if (ok)
        qsort(digests, *count, sizeof *digests, config_compare_digests);
    else
        free(digests);
    return ok ? digests : NULL;
}

/* Every key that an option names must be a client key. first is the digest of the first one. */
static void config_check_named(const struct config *c, const char *option, const struct digest *first, size_t stride,
                               size_t named, struct config_report *report)
{
    size_t count;
    if (named == 0)
        return;
    struct digest *clients = config_digest_clients(c, &count);
    if (!clients)
        config_report_add(report, CONFIG_ERROR, option, "there is not enough memory to check the keys");
    for (size_t i = 0; clients && i < named; i++)
        if (!bsearch((const char *)first + i * stride, clients, count, sizeof *clients, config_compare_digests))
            config_report_add(report, CONFIG_ERROR, option,
                              "client key %zu is neither in CLIENT_API_KEYS nor in API_KEY_MAPPING", i + 1);
    free(clients);
}

void config_check_overrides(const struct config *c, struct config_report *report)
{
    const struct config_overrides *o = &c->rate_limit_overrides;
    config_check_named(c, "RATE_LIMIT__OVERRIDES", o->items ? &o->items->client_key : NULL, sizeof *o->items, o->count,
                       report);
}

void config_check_aliases(const struct config *c, struct config_report *report)
{
    const struct config_aliases *a = &c->key_aliases;
    config_check_named(c, "KEY_ALIASES", a->items ? &a->items->client_key : NULL, sizeof *a->items, a->count, report);
}
