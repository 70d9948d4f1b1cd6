/* The page of status.c: status.html, made into an array by the build. */
#ifndef SLUICE_STATUS_PAGE_H
#define SLUICE_STATUS_PAGE_H

#include <stddef.h>

extern const char status_page[];
extern const size_t status_page_size;

#endif
