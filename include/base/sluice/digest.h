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

/* A digest of bytes that come in pieces: begin, put any number of times, end. begin and put note a failure of libcrypto
 * for end, which gives false then, releases everything, and must be called once after each begin. */
struct digest_stream {
    struct evp_md_ctx_st *ctx; /* NULL after a failure */
};

void digest_stream_begin(struct digest_stream *s);
void digest_stream_put(struct digest_stream *s, struct slice piece);
__attribute__((warn_unused_result)) bool digest_stream_end(struct digest_stream *s, struct digest *out);

/* In time that does not depend on where they differ. */
bool digest_equals(const struct digest *a, const struct digest *b);

/* Lower-case hex of the first n bytes and a NUL: out takes 2 * n + 1 bytes. */
void digest_hex(const void *bytes, size_t n, char *out);

/* n random bytes; false where the kernel has none to give. Small numbers come from a store of this process, which a
 * child process does not inherit. Not for threads. */
__attribute__((warn_unused_result)) bool digest_random(void *out, size_t n);

#endif
