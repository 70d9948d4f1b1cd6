/*
 * A file of the state directory that many processes map at once (MAP_SHARED), forked from each other or not.
 *
 * Its name is NAME.vVERSION: another layout is another file, so that two versions of the program run side by side.
 * It is made whole (a temporary file, then link(2)), so that nobody ever sees a half-made one, and of processes that
 * start at once one makes it. Its space is taken from the disk at once: a full disk is an error here, never a signal
 * later. A regular file of that name with other contents, or cut, is moved aside as NAME.vVERSION.bad and a new one
 * is made; anything else of that name (a link, a directory, another user's file) is refused.
 *
 * What is in it starts as zeroes, and is shared without any lock: it is for C11 atomics that are lock-free.
 */
#ifndef SLUICE_SHARED_FILE_H
#define SLUICE_SHARED_FILE_H

#include "sluice/buf.h"

#include <stdint.h>

enum { SHARED_FILE_NAME_MAX = 32, SHARED_FILE_ALIGNMENT = 4096 };

struct shared_file {
    void *data; /* aligned to a page; NULL: not open */
    size_t size;
    void *map; /* all of the file, its header included */
    size_t map_size;
};

enum shared_file_result {
    SHARED_FILE_FAILED,
    SHARED_FILE_FOUND, /* it was there */
    SHARED_FILE_MADE,
    SHARED_FILE_REBUILT /* what was there has been moved aside */
};

/* name: lower-case letters, digits and _, shorter than SHARED_FILE_NAME_MAX. size is in bytes, without the header.
 * message is added to in case of FAILED and REBUILT: one line on what is wrong and what was done or is to do. */
__attribute__((warn_unused_result)) enum shared_file_result shared_file_open(struct shared_file *f,
                                                                             const char *directory,
                                                                             const char *name, uint32_t version,
                                                                             size_t size, struct buf *message);

/* Only where it is there and sound: for programs that look and do not serve. False, with *message, otherwise. */
__attribute__((warn_unused_result)) bool shared_file_open_existing(struct shared_file *f, const char *directory,
                                                                   const char *name, uint32_t version, size_t size,
                                                                   struct buf *message);

/* The file stays. A zeroed or closed one may be closed. */
void shared_file_close(struct shared_file *f);

#endif
