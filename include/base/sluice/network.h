/*
 * Addresses and networks of IPv4 and IPv6, as texts: "10.0.0.0/8", "::1", "2001:db8::/32".
 *
 * An IPv4 address that is written as an IPv6 one (::ffff:10.0.0.1) is the IPv4 address.
 */
#ifndef SLUICE_NETWORK_H
#define SLUICE_NETWORK_H

#include "sluice/slice.h"

struct network {
    unsigned char address[16]; /* IPv4: as ::ffff:a.b.c.d */
    unsigned bits;             /* of address that count, from 0 to 128 */
};

/* An address, or an address and how many of its bits count. False where it is neither, or where a bit beyond those is
 * set: that would be a typing mistake. */
bool network_parse(struct slice text, struct network *out);

/* address is a text; false where it is none. A zone (fe80::1%eth0) does not count. */
bool network_contains(const struct network *network, struct slice address);

#endif
