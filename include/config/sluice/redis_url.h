/*
 * Where a Redis server is: redis://[[user]:password@]host[:port][/database] or unix://[[user]:password@]/path[?db=N].
 *
 * User and password may be written with %XX. rediss:// (TLS) is understood, but refused: the installed client library
 * has no TLS.
 */
#ifndef SLUICE_REDIS_URL_H
#define SLUICE_REDIS_URL_H

#include "sluice/slice.h"

#include <stdint.h>

enum { REDIS_URL_HOST_MAX = 256, REDIS_URL_PATH_MAX = 108, REDIS_URL_SECRET_MAX = 512, REDIS_URL_DATABASE_MAX = 65535 };

struct redis_url {
    char host[REDIS_URL_HOST_MAX]; /* a name or a number, IPv6 without brackets; empty: path */
    uint16_t port;
    char path[REDIS_URL_PATH_MAX]; /* of a unix socket, absolute */
    char user[REDIS_URL_SECRET_MAX];
    char password[REDIS_URL_SECRET_MAX]; /* empty: none */
    int64_t database;
};

/* NULL, or what is wrong as a phrase that shows nothing of the URL ("has no host"). */
const char *redis_url_parse(struct slice url, struct redis_url *out);

#endif
