/*
 * Writing JSON text into a buffer (RFC 8259). Only writing: reading is jansson's.
 *
 * Bytes that are not valid UTF-8 are written as U+FFFD, so that the result is always valid JSON. Every function
 * answers false where the buffer's cap was reached.
 */
#ifndef SLUICE_JSON_OUT_H
#define SLUICE_JSON_OUT_H

#include "sluice/buf.h"

#include <stdint.h>

/* "text" with quotes and escapes. */
bool json_put_string(struct buf *b, struct slice text);

/* The escaped text without quotes around it. */
bool json_put_escaped(struct buf *b, struct slice text);

/* ,"name":value, without the comma directly after an opening bracket; whole or not at all. name is one of ours: it
 * has no character that needs an escape. */
bool json_put_member_string(struct buf *b, const char *name, struct slice value);
bool json_put_member_int(struct buf *b, const char *name, int64_t value);
/* Not negative: 1234 is written 1.234. */
bool json_put_member_thousandths(struct buf *b, const char *name, int64_t value);
/* Billionths: 1250000000 is written 1.25, without zeros at its end. */
bool json_put_member_billionths(struct buf *b, const char *name, uint64_t value);
bool json_put_member_bool(struct buf *b, const char *name, bool value);

/* The number alone, as text: at most JSON_BILLIONTHS_SIZE bytes with the NUL. Its beginning, which lies in text. */
enum { JSON_BILLIONTHS_SIZE = 24 };
const char *json_format_billionths(uint64_t value, char text[JSON_BILLIONTHS_SIZE]);

/* ,"name": and nothing else: the caller writes the value. */
bool json_put_name(struct buf *b, const char *name);

#endif
