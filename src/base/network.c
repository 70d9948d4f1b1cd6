/* Networks: both families as 128 bits. */
#include "sluice/network.h"

#include <arpa/inet.h>

enum { NETWORK_TEXT_MAX = 64, NETWORK_FOUR_OFFSET = 96 };

static const unsigned char network_four_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

static bool network_is_four(const unsigned char address[16])
{
    return memcmp(address, network_four_prefix, sizeof network_four_prefix) == 0;
}

/* *dotted tells whether an IPv4 address was written as such. */
static bool network_parse_address(struct slice text, unsigned char out[16], bool *dotted)
{
    char copy[NETWORK_TEXT_MAX];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    memcpy(out, network_four_prefix, sizeof network_four_prefix);
    *dotted = inet_pton(AF_INET, copy, out + sizeof network_four_prefix) == 1;
    return *dotted || inet_pton(AF_INET6, copy, out) == 1;
}

static bool network_parse_bits(struct slice text, unsigned max, unsigned *out)
{
    unsigned bits = 0;
    if (text.len == 0 || text.len > 3)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        bits = bits * 10 + (unsigned)(text.ptr[i] - '0');
    }
    *out = bits;
    return bits <= max;
}

static bool network_bit(const unsigned char address[16], unsigned i)
{
    return address[i / 8] >> (7 - i % 8) & 1;
}

bool network_parse(struct slice text, struct network *out)
{
    const char *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
    struct slice address = slash ? slice_take(text, (size_t)(slash - text.ptr)) : text;
    bool dotted = false;
    if (!network_parse_address(address, out->address, &dotted))
        return false;
    unsigned offset = dotted ? NETWORK_FOUR_OFFSET : 0;
    out->bits = 128 - offset;
    if (slash && !network_parse_bits(slice_skip(text, address.len + 1), 128 - offset, &out->bits))
        return false;
    out->bits += offset;
    for (unsigned i = out->bits; i < 128; i++)
        if (network_bit(out->address, i))
            return false;
    return true;
}

/* A network of IPv6 does not hold IPv4's addresses, even where it is all of them. */
bool network_contains(const struct network *n, struct slice text)
{
    unsigned char address[16];
    bool dotted;
    const char *zone = text.len ? memchr(text.ptr, '%', text.len) : NULL;
    if (!network_parse_address(zone ? slice_take(text, (size_t)(zone - text.ptr)) : text, address, &dotted))
        return false;
    if (network_is_four(address) && n->bits < NETWORK_FOUR_OFFSET)
        return false;
    for (unsigned i = 0; i < n->bits; i++)
        if (network_bit(address, i) != network_bit(n->address, i))
            return false;
    return true;
}
