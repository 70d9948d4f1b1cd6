/* The listening socket: made here, or inherited from spawn-fcgi, a web server or systemd. */
#include "sluice/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LISTENER_BACKLOG = 4096, /* the kernel bounds it: net.core.somaxconn */
    LISTENER_SYSTEMD_FD = 3
};

static int listener_fail(struct buf *error, int fd, const char *what)
{
    int saved = errno;
    if (fd >= 0)
        close(fd);
    buf_printf(error, "LISTEN: %s: %s", what, strerror(saved));
    return -1;
}

static bool listener_is_listening(int fd)
{
    int on = 0;
    socklen_t size = sizeof on;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == 0 && on;
}

/* sd_listen_fds(3): LISTEN_PID names this process and LISTEN_FDS counts descriptors from 3 on. */
static int listener_systemd_fd(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (!pid || !count || strtol(pid, NULL, 10) != getpid() || strtol(count, NULL, 10) < 1)
        return -1;
    return LISTENER_SYSTEMD_FD;
}

static int listener_inherit(struct buf *error)
{
    int fd = listener_systemd_fd();
    fd = fd >= 0 ? fd : STDIN_FILENO;
    if (listener_is_listening(fd))
        return fd;
    buf_append_text(error, "LISTEN is not set, and descriptor 0 is not a listening socket: start sluice by a web "
                           "server, spawn-fcgi or systemd, or set LISTEN to unix:/path or HOST:PORT");
    return -1;
}

/* A socket file that nobody answers at is left over from a process that was killed. */
static bool listener_remove_stale(const struct sockaddr_un *address, struct buf *error)
{
    struct stat info;
    if (lstat(address->sun_path, &info) != 0)
        return true;
    if (!S_ISSOCK(info.st_mode)) {
        buf_printf(error, "LISTEN: %s exists and is not a socket: remove it or choose another path",
                   address->sun_path);
        return false;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int refused = probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) != 0 &&
                  errno == ECONNREFUSED;
    if (probe >= 0)
        close(probe);
    if (!refused) {
        buf_printf(error, "LISTEN: %s is in use by another process", address->sun_path);
        return false;
    }
    return unlink(address->sun_path) == 0 || listener_fail(error, -1, address->sun_path) == 0;
}

/* Of a socket and nothing else, whatever stands at the path by now. */
static bool listener_chown(const char *path, uid_t uid, gid_t gid)
{
    struct stat info;
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &info) == 0;
    if (ok && !S_ISSOCK(info.st_mode)) {
        errno = ENOTSOCK;
        ok = false;
    }
    ok = ok && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool listener_set_group(const char *path, const char *name, struct buf *error)
{
    if (!*name)
        return true;
    const struct group *group = getgrnam(name);
    if (!group) {
        buf_printf(error, "LISTEN_GROUP: there is no group \"%s\" on this machine", name);
        return false;
    }
    if (listener_chown(path, (uid_t)-1, group->gr_gid))
        return true;
    buf_printf(error, "LISTEN_GROUP: %s: %s; this user must be root or a member of \"%s\"", path, strerror(errno),
               name);
    return false;
}

static int listener_open_unix(const struct config *c, struct buf *error)
{
    const char *path = c->listen.path;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (!listener_remove_stale(&address, error))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    mode_t before = umask(0777 & ~(mode_t)c->listen_mode);
    int bound = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
    umask(before);
    if (bound == 0 && !listener_set_group(path, c->listen_group, error)) {
        unlink(path);
        close(fd);
        return -1;
    }
    if (bound != 0 || listen(fd, LISTENER_BACKLOG) != 0)
        return listener_fail(error, fd, path);
    return fd;
}

static int listener_open_tcp(const struct config_address *a, struct buf *error)
{
    char port[8], where[300];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    snprintf(port, sizeof port, "%u", a->port);
    snprintf(where, sizeof where, "%s port %s", a->host, port);
    int code = getaddrinfo(a->host, port, &hints, &found);
    if (code != 0) {
        buf_printf(error, "LISTEN: %s: %s", where, gai_strerror(code));
        return -1;
    }
    int on = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool ok = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, LISTENER_BACKLOG) == 0;
    freeaddrinfo(found);
    return ok ? fd : listener_fail(error, fd, where);
}

int listener_open(const struct config *config, struct buf *error)
{
    switch (config->listen.kind) {
    case CONFIG_ADDRESS_UNIX:
        return listener_open_unix(config, error);
    case CONFIG_ADDRESS_TCP:
        return listener_open_tcp(&config->listen, error);
    case CONFIG_ADDRESS_INHERITED:
        break;
    }
    return listener_inherit(error);
}

bool listener_give(const struct config *config, const struct run_as *as, struct buf *error)
{
    if (config->listen.kind != CONFIG_ADDRESS_UNIX)
        return true;
    gid_t gid = *config->listen_group ? (gid_t)-1 : as->gid;
    if (listener_chown(config->listen.path, as->uid, gid))
        return true;
    buf_printf(error, "LISTEN: %s: cannot be given to user %s: %s", config->listen.path, as->name, strerror(errno));
    return false;
}

void listener_close(const struct config *config, int fd)
{
    if (config->listen.kind == CONFIG_ADDRESS_UNIX)
        unlink(config->listen.path);
    close(fd);
}
