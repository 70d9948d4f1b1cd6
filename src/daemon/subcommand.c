/* A configuration, a user, and what is wrong. */
#include "subcommand.h"

#include "sluice/daemon.h"

#include <stdio.h>
#include <unistd.h>

enum { SUBCOMMAND_TEXT_MAX = 1024 * 1024 };

static int subcommand_work(const struct subcommand *s, const struct config *config, struct buf *message)
{
    bool ok = run_as_owner_of(config->state_dir, message) && s->work(s->user, config, message);
    return ok && fflush(stdout) == 0 ? DAEMON_EXIT_OK : DAEMON_EXIT_FAILED;
}

static void subcommand_tell(const struct subcommand *s, int status, struct buf *message)
{
    if (message->len == 0)
        return;
    bool ends = buf_text(message)[message->len - 1] == '\n';
    if (status != DAEMON_EXIT_USAGE)
        fprintf(stderr, "sluice %s: ", s->name);
    fprintf(stderr, "%s%s", buf_text(message), ends ? "" : "\n");
}

int subcommand_run(const struct subcommand *s)
{
    struct config config = {0};
    struct config_input input = {NULL, (const char *const *)environ, s->env_file};
    struct config_report report;
    struct buf message;
    int status = DAEMON_EXIT_USAGE;
    config_report_init(&report);
    buf_init(&message, SUBCOMMAND_TEXT_MAX);
    if (config_load(&config, &input, &report))
        status = subcommand_work(s, &config, &message);
    else
        config_report_write(&report, &message);
    subcommand_tell(s, status, &message);
    config_report_free(&report);
    config_free(&config);
    buf_free(&message);
    return status;
}
