/* FastCGI record framing: pure functions over bytes. */
#include "sluice/fcgi_record.h"

enum { FCGI_VERSION = 1, FCGI_BODY_SIZE = FCGI_RECORD_END_SIZE - FCGI_RECORD_HEADER_SIZE };

enum fcgi_record_result fcgi_record_parse(struct slice bytes, struct fcgi_record *out)
{
    if (bytes.len < FCGI_RECORD_HEADER_SIZE)
        return bytes.len > 0 && bytes.ptr[0] != FCGI_VERSION ? FCGI_RECORD_BAD : FCGI_RECORD_INCOMPLETE;
    const uint8_t *h = (const uint8_t *)bytes.ptr;
    if (h[0] != FCGI_VERSION)
        return FCGI_RECORD_BAD;
    size_t content = (size_t)h[4] << 8 | h[5];
    size_t whole = FCGI_RECORD_HEADER_SIZE + content + h[6];
    if (bytes.len < whole)
        return FCGI_RECORD_INCOMPLETE;
    out->type = h[1];
    out->request_id = (uint16_t)(h[2] << 8 | h[3]);
    out->content = slice_make(bytes.ptr + FCGI_RECORD_HEADER_SIZE, content);
    out->whole = slice_make(bytes.ptr, whole);
    return FCGI_RECORD_OK;
}

/* One length of one or four bytes (section 3.4); where it ends, or NULL where the stream ends within it. */
static inline const uint8_t *fcgi_params_take_length(const uint8_t *p, const uint8_t *end, size_t *out)
{
    if (p == end)
        return NULL;
    if (p[0] < 0x80) {
        *out = p[0];
        return p + 1;
    }
    if (end - p < 4)
        return NULL;
    *out = (size_t)(p[0] & 0x7F) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    return p + 4;
}

bool fcgi_params_are_sound(struct slice params, size_t max_pairs)
{
    const uint8_t *p = (const uint8_t *)params.ptr, *end = params.len > 0 ? p + params.len : p;
    size_t name, value;
    for (size_t pairs = 0; p != end; pairs++) {
        if (pairs == max_pairs || !(p = fcgi_params_take_length(p, end, &name)) ||
            !(p = fcgi_params_take_length(p, end, &value)))
            return false;
        size_t left = (size_t)(end - p);
        if (name > left || value > left - name || memchr(p, '\0', name + value))
            return false;
        p += name + value;
    }
    return true;
}

void fcgi_record_write_header(uint8_t type, uint16_t request_id, uint16_t content,
                              uint8_t out[FCGI_RECORD_HEADER_SIZE])
{
    memset(out, 0, FCGI_RECORD_HEADER_SIZE);
    out[0] = FCGI_VERSION;
    out[1] = type;
    out[2] = (uint8_t)(request_id >> 8);
    out[3] = (uint8_t)request_id;
    out[4] = (uint8_t)(content >> 8);
    out[5] = (uint8_t)content;
}

void fcgi_record_write_end(uint16_t request_id, enum fcgi_end_status status, uint8_t out[FCGI_RECORD_END_SIZE])
{
    fcgi_record_write_header(FCGI_RECORD_END, request_id, FCGI_BODY_SIZE, out);
    memset(out + FCGI_RECORD_HEADER_SIZE, 0, FCGI_BODY_SIZE);
    out[FCGI_RECORD_HEADER_SIZE + 4] = (uint8_t)status;
}

size_t fcgi_record_write_management(uint8_t type, uint8_t out[FCGI_RECORD_END_SIZE])
{
    if (type == FCGI_RECORD_GET_VALUES) {
        fcgi_record_write_header(FCGI_RECORD_GET_VALUES_RESULT, 0, 0, out);
        return FCGI_RECORD_HEADER_SIZE;
    }
    fcgi_record_write_header(FCGI_RECORD_UNKNOWN, 0, FCGI_BODY_SIZE, out);
    memset(out + FCGI_RECORD_HEADER_SIZE, 0, FCGI_BODY_SIZE);
    out[FCGI_RECORD_HEADER_SIZE] = type;
    return FCGI_RECORD_END_SIZE;
}
