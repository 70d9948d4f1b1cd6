/*
 * METRICS__ALLOW, a list of networks, and KEY_ALIASES, a JSON object from client key to a name.
 *
 * Of a client key only its digest is kept. Messages name it by its place.
 */
#include "option_value.h"

#include "option_keys.h"
#include "sluice/network.h"

#include <jansson.h>

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

static bool option_read_alias(const struct option_value *v, size_t place, const char *client_key, const json_t *json,
                              struct config_alias *out)
{
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

static bool option_read_aliases(const struct option_value *v, json_t *json, struct config_aliases *field)
{
    size_t count = json_object_size(json), place = 0;
    struct config_alias *items = arena_alloc(&v->config->memory, count * sizeof *items);
    if (!items)
        return option_reject_memory(v);
    const char *client_key;
    json_t *name;
    bool ok = true;
    json_object_foreach(json, client_key, name)
    {
        if (!option_read_alias(v, place + 1, client_key, name, &items[place]))
            ok = false;
        place++;
    }
    if (ok)
        *field = (struct config_aliases){count, count > 0 ? items : NULL};
    return ok;
}

bool option_set_aliases(const struct option_value *v, struct config_aliases *field)
{
    if (v->text.len == 0) {
        *field = (struct config_aliases){0, NULL};
        return true;
    }
    json_t *json = option_load_json(v);
    if (!json)
        return false;
    bool ok = json_is_object(json) ? option_read_aliases(v, json, field)
                                   : option_reject(v, "the value is JSON, but not an object");
    json_decref(json);
    return ok;
}
