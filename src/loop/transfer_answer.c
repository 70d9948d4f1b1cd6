/*
 * What comes back of a transfer, and what goes of its body: libcurl's callbacks, and holding back in both directions.
 */
#include "transfer_internal.h"

#include "sluice/clock.h"

static void transfer_heard(struct transfer *t, int64_t when_us)
{
    t->got_byte = true;
    t->heard_us = when_us;
}

/* "HTTP/1.1 100 Continue" and the like are not the answer. libcurl knows the status before it gives its line. */
static void transfer_take_status_line(struct transfer *t)
{
    long status = 0;
    curl_easy_getinfo(t->easy.curl, CURLINFO_RESPONSE_CODE, &status);
    t->interim = status >= 100 && status < 200;
}

/* Tells libcurl which directions rest. It may call back at once for one that no longer does. */
static void transfer_apply_pause(struct transfer *t)
{
    struct transfer_pool *pool = t->pool;
    if (t->lost)
        return;
    int mask = (t->paused ? CURLPAUSE_RECV : 0) | (t->send_paused ? CURLPAUSE_SEND : 0);
    transfer_enter(pool);
    CURLcode code = curl_easy_pause(t->easy.curl, mask);
    transfer_leave(pool);
    if (code == CURLE_OK)
        return;
    t->multi->broken = t->multi->broken || code == CURLE_OUT_OF_MEMORY;
    transfer_lose(t); /* bytes that libcurl held may be gone */
}

/* libcurl sends no more of a body that was refused, but would wait for the end of a pause in it. */
static void transfer_stop_sending(struct transfer *t, long status)
{
    if (!t->send_paused || status < 300)
        return;
    t->send_paused = false;
    transfer_apply_pause(t);
}

static int64_t transfer_read_length(struct slice value)
{
    int64_t length = value.len > 0 && value.len <= TRANSFER_LENGTH_DIGITS ? 0 : -1;
    for (size_t i = 0; i < value.len && length >= 0; i++)
        length = value.ptr[i] >= '0' && value.ptr[i] <= '9' ? length * 10 + (value.ptr[i] - '0') : -1;
    return length;
}

/* RFC 2616, 4.4, had a coding that is none, beside which Content-Length counts; RFC 9112 has it no more. libcurl takes the
 * answer as one that lasts until the connection ends, which a server that meant its length does not do. */
static void transfer_note_framing(struct transfer *t, struct slice name, struct slice value)
{
    if (slice_equals_nocase(name, SLICE_LITERAL("content-length")))
        t->said_length = transfer_read_length(value);
    else if (slice_equals_nocase(name, SLICE_LITERAL("transfer-encoding")))
        t->unencoded = slice_equals_nocase(value, SLICE_LITERAL("identity"));
}

static void transfer_note_length(struct transfer *t, long status)
{
    if (t->unencoded && !t->head_only && status != 204 && status != 304)
        t->left = t->said_length;
    t->has_verdict = t->left == 0; /* TRANSFER_OK, as it begins */
}

/* libcurl would wait for more: a callback ends it, with the verdict that it is whole. */
static bool transfer_is_whole(const struct transfer *t)
{
    return t->left == 0;
}

/* The part of a piece that belongs to the answer. */
static struct slice transfer_take_piece(struct transfer *t, struct slice piece)
{
    if (t->left < 0)
        return piece;
    piece = slice_take(piece, (size_t)t->left);
    t->left -= (int64_t)piece.len;
    t->has_verdict = t->left == 0;
    return piece;
}

static void transfer_finish_head(struct transfer *t)
{
    long status = 0;
    curl_off_t length = -1;
    if (t->head_done || t->interim)
        return;
    curl_easy_getinfo(t->easy.curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy.curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->head_done = true;
    transfer_note_length(t, status);
    transfer_arm_timer(t); /* the idle limit may be shorter than what is left of the first byte's */
    transfer_stop_sending(t, status);
    t->events->head(t->user, (int)status, t->unencoded ? t->said_length : length);
}

static void transfer_take_header(struct transfer *t, struct slice line)
{
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    if (!colon || t->head_done || t->header_lines++ >= TRANSFER_HEADERS_MAX || t->interim)
        return;
    size_t name_len = (size_t)(colon - line.ptr);
    struct slice name = slice_trim(slice_take(line, name_len)), value = slice_trim(slice_skip(line, name_len + 1));
    transfer_note_framing(t, name, value);
    t->events->header(t->user, name, value);
}

size_t transfer_on_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    struct slice line = slice_make(bytes, size * count);
    if (t->dead)
        return 0;
    transfer_heard(t, t->pool->now_us);
    t->header_bytes += line.len;
    if (t->header_bytes > TRANSFER_HEADER_BYTES_MAX) {
        t->has_verdict = true;
        t->verdict = TRANSFER_GARBAGE;
        return 0;
    }
    if (slice_starts_with(line, SLICE_LITERAL("HTTP/")))
        transfer_take_status_line(t);
    if (slice_trim(line).len == 0)
        transfer_finish_head(t);
    else
        transfer_take_header(t, line);
    return t->dead || transfer_is_whole(t) ? 0 : line.len;
}

size_t transfer_on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * count;
    if (t->dead)
        return 0;
    transfer_heard(t, clock_monotonic_us()); /* a call may bring many megabytes, and take as long as a limit */
    /* Over HTTP/2 a pause holds back nothing: what others on the connection make libcurl read, it keeps. */
    bool more = t->events->body(t->user, transfer_take_piece(t, slice_make(bytes, len)));
    if (!more && !t->dead && !transfer_is_whole(t) && !transfer_is_http2(t)) {
        t->paused = true;
        transfer_apply_pause(t);
    }
    return t->dead || transfer_is_whole(t) ? 0 : len;
}

size_t transfer_on_read(char *to, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t n = t->dead ? TRANSFER_READ_FAILED : t->events->read(t->user, to, size * count);
    if (n == TRANSFER_READ_FAILED || t->dead)
        return CURL_READFUNC_ABORT;
    t->heard_us = t->sent_us = clock_monotonic_us();
    t->send_paused = n == TRANSFER_READ_LATER;
    return t->send_paused ? CURL_READFUNC_PAUSE : n;
}

void transfer_resume(struct transfer *t)
{
    if (!t->paused)
        return;
    t->paused = false;
    t->heard_us = clock_monotonic_us();
    transfer_apply_pause(t);
}

void transfer_send_more(struct transfer *t)
{
    if (!t->send_paused)
        return;
    t->send_paused = false;
    t->sent_us = t->heard_us = clock_monotonic_us();
    transfer_arm_timer(t);
    transfer_apply_pause(t);
}
