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
    SUPERVISOR_GRACE_SECONDS = 10   /* beyond a worker's own bounds, before it is killed */
};

struct supervisor_slot {
    pid_t pid;          /* 0: none */
    int64_t started_us;
    int64_t due_us;     /* when the next is to be started */
    unsigned crashes;   /* in a row */
};

struct supervisor {
    const struct daemon *daemon;
    struct supervisor_slot *slots;
    size_t count;
    bool stopping;
    int64_t kill_us; /* when what is left is killed; 0: not yet decided */
    sigset_t signals, former;
};

static void supervisor_become_worker(struct supervisor *s, pid_t parent)
{
    const struct daemon *d = s->daemon;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    free(s->slots);
    sigprocmask(SIG_SETMASK, &s->former, NULL);
    int status = getppid() == parent ? worker_run(d) : DAEMON_EXIT_FAILED;
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

static void supervisor_reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < s->count; i++)
            if (s->slots[i].pid == pid)
                supervisor_worker_ended(s, &s->slots[i], status);
}

static void supervisor_signal_all(const struct supervisor *s, int number)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->slots[i].pid > 0)
            kill(s->slots[i].pid, number);
}

static void supervisor_stop(struct supervisor *s)
{
    int64_t grace_us = SUPERVISOR_GRACE_SECONDS * (int64_t)CLOCK_US_PER_SECOND;
    if (!s->stopping)
        s->kill_us = clock_monotonic_us() + s->daemon->config->drain_us + grace_us;
    s->stopping = true;
    supervisor_signal_all(s, SIGTERM);
}

static size_t supervisor_running(const struct supervisor *s)
{
    size_t running = 0;
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

static void supervisor_handle(struct supervisor *s, int number)
{
    switch (number) {
    case SIGCHLD:
        supervisor_reap(s);
        break;
    case SIGTERM:
    case SIGINT:
        supervisor_stop(s);
        break;
    case SIGUSR1:
        log_reopen();
        supervisor_signal_all(s, SIGUSR1);
        break;
    default:
        break;
    }
}

static void supervisor_block_signals(struct supervisor *s)
{
    static const int taken[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR1};
    sigemptyset(&s->signals);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        sigaddset(&s->signals, taken[i]);
    sigprocmask(SIG_BLOCK, &s->signals, &s->former);
}

int supervisor_run(const struct daemon *d)
{
    struct supervisor s = {.daemon = d, .count = (size_t)d->config->workers};
    s.slots = calloc(s.count, sizeof *s.slots);
    if (!s.slots)
        return DAEMON_EXIT_FAILED;
    supervisor_block_signals(&s);
    for (;;) {
        supervisor_start_due(&s);
        if (s.stopping && supervisor_running(&s) == 0)
            break;
        if (s.stopping && clock_monotonic_us() >= s.kill_us)
            supervisor_signal_all(&s, SIGKILL);
        struct timespec wait = supervisor_wait_time(&s);
        int number = sigtimedwait(&s.signals, NULL, &wait);
        if (number > 0)
            supervisor_handle(&s, number);
    }
    free(s.slots);
    sigprocmask(SIG_SETMASK, &s.former, NULL);
    return DAEMON_EXIT_OK;
}
