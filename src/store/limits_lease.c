/*
 * Processes, leases and tickets.
 *
 * A process has a word: its generation and a state. It is alive while the word says so; the others change the
 * word when its sign of life is too old. A lease or a ticket names its owner by index and generation: it is
 * void as soon as the owner's word is another one. Whoever changes it from its owner to free, and nobody
 * else, gives back what it stood for. A process that dies in the middle leaves nothing that another one could
 * not finish:
 *
 *   - tokens are charged before their lease is written, and given back after it is freed: dying between costs
 * the key what the time gives back anyway, never the other way round;
 *   - a ticket is one word and nothing else, so that requests at once are always counted right.
 */
#include "limits_lease.h"

#include <unistd.h>

enum limits_process_state { LIMITS_PROCESS_FREE, LIMITS_PROCESS_ALIVE, LIMITS_PROCESS_CLEANING };
enum { LIMITS_STATE_BITS = 2, LIMITS_BEATS_A_LEASE = 4 };

#define LIMITS_LEASE_MAX_NS INT64_C(3600000000000)

/* An owner: generation, index and, in its lowest bit, whether the lease is complete. */
enum { LIMITS_OWNER_READY = 1 };

static uint64_t limits_word(uint64_t generation, enum limits_process_state state)
{
    return generation << LIMITS_STATE_BITS | state;
}

static uint64_t limits_word_generation(uint64_t word)
{
    return word >> LIMITS_STATE_BITS;
}

static enum limits_process_state limits_word_state(uint64_t word)
{
    return (enum limits_process_state)(word & ((1 << LIMITS_STATE_BITS) - 1));
}

static uint64_t limits_owner(size_t index, uint64_t generation)
{
    return (generation << LIMITS_INDEX_BITS | index) << 1;
}

static bool limits_owner_lives(struct limits_shared *s, uint64_t owner)
{
    size_t index = owner >> 1 & (LIMITS_PROCESSES - 1);
    uint64_t word = atomic_load(&s->processes[index].word);
    return limits_word_state(word) == LIMITS_PROCESS_ALIVE &&
           limits_owner(index, limits_word_generation(word)) == (owner & ~(uint64_t)LIMITS_OWNER_READY);
}

/* ---- processes
 * ----------------------------------------------------------------------------------------------- */

static bool limits_member_claim(struct limits_member *m, size_t index, int64_t now)
{
    struct limits_process *p = &m->shared->processes[index];
    uint64_t word = atomic_load(&p->word);
    if (limits_word_state(word) != LIMITS_PROCESS_FREE)
        return false;
    atomic_store(&p->lease_ns,
                 m->lease_ns); /* before the word: a stale sign of life would look like a death */
    atomic_store(&p->alive_ns, now);
    uint64_t next = limits_word(limits_word_generation(word) + 1, LIMITS_PROCESS_ALIVE);
    if (!atomic_compare_exchange_strong(&p->word, &word, next))
        return false;
    atomic_store(&p->lease_ns, m->lease_ns);
    atomic_store(&p->pid, getpid());
    m->index = index;
    m->word = next;
    return true;
}

static void limits_member_find_place(struct limits_member *m, int64_t now)
{
    m->index = LIMITS_PROCESSES;
    for (size_t i = 0; i < LIMITS_PROCESSES; i++)
        if (limits_member_claim(m, i, now))
            return;
}

/* Gives back what a void lease stood for, if nobody else does. */
static void limits_lease_reclaim(struct limits_member *m, struct limits_lease *lease, int64_t now)
{
    uint64_t owner = atomic_load(&lease->owner);
    if (owner == 0 || limits_owner_lives(m->shared, owner))
        return;
    uint64_t tag = atomic_load(&lease->tag_high);
    size_t index = atomic_load(&lease->slot) % (LIMITS_KEYS + 1);
    int64_t cost = atomic_load(&lease->cost_ns);
    struct limits_slot *slot = &m->shared->slots[index];
    bool ready = owner & LIMITS_OWNER_READY;
    if (!atomic_compare_exchange_strong(&lease->owner, &owner, 0) || !ready)
        return;
    m->reclaimed++;
    if (atomic_load(&slot->tag_high) == tag)
        limits_tat_give_back(&slot->tokens_tat, now, cost);
}

/* Signs of life are read and written at once by many: one may be a little newer than our own now. */
static bool limits_process_is_silent(const struct limits_process *p, int64_t now)
{
    int64_t lease = atomic_load(&p->lease_ns), silent;
    if (lease < 0 || lease > LIMITS_LEASE_MAX_NS)
        lease = LIMITS_LEASE_MAX_NS;
    if (__builtin_sub_overflow(now, atomic_load(&p->alive_ns), &silent))
        return true;
    return silent > lease - lease / LIMITS_BEATS_A_LEASE || silent < -lease;
}

/* True where a dead process's place waits to be cleaned: by us now. One that died while it cleaned counts
 * too. */
static bool limits_process_bury(struct limits_process *p, int64_t now)
{
    uint64_t word = atomic_load(&p->word);
    if (limits_word_state(word) == LIMITS_PROCESS_FREE || !limits_process_is_silent(p, now))
        return false;
    uint64_t next = limits_word(limits_word_generation(word), LIMITS_PROCESS_CLEANING);
    if (!atomic_compare_exchange_strong(&p->word, &word, next))
        return false;
    atomic_store(&p->alive_ns, now);
    return true;
}

static void limits_process_free(struct limits_process *p)
{
    uint64_t word = atomic_load(&p->word);
    if (limits_word_state(word) == LIMITS_PROCESS_CLEANING)
        atomic_compare_exchange_strong(&p->word, &word,
                                       limits_word(limits_word_generation(word), LIMITS_PROCESS_FREE));
}

static void limits_member_clean(struct limits_member *m, int64_t now)
{
    size_t buried[LIMITS_PROCESSES], count = 0;
    for (size_t i = 0; i < LIMITS_PROCESSES; i++)
        if (i != m->index && limits_process_bury(&m->shared->processes[i], now))
            buried[count++] = i;
    for (size_t i = 0; count > 0 && i < LIMITS_LEASES; i++)
        limits_lease_reclaim(m, &m->shared->leases[i], now);
    for (size_t i = 0; i < count; i++)
        limits_process_free(&m->shared->processes[buried[i]]);
}

void limits_member_join(struct limits_member *m, struct limits_shared *shared, int64_t lease_ns, int64_t now)
{
    *m = (struct limits_member){.shared = shared, .lease_ns = lease_ns, .beaten_ns = now};
    limits_member_find_place(m, now);
    m->lease_hint = (m->index * 61) & (LIMITS_LEASES - 1);
    limits_member_clean(m, now);
}

void limits_member_leave(struct limits_member *m)
{
    uint64_t word = m->word;
    if (m->index < LIMITS_PROCESSES)
        atomic_compare_exchange_strong(&m->shared->processes[m->index].word, &word,
                                       limits_word(limits_word_generation(word), LIMITS_PROCESS_FREE));
    m->index = LIMITS_PROCESSES;
}

void limits_member_beat(struct limits_member *m, int64_t now)
{
    if (now - m->beaten_ns < m->lease_ns / LIMITS_BEATS_A_LEASE)
        return;
    m->beaten_ns = now;
    int64_t seen = atomic_load(&m->shared->seen_ns);
    if (now > seen)
        atomic_compare_exchange_strong(&m->shared->seen_ns, &seen, now);
    struct limits_process *p = m->index < LIMITS_PROCESSES ? &m->shared->processes[m->index] : NULL;
    if (p && atomic_load(&p->word) == m->word)
        atomic_store(&p->alive_ns, now);
    else
        limits_member_find_place(m, now);
    limits_member_clean(m, now);
}

/* ---- leases
 * -------------------------------------------------------------------------------------------------- */

uint64_t limits_lease_owner(const struct limits_member *m)
{
    return m->index < LIMITS_PROCESSES ? limits_owner(m->index, limits_word_generation(m->word)) : 0;
}

static bool limits_lease_fill(struct limits_member *m, struct limits_lease *lease, uint64_t owner,
                              const struct limits_slot *slot, int64_t cost_ns)
{
    uint64_t seen = 0;
    if (!atomic_compare_exchange_strong(&lease->owner, &seen, owner))
        return false;
    atomic_store(&lease->tag_high, atomic_load(&slot->tag_high));
    atomic_store(&lease->slot, (uint64_t)(slot - m->shared->slots));
    atomic_store(&lease->cost_ns, cost_ns);
    seen = owner;
    return atomic_compare_exchange_strong(&lease->owner, &seen, owner | LIMITS_OWNER_READY);
}

size_t limits_lease_take(struct limits_member *m, const struct limits_slot *slot, int64_t cost_ns)
{
    enum { TRIES = 256 };
    uint64_t owner = limits_lease_owner(m);
    for (size_t i = 0; owner != 0 && i < TRIES; i++) {
        size_t at = m->lease_hint;
        m->lease_hint = (at + 1) & (LIMITS_LEASES - 1);
        if (atomic_load_explicit(&m->shared->leases[at].owner, memory_order_relaxed) == 0 &&
            limits_lease_fill(m, &m->shared->leases[at], owner, slot, cost_ns))
            return at;
    }
    return LIMITS_NO_LEASE;
}

bool limits_lease_drop(struct limits_member *m, size_t lease, uint64_t owner)
{
    uint64_t seen = owner | LIMITS_OWNER_READY;
    return lease < LIMITS_LEASES && atomic_compare_exchange_strong(&m->shared->leases[lease].owner, &seen, 0);
}

/* ---- tickets
 * ------------------------------------------------------------------------------------------------- */

/* A ticket's word is the low half of its owner, which is never 0. */
static uint32_t limits_ticket_word(uint64_t owner)
{
    return (uint32_t)(owner | LIMITS_OWNER_READY);
}

static bool limits_ticket_lives(struct limits_shared *s, uint32_t word)
{
    size_t index = word >> 1 & (LIMITS_PROCESSES - 1);
    uint64_t owner = atomic_load(&s->processes[index].word);
    return limits_word_state(owner) == LIMITS_PROCESS_ALIVE &&
           limits_ticket_word(limits_owner(index, limits_word_generation(owner))) == word;
}

/* Another process may give the slot tickets at the same time: then ours are lost, and its may be too few. */
static bool limits_ticket_allot(struct limits_shared *s, struct limits_slot *slot, uint64_t word,
                                uint64_t limit)
{
    uint64_t count = 1;
    while (count < limit)
        count *= 2;
    if (atomic_load(&s->tickets_used) > LIMITS_TICKETS - count)
        return false;
    uint64_t first = atomic_fetch_add(&s->tickets_used, count);
    if (first > LIMITS_TICKETS - count)
        return false;
    atomic_compare_exchange_strong(&slot->tickets, &word, first << 32 | count);
    return true;
}

/* At least `limit` tickets for the slot; false where there are none left. When a limit is raised the slot
 * gets others, and those that are out are not counted any more. */
static bool limits_ticket_provide(struct limits_shared *s, struct limits_slot *slot, uint64_t limit,
                                  uint64_t *first)
{
    for (;;) {
        uint64_t word = atomic_load(&slot->tickets);
        *first = word >> 32;
        if ((word & UINT32_MAX) >= limit)
            return *first + limit <= LIMITS_TICKETS;
        if (!limits_ticket_allot(s, slot, word, limit))
            return false;
    }
}

enum { LIMITS_TICKETS_FIRST = 64 };

/* The i-th of count tickets to look at. The first few always come first, so that small limits use the same ones again;
 * the others are gone through in turns: thousands of requests under way would be looked at one by one otherwise. */
static uint64_t limits_ticket_place(const struct limits_member *m, uint64_t i, uint64_t count)
{
    if (i < LIMITS_TICKETS_FIRST)
        return i;
    return LIMITS_TICKETS_FIRST + (m->ticket_turn + i - LIMITS_TICKETS_FIRST) % (count - LIMITS_TICKETS_FIRST);
}

enum limits_ticket_result limits_ticket_take(struct limits_member *m, struct limits_slot *slot, int64_t limit,
                                             size_t *ticket)
{
    uint64_t first, owner = limits_lease_owner(m),
                    count = limit < LIMITS_KEYS ? (uint64_t)limit : LIMITS_KEYS;
    *ticket = LIMITS_NO_TICKET;
    if (owner == 0 || !limits_ticket_provide(m->shared, slot, count, &first))
        return LIMITS_TICKET_UNCOUNTED;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t place = limits_ticket_place(m, i, count);
        _Atomic uint32_t *cell = &m->shared->tickets[first + place];
        uint32_t seen = atomic_load(cell);
        if ((seen == 0 || !limits_ticket_lives(m->shared, seen)) &&
            atomic_compare_exchange_strong(cell, &seen, limits_ticket_word(owner))) {
            *ticket = first + place;
            if (i >= LIMITS_TICKETS_FIRST)
                m->ticket_turn += i - LIMITS_TICKETS_FIRST + 1;
            return LIMITS_TICKET_TAKEN;
        }
    }
    return LIMITS_TICKET_REFUSED;
}

void limits_ticket_drop(struct limits_member *m, size_t ticket, uint64_t owner)
{
    uint32_t seen = limits_ticket_word(owner);
    if (ticket < LIMITS_TICKETS)
        atomic_compare_exchange_strong(&m->shared->tickets[ticket], &seen, 0);
}

int64_t limits_ticket_count(struct limits_shared *s, struct limits_slot *slot)
{
    uint64_t word = atomic_load(&slot->tickets), first = word >> 32, count = word & UINT32_MAX;
    int64_t held = 0;
    for (uint64_t i = first; i < first + count && i < LIMITS_TICKETS; i++) {
        uint32_t seen = atomic_load(&s->tickets[i]);
        held += seen != 0 && limits_ticket_lives(s, seen);
    }
    return held;
}
