/* A real redis-server in a directory of its own, on a unix socket and a free TCP port; and servers that
 * misbehave. */
#ifndef SLUICE_REDIS_SERVER_H
#define SLUICE_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
    char directory[64];
    char socket[96], url[128]; /* unix:// */
    int port;
    const char *password; /* NULL: none */
    pid_t pid;            /* 0: not running */
};

/* False where no redis-server is installed: the test is to be skipped. */
bool redis_server_is_installed(void);

/* Makes the directory and starts; answers when PING is answered. */
void redis_server_start(struct redis_server *s, const char *password);

/* Ends it at once, and starts it again as it was (its data is lost). */
void redis_server_kill(struct redis_server *s);
void redis_server_again(struct redis_server *s);

/* Stops its process (SIGSTOP), and lets it go on. */
void redis_server_freeze(const struct redis_server *s);
void redis_server_thaw(const struct redis_server *s);

/* A command by a connection of its own, in the inline form; gives the first line of the reply. */
void redis_server_ask(const struct redis_server *s, const char *command, char *reply, size_t size);

/* Ends it and removes the directory. */
void redis_server_remove(struct redis_server *s);

/* A process that listens on a free port of 127.0.0.1, and to each connection sends bytes at once and then
 * reads for ever; closes: closes it instead. */
pid_t fake_server_start(const char *bytes, size_t len, bool closes, int *port);
void fake_server_stop(pid_t pid);

/* A port at which nobody listens. */
int free_port(void);

#endif
