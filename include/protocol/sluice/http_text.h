/* Text that may stand in an HTTP header line (RFC 9110, 5.5). */
#ifndef SLUICE_HTTP_TEXT_H
#define SLUICE_HTTP_TEXT_H

#include "sluice/eight.h"
#include "sluice/slice.h"

static inline bool http_byte_is_clean(unsigned char c)
{
    return (c >= 0x20 || c == '\t') && c != 0x7F;
}

/* No control characters, which could become header lines of their own; a tab is none. */
static inline bool http_text_is_clean(struct slice text)
{
    size_t i = 0;
    while (i + 8 <= text.len) {
        uint64_t v = eight_load(text.ptr + i);
        size_t n = eight_before(eight_below(v, 0x20) | eight_equal(v, 0x7F));
        i += n;
        if (n < 8 && !http_byte_is_clean((unsigned char)text.ptr[i++]))
            return false;
    }
    while (i < text.len && http_byte_is_clean((unsigned char)text.ptr[i]))
        i++;
    return i == text.len;
}

#endif
