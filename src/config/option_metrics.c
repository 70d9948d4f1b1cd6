/*
 * METRICS__ALLOW, a list of networks, and KEY_ALIASES, a JSON object from client key to a name.
 *
 * Of a client key only its digest is kept. Messages name it by its place.
 */
#include "option_json.h"
#include "option_keys.h"
#include "sluice/network.h"

enum { OPTION_ALIAS_PART_MAX = 8 /* a short name may be in the key by chance */ };

bool option_set_networks(const struct option_value *v, struct config_list *field)
{
    struct network ignored;
    struct config_list list = {0, NULL};
    if (!option_set_key_list(v, &list))
        return false;
    bool none = list.count == 1 && strcmp(list.items[0], "none") == 0;
    for (size_t i = 0; !none && i < list.count; i++)
        if (!network_parse(slice_from_text(list.items[i]), &ignored))
            return option_reject(v, "entry %zu is no address and no network", i + 1);
    *field = list;
    return true;
}

/* What is wrong with a name, as a phrase; NULL for nothing. A name that holds the key would show it. */
static const char *option_check_alias(const char *name, const char *client_key)
{
    size_t len = strlen(name);
    if (len == 0)
        return "is empty";
    if (len > CONFIG_ALIAS_MAX)
        return "is longer than 48 bytes";
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7F || name[i] == '"' || name[i] == '\\')
            return "contains a control character, a quote or a backslash";
    bool part = strstr(name, client_key) || (len > OPTION_ALIAS_PART_MAX && strstr(client_key, name));
    return part ? "is a part of the key, or holds it" : NULL;
}

static bool option_read_alias(const struct option_value *v, size_t place, const char *client_key, json_t *json, void *item)
{
    struct config_alias *out = item;
    const char *wrong = option_check_key(client_key);
    if (wrong)
        return option_reject(v, "client key %zu %s", place, wrong);
    const char *name = json_string_value(json);
    wrong = name ? option_check_alias(name, client_key) : "is not a string";
    if (wrong)
        return option_reject(v, "the name of client key %zu %s", place, wrong);
    out->name = arena_copy(&v->config->memory, slice_from_text(name));
    return (out->name && digest_sha256(slice_from_text(client_key), &out->client_key)) || option_reject_memory(v);
}

bool option_set_aliases(const struct option_value *v, struct config_aliases *field)
{
    struct option_members all;
    json_t *json = option_load_object(v);
    bool ok = json && option_read_members(v, json, sizeof *field->items, option_read_alias, &all);
    if (ok)
        *field = (struct config_aliases){all.count, all.items};
    json_decref(json);
    return ok;
}
