/* SHA-256, hex and randomness. */
#include "sluice/digest.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/random.h>

/* Looked for by its name once: for a short text that takes longer than the digest. */
static const EVP_MD *digest_algorithm(void)
{
    static EVP_MD *algorithm;
    if (!algorithm)
        algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    return algorithm;
}

bool digest_sha256(struct slice data, struct digest *out)
{
    static const unsigned char nothing[1];
    const unsigned char *from = data.len ? (const unsigned char *)data.ptr : nothing;
    const EVP_MD *algorithm = digest_algorithm();
    if (algorithm && EVP_Digest(from, data.len, out->bytes, NULL, algorithm, NULL) == 1)
        return true;
    ERR_clear_error(); /* nobody reads them, and they hold memory */
    memset(out, 0, sizeof *out);
    return false;
}

static void digest_stream_fail(struct digest_stream *s)
{
    EVP_MD_CTX_free(s->ctx);
    s->ctx = NULL;
}

void digest_stream_begin(struct digest_stream *s)
{
    const EVP_MD *algorithm = digest_algorithm();
    s->ctx = algorithm ? EVP_MD_CTX_new() : NULL;
    if (s->ctx && EVP_DigestInit_ex(s->ctx, algorithm, NULL) != 1)
        digest_stream_fail(s);
}

void digest_stream_put(struct digest_stream *s, struct slice piece)
{
    if (s->ctx && piece.len > 0 && EVP_DigestUpdate(s->ctx, piece.ptr, piece.len) != 1)
        digest_stream_fail(s);
}

bool digest_stream_end(struct digest_stream *s, struct digest *out)
{
    bool ok = s->ctx && EVP_DigestFinal_ex(s->ctx, out->bytes, NULL) == 1;
    if (!ok)
        memset(out, 0, sizeof *out);
    digest_stream_fail(s);
    return ok;
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

/* Random bytes that the kernel gave and nobody has taken: a call for each request id would cost more than the id. */
static struct {
    unsigned char bytes[1024];
    size_t left;
    bool watched; /* a child process forgets them */
} digest_pool;

/* No two processes may ever take the same bytes. */
static void digest_forget_pool(void)
{
    digest_pool.left = 0;
    memset(digest_pool.bytes, 0, sizeof digest_pool.bytes);
}

static void digest_fill_pool(void)
{
    if (!digest_pool.watched && pthread_atfork(NULL, NULL, digest_forget_pool) != 0)
        return;
    digest_pool.watched = true;
    ssize_t got = getrandom(digest_pool.bytes, sizeof digest_pool.bytes, 0);
    digest_pool.left = got > 0 ? (size_t)got : 0;
}

/* What was taken is not kept. */
static void digest_take_from_pool(void *out, size_t n)
{
    digest_pool.left -= n;
    memcpy(out, digest_pool.bytes + digest_pool.left, n);
    memset(digest_pool.bytes + digest_pool.left, 0, n);
}

bool digest_random(void *out, size_t n)
{
    if (n <= sizeof digest_pool.bytes / 8 && digest_pool.left < n)
        digest_fill_pool();
    if (n > sizeof digest_pool.bytes / 8 || digest_pool.left < n)
        return getrandom(out, n, 0) == (ssize_t)n;
    digest_take_from_pool(out, n);
    return true;
}
