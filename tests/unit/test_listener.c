/* The listening socket: made where it can be, and never taken from somebody who uses it. */
#include "test.h"

#include "sluice/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A folder of the test's own, with one path in it. */
struct place {
    char folder[64];
    char path[80];
    struct config config;
    struct buf error;
};

static void place_make(struct place *p)
{
    *p = (struct place){.folder = "/tmp/sluice-listener-XXXXXX"};
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/socket", p->folder);
    p->config.listen = (struct config_address){.kind = CONFIG_ADDRESS_UNIX, .path = p->path};
    p->config.listen_mode = 0660;
    p->config.listen_group = "";
    buf_init(&p->error, 4096);
}

static void place_remove(struct place *p)
{
    unlink(p->path);
    assert_return_code(rmdir(p->folder), errno);
    buf_free(&p->error);
}

static int open_here(struct place *p)
{
    buf_clear(&p->error);
    int fd = listener_open(&p->config, &p->error);
    assert_int_equal(fd < 0, p->error.len > 0);
    assert_null(strchr(buf_text(&p->error), '\n'));
    return fd;
}

static void assert_refused(struct place *p, const char *why)
{
    assert_int_equal(open_here(p), -1);
    if (!strstr(buf_text(&p->error), why))
        fail_msg("\"%s\" is not in: %s", why, buf_text(&p->error));
}

static bool can_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return ok;
}

static void a_unix_socket_is_made_and_removed(void **state)
{
    (void)state;
    static const int modes[] = {0660, 0600, 0666, 0777};
    for (size_t i = 0; i < TEST_COUNT(modes); i++) {
        struct place p;
        struct stat info;
        place_make(&p);
        p.config.listen_mode = modes[i];
        mode_t before = umask(0022);
        int fd = open_here(&p);
        assert_int_equal(umask(before), 0022);
        assert_true(fd >= 0);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(can_connect(p.path));
        assert_return_code(stat(p.path, &info), errno);
        assert_int_equal(info.st_mode & 0777, modes[i]);
        listener_close(&p.config, fd);
        assert_int_not_equal(stat(p.path, &info), 0);
        place_remove(&p);
    }
}

static void a_stale_socket_is_replaced(void **state)
{
    (void)state;
    struct place p;
    place_make(&p);
    close(open_here(&p)); /* as a process that was killed: the file stays */
    assert_return_code(access(p.path, F_OK), errno);
    assert_false(can_connect(p.path));
    int fd = open_here(&p);
    assert_true(fd >= 0);
    assert_true(can_connect(p.path));
    listener_close(&p.config, fd);
    place_remove(&p);
}

static void a_socket_in_use_is_left_alone(void **state)
{
    (void)state;
    struct place p;
    place_make(&p);
    int fd = open_here(&p);
    assert_true(fd >= 0);
    assert_refused(&p, "is in use by another process");
    assert_non_null(strstr(buf_text(&p.error), p.path));
    assert_true(can_connect(p.path));
    listener_close(&p.config, fd);
    place_remove(&p);
}

/* A full queue refuses nobody: it is not a sign of death. */
static void a_busy_socket_is_left_alone(void **state)
{
    (void)state;
    enum { CLIENTS = 8 };
    struct place p;
    int clients[CLIENTS];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    place_make(&p);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", p.path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof address), errno);
    assert_return_code(listen(fd, 0), errno);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(clients[i], (struct sockaddr *)&address, sizeof address);
    }
    assert_refused(&p, "is in use by another process");
    assert_return_code(access(p.path, F_OK), errno);
    for (size_t i = 0; i < CLIENTS; i++)
        close(clients[i]);
    close(fd);
    place_remove(&p);
}

static void what_is_not_a_socket_is_left_alone(void **state)
{
    (void)state;
    struct place p;
    struct stat info;
    place_make(&p);
    close(open(p.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_refused(&p, "is not a socket");
    assert_return_code(stat(p.path, &info), errno);
    assert_true(S_ISREG(info.st_mode));
    unlink(p.path);
    assert_return_code(symlink("/nowhere", p.path), errno);
    assert_refused(&p, "is not a socket");
    place_remove(&p);
}

static void a_folder_must_be_there(void **state)
{
    (void)state;
    struct place p;
    place_make(&p);
    p.config.listen.path = "/nowhere/sluice.sock";
    assert_refused(&p, "/nowhere/sluice.sock: No such file or directory");
    place_remove(&p);
}

static void the_group_is_set_or_nothing_is_left(void **state)
{
    (void)state;
    struct place p;
    struct stat info;
    place_make(&p);
    p.config.listen_group = "no-such-group-anywhere";
    assert_refused(&p, "LISTEN_GROUP: there is no group \"no-such-group-anywhere\"");
    assert_int_not_equal(access(p.path, F_OK), 0);
    const struct group *own = getgrgid(getegid());
    if (own) {
        p.config.listen_group = own->gr_name;
        int fd = open_here(&p);
        assert_true(fd >= 0);
        assert_return_code(stat(p.path, &info), errno);
        assert_int_equal(info.st_gid, getegid());
        listener_close(&p.config, fd);
    }
    place_remove(&p);
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    assert_return_code(getsockname(fd, (struct sockaddr *)&address, &len), errno);
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static void tcp_sockets(void **state)
{
    (void)state;
    struct place p;
    place_make(&p);
    p.config.listen = (struct config_address){.kind = CONFIG_ADDRESS_TCP, .host = "127.0.0.1"};
    int fd = open_here(&p);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    /* The same port, while it is used and at once afterwards. */
    p.config.listen.port = (uint16_t)port_of(fd);
    assert_int_not_equal(p.config.listen.port, 0);
    assert_refused(&p, "Address already in use");
    listener_close(&p.config, fd);
    fd = open_here(&p);
    assert_true(fd >= 0);
    listener_close(&p.config, fd);

    p.config.listen.host = "no.such.host.invalid";
    assert_refused(&p, "no.such.host.invalid port ");
    p.config.listen.host = "192.0.2.1"; /* of the documentation (RFC 5737): nobody has it */
    assert_refused(&p, "192.0.2.1 port ");
    place_remove(&p);
}

/* Puts a descriptor in the place of another for the time of one call. */
static int open_with(struct place *p, int number, int fd)
{
    int saved = fcntl(number, F_DUPFD_CLOEXEC, 100);
    if (fd >= 0)
        assert_int_equal(dup2(fd, number), number);
    else
        close(number);
    int got = open_here(p);
    if (saved >= 0) {
        dup2(saved, number);
        close(saved);
    } else {
        close(number);
    }
    return got;
}

static void inherited_sockets(void **state)
{
    (void)state;
    struct place p;
    char self[16];
    place_make(&p);
    int listening = open_here(&p);
    assert_true(listening >= 0);
    p.config.listen = (struct config_address){.kind = CONFIG_ADDRESS_INHERITED};
    int pair[2];
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), errno);
    unsetenv("LISTEN_PID");
    assert_int_equal(open_with(&p, 0, listening), 0);
    assert_int_equal(open_with(&p, 0, pair[0]), -1);
    assert_non_null(strstr(buf_text(&p.error), "LISTEN is not set"));
    assert_int_equal(open_with(&p, 0, -1), -1);

    /* systemd's are taken by the process that they are meant for. */
    snprintf(self, sizeof self, "%d", (int)getpid());
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", self, 1);
    assert_int_equal(open_with(&p, 3, listening), 3);
    setenv("LISTEN_FDS", "0", 1);
    assert_int_equal(open_with(&p, 0, listening), 0);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", "1", 1);
    assert_int_equal(open_with(&p, 0, listening), 0);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    close(pair[0]);
    close(pair[1]);
    close(listening);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unix_socket_is_made_and_removed),
        cmocka_unit_test(a_stale_socket_is_replaced),
        cmocka_unit_test(a_socket_in_use_is_left_alone),
        cmocka_unit_test(a_busy_socket_is_left_alone),
        cmocka_unit_test(what_is_not_a_socket_is_left_alone),
        cmocka_unit_test(a_folder_must_be_there),
        cmocka_unit_test(the_group_is_set_or_nothing_is_left),
        cmocka_unit_test(tcp_sockets),
        cmocka_unit_test(inherited_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
