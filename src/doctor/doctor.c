/* `sluice doctor`: the order of the checks. */
#include "sluice/doctor.h"

#include "checks.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

enum { DOCTOR_EXIT_USAGE = 2, DOCTOR_TEXT_MAX = 1024 };

void doctor_find(struct doctor *d, enum report_status status, const char *name, enum front_fault fault,
                 int64_t number, const char *format, ...)
{
    char text[DOCTOR_TEXT_MAX];
    struct buf change;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_init(&change, DOCTOR_TEXT_MAX);
    front_put_advice(&change, d->server, fault, number);
    report_add(&d->report, status, name, buf_text(&change), "%s", text);
    buf_free(&change);
}

static void doctor_watch_streams(struct doctor *d)
{
    check_stream(d);
    check_compression(d);
    if (d->late) {
        report_add(&d->report, REPORT_NOTE, "departure", NULL,
                   "not tried: it takes a stream that arrives in time");
    } else {
        check_departure(d);
        check_silent_departure(d);
    }
    check_silence(d);
}

static void doctor_ask_sluice(struct doctor *d)
{
    check_http(d);
    check_path(d);
    check_body(d);
    if (d->query_lost)
        report_add(&d->report, REPORT_NOTE, "stream", NULL, "not asked for: that takes a query");
    else
        doctor_watch_streams(d);
}

static void doctor_ask(struct doctor *d)
{
    check_health(d);
    if (!d->reached)
        return;
    check_tls(d);
    check_pages(d);
    check_error_pages(d);
    check_key(d);
    if (d->admitted)
        doctor_ask_sluice(d);
    else
        report_add(&d->report, REPORT_NOTE, "rest", NULL,
                   "path, body and streams were not asked for: that takes a client key that Sluice accepts");
}

static int doctor_run(struct doctor *d)
{
    struct arguments *a = &d->arguments;
    report_init(&d->report, a->as_json);
    d->access = (struct ask){
        .root = a->root, .key = a->key[0] ? a->key : NULL, .post_bytes = -1, .insecure = a->insecure};
    doctor_ask(d);
    int status = report_finish(&d->report, a->root, front_name(d->server));
    report_free(&d->report);
    return status;
}

int doctor_main(int argc, char **argv)
{
    static struct doctor d;
    signal(SIGPIPE, SIG_IGN);
    if (!arguments_parse(&d.arguments, argc, argv)) {
        fprintf(stderr, "sluice doctor: %s\nsluice doctor --help lists what there is.\n",
                d.arguments.message);
        return DOCTOR_EXIT_USAGE;
    }
    if (d.arguments.help) {
        arguments_print_help();
        return 0;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int status = doctor_run(&d);
    curl_global_cleanup();
    return status;
}
