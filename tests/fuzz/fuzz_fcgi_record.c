/*
 * FastCGI records and PARAMS streams: every record lies within the bytes and ends where its header says, and
 * a PARAMS stream is sound where a second reading, pair by pair, says so.
 */
#include "fuzz.h"

#include "sluice/fcgi_record.h"

/* Length of a length, and its value; 0 where it is cut. */
static size_t take_length(const uint8_t *p, size_t left, uint64_t *out)
{
    if (left > 0 && !(p[0] & 0x80)) {
        *out = p[0];
        return 1;
    }
    if (left < 4)
        return 0;
    *out = ((uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3]) & 0x7FFFFFFF;
    return 4;
}

static bool is_sound(const uint8_t *p, size_t size, size_t max_pairs)
{
    size_t at = 0, pairs = 0;
    while (at < size) {
        uint64_t name, value;
        size_t n = take_length(p + at, size - at, &name);
        if (n == 0 || pairs++ == max_pairs)
            return false;
        at += n;
        n = take_length(p + at, size - at, &value);
        if (n == 0 || name + value > size - at - n)
            return false;
        at += n;
        for (uint64_t i = 0; i < name + value; i++)
            if (p[at++] == 0)
                return false;
    }
    return true;
}

static void check_params(const uint8_t *data, size_t size)
{
    static const size_t limits[] = {0, 1, 2, 10, SIZE_MAX};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        FUZZ_ASSERT(fcgi_params_are_sound(slice_make(data, size), limits[i]) ==
                    is_sound(data, size, limits[i]));
}

static void check_record(const struct fcgi_record *r, struct slice bytes)
{
    const uint8_t *header = (const uint8_t *)bytes.ptr;
    FUZZ_ASSERT(header[0] == 1 && r->type == header[1]);
    FUZZ_ASSERT(r->request_id == header[2] * 256 + header[3]);
    FUZZ_ASSERT(r->content.len == (size_t)header[4] * 256 + header[5]);
    FUZZ_ASSERT(r->content.ptr == bytes.ptr + FCGI_RECORD_HEADER_SIZE);
    FUZZ_ASSERT(r->whole.ptr == bytes.ptr && r->whole.len <= bytes.len &&
                r->whole.len <= FCGI_RECORD_MAX_SIZE);
    FUZZ_ASSERT(r->whole.len == FCGI_RECORD_HEADER_SIZE + r->content.len + header[6]);
    /* One byte less is not enough; the record alone is. */
    struct fcgi_record again;
    FUZZ_ASSERT(fcgi_record_parse(slice_take(bytes, r->whole.len - 1), &again) == FCGI_RECORD_INCOMPLETE);
    FUZZ_ASSERT(fcgi_record_parse(r->whole, &again) == FCGI_RECORD_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_make(data, size);
    struct fcgi_record r;
    enum fcgi_record_result result;
    while ((result = fcgi_record_parse(rest, &r)) == FCGI_RECORD_OK) {
        check_record(&r, rest);
        check_params((const uint8_t *)r.content.ptr, r.content.len);
        rest = slice_skip(rest, r.whole.len);
    }
    FUZZ_ASSERT((result == FCGI_RECORD_BAD) == (rest.len > 0 && rest.ptr[0] != 1));
    FUZZ_ASSERT(result == FCGI_RECORD_BAD || rest.len < FCGI_RECORD_MAX_SIZE);
    check_params(data, size);
    return 0;
}
