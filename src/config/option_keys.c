/*
 * The secret types: lists of keys, and the map of client keys.
 *
 * Messages name a key by its place, never by its text. Every copy of a secret is overwritten when the config's memory goes.
 */
#include "option_keys.h"

#include "option_json.h"

#include <stdlib.h>

struct option_secret {
    char *text;
    size_t len;
};

static void option_wipe_secret(void *arg)
{
    struct option_secret *s = arg;
    explicit_bzero(s->text, s->len);
}

/* NULL without memory. */
static char *option_copy_secret(struct config *c, struct slice text)
{
    struct option_secret *secret = arena_alloc(&c->memory, sizeof *secret);
    if (!secret || !arena_on_free(&c->memory, option_wipe_secret, secret))
        return NULL;
    *secret = (struct option_secret){NULL, 0};
    char *copy = arena_copy(&c->memory, text);
    if (copy)
        *secret = (struct option_secret){copy, text.len};
    return copy;
}

const char *option_check_key(const char *key)
{
    size_t len = strlen(key);
    if (len == 0)
        return "is empty";
    if (len > OPTION_KEY_MAX)
        return "is longer than 512 bytes";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)key[i];
        if (c == ' ')
            return "contains a blank";
        if (c < ' ' || c == 0x7F)
            return "contains a control character";
        if (c > 0x7F)
            return "contains a character that is not ASCII";
        if (c == '"' || c == '\'')
            return "contains a quote";
    }
    return NULL;
}

struct option_entry {
    char *text;
    size_t place; /* in the list as written, from 1 */
};

static int option_compare_entries(const void *a, const void *b)
{
    const struct option_entry *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

static int option_compare_places(const void *a, const void *b)
{
    const struct option_entry *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

/* Cuts text at its commas. Entries without text are left out. */
static size_t option_cut_list(char *text, struct option_entry *entries)
{
    size_t count = 0, place = 1;
    while (text) {
        char *comma = strchr(text, ',');
        struct slice entry = slice_trim(slice_make(text, comma ? (size_t)(comma - text) : strlen(text)));
        if (entry.len > 0) {
            char *start = text + (entry.ptr - text);
            start[entry.len] = '\0';
            entries[count++] = (struct option_entry){start, place};
        }
        text = comma ? comma + 1 : NULL;
        place++;
    }
    return count;
}

static bool option_check_entries(const struct option_value *v, const struct option_entry *entries,
                                 size_t count)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        const char *wrong = option_check_key(entries[i].text);
        if (wrong)
            ok = option_reject(v, "entry %zu %s", entries[i].place, wrong);
    }
    return ok;
}

/* Returns how many are left, in the order in which they were written. */
static size_t option_drop_repeats(const struct option_value *v, struct option_entry *entries, size_t count)
{
    size_t kept = 0;
    qsort(entries, count, sizeof *entries, option_compare_entries);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && strcmp(entries[kept - 1].text, entries[i].text) == 0)
            config_report_add(v->report, CONFIG_WARNING, v->option->name, "entry %zu repeats entry %zu (%s)",
                              entries[i].place, entries[kept - 1].place, v->origin);
        else
            entries[kept++] = entries[i];
    }
    qsort(entries, kept, sizeof *entries, option_compare_places);
    return kept;
}

static bool option_store_list(const struct option_value *v, const struct option_entry *entries, size_t count,
                              struct config_list *field)
{
    char **items = arena_alloc(&v->config->memory, count * sizeof *items);
    if (!items)
        return option_reject_memory(v);
    for (size_t i = 0; i < count; i++)
        items[i] = entries[i].text;
    *field = (struct config_list){count, count > 0 ? items : NULL};
    return true;
}

static size_t option_count_commas(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == ',';
    return count;
}

bool option_set_key_list(const struct option_value *v, struct config_list *field)
{
    if (v->text.len > 0 && memchr(v->text.ptr, '\0', v->text.len))
        return option_reject(v, "the value contains a NUL byte");
    char *text = option_copy_secret(v->config, v->text);
    struct option_entry *entries = calloc(option_count_commas(v->text) + 1, sizeof *entries);
    bool ok = text && entries;
    if (!ok)
        option_reject_memory(v);
    if (ok) {
        size_t count = option_cut_list(text, entries);
        ok = option_check_entries(v, entries, count);
        if (ok && count > 0)
            count = option_drop_repeats(v, entries, count);
        ok = ok && option_store_list(v, entries, count, field);
    }
    free(entries);
    return ok;
}

/* The text of a member that is a legal key (or, alike, an identifier); NULL, reported, where it is not. */
static const char *option_read_map_text(const struct option_value *v, size_t place, const char *what,
                                        const json_t *json)
{
    const char *text = json_string_value(json);
    const char *wrong = text ? option_check_key(text) : "is not a string";
    if (wrong) {
        option_reject(v, "the %s of client key %zu %s", what, place, wrong);
        return NULL;
    }
    char *copy = option_copy_secret(v->config, slice_from_text(text));
    if (!copy)
        option_reject_memory(v);
    return copy;
}

static bool option_read_map_object(const struct option_value *v, size_t place, json_t *json,
                                   struct config_mapping *out)
{
    const char *name;
    json_t *member;
    bool ok = true;
    json_object_foreach(json, name, member)
    {
        const char **to = strcmp(name, "key") == 0            ? &out->api_key
                          : strcmp(name, "organization") == 0 ? &out->organization
                          : strcmp(name, "project") == 0      ? &out->project
                                                              : NULL;
        if (!to)
            ok = option_reject(v, "the object of client key %zu has an unknown member", place);
        else if (!(*to = option_read_map_text(v, place, name, member)))
            ok = false;
    }
    if (!json_object_get(json, "key"))
        ok = option_reject(v, "the object of client key %zu has no \"key\"", place);
    return ok;
}

static bool option_read_mapping(const struct option_value *v, size_t place, const char *client_key, json_t *json,
                                void *item)
{
    struct config_mapping *out = item;
    const char *wrong = option_check_key(client_key);
    bool ok = !wrong || option_reject(v, "client key %zu %s", place, wrong);
    out->client_key = option_copy_secret(v->config, slice_from_text(client_key));
    if (!out->client_key)
        return option_reject_memory(v);
    if (json_is_object(json))
        return option_read_map_object(v, place, json, out) && ok;
    out->api_key = option_read_map_text(v, place, "value", json);
    return out->api_key && ok;
}

bool option_set_key_map(const struct option_value *v, struct config_mappings *field)
{
    struct option_members all;
    json_t *json = option_load_object(v);
    bool ok = json && option_read_members(v, json, sizeof *field->items, option_read_mapping, &all);
    if (ok)
        *field = (struct config_mappings){all.count, all.items};
    json_decref(json);
    return ok;
}
