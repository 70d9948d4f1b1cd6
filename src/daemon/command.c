/* The command line. Secrets have no place on it: it is open to all users of a machine. */
#include "command.h"

#include "sluice/options.h"

#include <stdio.h>

static void command_fail(struct command *c, const char *what, const char *argument)
{
    c->action = COMMAND_WRONG;
    snprintf(c->message, sizeof c->message, "%s: %s", what, argument);
}

/* "--name value" and "--name=value"; NULL where argv[*i] is another option, with *i moved behind the value. */
static const char *command_value(struct command *c, const char *name, int argc, char **argv, int *i)
{
    size_t len = strlen(name);
    if (strncmp(argv[*i], name, len) != 0)
        return NULL;
    if (argv[*i][len] == '=')
        return argv[*i] + len + 1;
    if (argv[*i][len] != '\0')
        return NULL;
    if (*i + 1 < argc)
        return argv[++*i];
    command_fail(c, "a value is missing for", name);
    return NULL;
}

static bool command_take_action(struct command *c, const char *argument)
{
    static const struct {
        const char *name;
        enum command_action action;
    } actions[] = {
        {"--check-config", COMMAND_CHECK_CONFIG}, {"--print-config", COMMAND_PRINT_CONFIG},
        {"--print-errors", COMMAND_PRINT_ERRORS}, {"--help", COMMAND_HELP},
        {"-h", COMMAND_HELP},                     {"--version", COMMAND_VERSION},
        {"-V", COMMAND_VERSION},
    };
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(argument, actions[i].name) == 0) {
            c->action = actions[i].action;
            return true;
        }
    return false;
}

static void command_take_listen(struct command *c, const char *value)
{
    int n = snprintf(c->listen, sizeof c->listen, "LISTEN=%s", value);
    if (n < 0 || (size_t)n >= sizeof c->listen)
        command_fail(c, "too long", "--listen");
    c->overrides[0] = c->listen;
}

static void command_take(struct command *c, int argc, char **argv, int *i)
{
    const char *value;
    if (command_take_action(c, argv[*i]))
        return;
    if ((value = command_value(c, "--listen", argc, argv, i))) {
        command_take_listen(c, value);
    } else if ((value = command_value(c, "--env-file", argc, argv, i))) {
        c->env_file = value;
    } else if ((value = command_value(c, "--print-options", argc, argv, i))) {
        c->action = COMMAND_PRINT_OPTIONS;
        c->argument = value;
        if (!options_find_writer(value))
            command_fail(c, "--print-options takes help, markdown, man or env, not", value);
    } else if (c->action != COMMAND_WRONG) {
        command_fail(c, "unknown argument", argv[*i]);
    }
}

void command_parse(struct command *c, int argc, char **argv)
{
    *c = (struct command){.action = COMMAND_SERVE};
    for (int i = 1; i < argc && c->action != COMMAND_WRONG; i++)
        command_take(c, argc, argv, &i);
}

bool command_write_help(struct buf *b)
{
    return buf_append_text(
               b, "usage: sluice [--env-file FILE] [--listen ADDRESS]\n"
                  "       sluice --check-config | --print-config [--env-file FILE]\n"
                  "       sluice doctor URL [...]\n"
                  "       sluice limits [--reset FINGERPRINT]\n"
                  "       sluice cache stats | sluice cache clear [--key FINGERPRINT]\n"
                  "       sluice --help | --version\n"
                  "\n"
                  "An OpenAI API proxy that runs as a FastCGI application behind lighttpd, nginx or Apache.\n"
                  "\n"
                  "  --env-file FILE   read options from FILE instead of .env\n"
                  "  --listen ADDRESS  unix:/path or HOST:PORT; beats LISTEN\n"
                  "  --check-config    report every mistake in the configuration; status 2 if there is one\n"
                  "  --print-config    show the effective values, secrets as fingerprints\n"
                  "  doctor URL        ask a running installation what is wrong with it; see sluice doctor --help\n"
                  "  limits            show what each key has left of its limits, or fill its buckets\n"
                  "  cache             show what the cache holds, or make it empty\n"
                  "\n"
                  "Options come from the environment, then from .env in the working directory:\n"
                  "\n") &&
           options_write_help(b);
}
