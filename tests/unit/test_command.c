/* The command line. */
#include "test.h"

#include "command.h"

#include <string.h>

enum { ARGUMENTS_MAX = 6 };

static void parse(struct command *c, const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX + 2] = {(char[]){"sluice"}};
    int argc = 1;
    for (; arguments[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    command_parse(c, argc, argv);
}

#define ARGS(...)                                                                                            \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

struct good_case {
    const char *arguments[ARGUMENTS_MAX];
    enum command_action action;
    const char *env_file, *argument, *override;
};

static void good_lines(void **state)
{
    (void)state;
    static const struct good_case cases[] = {
        {{NULL}, COMMAND_SERVE, NULL, NULL, NULL},
        {ARGS("--check-config"), COMMAND_CHECK_CONFIG, NULL, NULL, NULL},
        {ARGS("--print-config"), COMMAND_PRINT_CONFIG, NULL, NULL, NULL},
        {ARGS("--print-errors"), COMMAND_PRINT_ERRORS, NULL, NULL, NULL},
        {ARGS("--help"), COMMAND_HELP, NULL, NULL, NULL},
        {ARGS("-h"), COMMAND_HELP, NULL, NULL, NULL},
        {ARGS("--version"), COMMAND_VERSION, NULL, NULL, NULL},
        {ARGS("-V"), COMMAND_VERSION, NULL, NULL, NULL},
        {ARGS("--print-options", "man"), COMMAND_PRINT_OPTIONS, NULL, "man", NULL},
        {ARGS("--print-options=env"), COMMAND_PRINT_OPTIONS, NULL, "env", NULL},
        {ARGS("--env-file", "a"), COMMAND_SERVE, "a", NULL, NULL},
        {ARGS("--env-file=a=b"), COMMAND_SERVE, "a=b", NULL, NULL},
        {ARGS("--env-file="), COMMAND_SERVE, "", NULL, NULL},
        {ARGS("--env-file", "--help"), COMMAND_SERVE, "--help", NULL, NULL},
        {ARGS("--listen", "unix:/s"), COMMAND_SERVE, NULL, NULL, "LISTEN=unix:/s"},
        {ARGS("--listen=h:1"), COMMAND_SERVE, NULL, NULL, "LISTEN=h:1"},
        {ARGS("--listen=a", "--listen", "b"), COMMAND_SERVE, NULL, NULL, "LISTEN=b"},
        {ARGS("--listen", "a", "--check-config", "--env-file", "f"), COMMAND_CHECK_CONFIG, "f", NULL,
         "LISTEN=a"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        const struct good_case *expected = &cases[i];
        struct command c;
        parse(&c, expected->arguments);
        if (c.action != expected->action)
            fail_msg("case %zu: action %d, %s", i, (int)c.action, c.message);
        const char *const got[] = {c.env_file, c.argument, c.overrides[0]};
        const char *const wanted[] = {expected->env_file, expected->argument, expected->override};
        for (size_t n = 0; n < TEST_COUNT(got); n++) {
            assert_int_equal(got[n] == NULL, wanted[n] == NULL);
            if (wanted[n])
                assert_string_equal(got[n], wanted[n]);
        }
        assert_null(c.overrides[1]);
        assert_string_equal(c.message, "");
    }
}

struct bad_case {
    const char *arguments[ARGUMENTS_MAX];
    const char *message;
};

static void bad_lines(void **state)
{
    (void)state;
    static const struct bad_case cases[] = {
        {ARGS("--nonsense"), "unknown argument: --nonsense"},
        {ARGS("serve"), "unknown argument: serve"},
        {ARGS(""), "unknown argument: "},
        {ARGS("--help=1"), "unknown argument: --help=1"},
        {ARGS("--listen"), "a value is missing for: --listen"},
        {ARGS("--help", "--env-file"), "a value is missing for: --env-file"},
        {ARGS("--listener", "a"), "unknown argument: --listener"},
        {ARGS("--env-filea"), "unknown argument: --env-filea"},
        {ARGS("--print-options"), "a value is missing for: --print-options"},
        {ARGS("--print-options", "pdf"), "--print-options takes help, markdown, man or env, not: pdf"},
        {ARGS("one", "--help", "two"), "unknown argument: one"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct command c;
        parse(&c, cases[i].arguments);
        assert_int_equal(c.action, COMMAND_WRONG);
        assert_string_equal(c.message, cases[i].message);
    }
}

static void long_values_do_not_overflow(void **state)
{
    (void)state;
    char text[2 * COMMAND_TEXT_MAX];
    const size_t longest = COMMAND_TEXT_MAX - sizeof "LISTEN=";
    struct command c;
    memset(text, 'x', sizeof text);
    text[longest] = '\0';
    parse(&c, (const char *const[]){"--listen", text, NULL});
    assert_int_equal(c.action, COMMAND_SERVE);
    assert_string_equal(c.overrides[0] + 7, text);
    text[longest] = 'x';
    text[sizeof text - 1] = '\0';
    parse(&c, (const char *const[]){"--listen", text, NULL});
    assert_int_equal(c.action, COMMAND_WRONG);
    assert_string_equal(c.message, "too long: --listen");
    parse(&c, (const char *const[]){text, NULL});
    assert_int_equal(c.action, COMMAND_WRONG);
    assert_int_equal(strlen(c.message), COMMAND_TEXT_MAX - 1);
}

static void help_names_every_argument(void **state)
{
    (void)state;
    static const char *const names[] = {"--env-file", "--listen",  "--check-config", "--print-config",
                                        "--help",     "--version", "OPENAI_API_KEY", "LISTEN"};
    struct buf b;
    buf_init(&b, 100000);
    assert_true(command_write_help(&b));
    for (size_t i = 0; i < TEST_COUNT(names); i++)
        assert_non_null(strstr(buf_text(&b), names[i]));
    buf_free(&b);
    buf_init(&b, 1000);
    assert_false(command_write_help(&b));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(long_values_do_not_overflow),
        cmocka_unit_test(help_names_every_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
