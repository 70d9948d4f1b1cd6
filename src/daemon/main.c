/* sluice(8): reads the command line and the configuration, then serves or answers. */
#include "command.h"

#include "sluice/daemon.h"
#include "sluice/log.h"
#include "sluice/openai_error.h"
#include "sluice/options.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { MAIN_TEXT_MAX = 1024 * 1024 };

static int main_print(struct buf *text, FILE *to, int status)
{
    fwrite(buf_data(text), 1, text->len, to);
    buf_free(text);
    return fflush(to) == 0 ? status : DAEMON_EXIT_FAILED;
}

static int main_print_written(bool (*write)(struct buf *b))
{
    struct buf text;
    buf_init(&text, MAIN_TEXT_MAX);
    bool ok = write(&text);
    return main_print(&text, stdout, ok ? DAEMON_EXIT_OK : DAEMON_EXIT_FAILED);
}

static void main_report(const struct config_report *report)
{
    struct buf text;
    buf_init(&text, MAIN_TEXT_MAX);
    config_report_write(report, &text);
    main_print(&text, stderr, 0);
}

static int main_print_config(const struct config *config)
{
    struct buf text;
    buf_init(&text, MAIN_TEXT_MAX);
    bool ok = config_print(config, &text);
    return main_print(&text, stdout, ok ? DAEMON_EXIT_OK : DAEMON_EXIT_FAILED);
}

static int main_serve_on(const struct config *config, const struct keys *keys)
{
    struct buf error;
    buf_init(&error, MAIN_TEXT_MAX);
    struct daemon d = {.config = config, .keys = keys, .listen_fd = listener_open(&config->listen, &error)};
    if (d.listen_fd < 0) {
        fprintf(stderr, "sluice: %s\n", buf_text(&error));
        buf_free(&error);
        return DAEMON_EXIT_FAILED;
    }
    log_message(LOG_LEVEL_INFO, "started", "sluice " SLUICE_VERSION ", %lld workers, %zu client keys",
                (long long)config->workers, keys_count(keys));
    int status = config->workers == 0 ? worker_run(&d) : supervisor_run(&d);
    log_message(LOG_LEVEL_INFO, "stopped", "status %d", status);
    listener_close(&config->listen, d.listen_fd);
    return status;
}

static int main_serve(struct config *config)
{
    if (!log_open(config->log_file, config_log_level(config))) {
        fprintf(stderr, "sluice: LOG_FILE: %s: %s\n", config->log_file, strerror(errno));
        return DAEMON_EXIT_FAILED;
    }
    struct keys *keys = keys_new(config);
    config_forget_client_keys(config);
    int status = DAEMON_EXIT_FAILED;
    if (keys)
        status = main_serve_on(config, keys);
    keys_free(&keys);
    log_close();
    return status;
}

static int main_with_config(const struct command *command)
{
    struct config config = {0};
    struct config_report report;
    struct config_input input = {command->overrides, (const char *const *)environ, command->env_file};
    config_report_init(&report);
    bool ok = config_load(&config, &input, &report);
    int status = DAEMON_EXIT_USAGE;
    main_report(&report);
    config_report_free(&report);
    if (ok && command->action == COMMAND_SERVE)
        status = main_serve(&config);
    else if (ok && command->action == COMMAND_PRINT_CONFIG)
        status = main_print_config(&config);
    else if (ok)
        status = DAEMON_EXIT_OK;
    config_free(&config);
    return status;
}

int main(int argc, char **argv)
{
    struct command command;
    command_parse(&command, argc, argv);
    switch (command.action) {
    case COMMAND_HELP:
        return main_print_written(command_write_help);
    case COMMAND_PRINT_OPTIONS:
        return main_print_written(options_find_writer(command.argument));
    case COMMAND_PRINT_ERRORS:
        return main_print_written(openai_error_write_markdown);
    case COMMAND_VERSION:
        puts("sluice " SLUICE_VERSION);
        return DAEMON_EXIT_OK;
    case COMMAND_WRONG:
        fprintf(stderr, "sluice: %s\nsluice --help lists what there is.\n", command.message);
        return DAEMON_EXIT_USAGE;
    default:
        return main_with_config(&command);
    }
}
