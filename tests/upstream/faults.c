#include "faults.h"

#include <sys/socket.h>

void faults_send_garbage(struct conn *c)
{
    struct buf noise = {0};
    for (uint64_t i = 0; i < 32; i++) {
        uint64_t word = text_mix(i);
        buf_add(&noise, &word, sizeof word);
    }
    conn_write(c, noise.data, noise.len);
    buf_free(&noise);
}

void faults_endless_piece(struct conn *c, struct buf *out)
{
    for (int i = 0; i < 64; i++) {
        BUF_LIT(out, "x-endless-");
        buf_put_uint(out, c->reply.events++);
        BUF_LIT(out, ": aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    }
}

void faults_extra_headers(struct buf *out, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        BUF_LIT(out, "x-extra-");
        buf_put_uint(out, (uint64_t)i);
        BUF_LIT(out, ": value-");
        buf_put_uint(out, (uint64_t)i);
        BUF_LIT(out, "\r\n");
    }
}

void faults_reset_on_close(evutil_socket_t fd)
{
    struct linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void faults_make_crlf(struct buf *event, size_t from)
{
    struct buf copy = {0};
    for (size_t i = from; i < event->len; i++) {
        buf_add(&copy, "\r", event->data[i] == '\n' ? 1 : 0);
        buf_add(&copy, &event->data[i], 1);
    }
    event->len = from;
    buf_add(event, copy.data, copy.len);
    buf_free(&copy);
}
