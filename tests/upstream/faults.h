/* Raw misbehaviour below HTTP. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "conn.h"

/* Bytes that are not HTTP at all, then the end. */
void faults_send_garbage(struct conn *c);

/* One more piece of a header that never ends. */
void faults_endless_piece(struct conn *c, struct buf *out);
void faults_extra_headers(struct buf *out, int64_t count);
void faults_odd_header(struct buf *out, int64_t number);
void faults_reset_on_close(evutil_socket_t fd);

/* SSE with CRLF line ends. */
void faults_make_crlf(struct buf *event, size_t from);

#endif
