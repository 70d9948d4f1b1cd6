/* libcurl's easy interface, one handle a request, so that each request has a connection of its own. */
#include "ask.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

enum { ASK_CONNECT_SECONDS = 10, ASK_KEY_LINE_MAX = 1200 };

struct ask_run {
    const struct ask *ask;
    struct answer *answer;
    CURL *curl;
    struct curl_slist *headers;
};

/* ---- what comes ---------------------------------------------------------------------------------------- */

static void ask_copy(char out[ASK_TEXT_MAX], struct slice text)
{
    snprintf(out, ASK_TEXT_MAX, "%.*s", (int)slice_take(text, ASK_TEXT_MAX - 1).len,
             text.len ? text.ptr : "");
}

/* A new status line: what an interim answer said is forgotten. */
static void ask_begin_head(struct answer *a)
{
    a->by_sluice = a->chunked = a->has_length = false;
    a->type[0] = a->server[0] = a->encoding[0] = a->location[0] = '\0';
}

static void ask_take_header(struct answer *a, struct slice name, struct slice value)
{
    if (slice_equals_nocase(name, SLICE_LITERAL("content-type")))
        ask_copy(a->type, value);
    else if (slice_equals_nocase(name, SLICE_LITERAL("server")))
        ask_copy(a->server, value);
    else if (slice_equals_nocase(name, SLICE_LITERAL("content-encoding")))
        ask_copy(a->encoding, value);
    else if (slice_equals_nocase(name, SLICE_LITERAL("location")))
        ask_copy(a->location, value);
    else if (slice_equals_nocase(name, SLICE_LITERAL("x-request-id")))
        a->by_sluice = true;
    else if (slice_equals_nocase(name, SLICE_LITERAL("content-length")))
        a->has_length = true;
    else if (slice_equals_nocase(name, SLICE_LITERAL("transfer-encoding")))
        a->chunked = slice_equals_nocase(value, SLICE_LITERAL("chunked"));
}

static size_t ask_on_header(char *bytes, size_t size, size_t count, void *user)
{
    struct ask_run *run = user;
    struct slice line = slice_make(bytes, size * count);
    const char *colon = memchr(line.ptr, ':', line.len);
    if (slice_starts_with(line, SLICE_LITERAL("HTTP/")))
        ask_begin_head(run->answer);
    else if (colon) {
        size_t name_len = (size_t)(colon - line.ptr);
        ask_take_header(run->answer, slice_take(line, name_len), slice_trim(slice_skip(line, name_len + 1)));
    }
    return size * count;
}

static size_t ask_on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct ask_run *run = user;
    struct slice piece = slice_make(bytes, size * count);
    if (run->ask->piece)
        return run->ask->piece(run->ask->ctx, piece) ? size * count : 0;
    buf_append_slice(&run->answer->body, slice_take(piece, buf_room(&run->answer->body)));
    return size * count;
}

/* ---- what goes ----------------------------------------------------------------------------------------- */

static size_t ask_give_body(char *bytes, size_t size, size_t count, void *user)
{
    struct ask_run *run = user;
    int64_t left = run->ask->post_bytes - run->answer->sent_bytes;
    size_t n = size * count;
    if ((int64_t)n > left)
        n = (size_t)left;
    memset(bytes, ' ', n);
    run->answer->sent_bytes += (int64_t)n;
    return n;
}

static void ask_add_header(struct ask_run *run, const char *line)
{
    struct curl_slist *longer = curl_slist_append(run->headers, line);
    if (longer)
        run->headers = longer;
}

static void ask_set_headers(struct ask_run *run)
{
    char line[ASK_KEY_LINE_MAX];
    ask_add_header(run, "Expect:"); /* official clients do not wait for leave to send */
    if (run->ask->post_bytes >= 0)
        ask_add_header(run, "Content-Type: application/json");
    if (run->ask->key) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", run->ask->key);
        ask_add_header(run, line);
    }
    if (run->ask->header)
        ask_add_header(run, run->ask->header);
    curl_easy_setopt(run->curl, CURLOPT_HTTPHEADER, run->headers);
}

static void ask_set_method(struct ask_run *run)
{
    if (run->ask->post_bytes < 0)
        return;
    curl_easy_setopt(run->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(run->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)run->ask->post_bytes);
    curl_easy_setopt(run->curl, CURLOPT_READFUNCTION, ask_give_body);
    curl_easy_setopt(run->curl, CURLOPT_READDATA, run);
}

/* No proxy: what stands between this machine and the installation is not what is asked for. */
static void ask_set_options(struct ask_run *run, const char *url)
{
    CURL *c = run->curl;
    int64_t timeout_ms = run->ask->timeout_ms ? run->ask->timeout_ms : ASK_SECONDS * 1000;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)ASK_CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "sluice-doctor");
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, ask_on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, run);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, ask_on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, run);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, run->answer->error);
    if (run->ask->gzip)
        curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip");
    if (run->ask->only_http1)
        curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (run->ask->insecure) {
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

/* ---- the whole of it ----------------------------------------------------------------------------------- */

static int ask_version(long version)
{
    switch (version) {
    case CURL_HTTP_VERSION_1_0:
        return 10;
    case CURL_HTTP_VERSION_1_1:
        return 11;
    case CURL_HTTP_VERSION_2_0:
        return 20;
    case CURL_HTTP_VERSION_3:
        return 30;
    default:
        return 0;
    }
}

static void ask_take_result(struct ask_run *run, CURLcode code)
{
    struct answer *a = run->answer;
    long status = 0, version = 0, connects = 0;
    char *address = NULL;
    curl_easy_getinfo(run->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(run->curl, CURLINFO_HTTP_VERSION, &version);
    curl_easy_getinfo(run->curl, CURLINFO_PRIMARY_IP, &address);
    curl_easy_getinfo(run->curl, CURLINFO_NUM_CONNECTS, &connects);
    ask_copy(a->address, slice_from_text(address));
    a->status = status >= 200 ? (int)status : 0;
    a->version = ask_version(version);
    a->complete = code == CURLE_OK;
    a->timed_out = code == CURLE_OPERATION_TIMEDOUT;
    a->distrusted = code == CURLE_PEER_FAILED_VERIFICATION;
    a->unconnected = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
                     (a->timed_out && connects == 0);
    if (code != CURLE_OK && a->error[0] == '\0')
        ask_copy(a->error, slice_from_text(curl_easy_strerror(code)));
}

void ask_send(const struct ask *ask, struct answer *answer)
{
    struct ask_run run = {.ask = ask, .answer = answer, .curl = curl_easy_init()};
    char url[4096];
    *answer = (struct answer){0};
    buf_init(&answer->body, ASK_BODY_MAX);
    snprintf(url, sizeof url, "%s%s", ask->root, ask->path);
    if (!run.curl) {
        ask_copy(answer->error, SLICE_LITERAL("libcurl gave no handle"));
        return;
    }
    ask_set_options(&run, url);
    ask_set_method(&run);
    ask_set_headers(&run);
    ask_take_result(&run, curl_easy_perform(run.curl));
    curl_easy_cleanup(run.curl);
    curl_slist_free_all(run.headers);
}

void answer_free(struct answer *answer)
{
    buf_free(&answer->body);
}
