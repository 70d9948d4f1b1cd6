/*
 * From the environment and the .env file to a struct config.
 *
 * First each option's text is chosen (the source of higher rank replaces the other), then each is parsed on
 * top of its default, then the options are checked against each other. An option that failed keeps its
 * default, and the checks that depend on it are left out: they would only report the same mistake again.
 */
#include "sluice/config.h"

#include "config_check.h"
#include "config_file.h"
#include "option_value.h"
#include "sluice/dotenv.h"
#include "sluice/options.h"

#include <stdio.h>
#include <stdlib.h>

enum { CONFIG_MEMORY_MAX = 256 * 1024 * 1024, CONFIG_TYPO_EDITS = 2, CONFIG_SHOWN_NAME_MAX = 100 };

enum config_rank { CONFIG_RANK_UNSET, CONFIG_RANK_FILE, CONFIG_RANK_ENVIRONMENT, CONFIG_RANK_OVERRIDE };

struct config_setting {
    enum config_rank rank;
    size_t line; /* FILE */
    struct slice text;
    char *owned; /* what text points to, where it came from the file; else NULL */
    bool failed;
};

struct config_loader {
    struct config *config;
    struct config_report *report;
    const char *env_file;
    bool file_failed;
    struct config_setting settings[OPTIONS_COUNT];
};

static void config_drop_text(struct config_setting *s)
{
    if (s->owned)
        explicit_bzero(s->owned, s->text.len);
    free(s->owned);
    s->owned = NULL;
    s->text = (struct slice){NULL, 0};
}

/* In the environment only the prefixes are ours; in the .env file a near miss is a typing mistake too. */
static void config_judge_unknown(struct config_loader *l, struct slice name, const char *origin, bool in_file)
{
    size_t edits = 0;
    char shown[CONFIG_SHOWN_NAME_MAX];
    bool own = options_own_prefix(name);
    if (!own && !in_file)
        return;
    const struct option *nearest = options_find_nearest(name, own ? SIZE_MAX : CONFIG_TYPO_EDITS, &edits);
    if (!own && !nearest)
        return;
    snprintf(shown, sizeof shown, "%.*s", (int)slice_take(name, sizeof shown).len, name.ptr);
    if (!nearest)
        config_report_add(l->report, CONFIG_WARNING, shown, "there is no such option (%s)", origin);
    else
        config_report_add(l->report, CONFIG_WARNING, shown, "there is no such option (%s); did you mean %s?",
                          origin, nearest->name);
}

static void config_file_entry(void *arg, size_t line, struct slice name, struct slice value)
{
    struct config_loader *l = arg;
    size_t index = options_find(name);
    if (index == OPTIONS_COUNT) {
        char origin[64];
        snprintf(origin, sizeof origin, "line %zu of the .env file", line);
        config_judge_unknown(l, name, origin, true);
        return;
    }
    struct config_setting *s = &l->settings[index];
    if (s->rank == CONFIG_RANK_FILE)
        config_report_add(l->report, CONFIG_WARNING, options_at(index)->name,
                          "it is set on line %zu of the .env file and again on line %zu, which counts",
                          s->line, line);
    config_drop_text(s);
    char *copy = malloc(value.len + 1);
    if (!copy) {
        config_report_add(l->report, CONFIG_ERROR, options_at(index)->name, "there is not enough memory");
        return;
    }
    if (value.len > 0)
        memcpy(copy, value.ptr, value.len);
    copy[value.len] = '\0';
    *s = (struct config_setting){
        .rank = CONFIG_RANK_FILE, .line = line, .text = {copy, value.len}, .owned = copy};
}

static void config_file_error(void *arg, size_t line, const char *message)
{
    struct config_loader *l = arg;
    config_report_add(l->report, CONFIG_ERROR, l->env_file, "line %zu: %s", line, message);
}

static void config_collect_file(struct config_loader *l, bool required)
{
    const struct dotenv_sink sink = {l, config_file_entry, config_file_error};
    struct config_file file;
    bool read = config_file_read(&file, l->env_file, required, l->report);
    l->file_failed = !read || !dotenv_parse(slice_make(file.bytes, file.len), &sink);
    config_file_free(&file);
}

/* Of two entries with the same name the first counts, as for getenv(). */
static void config_collect_variables(struct config_loader *l, const char *const *variables,
                                     enum config_rank rank)
{
    for (; variables && *variables; variables++) {
        const char *equals = strchr(*variables, '=');
        if (!equals)
            continue;
        struct slice name = slice_make(*variables, (size_t)(equals - *variables));
        size_t index = options_find(name);
        if (index == OPTIONS_COUNT) {
            config_judge_unknown(l, name, "environment", false);
        } else if (l->settings[index].rank < rank) {
            config_drop_text(&l->settings[index]);
            l->settings[index] = (struct config_setting){.rank = rank, .text = slice_from_text(equals + 1)};
        }
    }
}

static void config_describe_origin(const struct config_setting *s, char *out, size_t size)
{
    static const char *const names[] = {"default", "", "environment", "command line"};
    if (s->rank == CONFIG_RANK_FILE)
        snprintf(out, size, "line %zu of the .env file", s->line);
    else
        snprintf(out, size, "%s", names[s->rank]);
}

static void config_parse_setting(struct config_loader *l, size_t index)
{
    const struct option *o = options_at(index);
    struct config_setting *s = &l->settings[index];
    struct option_value v = {o, slice_from_text(o->default_text), "default", l->config, l->report};
    if (!option_set_value(&v))
        s->failed = true;
    v.text = slice_trim(s->text);
    if (v.text.len == 0)
        return;
    char origin[64];
    config_describe_origin(s, origin, sizeof origin);
    v.origin = origin;
    if (!option_set_value(&v))
        s->failed = true;
}

static bool config_option_failed(const struct config_loader *l, const char *name)
{
    return l->settings[options_find(slice_from_text(name))].failed;
}

/* After a mistake in the file or in a key, whatever the checks found could be that mistake again. */
static bool config_keys_are_known(const struct config_loader *l)
{
    return !l->file_failed && !config_option_failed(l, "OPENAI_API_KEY") &&
           !config_option_failed(l, "CLIENT_API_KEYS") && !config_option_failed(l, "API_KEY_MAPPING");
}

static void config_apply_debug(struct config_loader *l)
{
    const struct config_setting *s = &l->settings[options_find(SLICE_LITERAL("LOG_LEVEL"))];
    if (!l->config->debug || l->config->log_level == LOG_LEVEL_DEBUG)
        return;
    if (s->text.len > 0 && !s->failed)
        config_report_add(l->report, CONFIG_WARNING, "LOG_LEVEL", "DEBUG is true, so the level is debug");
    l->config->log_level = LOG_LEVEL_DEBUG;
}

bool config_load(struct config *c, const struct config_input *input, struct config_report *report)
{
    *c = (struct config){.debug = false};
    arena_init(&c->memory, CONFIG_MEMORY_MAX);
    struct config_loader l = {
        .config = c, .report = report, .env_file = input->env_file ? input->env_file : ".env"};
    if (*l.env_file)
        config_collect_file(&l, input->env_file != NULL);
    config_collect_variables(&l, input->environment, CONFIG_RANK_ENVIRONMENT);
    config_collect_variables(&l, input->overrides, CONFIG_RANK_OVERRIDE);
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        config_parse_setting(&l, i);
    if (config_keys_are_known(&l))
        config_check_keys(c, report);
    if (config_keys_are_known(&l) && !config_option_failed(&l, "RATE_LIMIT__OVERRIDES"))
        config_check_overrides(c, report);
    if (config_keys_are_known(&l) && !config_option_failed(&l, "KEY_ALIASES"))
        config_check_aliases(c, report);
    config_apply_debug(&l);
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        config_drop_text(&l.settings[i]);
    return report->errors == 0;
}

void config_forget_client_keys(struct config *c)
{
    for (size_t i = 0; i < c->client_api_keys.count; i++)
        explicit_bzero(c->client_api_keys.items[i], strlen(c->client_api_keys.items[i]));
    c->client_api_keys = (struct config_list){0, NULL};
    for (size_t i = 0; i < c->api_key_mapping.count; i++) {
        char **key = &c->api_key_mapping.items[i].client_key;
        if (*key)
            explicit_bzero(*key, strlen(*key));
        *key = NULL;
    }
}

void config_free(struct config *c)
{
    arena_free(&c->memory);
    *c = (struct config){.debug = false};
}
