/*
 * The process' heap: mimalloc, which takes the place of libc's malloc() in every library of the process, too. A request
 * makes a hundred allocations, most of them libcurl's and libfcgi's; libc's allocator took a sixth of a request's
 * steps. A build with a sanitizer has that one's.
 */
#ifndef SLUICE_HEAP_H
#define SLUICE_HEAP_H

/* Free memory goes back to the system. That takes milliseconds. */
void heap_give_back(void);

#endif
