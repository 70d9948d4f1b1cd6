/*
 * A FastCGI connection from the inside: what fcgi.c (accepting, ending), fcgi_read.c and fcgi_write.c share.
 *
 * A handler that finds a reason to end only notes it, by fcgi_end_connection(): nothing is freed but in fcgi_on_turn().
 */
#ifndef SLUICE_FCGI_CONNECTION_H
#define SLUICE_FCGI_CONNECTION_H

#include "fcgi_wire.h"
#include "sluice/buf.h"
#include "sluice/fcgi.h"

#include <event2/event_struct.h>

enum {
    FCGI_SCRATCH_SIZE = 64 * 1024,
    FCGI_WRITES_A_TURN = 16, /* 128 KiB: then other connections have their turn */
    FCGI_FEED_CAPACITY = 256 * 1024,
    FCGI_WRITE_OVERHEAD = 8704, /* what Linux counts for a write beside its bytes: blocks of 16 KiB, and their heads */
    FCGI_SEND_GUARD_SECONDS = 1,
    FCGI_ACCEPT_PAUSE_MS = 100,
    FCGI_KEEP_CONNECTION = 1, /* a flag of BEGIN_REQUEST */
    FCGI_TIMERS = 2,         /* of a connection: timer, and writable */
    FCGI_ROOM_MIN = 64,      /* connections whose timers room is made for at the beginning */
    FCGI_PAUSED_LOOK_MS = 50, /* how often a connection that is not read is looked at */
    FCGI_REST_PAUSE_MS = 200  /* a body that stops for so long after its answer will not go on */
};

enum fcgi_phase {
    FCGI_PHASE_IDLE,  /* no request */
    FCGI_PHASE_HEAD,  /* BEGIN_REQUEST came, PARAMS are coming */
    FCGI_PHASE_BODY,  /* STDIN is coming */
    FCGI_PHASE_READ   /* STDIN has ended */
};

/* A connection, and the request that is on it. */
struct fcgi_request {
    struct fcgi_server *server;
    struct fcgi_request *next, *prev;
    struct event readable, writable, turn, timer;
    int fd;
    enum fcgi_phase phase;
    uint16_t id;
    uint8_t begin_body[8];
    int writes_left;     /* that surely do not wait */
    int64_t heard_us;    /* when the last piece of the body came */
    int64_t answered_us; /* since when awaiting */
    struct fcgi_wire wire;
    struct buf in;     /* the beginning of a record */
    struct buf params; /* content of PARAMS records, until the head is whole */
    struct buf out;    /* answer bytes that the peer has not taken */
    void *user;
    enum fcgi_outcome outcome; /* where ended */
    bool begun;      /* begin() was called, done() not */
    bool ended;      /* the connection must be closed; outcome says why */
    bool answered;   /* fcgi_request_end() was called */
    bool awaiting;   /* the answer is written but for its end, which the body's end shall precede */
    bool impatient;  /* and no longer */
    bool lingering;  /* the request is over, the connection waits for the rest of its body */
    bool too_large;  /* the head was dropped */
    bool paused;     /* body not wanted now */
    bool late;       /* body_late() was called */
    bool above_high; /* drained() is owed */
};

struct fcgi_server {
    struct event_base *base;
    struct event accept_event, resume_event;
    const struct fcgi_events *events;
    struct fcgi_limits limits;
    void *ctx;
    int listen_fd;
    bool is_unix;
    int writes_a_look; /* how many writes do not wait after the descriptor polled writable */
    struct fcgi_feed feed;
    struct fcgi_request *connections;
    size_t count;
    size_t room; /* connections whose timers there is room for */
    bool accepting;
    const struct handover *handover; /* where idle connections go when accepting has stopped, or NULL */
    char scratch[FCGI_SCRATCH_SIZE];
};

/* fcgi.c */
struct timeval fcgi_timeval(int64_t us);
void fcgi_ask_turn(struct fcgi_request *r);
void fcgi_end_connection(struct fcgi_request *r, enum fcgi_outcome outcome);
void fcgi_arm_timer(struct fcgi_request *r, int64_t us);

/* fcgi_read.c */
void fcgi_on_readable(evutil_socket_t fd, short what, void *arg);
void fcgi_on_timer(evutil_socket_t fd, short what, void *arg);
/* New bytes, or none to go on with what is held. */
void fcgi_process(struct fcgi_request *r, struct slice bytes);
void fcgi_forget_request(struct fcgi_request *r);
void fcgi_look_at_rest(struct fcgi_request *r);

/* fcgi_write.c */
void fcgi_on_writable(evutil_socket_t fd, short what, void *arg);
/* Whether a write of FCGI_WIRE_CHUNK bytes and closing records is sure not to wait; it must follow then. */
bool fcgi_claim_write(struct fcgi_request *r);
void fcgi_await_writable(struct fcgi_request *r);
bool fcgi_can_finish(const struct fcgi_request *r);
bool fcgi_flush(struct fcgi_request *r);

#endif
