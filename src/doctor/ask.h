/* One HTTP request, on a connection of its own, and all that is to be known of its answer. Blocks, with a
 * bound. */
#ifndef SLUICE_DOCTOR_ASK_H
#define SLUICE_DOCTOR_ASK_H

#include "sluice/buf.h"

#include <stdint.h>

enum { ASK_TEXT_MAX = 256, ASK_BODY_MAX = 256 * 1024, ASK_SECONDS = 15 };

struct ask {
    const char *root;
    const char *path;   /* behind root */
    const char *key;    /* NULL: no Authorization */
    const char *header; /* one more line, or NULL */
    int64_t post_bytes; /* -1: GET; otherwise POST with so many bytes */
    int64_t timeout_ms; /* 0: ASK_SECONDS */
    bool gzip;          /* compressed answers are welcome */
    bool only_http1;
    bool insecure;
    /* Each piece of the body as it comes, instead of keeping it. False: leave, by closing the connection. */
    bool (*piece)(void *ctx, struct slice bytes);
    void *ctx;
};

struct answer {
    int status;     /* 0: none came */
    int version;    /* of HTTP, times ten; 0 where no answer came */
    bool complete;  /* came to its end */
    bool by_sluice; /* carries a request id, as all of Sluice's answers do */
    bool chunked;
    bool has_length;
    bool timed_out;
    bool unconnected; /* no connection was made */
    bool distrusted;  /* the certificate is not good */
    char type[ASK_TEXT_MAX];
    char server[ASK_TEXT_MAX];
    char encoding[ASK_TEXT_MAX];
    char location[ASK_TEXT_MAX];
    char address[ASK_TEXT_MAX]; /* numeric, of the server */
    char error[ASK_TEXT_MAX];   /* of libcurl; empty: none */
    int64_t sent_bytes;         /* of the body */
    struct buf body;            /* cut at ASK_BODY_MAX */
};

/* Fills *answer, which answer_free() releases in every case. */
void ask_send(const struct ask *ask, struct answer *answer);
void answer_free(struct answer *answer);

#endif
