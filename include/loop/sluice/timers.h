/*
 * Room for timers.
 *
 * libevent 2.1 keeps timers in a heap that grows when it is full: event_add() fails there where memory is short, and what the
 * timer was to end would never end. The heap does not shrink. Room that was made once is there for all timers of the loop,
 * and arming one of them cannot fail for want of memory.
 */
#ifndef SLUICE_TIMERS_H
#define SLUICE_TIMERS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

enum { TIMERS_OF_A_PROCESS = 256 /* at most: those of libcurl's pools, Redis, metrics and the like, which no request has */ };

/* Room for this many timers at once in all, those that are armed now among them. False: no memory; there may be more room
 * than before. It takes some 0.1 µs a timer. */
bool timers_reserve(struct event_base *base, size_t count);

#endif
