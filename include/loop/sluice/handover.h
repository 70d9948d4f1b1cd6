/*
 * Idle connections handed from one process to another, so that a process can end without closing them.
 *
 * A front server that keeps its FastCGI connections sends its next request on one of them at any moment. Closing an
 * idle one can lose that request; a descriptor that changes its owner cannot: what was sent on it stays in it.
 *
 * The channel is one pair of datagram sockets for all processes of a supervisor: those that retire send, those that
 * serve receive (SCM_RIGHTS, unix(7)).
 */
#ifndef SLUICE_HANDOVER_H
#define SLUICE_HANDOVER_H

#include <stdbool.h>

struct handover {
    int send_fd;    /* -1: there is nobody to hand over to */
    int receive_fd;
};

/* Both ends are non-blocking and closed on exec. False with errno. */
bool handover_open(struct handover *h);
void handover_close(struct handover *h);

/* Sends a descriptor; the caller then closes its own. False where the channel is full or not there. */
bool handover_send(const struct handover *h, int fd);

/* A descriptor that is now the caller's, or -1: none is waiting. */
int handover_receive(const struct handover *h);

#endif
