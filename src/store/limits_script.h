/* The limits' arithmetic in Redis. Private to the store. */
#ifndef SLUICE_LIMITS_SCRIPT_H
#define SLUICE_LIMITS_SCRIPT_H

/*
 * Keys: 1, a hash with both buckets' theoretical arrival times (rs and rn, ts and tn: seconds and
 * nanoseconds, as a number of Lua is exact to 2^53 only); 2, a sorted set of what is reserved: "ID:COST" by
 * the second at which the lease ends. Both have one hash tag, so that they are in one slot of a Redis
 * Cluster, and expire by themselves.
 *
 * Arguments: 1, what to do; 2 and 3, the time as seconds and nanoseconds, or both empty: Redis' own; then
 *
 *   admit   member, lease (seconds), requests at once or 0, cost of a request or -1, cost of the tokens or -1
 *   settle  member or "", cost of the tokens that were used or -1, 1 where this may have been told before
 *   cancel  member or "", cost of a request or -1, 1 as above
 *   renew   lease, member...
 *   look
 *   reset
 *
 * -1: that limit does not exist. All costs are those of bucket_cost(). The answer: verdict (as enum
 * limits_verdict), time until the bucket of requests is full, of tokens, how many are under way.
 *
 * A member is written only if it can come to an end: with tokens reserved, or requests at once counted.
 */
extern const char *const limits_script;

#endif
