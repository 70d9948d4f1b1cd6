/*
 * The supervisor: it starts workers, and others in place of those that die. It serves nothing itself.
 *
 * A worker that ends soon after its start is replaced after a pause that doubles each time, so that a fault that
 * kills every worker does not eat the machine. All signals are blocked and taken one by one from the queue: there
 * is no handler, and nothing to interrupt.
 */
#include "sluice/daemon.h"

#include "sluice/clock.h"
#include "sluice/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SUPERVISOR_STEADY_SECONDS = 10, /* a worker that lived this long was not broken from its start */
    SUPERVISOR_PAUSE_MS = 100,
    SUPERVISOR_PAUSE_DOUBLINGS = 8, /* 25.6 s at most */
    SUPERVISOR_GRACE_SECONDS = 10,  /* beyond a worker's own bounds, before it is killed */
    SUPERVISOR_RETIRING_MAX = UPGRADE_WORKERS_MAX / 2 /* then the oldest gets a bound */
};

struct supervisor_slot {
    pid_t pid;          /* 0: none */
    int64_t started_us;
    int64_t due_us;     /* when the next is to be started */
    unsigned crashes;   /* in a row */
};

struct supervisor {
    struct daemon *daemon;
    struct supervisor_slot *slots;
    size_t count;
    pid_t retiring[SUPERVISOR_RETIRING_MAX]; /* oldest first */
    size_t retiring_count;
    pid_t probe; /* of an upgrade; 0: none */
    bool stopping;
    int64_t kill_us; /* when what is left is killed; 0: not yet decided */
    sigset_t signals, former;
};

int supervisor_replace_signal(void)
{
    return SIGRTMIN;
}

static void supervisor_become_worker(struct supervisor *s, pid_t parent)
{
    struct daemon *d = s->daemon;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    free(s->slots);
    int status = getppid() == parent ? worker_run(d, &s->former) : DAEMON_EXIT_FAILED;
    handover_close(&d->handover);
    log_close();
    exit(status);
}

static void supervisor_start(struct supervisor *s, struct supervisor_slot *slot)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        supervisor_become_worker(s, parent);
    slot->started_us = clock_monotonic_us();
    if (pid > 0) {
        slot->pid = pid;
        log_message(LOG_LEVEL_INFO, "worker_started", "worker %ld", (long)pid);
        return;
    }
    log_message(LOG_LEVEL_ERROR, "fork_failed", "fork: %s", strerror(errno));
    slot->due_us = slot->started_us + CLOCK_US_PER_SECOND;
}

static void supervisor_start_due(struct supervisor *s)
{
    int64_t now = clock_monotonic_us();
    for (size_t i = 0; i < s->count && !s->stopping; i++)
        if (s->slots[i].pid == 0 && s->slots[i].due_us <= now)
            supervisor_start(s, &s->slots[i]);
}

static void supervisor_log_end(pid_t pid, int status, int64_t pause_us)
{
    if (WIFSIGNALED(status))
        log_message(LOG_LEVEL_ERROR, "worker_died", "worker %ld died of signal %d (%s); the next starts in %lld ms",
                    (long)pid, WTERMSIG(status), strsignal(WTERMSIG(status)),
                    (long long)(pause_us / CLOCK_US_PER_MS));
    else
        log_message(LOG_LEVEL_ERROR, "worker_died", "worker %ld ended with status %d; the next starts in %lld ms",
                    (long)pid, WEXITSTATUS(status), (long long)(pause_us / CLOCK_US_PER_MS));
}

static void supervisor_worker_ended(struct supervisor *s, struct supervisor_slot *slot, int status)
{
    int64_t now = clock_monotonic_us();
    pid_t pid = slot->pid;
    slot->pid = 0;
    if (s->stopping)
        return;
    bool steady = now - slot->started_us >= SUPERVISOR_STEADY_SECONDS * (int64_t)CLOCK_US_PER_SECOND;
    slot->crashes = steady ? 0 : slot->crashes + 1;
    unsigned doublings = slot->crashes > SUPERVISOR_PAUSE_DOUBLINGS ? SUPERVISOR_PAUSE_DOUBLINGS : slot->crashes;
    int64_t pause_us = slot->crashes == 0 ? 0 : SUPERVISOR_PAUSE_MS * (int64_t)CLOCK_US_PER_MS << (doublings - 1);
    slot->due_us = now + pause_us;
    supervisor_log_end(pid, status, pause_us);
}

/* ---- workers that retire ------------------------------------------------------------------------------------ */

static void supervisor_drop_retired(struct supervisor *s, size_t i)
{
    s->retiring_count--;
    memmove(&s->retiring[i], &s->retiring[i + 1], (s->retiring_count - i) * sizeof *s->retiring);
}

/* Where too many retire at once, the oldest must end within DRAIN_SECONDS, and is not watched any longer. */
static void supervisor_retire(struct supervisor *s, pid_t pid)
{
    if (s->retiring_count == SUPERVISOR_RETIRING_MAX) {
        kill(s->retiring[0], SIGTERM);
        supervisor_drop_retired(s, 0);
    }
    s->retiring[s->retiring_count++] = pid;
    kill(pid, SIGQUIT);
}

/* New workers take the places of the old ones. */
static void supervisor_replace_all(struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        pid_t old = s->slots[i].pid;
        s->slots[i] = (struct supervisor_slot){0};
        supervisor_start(s, &s->slots[i]);
        if (old > 0)
            supervisor_retire(s, old);
    }
}

static void supervisor_replace_one(struct supervisor *s, pid_t pid)
{
    for (size_t i = 0; i < s->count && !s->stopping; i++) {
        if (s->slots[i].pid != pid)
            continue;
        s->slots[i] = (struct supervisor_slot){0};
        supervisor_start(s, &s->slots[i]);
        supervisor_retire(s, pid);
    }
}

/* ---- reload and upgrade ------------------------------------------------------------------------------------- */

static void supervisor_log_report(const struct config_report *report)
{
    for (const struct config_note *n = report->first; n; n = n->next)
        log_message(n->severity == CONFIG_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "configuration", "%s: %s",
                    n->option, n->message);
}

static bool supervisor_resize(struct supervisor *s, size_t count)
{
    struct supervisor_slot *slots = calloc(count, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < s->count; i++) {
        if (i < count)
            slots[i] = s->slots[i];
        else if (s->slots[i].pid > 0)
            supervisor_retire(s, s->slots[i].pid);
    }
    free(s->slots);
    s->slots = slots;
    s->count = count;
    return true;
}

static void supervisor_warn_fixed(const struct supervisor *s, const struct settings *fresh)
{
    struct buf names;
    buf_init(&names, 4096);
    settings_put_fixed_changes(s->daemon->settings, fresh, &names);
    if (names.len > 0)
        log_message(LOG_LEVEL_WARNING, "configuration", "these changes need a restart: %s", buf_text(&names));
    buf_free(&names);
}

/* What a configuration needs to take the place of the present one, beyond being right. */
static bool supervisor_can_use(struct supervisor *s, const struct settings *fresh)
{
    size_t workers = (size_t)fresh->config.workers;
    if (workers == 0) {
        log_message(LOG_LEVEL_ERROR, "configuration", "WORKERS: a reload cannot change it to 0");
        return false;
    }
    if (!log_open(fresh->config.log_file, config_log_level(&fresh->config))) {
        log_message(LOG_LEVEL_ERROR, "configuration", "LOG_FILE: %s: %s", fresh->config.log_file, strerror(errno));
        return false;
    }
    supervisor_warn_fixed(s, fresh);
    return workers == s->count || supervisor_resize(s, workers);
}

/* A configuration with a mistake changes nothing. */
static void supervisor_reload(struct supervisor *s)
{
    struct settings fresh;
    struct config_report report;
    config_report_init(&report);
    bool ok = settings_load(&fresh, &s->daemon->source, &report);
    supervisor_log_report(&report);
    config_report_free(&report);
    if (!ok || !supervisor_can_use(s, &fresh)) {
        log_message(LOG_LEVEL_ERROR, "reload_refused", "the configuration stays as it was");
        settings_free(&fresh);
        return;
    }
    settings_free(s->daemon->settings);
    *s->daemon->settings = fresh;
    log_message(LOG_LEVEL_INFO, "reloaded", "%zu workers, %zu client keys", s->count, keys_count(fresh.keys));
    supervisor_replace_all(s);
}

static void supervisor_begin_upgrade(struct supervisor *s)
{
    if (s->probe > 0)
        return;
    s->probe = upgrade_probe(s->daemon);
    if (s->probe < 0)
        log_message(LOG_LEVEL_ERROR, "upgrade_refused", "fork: %s", strerror(errno));
}

static void supervisor_upgrade(struct supervisor *s, int probe_status)
{
    pid_t workers[UPGRADE_WORKERS_MAX];
    size_t n = 0;
    s->probe = 0;
    if (probe_status != 0) {
        log_message(LOG_LEVEL_ERROR, "upgrade_refused", "%s --check-config failed; nothing has changed",
                    s->daemon->program);
        return;
    }
    for (size_t i = 0; i < s->retiring_count; i++)
        workers[n++] = s->retiring[i];
    for (size_t i = 0; i < s->count && n < UPGRADE_WORKERS_MAX; i++)
        if (s->slots[i].pid > 0)
            workers[n++] = s->slots[i].pid;
    log_message(LOG_LEVEL_INFO, "upgrading", "%s, %zu workers to retire", s->daemon->program, n);
    upgrade_execute(s->daemon, workers, n);
    log_message(LOG_LEVEL_ERROR, "upgrade_refused", "%s: %s", s->daemon->program, strerror(errno));
}

/* ---- the loop ----------------------------------------------------------------------------------------------- */

static void supervisor_child_ended(struct supervisor *s, pid_t pid, int status)
{
    if (pid == s->probe) {
        supervisor_upgrade(s, status);
        return;
    }
    for (size_t i = 0; i < s->retiring_count; i++)
        if (s->retiring[i] == pid) {
            supervisor_drop_retired(s, i);
            return;
        }
    for (size_t i = 0; i < s->count; i++)
        if (s->slots[i].pid == pid)
            supervisor_worker_ended(s, &s->slots[i], status);
}

static void supervisor_reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        supervisor_child_ended(s, pid, status);
}

static void supervisor_signal_all(const struct supervisor *s, int number)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->slots[i].pid > 0)
            kill(s->slots[i].pid, number);
    for (size_t i = 0; i < s->retiring_count; i++)
        kill(s->retiring[i], number);
}

static void supervisor_stop(struct supervisor *s)
{
    int64_t grace_us = SUPERVISOR_GRACE_SECONDS * (int64_t)CLOCK_US_PER_SECOND;
    if (!s->stopping)
        s->kill_us = clock_monotonic_us() + s->daemon->settings->config.drain_us + grace_us;
    s->stopping = true;
    supervisor_signal_all(s, SIGTERM);
}

static size_t supervisor_running(const struct supervisor *s)
{
    size_t running = s->retiring_count;
    for (size_t i = 0; i < s->count; i++)
        running += s->slots[i].pid > 0;
    return running;
}

/* How long nothing is due; at most an hour. */
static struct timespec supervisor_wait_time(const struct supervisor *s)
{
    int64_t now = clock_monotonic_us(), until = now + 3600 * (int64_t)CLOCK_US_PER_SECOND;
    for (size_t i = 0; i < s->count && !s->stopping; i++)
        if (s->slots[i].pid == 0 && s->slots[i].due_us < until)
            until = s->slots[i].due_us;
    if (s->stopping && s->kill_us < until)
        until = s->kill_us;
    int64_t us = until > now ? until - now : 0;
    return (struct timespec){us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND * 1000};
}

static void supervisor_handle(struct supervisor *s, const siginfo_t *info)
{
    int number = info->si_signo;
    if (number == SIGCHLD)
        supervisor_reap(s);
    else if (number == SIGTERM || number == SIGINT || number == SIGQUIT)
        supervisor_stop(s);
    else if (number == SIGHUP && !s->stopping)
        supervisor_reload(s);
    else if (number == SIGUSR2 && !s->stopping)
        supervisor_begin_upgrade(s);
    else if (number == supervisor_replace_signal())
        supervisor_replace_one(s, info->si_pid);
    else if (number == SIGUSR1) {
        log_reopen();
        supervisor_signal_all(s, SIGUSR1);
    }
}

static void supervisor_block_signals(struct supervisor *s)
{
    /* QUIT too, so that a worker does not die of one that comes before it can take it. */
    const int taken[] = {SIGCHLD, SIGTERM, SIGINT,  SIGQUIT,
                         SIGHUP,  SIGUSR1, SIGUSR2, supervisor_replace_signal()};
    sigemptyset(&s->signals);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        sigaddset(&s->signals, taken[i]);
    sigprocmask(SIG_BLOCK, &s->signals, &s->former);
}

/* The blocked signals of before an upgrade are not the ones to give to workers. */
static void supervisor_take_over(struct supervisor *s, const struct upgrade *u)
{
    if (!u->active)
        return;
    sigemptyset(&s->former);
    for (size_t i = 0; i < s->count; i++)
        supervisor_start(s, &s->slots[i]);
    for (size_t i = 0; i < u->worker_count; i++)
        supervisor_retire(s, u->workers[i]);
    supervisor_reap(s); /* those that ended while the program was being replaced */
}

int supervisor_run(struct daemon *d, const struct upgrade *upgrade)
{
    struct supervisor s = {.daemon = d, .count = (size_t)d->settings->config.workers};
    s.slots = calloc(s.count, sizeof *s.slots);
    if (!s.slots)
        return DAEMON_EXIT_FAILED;
    supervisor_block_signals(&s);
    supervisor_take_over(&s, upgrade);
    for (;;) {
        siginfo_t info;
        supervisor_start_due(&s);
        if (s.stopping && supervisor_running(&s) == 0)
            break;
        if (s.stopping && clock_monotonic_us() >= s.kill_us)
            supervisor_signal_all(&s, SIGKILL);
        struct timespec wait = supervisor_wait_time(&s);
        if (sigtimedwait(&s.signals, &info, &wait) > 0)
            supervisor_handle(&s, &info);
    }
    free(s.slots);
    return DAEMON_EXIT_OK; /* with its signals blocked: one that comes now must not change the exit status */
}
