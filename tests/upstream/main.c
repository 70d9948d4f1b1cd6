/* An OpenAI API stand-in for the system tests and the benchmark. */
#include "conn.h"
#include "tls.h"

#include <arpa/inet.h>
#include <event2/listener.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

struct options {
    const char *host, *port_file, *cert, *key, *keys;
    int port;
};

static int usage(void)
{
    fputs(
        "usage: openai-sim [--port N] [--port-file FILE] [--host ADDRESS] [--tls-cert FILE --tls-key FILE]\n"
        "                  [--keys KEY,KEY...]\n",
        stderr);
    return 2;
}

static bool options_parse(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"port", required_argument, NULL, 'p'},
        {"port-file", required_argument, NULL, 'f'},
        {"host", required_argument, NULL, 'h'},
        {"tls-cert", required_argument, NULL, 'c'},
        {"tls-key", required_argument, NULL, 'k'},
        {"keys", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int choice;
    *o = (struct options){.host = "127.0.0.1"};
    while ((choice = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (choice) {
        case 'p':
            o->port = atoi(optarg);
            break;
        case 'f':
            o->port_file = optarg;
            break;
        case 'h':
            o->host = optarg;
            break;
        case 'c':
            o->cert = optarg;
            break;
        case 'k':
            o->key = optarg;
            break;
        case 'a':
            o->keys = optarg;
            break;
        default:
            return false;
        }
    }
    return optind == argc && !o->cert == !o->key;
}

static void files_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int len,
                      void *arg)
{
    (void)listener;
    (void)peer;
    (void)len;
    conn_open(arg, fd);
}

static void on_signal(evutil_socket_t signal, short what, void *arg)
{
    (void)signal;
    (void)what;
    event_base_loopbreak(arg);
}

static struct evconnlistener *listener_open(struct sim *sim, const struct options *o)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    if (inet_pton(AF_INET, o->host, &address.sin_addr) != 1) {
        return NULL;
    }
    return evconnlistener_new_bind(sim->base, on_accept, sim,
                                   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC,
                                   LISTEN_BACKLOG, (struct sockaddr *)&address, sizeof address);
}

static int listener_port(struct evconnlistener *listener)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &len);
    return ntohs(address.sin_port);
}

/* By rename, so that a script waiting for the file never reads half a number. */
static bool port_write(const char *path, int port)
{
    struct buf temporary = {0};
    buf_printf(&temporary, "%s.%ld", path, (long)getpid());
    buf_add(&temporary, "", 1);
    FILE *file = fopen(temporary.data, "w");
    bool ok = file && fprintf(file, "%d\n", port) > 0;
    ok = (!file || fclose(file) == 0) && ok && rename(temporary.data, path) == 0;
    buf_free(&temporary);
    return ok;
}

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static int sim_serve(struct sim *sim, const struct options *o)
{
    struct evconnlistener *listener = listener_open(sim, o);
    if (!listener) {
        perror("openai-sim: cannot listen");
        return 1;
    }
    int port = listener_port(listener);
    struct event *term = evsignal_new(sim->base, SIGTERM, on_signal, sim->base);
    struct event *intr = evsignal_new(sim->base, SIGINT, on_signal, sim->base);
    event_add(term, NULL);
    event_add(intr, NULL);
    int status = o->port_file && !port_write(o->port_file, port);
    if (status) {
        perror(o->port_file);
    } else {
        printf("listening on %s://%s:%d/v1\n", sim->tls ? "https" : "http", o->host, port);
        fflush(stdout);
        event_base_dispatch(sim->base);
    }
    event_free(term);
    event_free(intr);
    evconnlistener_free(listener);
    return status;
}

static void sim_free(struct sim *sim)
{
    conn_free_all(sim);
    sim_queue_clear(sim);
    sim_files_clear(sim);
    requests_clear(&sim->log);
    jsoncache_clear(&sim->parsed);
    stats_free(&sim->stats);
    event_base_free(sim->base);
    SSL_CTX_free(sim->tls);
    free(sim);
    libevent_global_shutdown();
}

int main(int argc, char **argv)
{
    struct options o;
    if (!options_parse(&o, argc, argv)) {
        return usage();
    }
    signal(SIGPIPE, SIG_IGN);
    files_raise_limit();
    struct sim *sim = calloc(1, sizeof *sim);
    if (!sim) {
        return 1;
    }
    sim->base = base_new();
    sim->keys = o.keys;
    sim->random = 1;
    directive_init(&sim->standard);
    sim->queue_end = &sim->queue;
    int status = 1;
    if (!o.cert || (sim->tls = tls_load(o.cert, o.key))) {
        status = sim_serve(sim, &o);
    }
    sim_free(sim);
    return status;
}
