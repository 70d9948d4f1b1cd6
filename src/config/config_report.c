/* What loading found, kept in the order in which it was found. */
#include "sluice/config.h"

#include <stdarg.h>
#include <stdio.h>

enum { CONFIG_MESSAGE_MAX = 1200, CONFIG_REPORT_MEMORY = 1024 * 1024 };

void config_report_init(struct config_report *r)
{
    *r = (struct config_report){.first = NULL};
    arena_init(&r->memory, CONFIG_REPORT_MEMORY);
    r->last = &r->first;
}

void config_report_free(struct config_report *r)
{
    arena_free(&r->memory);
    config_report_init(r);
}

void config_report_add(struct config_report *r, enum config_severity severity, const char *option,
                       const char *format, ...)
{
    size_t *counter = severity == CONFIG_ERROR ? &r->errors : &r->warnings;
    *counter += 1;
    if (*counter > CONFIG_NOTES_MAX)
        return;
    char message[CONFIG_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    struct config_note *note = arena_alloc(&r->memory, sizeof *note);
    if (!note)
        return;
    *note = (struct config_note){
        .severity = severity,
        .option = arena_copy(&r->memory, slice_from_text(option)),
        .message = arena_copy(&r->memory, slice_from_text(message)),
    };
    if (!note->option || !note->message)
        return;
    *r->last = note;
    r->last = &note->next;
}

bool config_report_write(const struct config_report *r, struct buf *out)
{
    size_t shown = 0;
    for (const struct config_note *n = r->first; n; n = n->next) {
        const char *severity = n->severity == CONFIG_ERROR ? "error" : "warning";
        if (!buf_printf(out, "%s: %s: %s\n", severity, n->option, n->message))
            return false;
        shown++;
    }
    size_t hidden = r->errors + r->warnings - shown;
    return hidden == 0 || buf_printf(out, "... and %zu more\n", hidden);
}
