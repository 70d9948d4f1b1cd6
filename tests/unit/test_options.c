/* The option table: consistent in itself, found by name, suggested for a misspelt one, complete in every
 * document. */
#include "test.h"

#include "sluice/options.h"

#include <stdio.h>

static void every_row_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option *o = options_at(i);
        size_t end = strlen(o->prose);
        bool number = o->type == OPTION_INT || o->type == OPTION_BYTES || o->type == OPTION_SECONDS ||
                      o->type == OPTION_SHARE;
        bool keys = o->type == OPTION_KEY_LIST || o->type == OPTION_KEY_MAP ||
                    o->type == OPTION_ALIASES || o->type == OPTION_OVERRIDES;
        assert_int_equal(options_find(slice_from_text(o->name)), i);
        assert_non_null(o->default_text);
        assert_true(*o->default_text || o->default_note);
        assert_true(end > 20 && o->prose[end - 1] == '.');
        assert_true(!number || o->min < o->max);
        assert_int_equal(o->type == OPTION_CHOICE, o->choices != NULL);
        assert_int_equal(o->type == OPTION_URL, o->schemes != NULL);
        assert_int_equal(keys, o->secret);
        assert_true(o->offset > 0);
        for (size_t j = 0; j < i; j++)
            assert_true(options_at(j)->offset != o->offset);
    }
    assert_null(options_at(OPTIONS_COUNT));
}

static void names_are_exact(void **state)
{
    (void)state;
    assert_string_equal(options_at(options_find(SLICE_LITERAL("WORKERS")))->name, "WORKERS");
    assert_int_equal(options_find(SLICE_LITERAL("workers")), OPTIONS_COUNT);
    assert_int_equal(options_find(SLICE_LITERAL("WORKER")), OPTIONS_COUNT);
    assert_int_equal(options_find(SLICE_LITERAL("")), OPTIONS_COUNT);
}

static void the_nearest_name_is_suggested(void **state)
{
    (void)state;
    static const struct {
        const char *name, *nearest; /* NULL: none */
        size_t max, edits;
    } cases[] = {
        {"WORKER", "WORKERS", 2, 1},
        {"WORKRES", "WORKERS", 2, 1}, /* two letters swapped */
        {"WRKRS", "WORKERS", 2, 2},
        {"WRKRS", NULL, 1, 0},
        {"workers", "WORKERS", 0, 0},
        {"OPENAI_API_KEYS", "OPENAI_API_KEY", 2, 1},
        {"CLIENT_API_KEY", "CLIENT_API_KEYS", 2, 1},
        {"RATE_LIMIT__REQUESTS_PER_MINUT", "RATE_LIMIT__REQUESTS_PER_MINUTE", SIZE_MAX, 1},
        {"RATE_LIMIT__RPM", "RATE_LIMIT__BACKEND", SIZE_MAX, 7},
        {"CACHE__TTL", "CACHE__TTL_SECONDS", SIZE_MAX, 1}, /* a beginning */
        {"CACHE__", "CACHE__SCOPE", SIZE_MAX, 5},
        {"CACHE__REDIS_URI", "CACHE__REDIS_URL", SIZE_MAX, 1},
        {"REDIS__URL", "REDIS__TIMEOUT_MS", SIZE_MAX, 9}, /* the only one with its prefix */
        {"X", NULL, 2, 0},
        {"", NULL, 2, 0},
        {"PATH", NULL, 2, 0},
        {"A_NAME_OF_MORE_THAN_SIXTY_FOUR_LETTERS_CAN_NOT_BE_A_TYPING_MISTAKE", NULL, SIZE_MAX, 0},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        size_t edits = 0;
        const struct option *o = options_find_nearest(slice_from_text(cases[i].name), cases[i].max, &edits);
        assert_string_equal(o ? o->name : "", cases[i].nearest ? cases[i].nearest : "");
        if (o)
            assert_int_equal(edits, cases[i].edits);
    }
}

static void prefixes_are_ours(void **state)
{
    (void)state;
    static const char *const ours[] = {"RATE_LIMIT__X", "cache__x",   "UPSTREAM__", "REDIS__A",
                                       "STREAM__A",     "METRICS__A", "CORS__A"};
    static const char *const others[] = {"RATE_LIMIT_X", "CACHE", "XCACHE__A", "", "HOME", "UPSTREAM_"};
    for (size_t i = 0; i < TEST_COUNT(ours); i++)
        assert_true(options_own_prefix(slice_from_text(ours[i])));
    for (size_t i = 0; i < TEST_COUNT(others); i++)
        assert_false(options_own_prefix(slice_from_text(others[i])));
}

static void what_is_allowed_is_a_phrase(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"WORKERS", "a whole number from 0 to 256, or auto"},
        {"LOG_LEVEL", "debug, info, warning or error"},
        {"MAX_BODY_BYTES", "1024 to 2147483648 bytes, also written with KiB, MiB or GiB"},
        {"UPSTREAM__CONNECT_SECONDS", "0.01 to 300 seconds"},
        {"CACHE__TTL_SECONDS", "1 to 31536000 seconds"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct buf b;
        buf_init(&b, 1000);
        assert_true(options_put_allowed(&b, options_at(options_find(slice_from_text(cases[i][0])))));
        assert_string_equal(buf_text(&b), cases[i][1]);
        buf_free(&b);
    }
}

/* Each document names each option in its own form, in the table's order. */
static void assert_document(const char *form, const char *before, const char *after, size_t width)
{
    struct buf b;
    buf_init(&b, 100000);
    options_writer *writer = options_find_writer(form);
    assert_non_null(writer);
    assert_true(writer(&b));
    const char *text = buf_text(&b);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        char entry[100];
        snprintf(entry, sizeof entry, "%s%s%s", before, options_at(i)->name, after);
        text = strstr(text, entry);
        assert_non_null(text);
    }
    for (const char *line = buf_text(&b); *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= width);
    size_t full = b.len;
    buf_free(&b);
    for (size_t cap = 0; cap < full; cap += 97) {
        struct buf small;
        buf_init(&small, cap);
        assert_false(writer(&small));
        buf_free(&small);
    }
}

static void every_document_has_every_option(void **state)
{
    (void)state;
    assert_document("help", "  ", " (default: ", 80);
    assert_document("markdown", "\n| `", "` | ", 1000);
    assert_document("man", ".TP\n.B ", "\n", 1000);
    assert_document("env", "", "=", 100);
    assert_null(options_find_writer("html"));
    assert_null(options_find_writer(""));
}

static void man_has_no_accidental_requests(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_true(options_write_man(&b));
    for (const char *line = buf_text(&b); *line; line += strcspn(line, "\n") + 1) {
        bool request = strncmp(line, ".TP\n", 4) == 0 || strncmp(line, ".B ", 3) == 0;
        assert_true(request || (*line != '.' && *line != '\'' && *line != '\n'));
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete),          cmocka_unit_test(names_are_exact),
        cmocka_unit_test(the_nearest_name_is_suggested),  cmocka_unit_test(prefixes_are_ours),
        cmocka_unit_test(what_is_allowed_is_a_phrase),    cmocka_unit_test(every_document_has_every_option),
        cmocka_unit_test(man_has_no_accidental_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
