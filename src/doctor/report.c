/* Lines, or one JSON object. */
#include "report.h"

#include "sluice/json_out.h"

#include <stdarg.h>
#include <stdio.h>

enum { REPORT_EXPLANATION_MAX = 1024 };

static const char *const report_names[] = {
    [REPORT_OK] = "ok", [REPORT_NOTE] = "note", [REPORT_WARN] = "warn", [REPORT_FAIL] = "FAIL"};

void report_init(struct report *r, bool as_json)
{
    *r = (struct report){.as_json = as_json};
    buf_init(&r->checks, REPORT_MAX);
}

void report_free(struct report *r)
{
    buf_free(&r->checks);
}

/* Nothing that a server said may move the terminal's cursor. */
static void report_make_plain(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            *text = ' ';
}

static void report_print(enum report_status status, const char *name, const char *explanation,
                         const char *change)
{
    printf("%-4s %s: %s", report_names[status], name, explanation);
    if (change)
        printf("; change: %s", change);
    putchar('\n');
    fflush(stdout);
}

static void report_keep(struct report *r, enum report_status status, const char *name,
                        const char *explanation, const char *change)
{
    struct buf *b = &r->checks;
    size_t before = b->len;
    bool ok = (b->len == 0 || buf_append_char(b, ',')) && buf_append_char(b, '{') &&
              json_put_member_string(b, "name", slice_from_text(name)) &&
              json_put_member_string(b, "status", slice_from_text(report_names[status])) &&
              json_put_member_string(b, "explanation", slice_from_text(explanation)) &&
              (!change || json_put_member_string(b, "change", slice_from_text(change))) &&
              buf_append_char(b, '}');
    if (!ok)
        b->len = before;
}

void report_add(struct report *r, enum report_status status, const char *name, const char *change,
                const char *format, ...)
{
    char explanation[REPORT_EXPLANATION_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(explanation, sizeof explanation, format, args);
    va_end(args);
    report_make_plain(explanation);
    if (change && *change == '\0')
        change = NULL;
    r->faults += status == REPORT_FAIL;
    r->warnings += status == REPORT_WARN;
    if (r->as_json)
        report_keep(r, status, name, explanation, change);
    else
        report_print(status, name, explanation, change);
}

static void report_print_json(const struct report *r, const char *url, const char *server)
{
    struct buf b;
    buf_init(&b, 2 * REPORT_MAX);
    if (buf_append_char(&b, '{') && json_put_member_string(&b, "url", slice_from_text(url)) &&
        json_put_member_string(&b, "server", slice_from_text(server)) &&
        json_put_member_int(&b, "faults", (int64_t)r->faults) &&
        json_put_member_int(&b, "warnings", (int64_t)r->warnings) && json_put_name(&b, "checks") &&
        buf_append_char(&b, '[') && buf_append_slice(&b, buf_slice(&r->checks)) &&
        buf_append_text(&b, "]}\n"))
        fwrite(buf_data(&b), 1, b.len, stdout);
    buf_free(&b);
}

int report_finish(struct report *r, const char *url, const char *server)
{
    if (r->as_json)
        report_print_json(r, url, server);
    else
        printf("%zu faults, %zu warnings at %s (%s)\n", r->faults, r->warnings, url, server);
    return fflush(stdout) == 0 && r->faults == 0 ? 0 : 1;
}
