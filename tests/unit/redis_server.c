#include "redis_server.h"

#include "test.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_TRIES = 500, START_WAIT_US = 10000 };

bool redis_server_is_installed(void)
{
    return access("/usr/bin/redis-server", X_OK) == 0 || access("/usr/local/bin/redis-server", X_OK) == 0;
}

static int listen_on_free_port(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

int free_port(void)
{
    int port;
    close(listen_on_free_port(&port));
    return port;
}

static int connect_to(const struct redis_server *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", s->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Reads one line; false at the connection's end. */
static bool read_line(int fd, char *out, size_t size)
{
    size_t n = 0;
    while (n + 1 < size && read(fd, out + n, 1) == 1)
        if (out[n++] == '\n')
            break;
    out[n] = '\0';
    return n > 0;
}

static bool try_ask(const struct redis_server *s, const char *command, char *reply, size_t size)
{
    char text[512];
    int fd = connect_to(s);
    if (fd < 0)
        return false;
    bool ok = true;
    if (s->password) {
        int n = snprintf(text, sizeof text, "AUTH %s\r\n", s->password);
        ok = write(fd, text, (size_t)n) == n && read_line(fd, reply, size);
    }
    int n = snprintf(text, sizeof text, "%s\r\n", command);
    ok = ok && write(fd, text, (size_t)n) == n && read_line(fd, reply, size);
    close(fd);
    return ok;
}

void redis_server_ask(const struct redis_server *s, const char *command, char *reply, size_t size)
{
    assert_true(try_ask(s, command, reply, size));
}

static void run_server(const struct redis_server *s)
{
    char port[16];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(port, sizeof port, "%d", s->port);
    if (!freopen("/dev/null", "w", stdout))
        _exit(1);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", s->socket,
           "--dir", s->directory, "--save", "", "--appendonly", "no",
           s->password ? "--requirepass" : (char *)NULL, s->password, (char *)NULL);
    _exit(127);
}

void redis_server_again(struct redis_server *s)
{
    char reply[64] = "";
    unlink(s->socket);
    s->pid = fork();
    if (s->pid == 0)
        run_server(s);
    assert_true(s->pid > 0);
    for (int i = 0; i < START_TRIES && strncmp(reply, "+PONG", 5) != 0; i++) {
        usleep(START_WAIT_US);
        try_ask(s, "PING", reply, sizeof reply);
    }
    assert_int_equal(strncmp(reply, "+PONG", 5), 0);
}

void redis_server_start(struct redis_server *s, const char *password)
{
    *s = (struct redis_server){.directory = "/tmp/sluice-redis-XXXXXX", .password = password};
    assert_non_null(mkdtemp(s->directory));
    snprintf(s->socket, sizeof s->socket, "%s/redis.sock", s->directory);
    snprintf(s->url, sizeof s->url, "unix://%s%s%s%s", password ? ":" : "", password ? password : "",
             password ? "@" : "", s->socket);
    s->port = free_port();
    redis_server_again(s);
}

static void end_process(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

void redis_server_kill(struct redis_server *s)
{
    end_process(s->pid);
    s->pid = 0;
}

void redis_server_freeze(const struct redis_server *s)
{
    kill(s->pid, SIGSTOP);
}

void redis_server_thaw(const struct redis_server *s)
{
    kill(s->pid, SIGCONT);
}

void redis_server_remove(struct redis_server *s)
{
    char command[128];
    redis_server_kill(s);
    snprintf(command, sizeof command, "rm -rf %s", s->directory);
    assert_int_equal(system(command), 0);
}

static void serve(int listener, const char *bytes, size_t len, bool closes)
{
    char ignored[4096];
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 || fork() != 0) {
            close(fd);
            continue;
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        size_t sent = 0;
        ssize_t n = 1;
        while (sent < len && n > 0) {
            n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
        }
        while (!closes && read(fd, ignored, sizeof ignored) > 0)
            continue;
        _exit(0);
    }
}

pid_t fake_server_start(const char *bytes, size_t len, bool closes, int *port)
{
    int listener = listen_on_free_port(port);
    assert_int_equal(listen(listener, 16), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGCHLD, SIG_IGN);
        serve(listener, bytes, len, closes);
    }
    close(listener);
    return pid;
}

void fake_server_stop(pid_t pid)
{
    end_process(pid);
}
