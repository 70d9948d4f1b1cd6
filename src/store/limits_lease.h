/*
 * What a process holds of the shared limits, so that others can take it back when it dies. Private to the
 * store.
 */
#ifndef SLUICE_LIMITS_LEASE_H
#define SLUICE_LIMITS_LEASE_H

#include "limits_table.h"

/* This process's place among those that serve. */
struct limits_member {
    struct limits_shared *shared;
    size_t index;  /* LIMITS_PROCESSES: none was free */
    uint64_t word; /* what processes[index].word is while the others think that it lives */
    int64_t lease_ns;
    int64_t beaten_ns; /* when it last said so */
    size_t lease_hint;
    uint64_t ticket_turn; /* where the search for a ticket goes on behind the first ones */
    uint64_t reclaimed; /* reservations of others that it gave back */
};

enum { LIMITS_NO_LEASE = LIMITS_LEASES, LIMITS_NO_TICKET = LIMITS_TICKETS };

void limits_member_join(struct limits_member *m, struct limits_shared *shared, int64_t lease_ns, int64_t now);
void limits_member_leave(struct limits_member *m);

/* Says that this process lives, and takes back what dead ones held: at most once a quarter of the lease. A
 * process that was taken for dead joins anew. */
void limits_member_beat(struct limits_member *m, int64_t now);

/* Notes cost_ns of the slot's tokens as reserved. LIMITS_NO_LEASE: it could not be noted. */
size_t limits_lease_take(struct limits_member *m, const struct limits_slot *slot, int64_t cost_ns);

/* False: it had been taken back already. */
bool limits_lease_drop(struct limits_member *m, size_t lease, uint64_t owner);

/* What identifies this process's leases now; to be kept beside the lease. */
uint64_t limits_lease_owner(const struct limits_member *m);

enum limits_ticket_result { LIMITS_TICKET_TAKEN, LIMITS_TICKET_REFUSED, LIMITS_TICKET_UNCOUNTED };

/* One of `limit` (1 or more) requests at once. */
enum limits_ticket_result limits_ticket_take(struct limits_member *m, struct limits_slot *slot, int64_t limit,
                                             size_t *ticket);
void limits_ticket_drop(struct limits_member *m, size_t ticket, uint64_t owner);

/* How many of a slot's tickets living processes hold. */
int64_t limits_ticket_count(struct limits_shared *s, struct limits_slot *slot);

#endif
