/*
 * Who may ask, and with which upstream keys.
 *
 * Client keys are held as SHA-256 digests only. What logs and metrics show of a key is its name (KEY_ALIASES), or its
 * fingerprint: the first 12 hex digits of its digest. Upstream keys are held in the form in which they are sent.
 */
#ifndef SLUICE_KEYS_H
#define SLUICE_KEYS_H

#include "sluice/config.h"
#include "sluice/digest.h"

enum { KEY_FINGERPRINT_SIZE = 13 };

/* What goes upstream for a client key. */
struct upstream_key {
    char *authorization; /* "Authorization: Bearer …", a header line */
    char *organization;  /* the header line, or NULL: the client's goes on */
    char *project;       /* the header line, or NULL: the client's goes on */
    char fingerprint[KEY_FINGERPRINT_SIZE];
};

/* Its upstream keys are those from first on: one of its own, or all of the shared pool. */
struct client_key {
    struct digest digest;
    char fingerprint[KEY_FINGERPRINT_SIZE];
    char name[CONFIG_ALIAS_MAX + 1]; /* of KEY_ALIASES, else the fingerprint: what logs and metrics show */
    size_t first, count;
};

struct keys;

/* Copies what it needs of the configuration. NULL without memory. */
struct keys *keys_new(const struct config *config);
void keys_free(struct keys **keys);

size_t keys_count(const struct keys *keys);

size_t keys_upstream_count(const struct keys *keys);
const struct upstream_key *keys_upstream(const struct keys *keys, size_t index);

/* *key is NULL where it is unknown, else lives as long as keys. Digests are compared in constant time; the cost does not
 * grow with the number of keys. False without memory: it cannot be told whether the key is known. */
bool keys_find(const struct keys *keys, struct slice secret, const struct client_key **key);

#endif
