/* What can be asked without a key: whether the installation answers at all, TLS, pages that should be closed.
 */
#include "checks.h"

enum { CHECK_HEADER_BYTES = 128 * 1024 }; /* more than any of the servers takes, and more than Sluice */

/* ---- health -------------------------------------------------------------------------------------------- */

static bool check_is_gateway_error(int status)
{
    return status == 502 || status == 503 || status == 504;
}

static bool check_is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
           strncmp(address, "::ffff:127.", 11) == 0;
}

static void check_no_answer(struct doctor *d, const struct answer *a)
{
    const char *root = d->arguments.root;
    if (a->distrusted)
        doctor_find(
            d, REPORT_FAIL, "tls", FRONT_FAULT_TLS, 0,
            "the certificate of %s is not good (%s); nothing more was asked, as a key would go to whoever "
            "answers (--insecure asks nevertheless)",
            root, a->error);
    else
        report_add(&d->report, REPORT_FAIL, "health", "start the web server, or correct the URL",
                   "%s does not answer: %s", root, a->error);
}

static void check_health_status(struct doctor *d, const struct answer *a)
{
    d->reached = a->by_sluice || !check_is_gateway_error(a->status);
    if (a->by_sluice && a->status == 200)
        report_add(&d->report, REPORT_OK, "health", NULL, "Sluice answers through %s", front_name(d->server));
    else if (a->by_sluice && a->status == 404)
        doctor_find(d, REPORT_WARN, "health", FRONT_FAULT_NOT_MAPPED, 0,
                    "Sluice answers 404: the path arrives there as another one");
    else if (a->by_sluice)
        report_add(&d->report, REPORT_WARN, "health", NULL, "Sluice answers with status %d", a->status);
    else if (!d->reached)
        doctor_find(d, REPORT_FAIL, "health", FRONT_FAULT_UNREACHABLE, 0,
                    "the web server answers %d by itself: it does not reach Sluice", a->status);
    else
        doctor_find(d, REPORT_WARN, "health", FRONT_FAULT_NOT_MAPPED, 0,
                    "/health is answered %d by the web server, not by Sluice", a->status);
}

static void check_redirect(struct doctor *d, const struct answer *a)
{
    report_add(&d->report, REPORT_FAIL, "health",
               "give clients, and this command, the URL of the redirection",
               "the web server redirects to %s, which API clients do not follow with a body", a->location);
}

void check_health(struct doctor *d)
{
    struct answer a;
    struct ask ask = d->access;
    ask.path = "/health";
    ask.key = NULL;
    ask_send(&ask, &a);
    d->server = front_detect(slice_from_text(a.server), false);
    d->loopback = check_is_loopback(a.address);
    if (a.status == 0)
        check_no_answer(d, &a);
    else if (a.status >= 300 && a.status < 400 && a.location[0])
        check_redirect(d, &a);
    else
        check_health_status(d, &a);
    answer_free(&a);
}

/* ---- TLS ----------------------------------------------------------------------------------------------- */

void check_tls(struct doctor *d)
{
    if (d->arguments.tls && d->arguments.insecure)
        report_add(&d->report, REPORT_NOTE, "tls", NULL, "https; the certificate was not checked");
    else if (d->arguments.tls)
        report_add(&d->report, REPORT_OK, "tls", NULL, "https, and the certificate is good");
    else if (d->loopback)
        report_add(&d->report, REPORT_NOTE, "tls", NULL,
                   "http on this machine only; towards others it must be https");
    else
        doctor_find(d, REPORT_FAIL, "tls", FRONT_FAULT_TLS, 0,
                    "keys and texts travel over http, for all to read");
}

/* ---- pages for this machine only ----------------------------------------------------------------------- */

static void check_page(struct doctor *d, const char *name, const char *path)
{
    struct answer a;
    struct ask ask = d->access;
    ask.path = path;
    ask.key = NULL;
    ask_send(&ask, &a);
    if (a.status != 200)
        report_add(&d->report, REPORT_OK, name, NULL, "%s is closed (status %d)", path, a.status);
    else if (d->loopback)
        report_add(
            &d->report, REPORT_NOTE, name, NULL,
            "%s answers to this machine; only from another one can be seen that it is closed to others",
            path);
    else
        doctor_find(d, REPORT_FAIL, name, FRONT_FAULT_OPEN_PAGES, 0,
                    "%s is open without a token (unless METRICS__ALLOW means the machine that asks)", path);
    answer_free(&a);
}

void check_pages(struct doctor *d)
{
    check_page(d, "metrics", "/metrics");
    check_page(d, "status", "/status");
}

/* ---- error pages --------------------------------------------------------------------------------------- */

static bool check_is_json(const struct answer *a)
{
    return strncasecmp(a->type, "application/json", 16) == 0;
}

/* A header that no server takes makes each answer by itself. */
void check_error_pages(struct doctor *d)
{
    static char line[CHECK_HEADER_BYTES];
    static const char name[] = "X-Sluice-Doctor: ";
    struct answer a;
    struct ask ask = d->access;
    memset(line, 'x', sizeof line - 1);
    memcpy(line, name, sizeof name - 1);
    ask.path = "/health";
    ask.key = NULL;
    ask.header = line;
    ask.only_http1 = true;
    ask_send(&ask, &a);
    if (a.status >= 400 && check_is_json(&a))
        report_add(&d->report, REPORT_OK, "error-pages", NULL, "an error of the web server's own is JSON");
    else if (a.status >= 400)
        doctor_find(
            d, REPORT_NOTE, "error-pages", FRONT_FAULT_ERROR_PAGES, 0,
            "an error of the web server's own (%d) is no JSON, which clients show as an unknown error",
            a.status);
    answer_free(&a);
}
