/* The log of the last requests: a ring of shared references, so logging copies nothing. */
#ifndef SIM_REQUESTS_H
#define SIM_REQUESTS_H

#include "http.h"

#define REQUESTS_KEPT     4096
#define REQUESTS_BODY_CAP 65536

struct requests {
    struct request *ring[REQUESTS_KEPT];
    uint64_t next_seq;
};

void requests_add(struct requests *log, struct request *r);

/* Called once a request is over: shrinks a large body to the cap, keeping its digest. */
void requests_trim_body(struct request *r);
void requests_write_json(const struct requests *log, uint64_t last, struct buf *out);
void requests_clear(struct requests *log);

#endif
