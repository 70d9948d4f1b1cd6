/* The limits as a table on standard output. */
#include "limits_command.h"

#include "subcommand.h"

#include "sluice/daemon.h"
#include "sluice/limits_view.h"

#include <stdio.h>

enum { LIMITS_COMMAND_CELL = 48 };

static const char limits_command_usage[] = "usage: sluice limits [--env-file FILE] [--reset FINGERPRINT]\n"
                                           "\n"
                                           "Shows what each client key has left of its limits, and when its "
                                           "buckets are full again. A key is named by the\n"
                                           "fingerprint that the log shows. The numbers come from STATE_DIR "
                                           "or, with RATE_LIMIT__BACKEND=redis, from Redis.\n"
                                           "\n"
                                           "  --env-file FILE        read options from FILE instead of .env\n"
                                           "  --reset FINGERPRINT    fill this key's buckets\n";

struct limits_command {
    const char *env_file, *reset, *wrong;
    bool help;
};

static const char *limits_command_value(struct limits_command *c, int argc, char **argv, int *i)
{
    if (*i + 1 < argc)
        return argv[++*i];
    c->wrong = argv[*i];
    return NULL;
}

static void limits_command_parse(struct limits_command *c, int argc, char **argv)
{
    *c = (struct limits_command){0};
    for (int i = 1; i < argc && !c->wrong; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            c->help = true;
        else if (strcmp(argv[i], "--env-file") == 0)
            c->env_file = limits_command_value(c, argc, argv, &i);
        else if (strcmp(argv[i], "--reset") == 0)
            c->reset = limits_command_value(c, argc, argv, &i);
        else
            c->wrong = argv[i];
    }
}

static void limits_command_bucket(const struct ratelimit_bucket *b, char out[LIMITS_COMMAND_CELL])
{
    char reset[RATELIMIT_DURATION_SIZE];
    if (b->limit == 0) {
        snprintf(out, LIMITS_COMMAND_CELL, "unlimited");
        return;
    }
    ratelimit_format_duration(b->reset_us, reset);
    snprintf(out, LIMITS_COMMAND_CELL, "%lld/%lld %.12s", (long long)b->remaining, (long long)b->limit,
             reset);
}

static void limits_command_row(void *user, const struct limits_view_row *row)
{
    char requests[LIMITS_COMMAND_CELL], tokens[LIMITS_COMMAND_CELL], at_once[LIMITS_COMMAND_CELL],
        learned[24] = "-";
    size_t *count = user;
    limits_command_bucket(&row->requests, requests);
    limits_command_bucket(&row->tokens, tokens);
    if (row->concurrent_limit > 0)
        snprintf(at_once, sizeof at_once, "%lld/%lld", (long long)row->concurrent,
                 (long long)row->concurrent_limit);
    else
        snprintf(at_once, sizeof at_once, "unlimited");
    if (row->learned_output > 0)
        snprintf(learned, sizeof learned, "%lld", (long long)row->learned_output);
    if ((*count)++ == 0)
        printf("%-12s  %-28s  %-34s  %-12s  %s\n", "KEY", "REQUESTS LEFT, FULL IN", "TOKENS LEFT, FULL IN",
               "AT ONCE", "USUAL OUTPUT");
    printf("%-12s  %-28s  %-34s  %-12s  %s\n", row->fingerprint[0] ? row->fingerprint : "(others)", requests,
           tokens, at_once, learned);
}

static bool limits_command_work(void *user, const struct config *config, struct buf *message)
{
    const struct limits_command *c = user;
    size_t count = 0;
    if (c->reset && !limits_view_is_fingerprint(c->reset)) {
        buf_printf(message,
                   "--reset takes a fingerprint: 12 digits and letters from a to f, as the log shows them");
        return false;
    }
    if (c->reset)
        return limits_view_reset(config, c->reset, message);
    bool ok = limits_view_list(config, limits_command_row, &count, message);
    if (ok && count == 0)
        puts("No key has been seen yet.");
    return ok;
}

int limits_command_main(int argc, char **argv)
{
    struct limits_command c;
    limits_command_parse(&c, argc, argv);
    if (c.wrong) {
        fprintf(stderr, "sluice limits: unknown argument or a value is missing: %s\n%s", c.wrong,
                limits_command_usage);
        return DAEMON_EXIT_USAGE;
    }
    if (c.help)
        return fputs(limits_command_usage, stdout) < 0 ? DAEMON_EXIT_FAILED : DAEMON_EXIT_OK;
    return subcommand_run(&(struct subcommand){"limits", c.env_file, limits_command_work, &c});
}
