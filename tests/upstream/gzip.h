#ifndef SIM_GZIP_H
#define SIM_GZIP_H

#include "buf.h"

#include <zlib.h>

z_stream *gzip_start(void);

/* Compresses data onto out; flush is Z_SYNC_FLUSH or Z_FINISH. */
void gzip_add(z_stream *z, const void *data, size_t len, int flush, struct buf *out);
void gzip_end(z_stream *z);

#endif
