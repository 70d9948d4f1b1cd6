/*
 * The upgrade of a running program.
 *
 * The supervisor runs the new file by execve(2): it stays the same process, so that whoever started it does not
 * notice, and its workers stay its children. The new program starts workers of its own and lets the old ones retire.
 * Whether the new file works with this configuration is tried before, in a process of its own.
 */
#include "sluice/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char upgrade_variable[] = "SLUICE_UPGRADE";

void upgrade_receive(struct upgrade *u)
{
    const char *text = getenv(upgrade_variable);
    *u = (struct upgrade){.listen_fd = -1, .handover = {-1, -1}};
    if (!text)
        return;
    int used = 0, pid;
    if (sscanf(text, "%d,%d,%d%n", &u->listen_fd, &u->handover.send_fd, &u->handover.receive_fd, &used) == 3) {
        u->active = true;
        fcntl(u->listen_fd, F_SETFD, FD_CLOEXEC);
        fcntl(u->handover.send_fd, F_SETFD, FD_CLOEXEC);
        fcntl(u->handover.receive_fd, F_SETFD, FD_CLOEXEC);
    }
    for (text += used; u->worker_count < UPGRADE_WORKERS_MAX && sscanf(text, ",%d%n", &pid, &used) == 1; text += used)
        u->workers[u->worker_count++] = pid;
    unsetenv(upgrade_variable);
}

pid_t upgrade_probe(const struct daemon *d)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char listen[512] = "--listen=", env_file[4200] = "--env-file=";
    char name[] = "sluice", action[] = "--check-config";
    char *arguments[] = {name, action, NULL, NULL, NULL};
    size_t n = 2;
    if (d->source.overrides[0]) {
        snprintf(listen, sizeof listen, "--listen=%s", d->source.overrides[0] + sizeof "LISTEN=" - 1);
        arguments[n++] = listen;
    }
    if (d->source.env_file) {
        snprintf(env_file, sizeof env_file, "--env-file=%s", d->source.env_file);
        arguments[n++] = env_file;
    }
    execv(d->program, arguments);
    _exit(DAEMON_EXIT_FAILED);
}

static void upgrade_keep_open(int fd, bool keep)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

static void upgrade_keep_all_open(const struct daemon *d, bool keep)
{
    upgrade_keep_open(d->listen_fd, keep);
    upgrade_keep_open(d->handover.send_fd, keep);
    upgrade_keep_open(d->handover.receive_fd, keep);
}

void upgrade_execute(const struct daemon *d, const pid_t *workers, size_t count)
{
    struct buf text;
    buf_init(&text, 16 * UPGRADE_WORKERS_MAX);
    buf_printf(&text, "%d,%d,%d", d->listen_fd, d->handover.send_fd, d->handover.receive_fd);
    for (size_t i = 0; i < count && i < UPGRADE_WORKERS_MAX; i++)
        buf_printf(&text, ",%ld", (long)workers[i]);
    if (buf_text(&text) && setenv(upgrade_variable, buf_text(&text), 1) == 0) {
        upgrade_keep_all_open(d, true);
        execv(d->program, d->arguments);
        upgrade_keep_all_open(d, false);
        unsetenv(upgrade_variable);
    }
    buf_free(&text);
}
