/* The simulator's one global state, handed around explicitly. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "directive.h"
#include "jsoncache.h"
#include "requests.h"
#include "stats.h"

#include <event2/event.h>
#include <openssl/ssl.h>

#define SIM_FILES 1024

struct conn;

struct sim_queued {
    struct sim_queued *next;
    struct directive directive;
};

struct sim_file {
    char id[32];
    char *name;
    char *purpose;
    uint64_t bytes;
    char sha256[65];
};

struct sim {
    struct event_base *base;
    SSL_CTX *tls;
    const char *keys; /* comma-separated, or NULL: any key will do */
    struct conn *conns;
    struct directive standard; /* the default directive */
    struct sim_queued *queue, **queue_end;
    struct stats stats;
    struct requests log;
    struct jsoncache parsed;
    struct sim_file files[SIM_FILES];
    uint64_t file_count;
    uint64_t request_counter; /* makes x-request-id and object ids */
    uint64_t random;
};

void sim_queue_clear(struct sim *sim);
void sim_files_clear(struct sim *sim);
double sim_random(struct sim *sim); /* in [0, 1) */

#endif
