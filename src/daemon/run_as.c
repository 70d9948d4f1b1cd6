/*
 * Root's rights are given up here: all at once, for good, and before a byte from outside is read.
 *
 * There is no part that keeps them. What the supervisor does later (opening the log again, reading the settings at a
 * reload, running a new program's file) it does as the user, who must be able to.
 */
#include "sluice/daemon.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char run_as_default[] = "www-data";

/* A number needs no entry: a container's user often has none. */
static bool run_as_look_up(const char *name, struct run_as *as)
{
    char *end = NULL;
    const struct passwd *entry = getpwnam(name);
    unsigned long number = isdigit((unsigned char)*name) ? strtoul(name, &end, 10) : 0;
    bool is_number = end && *end == '\0' && number < (uid_t)-1;
    if (!entry && is_number)
        entry = getpwuid((uid_t)number);
    if (!entry && !is_number)
        return false;
    as->uid = entry ? entry->pw_uid : (uid_t)number;
    as->gid = entry ? entry->pw_gid : (gid_t)number;
    snprintf(as->name, sizeof as->name, "%s", entry ? entry->pw_name : name);
    return true;
}

bool run_as_find(const char *option, struct run_as *as, struct buf *error)
{
    bool root = geteuid() == 0;
    const char *name = *option ? option : root ? run_as_default : "";
    *as = (struct run_as){.uid = geteuid(), .gid = getegid()};
    if (!*name)
        return true;
    if (!run_as_look_up(name, as)) {
        if (*option)
            buf_printf(error, "RUN_AS: there is no user \"%s\" on this machine", name);
        else
            buf_printf(error, "RUN_AS: root has started this, and there is no user %s to become: name another one, or root "
                              "to stay root", name);
        return false;
    }
    as->changes = root && as->uid != 0;
    if (as->uid == 0)
        as->uid = geteuid(); /* "root" asks for no change, and none is made */
    if (root || as->uid == geteuid())
        return true;
    buf_printf(error, "RUN_AS: user %ld has started this and cannot become \"%s\": only root can; leave it empty",
               (long)geteuid(), name);
    return false;
}

void run_as_make_log(const struct run_as *as, const char *path)
{
    int fd = *path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    if (fchown(fd, as->uid, as->gid) != 0)
        unlink(path);
    close(fd);
}

/* The machine's list of the user's groups; without an entry, his own group alone. */
static bool run_as_set_groups(const struct run_as *as)
{
    return getpwnam(as->name) ? initgroups(as->name, as->gid) == 0 : setgroups(1, &as->gid) == 0;
}

/* All three kinds of both ids are the user's, and root's cannot be had again. */
static bool run_as_is_final(const struct run_as *as)
{
    uid_t uid[3];
    gid_t gid[3];
    if (getresuid(&uid[0], &uid[1], &uid[2]) != 0 || getresgid(&gid[0], &gid[1], &gid[2]) != 0)
        return false;
    for (size_t i = 0; i < 3; i++)
        if (uid[i] != as->uid || gid[i] != as->gid)
            return false;
    return setresuid((uid_t)-1, 0, (uid_t)-1) != 0 && setresuid(0, 0, 0) != 0;
}

bool run_as_become(const struct run_as *as, struct buf *error)
{
    if (!as->changes)
        return true;
    if (run_as_set_groups(as) && setresgid(as->gid, as->gid, as->gid) == 0 &&
        setresuid(as->uid, as->uid, as->uid) == 0) {
        if (run_as_is_final(as))
            return true;
        buf_printf(error, "RUN_AS: the way back from user %s to root is open", as->name);
        return false;
    }
    buf_printf(error, "RUN_AS: cannot become user %s: %s", as->name, strerror(errno));
    return false;
}

bool run_as_owner_of(const char *directory, struct buf *error)
{
    struct stat info;
    struct run_as as = {.changes = true};
    char number[24];
    if (geteuid() != 0 || lstat(directory, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid == 0)
        return true;
    snprintf(number, sizeof number, "%lu", (unsigned long)info.st_uid);
    return run_as_look_up(number, &as) && run_as_become(&as, error);
}

void run_as_seal(void)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none); /* a dump would hold the upstream's keys; one to a pipe knows no limit, */
    prctl(PR_SET_DUMPABLE, 0);     /* but heeds this, as do ptrace(2) and /proc/PID/mem */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
