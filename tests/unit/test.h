/* What every unit test includes: cmocka asks for these headers in this order. */
#ifndef SLUICE_TEST_H
#define SLUICE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#define TEST_COUNT(array) (sizeof(array) / sizeof *(array))

#endif
