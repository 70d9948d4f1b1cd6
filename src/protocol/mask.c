/* Masking of secrets. */
#include "sluice/mask.h"

#include <ctype.h>

enum { MASK_SECRET_MAX = 512, MASK_KEY_MIN = 8, MASK_SCHEME_LENGTH = 6 };

static bool mask_is_key_char(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_';
}

static size_t mask_run(struct slice s, size_t from)
{
    size_t n = from;
    while (n < s.len && (mask_is_key_char(s.ptr[n]) || strchr(".~+/=", s.ptr[n])) && s.ptr[n] != '\0')
        n++;
    return n - from;
}

/* The length of a secret that s begins with, or 0. */
static size_t mask_known(struct slice s, const struct slice *secrets, size_t count)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++)
        if (secrets[i].len > longest && slice_starts_with(s, secrets[i]))
            longest = secrets[i].len;
    return longest;
}

static size_t mask_key(struct slice s)
{
    size_t n = 3;
    if (!slice_starts_with(s, SLICE_LITERAL("sk-")))
        return 0;
    while (n < s.len && mask_is_key_char(s.ptr[n]))
        n++;
    return n >= 3 + MASK_KEY_MIN || n == s.len ? n : 0;
}

/* *skip: the scheme's name, which is shown. */
static size_t mask_credentials(struct slice s, size_t *skip)
{
    if (slice_starts_with_nocase(s, SLICE_LITERAL("Bearer ")))
        *skip = MASK_SCHEME_LENGTH + 1;
    else if (slice_starts_with_nocase(s, SLICE_LITERAL("Basic ")))
        *skip = MASK_SCHEME_LENGTH;
    else
        return 0;
    size_t n = mask_run(s, *skip);
    return n >= MASK_KEY_MIN ? n : 0;
}

/* The input is looked at beyond max, so that no secret is cut before it is recognised. */
bool mask_put(struct buf *b, struct slice text, size_t max, const struct slice *secrets, size_t count)
{
    struct slice rest = slice_take(text, max + MASK_SECRET_MAX);
    bool word = true; /* a key begins where a word does */
    for (size_t shown = 0; rest.len > 0 && shown < max; shown++) {
        size_t skip = 0, n = mask_known(rest, secrets, count);
        if (n == 0 && word)
            n = mask_key(rest);
        if (n == 0 && word)
            n = mask_credentials(rest, &skip);
        if (n > 0 ? !buf_append_slice(b, slice_take(rest, skip)) || !buf_append_text(b, "***")
                  : !buf_append_char(b, rest.ptr[0]))
            return false;
        word = n > 0 || !mask_is_key_char(rest.ptr[0]);
        rest = slice_skip(rest, n > 0 ? skip + n : 1);
    }
    return true;
}

bool mask_hides_header(struct slice name)
{
    static const char *const parts[] = {"AUTH", "COOKIE", "TOKEN", "SECRET", "PASSW", "API_KEY", "APIKEY", "CREDENTIAL"};
    for (size_t i = 0; name.len > 0 && i < sizeof parts / sizeof *parts; i++)
        if (memmem(name.ptr, name.len, parts[i], strlen(parts[i])))
            return true;
    return false;
}

static bool mask_is_hex(struct slice s)
{
    bool zero = true;
    for (size_t i = 0; i < s.len; i++) {
        if (!strchr("0123456789abcdef", s.ptr[i]) || s.ptr[i] == '\0')
            return false;
        zero = zero && s.ptr[i] == '0';
    }
    return !zero;
}

/* 00-TRACE(32)-PARENT(16)-FLAGS(2); later versions may be longer. */
struct slice mask_trace_id(struct slice t)
{
    enum { VERSION = 2, TRACE = 32, PARENT = 16, LENGTH = 55 };
    struct slice none = {NULL, 0};
    if (t.len < LENGTH || t.ptr[VERSION] != '-' || t.ptr[VERSION + 1 + TRACE] != '-' || t.ptr[LENGTH - 3] != '-')
        return none;
    struct slice trace = slice_take(slice_skip(t, VERSION + 1), TRACE);
    struct slice parent = slice_take(slice_skip(t, VERSION + TRACE + 2), PARENT);
    bool version = slice_starts_with(t, SLICE_LITERAL("00")) ? t.len == LENGTH : !slice_starts_with(t, SLICE_LITERAL("ff"));
    return version && mask_is_hex(trace) && mask_is_hex(parent) ? trace : none;
}
