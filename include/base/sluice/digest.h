/* SHA-256 (FIPS 180-4) by libcrypto, its text forms, and random bytes from the kernel. */
#ifndef SLUICE_DIGEST_H
#define SLUICE_DIGEST_H

#include "sluice/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { DIGEST_SIZE = 32, DIGEST_HEX_SIZE = 2 * DIGEST_SIZE + 1 };

struct digest {
    uint8_t bytes[DIGEST_SIZE];
};

/* False only where libcrypto fails (out of memory); out is then zeroed. */
__attribute__((warn_unused_result)) bool digest_sha256(struct slice data, struct digest *out);

/* In time that does not depend on where they differ. */
bool digest_equals(const struct digest *a, const struct digest *b);

/* Lower-case hex of the first n bytes and a NUL: out takes 2 * n + 1 bytes. */
void digest_hex(const void *bytes, size_t n, char *out);

/* n random bytes; false where the kernel has none to give. Small numbers come from a store of this process, which a
 * child process does not inherit. Not for threads. */
__attribute__((warn_unused_result)) bool digest_random(void *out, size_t n);

#endif
