/*
 * A FastCGI server, its application and a raw peer, all on one loop, for the tests of connections.
 *
 * The application notes what it is told (log, body); what the peer gets is parsed to a text. Every request that
 * began must be done exactly once: world_end() checks it in each test.
 */
#ifndef SLUICE_FCGI_WORLD_H
#define SLUICE_FCGI_WORLD_H

#include "test.h"

#include "sluice/buf.h"
#include "sluice/clock.h"
#include "sluice/fcgi.h"
#include "sluice/fcgi_record.h"

enum { APPS_MAX = 256, KEEP = 1, RESPONDER = 1, STDOUT = 6, STDERR = 7, LONG_MS = 5000 };

struct world;

/* One request as the application sees it. */
struct app {
    struct world *world;
    struct fcgi_request *request;
    bool done, body_ended;
};

struct world {
    struct event_base *base;
    struct fcgi_server *server;
    struct fcgi_limits limits;
    int listen_fd, peer;
    bool reading; /* whether the peer takes what comes */
    bool closed;  /* the peer saw the end of the connection */
    struct buf got;  /* what the peer took */
    struct buf log;  /* what the application was told */
    struct buf body; /* all body bytes */
    size_t pieces;   /* in which they came */
    struct app apps[APPS_MAX];
    size_t begun, done;
    void (*on_begin)(struct app *a);
    void (*on_body)(struct app *a);
    void (*on_body_end)(struct app *a);
    void (*on_drained)(struct app *a);
};

/* The default application answers "hello" when the body has ended. */
extern const struct fcgi_events app_events;

void answer(struct app *a, const char *text);
void do_nothing(struct app *a);
int connect_to(int listen_fd);
void world_connect(struct world *w);
/* Without a server: for tests that set limits first. */
void world_init(struct world *w);
void world_serve(struct world *w);
void world_begin(struct world *w);
void world_end(struct world *w);
void turn(struct world *w);
/* Until nothing more can happen but by a timer. */
void settle(struct world *w);
void wait_us(struct world *w, int64_t us);
/* Turns until the application's log ends in this. */
void await_log(struct world *w, const char *tail);
void await_closed(struct world *w);
void peer_send(struct world *w, struct slice bytes);
void assert_log(struct world *w, const char *expected);
void put_padded(struct buf *b, uint8_t type, uint16_t id, struct slice content, uint8_t padding);
void put(struct buf *b, uint8_t type, uint16_t id, const char *content);
void put_begin(struct buf *b, uint16_t id, uint8_t role, uint8_t flags);
void put_pair(struct buf *b, const char *name, struct slice value);
/* A stream in records of at most a size, and its end. */
void put_stream(struct buf *b, uint8_t type, uint16_t id, struct slice bytes, size_t record);
void put_head(struct buf *b, uint16_t id, uint8_t flags, const char *uri);
void put_request(struct buf *b, uint16_t id, uint8_t flags, const char *uri, const char *body);
/* What the peer got, as text: `out;`, `end ID STATUS;`, `values;`, `unknown TYPE;`. Gives the bytes of all `out`. */
void read_answer(struct world *w, struct buf *text, struct buf *out);
void assert_got(struct world *w, const char *records, const char *bytes);
struct buf new_buf(void);
void send_and_free(struct world *w, struct buf *b);

#endif
