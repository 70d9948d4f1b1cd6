/*
 * Front servers, and the directive of each against each fault.
 */
#ifndef SLUICE_DOCTOR_FRONT_H
#define SLUICE_DOCTOR_FRONT_H

#include "sluice/buf.h"

#include <stdint.h>

enum front_server {
    FRONT_UNKNOWN,
    FRONT_LIGHTTPD,
    FRONT_NGINX,
    FRONT_APACHE, /* which of its two modules is not known */
    FRONT_APACHE_PROXY_FCGI,
    FRONT_APACHE_FCGID,
    FRONT_COUNT
};

enum front_fault {
    FRONT_FAULT_UNREACHABLE, /* the front server answers for Sluice: it does not run, or its socket is closed
                              */
    FRONT_FAULT_NOT_MAPPED,  /* a path does not reach Sluice */
    FRONT_FAULT_AUTHORIZATION, /* the header does not arrive */
    FRONT_FAULT_PATH,          /* the path or the query is changed */
    FRONT_FAULT_BODY,          /* the number: MAX_BODY_BYTES */
    FRONT_FAULT_BUFFERING,
    FRONT_FAULT_COMPRESSION,
    FRONT_FAULT_SILENCE,          /* the number: seconds that a stream must survive */
    FRONT_FAULT_DEPARTURE,        /* while events flow */
    FRONT_FAULT_SILENT_DEPARTURE, /* while nothing flows */
    FRONT_FAULT_HTTP10,           /* towards clients */
    FRONT_FAULT_CHUNKED,
    FRONT_FAULT_TLS,
    FRONT_FAULT_OPEN_PAGES, /* metrics and status */
    FRONT_FAULT_ERROR_PAGES,
    FRONT_FAULT_COUNT
};

/* software is a Server header or SERVER_SOFTWARE; proxied says that mod_proxy_fcgi was seen at work. */
enum front_server front_detect(struct slice software, bool proxied);

/* As a person calls it. */
const char *front_name(enum front_server server);

/* The change to make, in the server's own words; false at the buffer's cap. */
bool front_put_advice(struct buf *b, enum front_server server, enum front_fault fault, int64_t number);

#endif
