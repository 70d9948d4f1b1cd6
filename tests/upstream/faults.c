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

/* The number of one that is wanted; 0 and beyond the last: none. */
void faults_odd_header(struct buf *out, int64_t number)
{
    static const char *const lines[] = {
        "openai-cr: a\rx-evil: 1",     "openai-lf: a\nx-evil: 2",    "openai-fold: a\r\n x-evil: 3",
        "openai-escape: \x1b[31m",     "openai-delete: \x7f",        "openai-high: \xff\xfe",
        "openai name: 4",              "openai-a\rx-evil: 5",        "status: 500 evil",
        "x-sendfile: /etc/passwd",     "x-accel-redirect: /health",  "x-lighttpd-send-file: /etc/passwd",
        "location: /a\rx-evil: 6",     "content-type: text/html\rx-evil: 7",
        ": 8",                         "x-evil",                     "x-request-id: a\nstatus: 500",
    };
    if (number > 0 && (size_t)number <= sizeof lines / sizeof *lines) {
        buf_puts(out, lines[number - 1]);
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
