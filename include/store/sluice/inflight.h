/*
 * Which requests are under way, known to all processes of this machine: of identical ones a single leader
 * goes upstream, the others follow.
 *
 * A table in a shared file of the state directory, one 64-bit word a slot, changed by compare-and-swap. A
 * claim is a lease: a leader that died, or that let it run out, is replaced by exactly one of those who claim
 * next. The leader renews it while it works. Followers ask from time to time whether somebody still leads,
 * and then look into the cache; those who do not find the answer there claim again.
 *
 * A leader whose answer is there, and only on its way into the cache, says so: who claims then is no longer
 * joining a request under way, and waits for a stored answer.
 *
 * A key has one slot. Where another key's lease is in it, which happens to one of 65,536 pairs, the claim is
 * told LEADER without being noted (INFLIGHT_NONE): a request goes upstream then that might have waited. That
 * two keys are taken for one has a chance of 2^-31, and costs the follower nothing but the waiting.
 */
#ifndef SLUICE_INFLIGHT_H
#define SLUICE_INFLIGHT_H

#include "sluice/digest.h"
#include "sluice/shared_file.h"

enum { INFLIGHT_SLOTS = 65536, INFLIGHT_LEASE_MAX_S = 60 };

#define INFLIGHT_NONE UINT32_MAX

struct inflight {
    struct shared_file file;
};

/* message as of shared_file_open(). False: the table cannot be used. */
__attribute__((warn_unused_result)) bool inflight_open(struct inflight *t, const char *state_dir,
                                                       struct buf *message);
void inflight_close(struct inflight *t);

enum inflight_role { INFLIGHT_LEADER, INFLIGHT_FOLLOWER };

struct inflight_claim {
    enum inflight_role role;
    uint32_t slot;
    uint64_t word; /* what the slot holds, or held when it was claimed */
};

/* lease_us: how long the leader may work without renewing; at most INFLIGHT_LEASE_MAX_S. Its resolution is 65
 * ms. A process that claims a key twice follows itself. */
struct inflight_claim inflight_claim(struct inflight *t, const struct digest *key, int64_t lease_us);

/* False: the lease was lost to another process; this one may go on, but others may be asking upstream too. */
bool inflight_renew(struct inflight *t, struct inflight_claim *claim, int64_t lease_us);

/* The same for a leader whose answer is known: from now on its claim tells so. */
bool inflight_settle(struct inflight *t, struct inflight_claim *claim, int64_t lease_us);

/* Whether the leader that was there when it was claimed had its answer already. */
bool inflight_is_settling(const struct inflight_claim *claim);

/* The claim of a follower where a leader is settling the key now; false: none is. Claims nothing. */
bool inflight_find_settling(const struct inflight *t, const struct digest *key, struct inflight_claim *out);

/* The leader is done, whatever came of it. For a follower it does nothing. */
void inflight_release(struct inflight *t, struct inflight_claim *claim);

/* For a follower: whether a leader still works on it, the same or another one. */
bool inflight_is_led(const struct inflight *t, const struct inflight_claim *claim);

/* Leases that are held now; looks at every slot. */
size_t inflight_count(const struct inflight *t);

#endif
