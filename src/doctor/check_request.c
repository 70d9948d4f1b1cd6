/* How a request arrives at Sluice: with its key, its path, its body. */
#include "checks.h"

#include <jansson.h>
#include <stdio.h>

enum { CHECK_BODY_MAX = 64 * 1024 * 1024, CHECK_BODY_SECONDS = 120 };

/* What Sluice tells of a request. Texts are cut. */
struct check_echo {
    char path[1024], query[256], protocol[32], software[128];
    bool proxied;
    int64_t max_body_bytes, body_bytes;
};

static void check_copy(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

/* The sink's answer has the numbers only. False where this is no answer of theirs. */
static bool check_read_echo(const struct answer *a, struct check_echo *out)
{
    const char *path = "", *query = "", *protocol = "", *software = "";
    json_int_t max = 0, got = 0;
    int proxied = 0;
    json_t *json = json_loadb(a->body.len ? buf_data(&a->body) : "", a->body.len, 0, NULL);
    *out = (struct check_echo){0};
    bool ok = a->status == 200 && json &&
              json_unpack(json, "{s:I,s:I,s?s,s?s,s?s,s?s,s?b}", "max_body_bytes", &max, "body_bytes", &got,
                          "path", &path, "query", &query, "server_protocol", &protocol, "server_software",
                          &software, "mod_proxy_fcgi", &proxied) == 0;
    if (ok) {
        check_copy(out->path, sizeof out->path, path);
        check_copy(out->query, sizeof out->query, query);
        check_copy(out->protocol, sizeof out->protocol, protocol);
        check_copy(out->software, sizeof out->software, software);
        out->proxied = proxied;
        out->max_body_bytes = max;
        out->body_bytes = got;
    }
    json_decref(json);
    return ok;
}

/* A member of the error in an answer, empty where there is none. */
static void check_read_error(const struct answer *a, const char *member, char *out, size_t size)
{
    json_t *json = json_loadb(a->body.len ? buf_data(&a->body) : "", a->body.len, 0, NULL);
    const char *text = json_string_value(json_object_get(json_object_get(json, "error"), member));
    check_copy(out, size, text ? text : "");
    json_decref(json);
}

/* ---- the key ------------------------------------------------------------------------------------------- */

static void check_key_refused(struct doctor *d, const struct answer *a)
{
    char code[64];
    check_read_error(a, "code", code, sizeof code);
    if (strcmp(code, "invalid_api_key") != 0) {
        doctor_find(d, REPORT_FAIL, "authorization", FRONT_FAULT_AUTHORIZATION, 0,
                    "the Authorization header was sent and does not arrive at Sluice");
        return;
    }
    report_add(&d->report, REPORT_OK, "authorization", NULL, "the Authorization header arrives");
    if (d->access.key)
        report_add(&d->report, REPORT_FAIL, "key", "CLIENT_API_KEYS or API_KEY_MAPPING in Sluice's settings",
                   "Sluice does not know the key");
    else
        report_add(&d->report, REPORT_NOTE, "key", NULL,
                   "none was given: see --key-file, --key - and SLUICE_DOCTOR_KEY");
}

static void check_not_found(struct doctor *d, const struct answer *a)
{
    char message[512];
    check_read_error(a, "message", message, sizeof message);
    if (a->by_sluice)
        doctor_find(d, REPORT_FAIL, "path", FRONT_FAULT_NOT_MAPPED, 0,
                    "Sluice does not know the path as it arrives there, from %s/v1: %s", d->arguments.root,
                    message);
    else
        doctor_find(d, REPORT_FAIL, "path", FRONT_FAULT_NOT_MAPPED, 0,
                    "%s/v1 is answered %d by the web server, not by Sluice", d->arguments.root, a->status);
}

static void check_key_failed(struct doctor *d, const struct answer *a)
{
    if (a->status == 401 && a->by_sluice)
        check_key_refused(d, a);
    else if (a->status == 401)
        report_add(&d->report, REPORT_FAIL, "authorization",
                   "remove the web server's own authentication here",
                   "the web server itself asks for a login");
    else if (a->status == 502 || a->status == 503 || a->status == 504 || (a->status == 500 && !a->by_sluice))
        doctor_find(d, REPORT_FAIL, "path", FRONT_FAULT_UNREACHABLE, 0,
                    "the web server answers %d by itself: it does not reach Sluice", a->status);
    else if (a->status > 0)
        check_not_found(d, a);
    else
        report_add(&d->report, REPORT_FAIL, "path", NULL, "no answer from %s/v1: %s", d->arguments.root,
                   a->error);
}

void check_key(struct doctor *d)
{
    struct answer a;
    struct check_echo echo;
    struct ask ask = d->access;
    ask.path = "/v1/_sluice/echo";
    if (!ask.key)
        ask.key = "sk-none"; /* Sluice answers in one way to a wrong key, in another to none */
    ask_send(&ask, &a);
    d->version = a.version;
    d->admitted = check_read_echo(&a, &echo);
    if (d->admitted) {
        d->max_body_bytes = echo.max_body_bytes;
        if (echo.software[0] || echo.proxied)
            d->server = front_detect(slice_from_text(echo.software), echo.proxied);
        check_copy(d->protocol, sizeof d->protocol, echo.protocol);
        report_add(&d->report, REPORT_OK, "authorization", NULL, "the Authorization header arrives");
        report_add(&d->report, REPORT_OK, "key", NULL, "Sluice accepts it, behind %s",
                   echo.software[0] ? echo.software : front_name(d->server));
    } else {
        check_key_failed(d, &a);
    }
    answer_free(&a);
}

/* ---- HTTP ---------------------------------------------------------------------------------------------- */

void check_http(struct doctor *d)
{
    if (d->version < 11)
        doctor_find(d, REPORT_FAIL, "http", FRONT_FAULT_HTTP10, 0,
                    "clients are answered with HTTP/1.0: a stream that is cut looks complete, and no "
                    "connection is kept");
    else if (strcmp(d->protocol, "HTTP/1.0") == 0)
        report_add(
            &d->report, REPORT_FAIL, "http", "proxy_http_version 1.1; in the nginx that stands in front",
            "a proxy in front of the web server asks it with HTTP/1.0: a stream that is cut looks complete");
    else
        report_add(&d->report, REPORT_OK, "http", NULL, "HTTP/%d%s", d->version / 10,
                   d->version == 11 ? ".1" : "");
}

/* ---- the path ------------------------------------------------------------------------------------------ */

static void check_path_arrived(struct doctor *d, const struct check_echo *echo, const char *tail,
                               const char *query)
{
    char whole[ARGUMENTS_URL_MAX + 128];
    snprintf(whole, sizeof whole, "%s%s", d->arguments.path, tail);
    const char *got_tail = strstr(echo->path, "/v1/_sluice/");
    d->query_lost = strcmp(echo->query, query) != 0;
    if (strcmp(got_tail ? got_tail : "", tail) != 0)
        doctor_find(d, REPORT_FAIL, "path", FRONT_FAULT_PATH, 0, "%s arrives at Sluice as %s", whole,
                    echo->path);
    else if (strcmp(echo->path, whole) != 0)
        doctor_find(d, REPORT_WARN, "path", FRONT_FAULT_NOT_MAPPED, 0,
                    "%s arrives at Sluice as %s: the web server changes what stands before /v1", whole,
                    echo->path);
    else
        report_add(&d->report, REPORT_OK, "path", NULL, "it arrives as it was sent");
    if (d->query_lost)
        doctor_find(d, REPORT_FAIL, "query", FRONT_FAULT_PATH, 0, "?%s arrives at Sluice as %s%s", query,
                    echo->query[0] ? "?" : "nothing", echo->query);
    else
        report_add(&d->report, REPORT_OK, "query", NULL, "it arrives as it was sent");
}

void check_path(struct doctor *d)
{
    static const char tail[] = "/v1/_sluice/echo/a%2Fb%2Cc//%C3%A4";
    static const char query[] = "one=1%2F2&two=%25";
    char path[sizeof tail + sizeof query];
    struct answer a;
    struct check_echo echo;
    struct ask ask = d->access;
    snprintf(path, sizeof path, "%s?%s", tail, query);
    ask.path = path;
    ask_send(&ask, &a);
    if (check_read_echo(&a, &echo))
        check_path_arrived(d, &echo, tail, query);
    else
        doctor_find(d, REPORT_FAIL, "path", FRONT_FAULT_PATH, 0, "a path with %%2F is answered %d by %s",
                    a.status,
                    a.by_sluice ? "Sluice, which does not know it as it arrives" : "the web server");
    answer_free(&a);
}

/* ---- the body ------------------------------------------------------------------------------------------ */

static void check_body_failed(struct doctor *d, const struct answer *a, int64_t size)
{
    if (a->status == 0 && a->timed_out)
        report_add(
            &d->report, REPORT_WARN, "body", NULL,
            "%lld of %lld bytes were taken in %d s: the network, or the web server, is too slow to tell",
            (long long)a->sent_bytes, (long long)size, CHECK_BODY_SECONDS);
    else if (a->status == 0)
        doctor_find(d, REPORT_FAIL, "body", FRONT_FAULT_BODY, d->max_body_bytes,
                    "a body of %lld bytes ended the connection (%s), but MAX_BODY_BYTES allows it",
                    (long long)size, a->error);
    else
        doctor_find(d, REPORT_FAIL, "body", FRONT_FAULT_BODY, d->max_body_bytes,
                    "a body of %lld bytes is answered %d by %s, but MAX_BODY_BYTES allows it",
                    (long long)size, a->status, a->by_sluice ? "Sluice" : "the web server");
}

void check_body(struct doctor *d)
{
    int64_t size = d->max_body_bytes < CHECK_BODY_MAX ? d->max_body_bytes : CHECK_BODY_MAX;
    struct answer a;
    struct check_echo echo;
    struct ask ask = d->access;
    ask.path = "/v1/_sluice/sink";
    ask.post_bytes = size;
    ask.timeout_ms = CHECK_BODY_SECONDS * 1000;
    ask_send(&ask, &a);
    if (!check_read_echo(&a, &echo))
        check_body_failed(d, &a, size);
    else if (echo.body_bytes != size)
        doctor_find(d, REPORT_FAIL, "body", FRONT_FAULT_BODY, size,
                    "of a body of %lld bytes only %lld arrive", (long long)size, (long long)echo.body_bytes);
    else
        report_add(&d->report, REPORT_OK, "body", NULL, "%lld bytes arrive%s", (long long)size,
                   size < d->max_body_bytes ? "; more were not tried" : ", as many as MAX_BODY_BYTES allows");
    answer_free(&a);
}
