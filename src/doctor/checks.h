/*
 * The checks, in the order in which doctor.c makes them. Each adds its findings to the report, each is
 * bounded in time, and each relies on what the ones before found out.
 */
#ifndef SLUICE_DOCTOR_CHECKS_H
#define SLUICE_DOCTOR_CHECKS_H

#include "arguments.h"
#include "ask.h"
#include "report.h"
#include "sluice/doctor_front.h"

struct doctor {
    struct arguments arguments;
    struct report report;
    struct ask access;        /* root, key and insecure: the beginning of every request */
    enum front_server server; /* as far as it is known */
    bool reached;             /* a web server answers, and may be trusted with the key */
    bool admitted;            /* Sluice answers to the key: what needs one can be asked */
    bool loopback;            /* the server is this machine */
    bool query_lost;          /* streams cannot be told how to be */
    bool late;         /* events do not arrive in time: what is said at the moment of one cannot be told */
    int version;       /* of HTTP in the answers, times ten */
    char protocol[32]; /* of HTTP in the requests, as Sluice sees it */
    int64_t max_body_bytes; /* Sluice's */
};

/* Adds a finding with what to change for this fault of this server. number: see front_put_advice(). */
void doctor_find(struct doctor *d, enum report_status status, const char *name, enum front_fault fault,
                 int64_t number, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* check_front.c: what needs no key. */
void check_health(struct doctor *d);
void check_tls(struct doctor *d);
void check_pages(struct doctor *d);
void check_error_pages(struct doctor *d);

/* check_request.c: what arrives at Sluice. check_key() sets admitted; the others need it. */
void check_key(struct doctor *d);
void check_http(struct doctor *d);
void check_path(struct doctor *d);
void check_body(struct doctor *d);

/* check_stream.c: what arrives at the client, and when. */
void check_stream(struct doctor *d);
void check_compression(struct doctor *d);
void check_silence(struct doctor *d);

/* check_departure.c: whether Sluice hears of a client that leaves. */
void check_departure(struct doctor *d);
void check_silent_departure(struct doctor *d);

#endif
