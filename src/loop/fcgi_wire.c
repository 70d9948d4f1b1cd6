/*
 * The calls to libfcgi, in the order and with the settings under which none of them waits (libfcgi 2.4.2).
 *
 * - FCGX_Accept_r() first finishes the former request: keepConnection must be set, or it closes the descriptor.
 *   When it fails it would accept a connection by itself: without a listening socket that fails at once.
 * - It allocates a reader of 8 KiB and a writer for stderr that Sluice does not use: they are released at once,
 *   which is most of what libfcgi costs in memory a stream. FCGX_Finish_r() relies on them, so that the end is
 *   made of the calls that it is made of.
 */
#include "fcgi_wire.h"

#include "sluice/fcgi_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FCGI_PARAMS_RECORD_MAX = 65535, FCGI_FEED_RECORDS_MAX = 8 };
enum { FCGI_WIRE_MEMORY = 48 * 1024 }; /* three buffers of 8 KiB, and what describes them */

bool fcgi_feed_open(struct fcgi_feed *feed, size_t capacity)
{
    int fds[2];
    *feed = (struct fcgi_feed){-1, -1, 0};
    if (FCGX_Init() != 0 || pipe2(fds, O_CLOEXEC) != 0)
        return false;
    /* Non-blocking on both sides: what is wrong here must show as an error, never as a wait. */
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    fcntl(fds[1], F_SETPIPE_SZ, (int)capacity);
    int got = fcntl(fds[1], F_GETPIPE_SZ);
    *feed = (struct fcgi_feed){fds[0], fds[1], got > 0 ? (size_t)got : 0};
    return true;
}

void fcgi_feed_close(struct fcgi_feed *feed)
{
    if (feed->read_fd >= 0)
        close(feed->read_fd);
    if (feed->write_fd >= 0)
        close(feed->write_fd);
    *feed = (struct fcgi_feed){-1, -1, 0};
}

/* After a failure the pipe may hold a rest of a head, or libfcgi may have closed its end. */
static void fcgi_feed_renew(struct fcgi_feed *feed)
{
    size_t capacity = feed->capacity;
    feed->read_fd = -1;
    fcgi_feed_close(feed);
    fcgi_feed_open(feed, capacity);
}

/* The head in records again, written into the pipe in one piece. */
static bool fcgi_feed_fill(struct fcgi_feed *feed, uint16_t request_id, const uint8_t begin_body[8],
                           struct slice params)
{
    uint8_t headers[FCGI_FEED_RECORDS_MAX][FCGI_RECORD_HEADER_SIZE];
    struct iovec parts[2 * FCGI_FEED_RECORDS_MAX];
    int n = 0, records = 0;
    size_t total = 0;
    fcgi_record_write_header(FCGI_RECORD_BEGIN, request_id, 8, headers[records]);
    parts[n++] = (struct iovec){headers[records++], FCGI_RECORD_HEADER_SIZE};
    parts[n++] = (struct iovec){(void *)(uintptr_t)begin_body, 8};
    do {
        struct slice piece = slice_take(params, FCGI_PARAMS_RECORD_MAX);
        if (records == FCGI_FEED_RECORDS_MAX)
            return false;
        fcgi_record_write_header(FCGI_RECORD_PARAMS, request_id, (uint16_t)piece.len, headers[records]);
        parts[n++] = (struct iovec){headers[records++], FCGI_RECORD_HEADER_SIZE};
        if (piece.len == 0)
            break;
        parts[n++] = (struct iovec){(void *)(uintptr_t)piece.ptr, piece.len};
        params = slice_skip(params, piece.len);
    } while (true);
    for (int i = 0; i < n; i++)
        total += parts[i].iov_len;
    return total <= feed->capacity && writev(feed->write_fd, parts, n) == (ssize_t)total;
}

/* Of what FCGX_Accept_r() allocates, only the writer for stdout and the variables are used. */
static void fcgi_wire_trim(FCGX_Request *request)
{
    FCGX_FClose(request->err);
    FCGX_FreeStream(&request->err);
    FCGX_FreeStream(&request->in);
}

/* libfcgi ends the process where it gets no memory. So it is asked for here first: what is freed stays with the process
 * up to glibc's thresholds, and other threads take theirs from arenas of their own. */
static bool fcgi_wire_has_memory(struct slice params)
{
    void *room = malloc(FCGI_WIRE_MEMORY + 2 * params.len);
    free(room);
    return room != NULL;
}

bool fcgi_wire_accept(struct fcgi_wire *w, struct fcgi_feed *feed, uint16_t request_id,
                      const uint8_t begin_body[8], struct slice params, int fd)
{
    if (!fcgi_wire_has_memory(params))
        return false;
    FCGX_InitRequest(&w->request, -1, 0);
    w->request.keepConnection = 1;
    w->request.ipcFd = feed->read_fd;
    if (!fcgi_feed_fill(feed, request_id, begin_body, params) || FCGX_Accept_r(&w->request) != 0) {
        if (w->request.ipcFd >= 0)
            close(w->request.ipcFd);
        fcgi_feed_renew(feed);
        return false;
    }
    w->request.ipcFd = fd;
    w->open = true;
    fcgi_wire_trim(&w->request);
    return true;
}

bool fcgi_wire_write(struct fcgi_wire *w, struct slice bytes)
{
    return FCGX_PutStr(bytes.ptr, (int)bytes.len, w->request.out) == (int)bytes.len &&
           FCGX_FFlush(w->request.out) == 0;
}

bool fcgi_wire_finish(struct fcgi_wire *w, struct slice bytes)
{
    bool ok = bytes.len == 0 || FCGX_PutStr(bytes.ptr, (int)bytes.len, w->request.out) == (int)bytes.len;
    return FCGX_FClose(w->request.out) == 0 && ok;
}

void fcgi_wire_drop(struct fcgi_wire *w)
{
    if (w->open)
        FCGX_Free(&w->request, 0);
    w->open = false;
}
