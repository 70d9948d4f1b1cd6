/*
 * libfcgi, as far as it can be used without ever waiting.
 *
 * Reading: libfcgi's FCGX_Accept_r() reads a request's head by blocking reads. It gets the head from a pipe that
 * was filled before with all of it, so that no read waits. Writing: FCGX_PutStr() and FCGX_FFlush() write at most
 * one buffer; the caller calls only where the socket is known to have room for it.
 */
#ifndef SLUICE_FCGI_WIRE_H
#define SLUICE_FCGI_WIRE_H

#include "sluice/slice.h"

#include <fcgiapp.h>
#include <stdint.h>

/* Content bytes that one call may write: with header, padding and closing records they fit libfcgi's 8 KiB. */
enum { FCGI_WIRE_CHUNK = 8128 };

/* The pipe through which heads go; one a server, empty between calls. */
struct fcgi_feed {
    int read_fd;
    int write_fd;
    size_t capacity; /* bytes that a head may have, records included */
};

struct fcgi_wire {
    FCGX_Request request;
    bool open; /* between accept and finish or drop */
};

/* False with errno where no descriptor is to be had. */
bool fcgi_feed_open(struct fcgi_feed *feed, size_t capacity);
void fcgi_feed_close(struct fcgi_feed *feed);

/* begin_body is the BEGIN_REQUEST record's content of 8 bytes; params the content of all PARAMS records, known to
 * be sound. fd is where the answer will go; it stays the caller's. */
bool fcgi_wire_accept(struct fcgi_wire *w, struct fcgi_feed *feed, uint16_t request_id,
                      const uint8_t begin_body[8], struct slice params, int fd);

/* Writes one record of at most FCGI_WIRE_CHUNK bytes. False: the connection is broken (errno). */
bool fcgi_wire_write(struct fcgi_wire *w, struct slice bytes);

/* Writes the last bytes (they may be empty), the end of the stream and END_REQUEST. The variables stay valid until
 * fcgi_wire_drop(). */
bool fcgi_wire_finish(struct fcgi_wire *w, struct slice bytes);

/* Releases, without a word to the peer. */
void fcgi_wire_drop(struct fcgi_wire *w);

#endif
