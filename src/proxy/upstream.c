/*
 * The request goes upstream: its URL, its headers, the client's own bytes as its body.
 *
 * Headers are passed by an allow list. The client's Authorization is never among them.
 */
#include "exchange.h"

#include "sluice/clock.h"

#include <ctype.h>
#include <stdio.h>

enum { UPSTREAM_HEADERS_MAX = 48 };

/* By their CGI names; one that ends in '*' stands for all that begin so. */
static const char *const upstream_passed[] = {
    "CONTENT_TYPE",       "HTTP_ACCEPT",          "HTTP_ACCEPT_LANGUAGE",     "HTTP_USER_AGENT",
    "HTTP_OPENAI_*",      "HTTP_IDEMPOTENCY_KEY", "HTTP_X_STAINLESS_*",       "HTTP_TRACEPARENT",
    "HTTP_TRACESTATE",    "HTTP_X_CLIENT_REQUEST_ID",
};

struct upstream_headers {
    struct arena *memory;
    const char *lines[UPSTREAM_HEADERS_MAX + 1];
    size_t count;
    bool full;
};

static void upstream_add(struct upstream_headers *h, const char *line)
{
    if (!line || h->count == UPSTREAM_HEADERS_MAX)
        h->full = true;
    else
        h->lines[h->count++] = line;
}

static bool upstream_matches(struct slice name, const char *pattern)
{
    struct slice known = slice_from_text(pattern);
    if (known.ptr[known.len - 1] == '*')
        return slice_starts_with(name, slice_take(known, known.len - 1));
    return slice_equals(name, known);
}

static bool upstream_passes(const struct upstream_key *key, struct slice name)
{
    if ((key->organization && slice_equals_text(name, "HTTP_OPENAI_ORGANIZATION")) ||
        (key->project && slice_equals_text(name, "HTTP_OPENAI_PROJECT")))
        return false;
    for (size_t i = 0; i < sizeof upstream_passed / sizeof *upstream_passed; i++)
        if (upstream_matches(name, upstream_passed[i]))
            return true;
    return false;
}

/* HTTP_OPENAI_BETA=x becomes "Openai-Beta: x": names of headers have no case (RFC 9110, 5.1). */
static const char *upstream_header_line(struct arena *memory, struct slice name, struct slice value)
{
    if (slice_starts_with(name, SLICE_LITERAL("HTTP_")))
        name = slice_skip(name, 5);
    char *line = arena_alloc(memory, name.len + value.len + 3);
    if (!line)
        return NULL;
    bool first = true;
    for (size_t i = 0; i < name.len; i++) {
        int c = (unsigned char)name.ptr[i];
        line[i] = (char)(c == '_' ? '-' : first ? toupper(c) : tolower(c));
        first = c == '_';
    }
    memcpy(line + name.len, ": ", 2);
    if (value.len > 0)
        memcpy(line + name.len + 2, value.ptr, value.len);
    return line;
}

static void upstream_add_clients(struct upstream_headers *h, const struct exchange *x)
{
    for (const char *const *v = x->http.vars; *v; v++) {
        const char *equals = strchr(*v, '=');
        if (!equals || equals[1] == '\0')
            continue;
        struct slice name = slice_make(*v, (size_t)(equals - *v));
        if (upstream_passes(x->key->upstream, name))
            upstream_add(h, upstream_header_line(h->memory, name, slice_from_text(equals + 1)));
    }
}

static void upstream_fill_headers(struct upstream_headers *h, const struct exchange *x)
{
    const struct upstream_key *key = x->key->upstream;
    upstream_add(h, key->authorization);
    if (key->organization)
        upstream_add(h, key->organization);
    if (key->project)
        upstream_add(h, key->project);
    upstream_add(h, upstream_header_line(h->memory, SLICE_LITERAL("X_REQUEST_ID"), slice_from_text(x->request_id)));
    if (x->http.content_type.len == 0)
        upstream_add(h, "Content-Type: application/json");
    upstream_add_clients(h, x);
}

/* OPENAI_BASE_URL takes the place of …/v1; path and query stay as the client sent them. */
static const char *upstream_url(struct exchange *x)
{
    struct slice base = slice_from_text(x->proxy->config->openai_base_url);
    size_t len = base.len + x->api_path.len + x->http.query.len + 2;
    char *url = arena_alloc(&x->memory, len);
    if (url)
        snprintf(url, len, "%s%.*s%s%.*s", base.ptr, (int)x->api_path.len, x->api_path.ptr,
                 x->http.query.len ? "?" : "", (int)x->http.query.len, x->http.query.len ? x->http.query.ptr : "");
    return url;
}

void upstream_begin(struct exchange *x)
{
    const struct config *c = x->proxy->config;
    struct upstream_headers headers = {.memory = &x->memory};
    upstream_fill_headers(&headers, x);
    struct transfer_request request = {
        .method = "POST",
        .url = upstream_url(x),
        .headers = headers.lines,
        .body = buf_slice(&x->body),
        .limits = {c->upstream_connect_us, c->upstream_first_byte_us, c->upstream_idle_us, c->upstream_total_us},
    };
    x->upstream_started_us = clock_monotonic_us();
    if (request.url && !headers.full)
        x->transfer = transfer_start(x->proxy->transfers, &request, &relay_events, x);
    if (!x->transfer)
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
}
