#include "requests.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void requests_add(struct requests *log, struct request *r)
{
    struct request **place = &log->ring[log->next_seq % REQUESTS_KEPT];
    http_request_unref(*place);
    r->refs++;
    r->seq = log->next_seq++;
    *place = r;
}

void requests_trim_body(struct request *r)
{
    if (r->body.len <= REQUESTS_BODY_CAP) {
        return;
    }
    struct buf digest = {0};
    buf_put_sha256(&digest, r->body.data, r->body.len);
    memcpy(r->body_sha256, digest.data, 64);
    buf_free(&digest);
    struct buf kept = {0};
    buf_add(&kept, r->body.data, REQUESTS_BODY_CAP);
    buf_free(&r->body);
    r->body = kept;
}

static bool name_seen(const struct request *r, size_t before, struct slice name)
{
    size_t cursor = 0;
    struct slice other, value;
    while (http_header_next(r, &cursor, &other, &value) && other.p < r->head.data + before) {
        if (other.n == name.n && strncasecmp(other.p, name.p, name.n) == 0) {
            return true;
        }
    }
    return false;
}

static void values_write(const struct request *r, struct slice name, struct buf *out)
{
    struct buf list = {0};
    size_t cursor = 0, count = 0;
    struct slice other, value;
    while (http_header_next(r, &cursor, &other, &value)) {
        if (other.n == name.n && strncasecmp(other.p, name.p, name.n) == 0) {
            buf_add(&list, ",", count++ ? 1 : 0);
            buf_put_json(&list, value.p, value.n);
        }
    }
    buf_puts(out, count > 1 ? "[" : "");
    buf_add(out, list.data, list.len);
    buf_puts(out, count > 1 ? "]" : "");
    buf_free(&list);
}

static void headers_write(const struct request *r, struct buf *out)
{
    const char *comma = "";
    size_t cursor = 0;
    struct slice name, value;
    BUF_LIT(out, ",\"headers\":{");
    while (http_header_next(r, &cursor, &name, &value)) {
        if (name_seen(r, (size_t)(name.p - r->head.data), name)) {
            continue;
        }
        struct buf lower = {0};
        for (size_t i = 0; i < name.n; i++) {
            char ch = (char)tolower((unsigned char)name.p[i]);
            buf_add(&lower, &ch, 1);
        }
        buf_puts(out, comma);
        buf_put_json(out, lower.data, lower.len);
        BUF_LIT(out, ":");
        values_write(r, name, out);
        buf_free(&lower);
        comma = ",";
    }
    BUF_LIT(out, "}");
}

static void body_write(const struct request *r, struct buf *out)
{
    if (text_is_utf8(r->body.data, r->body.len)) {
        BUF_LIT(out, ",\"body\":");
        buf_put_json(out, r->body.data, r->body.len);
    } else {
        BUF_LIT(out, ",\"body_encoding\":\"base64\",\"body\":\"");
        buf_put_base64(out, r->body.data, r->body.len);
        BUF_LIT(out, "\"");
    }
    buf_printf(out, ",\"body_bytes\":%llu,\"body_sha256\":\"", (unsigned long long)r->body_bytes);
    if (r->body_sha256[0]) {
        buf_puts(out, r->body_sha256);
    } else {
        buf_put_sha256(out, r->body.data, r->body.len);
    }
    BUF_LIT(out, "\"");
}

static void request_write(const struct request *r, struct buf *out)
{
    static const char *const states[] = {"active", "complete", "aborted", "cut"};
    buf_printf(out, "{\"seq\":%llu,\"method\":", (unsigned long long)r->seq);
    buf_put_json(out, r->method.p, r->method.n);
    BUF_LIT(out, ",\"target\":");
    buf_put_json(out, r->target.p, r->target.n);
    headers_write(r, out);
    body_write(r, out);
    buf_printf(out, ",\"arrived_us\":%llu,\"state\":\"%s\",\"ended_us\":%llu,\"events_sent\":%llu}",
               (unsigned long long)r->arrived_us, states[r->state], (unsigned long long)r->ended_us,
               (unsigned long long)r->events_sent);
}

void requests_write_json(const struct requests *log, uint64_t last, struct buf *out)
{
    uint64_t kept = log->next_seq < REQUESTS_KEPT ? log->next_seq : REQUESTS_KEPT;
    if (last > kept) {
        last = kept;
    }
    BUF_LIT(out, "[");
    for (uint64_t seq = log->next_seq - last; seq < log->next_seq; seq++) {
        buf_puts(out, seq > log->next_seq - last ? ",\n" : "");
        request_write(log->ring[seq % REQUESTS_KEPT], out);
    }
    BUF_LIT(out, "]\n");
}

void requests_clear(struct requests *log)
{
    for (size_t i = 0; i < REQUESTS_KEPT; i++) {
        http_request_unref(log->ring[i]);
        log->ring[i] = NULL;
    }
    log->next_seq = 0;
}
