/*
 * What the kernel would not watch is asked for again.
 *
 * libevent tells nobody when epoll_ctl() fails, as it does without memory or beyond fs.epoll.max_user_watches, but by a
 * line for people: the connection would wait for ever. Here its events are added again, every few milliseconds, until
 * they are watched.
 *
 * libevent has one place for its messages in a process; so has this module for the loop that they are about.
 */
#ifndef SLUICE_REWATCH_H
#define SLUICE_REWATCH_H

#include <event2/event.h>
#include <stdbool.h>

/* Takes libevent's messages from here on; they go to the log. base must live until rewatch_stop(). */
bool rewatch_start(struct event_base *base);
void rewatch_stop(void);

#endif
