/*
 * What libcurl is told of a request. Easy handles are kept for reuse, with the settings that never change and with the
 * URL of their last request in parts: most requests go where the one before them went, and libcurl 7.88 parses a URL
 * that it gets as text, puts it together again and takes that apart, for each.
 */
#include "transfer_internal.h"

#include "sluice/clock.h"

#include <stdlib.h>

/* ---- handles ------------------------------------------------------------------------------------------------ */

/* As libcurl reads them. */
static bool transfer_environment_has_proxy(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]))
            return true;
    return false;
}

static void transfer_easy_free(struct transfer_easy *easy)
{
    curl_easy_cleanup(easy->curl);
    curl_url_cleanup(easy->url);
    free(easy->url_text);
    *easy = (struct transfer_easy){NULL, NULL, NULL};
}

/* What never changes between transfers. Redirects are the client's to follow; a proxy is the environment's, where
 * libcurl would look for one with each request. */
static bool transfer_easy_set_up(const struct transfer_pool *pool, CURL *curl)
{
    if (curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
        (pool->ca_file && curl_easy_setopt(curl, CURLOPT_CAINFO, pool->ca_file) != CURLE_OK) ||
        (!transfer_environment_has_proxy() && curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") != CURLE_OK))
        return false;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)TRANSFER_RECEIVE_SIZE);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)TRANSFER_SEND_SIZE);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, transfer_on_header);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, transfer_on_body);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, transfer_on_read);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    if (pool->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    return true;
}

bool transfer_easy_take(struct transfer_pool *pool, struct transfer_easy *easy)
{
    if (pool->spares > 0) {
        *easy = pool->spare[--pool->spares];
        return true;
    }
    *easy = (struct transfer_easy){curl_easy_init(), curl_url(), NULL};
    if (easy->curl && easy->url && transfer_easy_set_up(pool, easy->curl))
        return true;
    transfer_easy_free(easy);
    return false;
}

void transfer_easy_put_back(struct transfer_pool *pool, struct transfer_easy *easy)
{
    if (pool->spares < TRANSFER_SPARE_MAX)
        pool->spare[pool->spares++] = *easy;
    else
        transfer_easy_free(easy);
}

void transfer_easy_free_spares(struct transfer_pool *pool)
{
    while (pool->spares > 0)
        transfer_easy_free(&pool->spare[--pool->spares]);
}

/* ---- a request ---------------------------------------------------------------------------------------------- */

/* libcurl takes the parts, and calls the URL by its text. What has no parts it refuses itself, and says why. */
static bool transfer_easy_set_url(struct transfer_easy *easy, const char *url)
{
    const unsigned flags = CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS;
    if (easy->url_text && strcmp(easy->url_text, url) == 0)
        return true;
    free(easy->url_text);
    easy->url_text = strdup(url);
    CURLU *parts = curl_url_set(easy->url, CURLUPART_URL, url, flags) == CURLUE_OK ? easy->url : NULL;
    bool ok = curl_easy_setopt(easy->curl, CURLOPT_CURLU, parts) == CURLE_OK &&
              curl_easy_setopt(easy->curl, CURLOPT_URL, url) == CURLE_OK;
    if (ok && easy->url_text)
        return true;
    free(easy->url_text);
    easy->url_text = NULL;
    return false;
}

static bool transfer_easy_set_method(CURL *curl, const char *method, const char *natural)
{
    if (strcmp(method, "HEAD") == 0)
        return curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
    return strcmp(method, natural) == 0 || curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
}

/* POST with a body, whatever the method's name is, or a plain request. */
static bool transfer_easy_set_body(CURL *curl, const struct transfer_request *request)
{
    curl_easy_setopt(curl, CURLOPT_NOBODY, 0L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, request->streamed ? 1L : 0L); /* an idle one might be closing */
    if (!request->streamed && !request->body.ptr) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, NULL);
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        return transfer_easy_set_method(curl, request->method, "GET");
    }
    int64_t length = request->streamed ? request->length : (int64_t)request->body.len;
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->streamed ? NULL : request->body.ptr);
    return transfer_easy_set_method(curl, request->method, "POST");
}

static bool transfer_easy_set_headers(struct transfer *t, const char *const *headers, bool chunked)
{
    t->headers = curl_slist_append(NULL, "Expect:"); /* no round trip before the body */
    if (!t->headers)
        return false;
    if (chunked) {
        struct curl_slist *longer = curl_slist_append(t->headers, "Transfer-Encoding: chunked");
        if (!longer)
            return false;
        t->headers = longer;
    }
    for (; *headers; headers++) {
        struct curl_slist *longer = curl_slist_append(t->headers, *headers);
        if (!longer)
            return false;
        t->headers = longer;
    }
    return curl_easy_setopt(t->easy.curl, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
}

bool transfer_easy_set(struct transfer *t, const struct transfer_request *request)
{
    CURL *curl = t->easy.curl;
    long connect_ms = (long)(request->limits.connect_us / CLOCK_US_PER_MS);
    bool http2 = transfer_is_http2(t);
    t->head_only = strcmp(request->method, "HEAD") == 0;
    curl_easy_setopt(curl, CURLOPT_PRIVATE, t);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_READDATA, t);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)(http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(curl, CURLOPT_PIPEWAIT, http2 ? 1L : 0L); /* for a handshake that may make one connection do */
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect_ms > 0 ? connect_ms : 1L);
    return transfer_easy_set_body(curl, request) && transfer_easy_set_url(&t->easy, request->url) &&
           transfer_easy_set_headers(t, request->headers, request->streamed && request->length < 0);
}
