/* A configuration and the key table made of it, loaded as one and changed as one. */
#include "sluice/daemon.h"

#include "sluice/options.h"

#include <unistd.h>

enum { SETTINGS_TEXT_MAX = 1024 * 1024 };

bool settings_load(struct settings *s, const struct settings_source *source, struct config_report *report)
{
    struct config_input input = {source->overrides, (const char *const *)environ, source->env_file};
    *s = (struct settings){0};
    if (!config_load(&s->config, &input, report))
        return false;
    s->keys = keys_new(&s->config);
    config_forget_client_keys(&s->config);
    if (s->keys)
        s->health = pool_shared_new(keys_upstream_count(s->keys));
    if (!s->health)
        config_report_add(report, CONFIG_ERROR, "CLIENT_API_KEYS", "there is not enough memory for the key table");
    return s->health != NULL;
}

void settings_free(struct settings *s)
{
    pool_shared_free(&s->health);
    keys_free(&s->keys);
    config_free(&s->config);
}

/* The line of text that is at the front, without its end; text moves behind it. */
static struct slice settings_take_line(struct slice *text)
{
    const char *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    struct slice line = end ? slice_take(*text, (size_t)(end - text->ptr)) : *text;
    *text = slice_skip(*text, line.len + 1);
    return line;
}

void settings_put_fixed_changes(const struct settings *before, const struct settings *after, struct buf *names)
{
    struct buf was, is;
    buf_init(&was, SETTINGS_TEXT_MAX);
    buf_init(&is, SETTINGS_TEXT_MAX);
    config_print(&before->config, &was);
    config_print(&after->config, &is);
    struct slice was_left = buf_slice(&was), is_left = buf_slice(&is);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        bool same = slice_equals(settings_take_line(&was_left), settings_take_line(&is_left));
        if (!same && !options_at(i)->reloadable)
            buf_printf(names, "%s%s", names->len ? ", " : "", options_at(i)->name);
    }
    buf_free(&was);
    buf_free(&is);
}
