/* sluice(8): reads the command line and the configuration, then serves or answers. */
#include "cache_command.h"
#include "command.h"
#include "limits_command.h"

#include "sluice/daemon.h"
#include "sluice/doctor.h"
#include "sluice/log.h"
#include "sluice/openai_error.h"
#include "sluice/options.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { MAIN_TEXT_MAX = 1024 * 1024 };

static int main_print(struct buf *text, FILE *to, int status)
{
    if (text->len > 0)
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

/* The path of the program's own file, as it is now: after an upgrade of the file its name shall be run. */
static const char *main_program(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    if (n < 0)
        return NULL;
    path[n] = '\0';
    return path;
}

static bool main_open_socket(struct daemon *d, const struct upgrade *upgrade, const struct run_as *as, struct buf *error)
{
    const struct config *config = &d->settings->config;
    d->listen_fd = upgrade->active ? upgrade->listen_fd : listener_open(config, error);
    return d->listen_fd >= 0 && (!as->changes || upgrade->active || listener_give(config, as, error));
}

static void main_open_handover(struct daemon *d, const struct upgrade *upgrade)
{
    d->handover = upgrade->handover;
    if (d->settings->config.workers > 0 && !upgrade->active && !handover_open(&d->handover))
        log_message(LOG_LEVEL_WARNING, "no_handover", "idle connections cannot be handed over: %s", strerror(errno));
}

static bool main_open_log(const struct config *config, struct buf *error)
{
    if (log_open(config->log_file, config_log_level(config)))
        return true;
    buf_printf(error, "LOG_FILE: %s: %s (as user %ld)", config->log_file, strerror(errno), (long)geteuid());
    return false;
}

/* What needs root's rights comes first; then the user is changed, and the rest happens as that user. */
static bool main_become(struct daemon *d, const struct upgrade *upgrade, struct run_as *as, struct buf *error)
{
    const struct config *config = &d->settings->config;
    if (!run_as_find(config->run_as, as, error) || !state_dir_prepare(config->state_dir, as, error) ||
        !main_open_socket(d, upgrade, as, error))
        return false;
    if (as->changes)
        run_as_make_log(as, config->log_file);
    if (!run_as_become(as, error))
        return false;
    run_as_seal();
    return state_dir_check(config->state_dir, error) && main_open_log(config, error);
}

static void main_tell_user(const struct daemon *d, const struct run_as *as)
{
    const char *file = d->source.env_file ? d->source.env_file : ".env";
    if (geteuid() == 0)
        log_message(LOG_LEVEL_WARNING, "runs_as_root", "everything here runs as root; RUN_AS can name another user");
    if (as->changes)
        log_message(LOG_LEVEL_INFO, "run_as", "started by root, works as user %s", as->name);
    if (as->changes && access(file, R_OK) != 0 && errno != ENOENT)
        log_message(LOG_LEVEL_WARNING, "run_as",
                    "%s: user %s cannot read it: a reload or an upgrade will be refused until he can", file, as->name);
}

static int main_serve_on(struct daemon *d, const struct upgrade *upgrade)
{
    const struct config *config = &d->settings->config;
    log_message(LOG_LEVEL_INFO, upgrade->active ? "upgraded" : "started",
                "sluice " SLUICE_VERSION ", %lld workers, %zu client keys", (long long)config->workers,
                keys_count(d->settings->keys));
    int status = config->workers == 0 ? worker_run(d, NULL) : supervisor_run(d, upgrade);
    log_message(LOG_LEVEL_INFO, "stopped", "status %d", status);
    listener_close(config, d->listen_fd);
    handover_close(&d->handover);
    return status;
}

static int main_serve(struct settings *settings, const struct settings_source *source, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* the log's reader may go */
    static struct upgrade upgrade;
    char program[4096];
    struct buf error;
    buf_init(&error, MAIN_TEXT_MAX);
    upgrade_receive(&upgrade);
    const struct config *config = &settings->config;
    struct run_as as;
    struct daemon d = {.settings = settings,
                       .source = *source,
                       .listen_fd = -1,
                       .own_socket = config->listen.kind != CONFIG_ADDRESS_INHERITED,
                       .program = main_program(program, sizeof program),
                       .arguments = argv};
    int status = DAEMON_EXIT_FAILED;
    if (main_become(&d, &upgrade, &as, &error)) {
        main_tell_user(&d, &as);
        main_open_handover(&d, &upgrade);
        status = main_serve_on(&d, &upgrade);
    } else if (d.listen_fd >= 0) {
        listener_close(config, d.listen_fd);
    }
    if (error.len > 0)
        fprintf(stderr, "sluice: %s\n", buf_text(&error));
    buf_free(&error);
    log_close();
    return status;
}

static int main_with_config(const struct command *command, char **argv)
{
    struct settings settings;
    struct settings_source source = {command->overrides, command->env_file};
    struct config_report report;
    config_report_init(&report);
    bool ok = settings_load(&settings, &source, &report);
    int status = DAEMON_EXIT_USAGE;
    main_report(&report);
    config_report_free(&report);
    if (ok && command->action == COMMAND_SERVE)
        status = main_serve(&settings, &source, argv);
    else if (ok)
        status = DAEMON_EXIT_OK;
    settings_free(&settings);
    return status;
}

/* The client keys are shown as fingerprints here: they must not have been dropped, as settings_load() does. */
static int main_print_config(const struct command *command)
{
    struct config config = {0};
    struct config_input input = {command->overrides, (const char *const *)environ, command->env_file};
    struct config_report report;
    struct buf text;
    buf_init(&text, MAIN_TEXT_MAX);
    config_report_init(&report);
    bool ok = config_load(&config, &input, &report) && config_print(&config, &text);
    main_report(&report);
    config_report_free(&report);
    config_free(&config);
    return main_print(&text, stdout, ok ? DAEMON_EXIT_OK : DAEMON_EXIT_USAGE);
}

int main(int argc, char **argv)
{
    struct command command;
    if (argc > 1 && strcmp(argv[1], "doctor") == 0)
        return doctor_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "cache") == 0)
        return cache_command_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "limits") == 0)
        return limits_command_main(argc - 1, argv + 1);
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
    case COMMAND_PRINT_CONFIG:
        return main_print_config(&command);
    default:
        return main_with_config(&command, argv);
    }
}
