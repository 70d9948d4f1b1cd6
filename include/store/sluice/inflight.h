/*
 * Which requests are under way, known to all processes of this machine: of identical ones a single leader goes
 * upstream, the others follow.
 *
 * A table in a shared file of the state directory, without a lock. A claim is a lease: a leader that died, or that let
 * it run out, is replaced by exactly one of those who claim next. The leader renews it while it works. Followers poll
 * until the claim is gone and then look into the cache; those who do not find the answer there claim again.
 *
 * Where the table is crowded a claim is told LEADER without being noted (its slot is INFLIGHT_NONE): a request goes
 * upstream then that might have waited.
 */
#ifndef SLUICE_INFLIGHT_H
#define SLUICE_INFLIGHT_H

#include "sluice/digest.h"
#include "sluice/shared_file.h"

enum { INFLIGHT_SLOTS = 4096, INFLIGHT_PROBES = 16 };

#define INFLIGHT_NONE UINT32_MAX

struct inflight {
    struct shared_file file;
};

/* False: error tells why. message as of shared_file_open(). */
__attribute__((warn_unused_result)) bool inflight_open(struct inflight *t, const char *state_dir, struct buf *message);
void inflight_close(struct inflight *t);

enum inflight_role { INFLIGHT_LEADER, INFLIGHT_FOLLOWER };

/* What one holds or waits for. */
struct inflight_claim {
    enum inflight_role role;
    uint32_t slot;
    uint64_t lease; /* names this lease among all others of the slot */
    uint64_t key;   /* beginning of the digest */
};

/* lease_us: how long the leader may work without renewing. */
struct inflight_claim inflight_claim(struct inflight *t, const struct digest *key, int64_t lease_us);

/* False: the lease was lost, to another process or to time; the leader goes on, but no longer holds it. */
bool inflight_renew(struct inflight *t, const struct inflight_claim *claim, int64_t lease_us);

/* The leader is done, whatever came of it. */
void inflight_release(struct inflight *t, const struct inflight_claim *claim);

/* For a follower: whether that leader still works. Not when its lease has run out or its process is gone. */
bool inflight_is_led(struct inflight *t, const struct inflight_claim *claim);

/* Leases that are held now, for metrics. */
size_t inflight_count(const struct inflight *t);

#endif
