#include "gzip.h"

#include <stdlib.h>

z_stream *gzip_start(void)
{
    z_stream *z = calloc(1, sizeof *z);
    if (!z || deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        abort();
    }
    return z;
}

void gzip_add(z_stream *z, const void *data, size_t len, int flush, struct buf *out)
{
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)len;
    do {
        buf_reserve(out, 4096);
        z->next_out = (Bytef *)out->data + out->len;
        z->avail_out = 4096;
        deflate(z, flush);
        out->len += 4096 - z->avail_out;
    } while (z->avail_out == 0);
}

void gzip_end(z_stream *z)
{
    if (z) {
        deflateEnd(z);
        free(z);
    }
}
