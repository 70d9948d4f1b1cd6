/* SHA-256, hex and randomness. */
#include "sluice/digest.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/random.h>

bool digest_sha256(struct slice data, struct digest *out)
{
    static const unsigned char nothing[1];
    const unsigned char *from = data.len ? (const unsigned char *)data.ptr : nothing;
    if (SHA256(from, data.len, out->bytes))
        return true;
    memset(out, 0, sizeof *out);
    return false;
}

bool digest_equals(const struct digest *a, const struct digest *b)
{
    return CRYPTO_memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

void digest_hex(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[from[i] >> 4];
        out[2 * i + 1] = digits[from[i] & 15];
    }
    out[2 * n] = '\0';
}

bool digest_random(void *out, size_t n)
{
    return getrandom(out, n, 0) == (ssize_t)n;
}
