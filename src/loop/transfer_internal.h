/*
 * A transfer from the inside: what transfer.c (beginning, limits, end), transfer_easy.c (what libcurl is told of a
 * request), transfer_multi.c (libcurl's pools of connections), transfer_socket.c (its sockets and timers) and transfer_answer.c (what comes back, and what goes) share.
 */
#ifndef SLUICE_TRANSFER_INTERNAL_H
#define SLUICE_TRANSFER_INTERNAL_H

#include "sluice/transfer.h"

#include <curl/curl.h>
#include <event2/event_struct.h>

enum {
    TRANSFER_SPARE_MAX = 64,        /* easy handles kept for reuse */
    TRANSFER_LANES_MAX = 128,
    TRANSFER_LANE_SIZE = 64,  /* transfers on one lane */
    TRANSFER_LANE_IDLE = 32,  /* upstream connections that a lane keeps open beside those in use */
    TRANSFER_LANES_KEPT = 4,  /* that stay when nothing is on them */
    TRANSFER_RECEIVE_SIZE = 16 * 1024 - 1, /* libcurl takes a byte more */
    TRANSFER_SEND_SIZE = 16 * 1024,
    TRANSFER_HEADERS_MAX = 128, /* header lines of an answer that are looked at; the rest is dropped */
    TRANSFER_HEADER_BYTES_MAX = 256 * 1024,
    TRANSFER_LENGTH_DIGITS = 18 /* of a Content-Length: no more fit */
};

/* One of libcurl's pools of connections. One that memory was missing in goes on with what it has, and gets nothing new. */
struct transfer_multi {
    struct transfer_pool *pool;
    struct transfer_multi *next; /* of those that get nothing new */
    CURLM *curl;
    struct event timer;
    size_t transfers;
    bool kept; /* when nothing is on it */
    bool http2;
    bool broken;
};

struct transfer_socket {
    struct event event;
    struct transfer_multi *multi;
    curl_socket_t fd;
    short what;
};

/* An easy handle of libcurl, and where its last request went. */
struct transfer_easy {
    CURL *curl;
    CURLU *url;     /* url_text in parts */
    char *url_text; /* NULL: none yet */
};

struct transfer {
    struct transfer_pool *pool;
    struct transfer_multi *multi;
    struct transfer *next, *prev;
    struct transfer_easy easy;
    struct curl_slist *headers;
    const struct transfer_events *events;
    void *user;
    struct event timer;
    struct transfer_limits limits;
    int64_t started_us;
    int64_t heard_us; /* when the last byte of the answer came */
    int64_t sent_us;  /* when the last piece of a streamed body went; 0: none did */
    size_t header_lines, header_bytes;
    bool head_only;      /* the request is HEAD */
    bool unencoded;      /* "Transfer-Encoding: identity" was said, and no other */
    int64_t said_length; /* Content-Length; -1: none that counts */
    int64_t left;        /* bytes until an answer ends whose end libcurl does not look for; -1: it does */
    enum transfer_result verdict; /* where it was ended by us */
    bool has_verdict;
    bool got_byte;
    bool interim;   /* the head that is coming is not the answer's */
    bool head_done;
    bool paused;    /* receiving */
    bool send_paused;
    bool dead; /* cancelled within a callback */
    bool finished; /* libcurl is done with it */
    bool watched;  /* one of its sockets is on the loop */
    bool lost;     /* memory was missing for what would have made it go on */
    char error[CURL_ERROR_SIZE];
};

struct transfer_pool {
    struct event_base *base;
    struct transfer_multi *http2;
    struct transfer_multi *lanes[TRANSFER_LANES_MAX]; /* HTTP/1.1; NULL: not opened yet, or no more */
    struct transfer_multi *former; /* freed when their last transfer has ended */
    struct event reaper;
    struct transfer *active;
    size_t count, dead;
    const char *ca_file; /* NULL: the system's */
    struct transfer_easy spare[TRANSFER_SPARE_MAX];
    size_t spares;
    bool has_lost;  /* one of them is */
    int depth;      /* calls into libcurl that are under way */
    int64_t now_us; /* when the outermost of them began: precise enough for the lines of a head, which come at once */
};

/* transfer.c */
struct timeval transfer_timeval(int64_t us);
void transfer_arm_timer(struct transfer *t);
bool transfer_is_http2(const struct transfer *t);
void transfer_take_messages(struct transfer_multi *multi);
/* It ends with TRANSFER_INTERNAL, in a turn of its own, and before libcurl is called again: what libcurl has of it is not
 * whole. */
void transfer_lose(struct transfer *t);
/* Only outside of libcurl, and of its owner's calls. */
void transfer_report_lost(struct transfer_pool *pool);
/* Around every call into libcurl: what is cancelled meanwhile is only marked. */
void transfer_enter(struct transfer_pool *pool);
void transfer_leave(struct transfer_pool *pool);

/* transfer_easy.c */
bool transfer_easy_take(struct transfer_pool *pool, struct transfer_easy *easy); /* false: no memory */
void transfer_easy_put_back(struct transfer_pool *pool, struct transfer_easy *easy);
void transfer_easy_free_spares(struct transfer_pool *pool);
/* Everything that libcurl must know of the request. False: no memory. */
bool transfer_easy_set(struct transfer *t, const struct transfer_request *request);

/* transfer_multi.c */
bool transfer_open_multis(struct transfer_pool *pool);
void transfer_close_multis(struct transfer_pool *pool); /* without a transfer on them */
/* The one for a new transfer; NULL: no memory. */
struct transfer_multi *transfer_choose_multi(struct transfer_pool *pool, bool http2);
void transfer_join_multi(struct transfer_multi *multi);
void transfer_leave_multi(struct transfer_multi *multi);
void transfer_reap_multis(struct transfer_pool *pool); /* frees those that are of no more use; only outside of libcurl */
/* Memory was missing to watch a socket; whose it is, libcurl does not say, but that one has none on the loop. */
void transfer_lose_unwatched(struct transfer_multi *multi);

/* transfer_socket.c: libcurl's callbacks for its sockets and its timer. */
void transfer_on_timer(evutil_socket_t fd, short what, void *arg);
int transfer_want_timer(CURLM *curl, long timeout_ms, void *arg);
int transfer_want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg);

/* transfer_answer.c: libcurl's callbacks for a transfer's bytes. */
size_t transfer_on_header(char *bytes, size_t size, size_t count, void *arg);
size_t transfer_on_body(char *bytes, size_t size, size_t count, void *arg);
size_t transfer_on_read(char *to, size_t size, size_t count, void *arg);

#endif
