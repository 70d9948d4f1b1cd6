/* The limits' files among themselves. Private to the store. */
#ifndef SLUICE_LIMITS_INTERNAL_H
#define SLUICE_LIMITS_INTERNAL_H

#include "limits_lease.h"
#include "sluice/bucket.h"
#include "sluice/limits.h"

#define LIMITS_REDIS_PREFIX "sluice:"

enum { LIMITS_SHA1_HEX_SIZE = 41, LIMITS_MEMBER_SIZE = 64, LIMITS_NAME_SIZE = 64 };

/* Each a minute's worth, or requests at once; 0: unlimited. */
struct limits_rates {
    int64_t requests, tokens, concurrent;
};

struct limits_override {
    struct digest digest;
    struct limits_rates rates;
};

enum limits_phase {
    LIMITS_ASKING,   /* Redis is asked to admit it */
    LIMITS_LOCAL,    /* admitted by the local buckets */
    LIMITS_REMOTE,   /* admitted by Redis */
    LIMITS_SETTLING, /* Redis is told how it ended; the caller has let go of it */
    LIMITS_OWED      /* Redis could not be told yet */
};

/* One request. */
struct limits_reservation {
    struct limits *limits;
    struct limits_reservation *next, *prev;
    enum limits_phase phase;
    struct limits_reservation **out;
    limits_callback *callback;
    void *user;
    struct limits_tag tag;
    char fingerprint[KEY_FINGERPRINT_SIZE];
    struct limits_rates rates; /* by which it was admitted */
    int64_t tokens;            /* reserved */
    /* LOCAL */
    struct limits_slot *slot;
    uint64_t owner;
    size_t lease, ticket;
    /* of Redis */
    struct redis_command *command;
    char member[LIMITS_MEMBER_SIZE]; /* what Redis knows it by; empty: it has noted nothing */
    bool cancelled;                  /* SETTLING, OWED: nothing was used, nor the request made */
    bool sent;                       /* SETTLING, OWED: Redis may have been told */
    bool full_script;                /* the script's text was sent, as Redis did not know it */
    int64_t used;
    int64_t since_us; /* OWED */
};

struct limits {
    struct limits_rates defaults;
    struct limits_override *overrides; /* sorted by digest */
    size_t override_count;
    int64_t share; /* of a limit, in millionths, while Redis is away */
    struct shared_file file;
    struct limits_shared *shared;
    int64_t offset_ns;
    struct limits_member member;
    struct event *beat;
    struct limits_reservation *reservations;
    struct limits_stats stats;
    /* of Redis; all unused where redis is NULL */
    struct redis *redis;
    char script_sha1[LIMITS_SHA1_HEX_SIZE];
    char lease_text[24]; /* seconds */
    char instance[17];   /* this process's, among all that ask this Redis */
    uint64_t counter;
    bool away; /* the last request was decided locally */
    size_t owed;
};

/* limits.c */
int64_t limits_now(const struct limits *l);
void limits_forget(struct limits_reservation *r);
/* The tokens of an average of the file. 0 where it cannot be ours. */
int64_t limits_learned(uint64_t average);
/* This machine's share of them, for while Redis is away. */
struct limits_rates limits_local_rates(const struct limits *l, const struct limits_rates *rates);
/* Tells the caller; of a refusal, r is gone before. */
void limits_decide(struct limits_reservation *r, struct limits_decision *d);
/* Both buckets as a client shall see them, from the time until each is full. */
void limits_describe(const struct limits_rates *rates, int64_t requests_wait, int64_t tokens_wait,
                     struct limits_decision *d);
/* And when a refused request would be admitted. */
void limits_describe_refusal(const struct limits_rates *rates, int64_t requests_wait, int64_t tokens_wait,
                             struct limits_decision *d);

/* limits_local.c: by the shared file. */
void limits_local_admit(struct limits_reservation *r, struct limits_decision *d);
void limits_local_settle(struct limits_reservation *r, int64_t used);
void limits_local_cancel(struct limits_reservation *r);
void limits_local_look(struct limits *l, struct limits_tag tag, const struct limits_rates *rates,
                       struct limits_decision *d);
/* What Redis said, for limits_look(), and to begin with when it is gone. */
void limits_local_mirror(struct limits *l, struct limits_tag tag, int64_t requests_wait, int64_t tokens_wait);

/* limits_redis.c: by Redis. */
bool limits_redis_open(struct limits *l);
void limits_redis_admit(struct limits_reservation *r);
/* Takes r over. */
void limits_redis_settle(struct limits_reservation *r, int64_t used, bool cancelled);
/* Renews the leases, and tells what is owed. */
void limits_redis_beat(struct limits *l);

#endif
