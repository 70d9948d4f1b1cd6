/* One client connection: reads requests, hands them to the endpoints, writes what reply makes. */
#ifndef SIM_CONN_H
#define SIM_CONN_H

#include "http.h"
#include "reply.h"
#include "sim.h"

#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <jansson.h>

enum conn_state {
    CONN_READ_HEAD,
    CONN_READ_BODY,
    CONN_READ_CHUNK_SIZE,
    CONN_READ_CHUNK,
    CONN_READ_CHUNK_END,
    CONN_READ_TRAILER,
    CONN_REPLY,
};

struct conn {
    struct conn *next, **link;
    struct sim *sim;
    struct bufferevent *bev;
    evutil_socket_t fd;
    enum conn_state state;
    uint64_t body_left;
    int64_t read_pace_us; /* between 64 KiB and the next of this request's body */
    uint64_t rested_at;
    struct request *request;
    json_t *json; /* the body, when it is JSON */
    struct directive dir;
    struct reply reply;
    struct event timer;
    struct event *watch; /* for the hang-up of a connection no longer read */
    bool dead, tls, control, counted;
};

void conn_open(struct sim *sim, evutil_socket_t fd);
void conn_write(struct conn *c, const void *data, size_t len);
size_t conn_unsent(const struct conn *c);
void conn_arm(struct conn *c, int64_t delay_us);
void conn_finish(struct conn *c, bool keep); /* the response is complete */
void conn_close(struct conn *c, bool rst);
void conn_free_all(struct sim *sim);

#endif
