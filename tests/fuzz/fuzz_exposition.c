/*
 * Metrics as text, from labels of any bytes: every line can be read back, and gives the label's value where that was
 * valid. And masked texts: no secret that was named is left.
 */
#include "fuzz.h"

#include "sluice/exposition.h"
#include "sluice/mask.h"
#include "sluice/utf8.h"

#include <string.h>

enum { SECRET_MIN = 4, LABEL_MAX = 600 };

static bool is_valid(struct slice s)
{
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t n = c < 0x80 ? 1 : utf8_length((const unsigned char *)s.ptr + i, s.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

/* Reads NAME{l="VALUE"} 7\n; the value goes to out. */
static size_t read_back(struct slice line, char *out)
{
    static const char begin[] = "n{l=\"", end[] = "\"} 7\n";
    size_t n = 0, i = sizeof begin - 1;
    FUZZ_ASSERT(line.len >= sizeof begin + sizeof end - 2 && memcmp(line.ptr, begin, sizeof begin - 1) == 0);
    for (; line.ptr[i] != '"'; i++) {
        FUZZ_ASSERT(i < line.len && line.ptr[i] != '\n');
        if (line.ptr[i] == '\\')
            FUZZ_ASSERT(strchr("\\\"n", line.ptr[++i]) && line.ptr[i] != '\0');
        bool newline = line.ptr[i] == 'n' && line.ptr[i - 1] == '\\';
        out[n++] = newline ? '\n' : line.ptr[i];
    }
    FUZZ_ASSERT(line.len - i == sizeof end - 1 && memcmp(line.ptr + i, end, sizeof end - 1) == 0);
    return n;
}

static void check_label(struct slice value)
{
    struct buf out;
    char back[3 * LABEL_MAX + 1];
    buf_init(&out, 10000);
    struct exposition e = {.out = &out, .name = "n"};
    struct exposition_labels labels = {1, {{"l", value}}};
    exposition_count(&e, &labels, 7);
    FUZZ_ASSERT(exposition_end(&e));
    FUZZ_ASSERT(is_valid(buf_slice(&out)));
    size_t n = read_back(buf_slice(&out), back);
    /* a backslash before an n is told from a newline by what was written, so that only texts without both compare */
    bool plain = value.len == 0 || (!memchr(value.ptr, '\\', value.len) && is_valid(value));
    FUZZ_ASSERT(!plain || slice_equals(value, slice_make(back, n)));
    buf_free(&out);
}

static void check_mask(struct slice text, struct slice secret)
{
    struct buf out;
    buf_init(&out, 4 * text.len + 100);
    FUZZ_ASSERT(mask_put(&out, text, text.len + 1, &secret, 1));
    /* A key has no blank (the configuration refuses it), and is longer than the name of a scheme, which is shown. */
    bool is_key = secret.len >= SECRET_MIN && secret.len > sizeof "Bearer " && !memchr(secret.ptr, ' ', secret.len);
    if (is_key && !memchr(secret.ptr, '*', secret.len))
        FUZZ_ASSERT(out.len == 0 || !memmem(buf_data(&out), out.len, secret.ptr, secret.len));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    exposition_choose(text);
    mask_trace_id(text);
    check_label(slice_take(text, LABEL_MAX));
    if (size > 1)
        check_mask(slice_skip(text, 1 + data[0] % 32u), slice_take(slice_skip(text, 1), data[0] % 32u));
    return 0;
}
