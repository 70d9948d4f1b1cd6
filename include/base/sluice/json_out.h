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
bool json_put_member_bool(struct buf *b, const char *name, bool value);

/* ,"name": and nothing else: the caller writes the value. */
bool json_put_name(struct buf *b, const char *name);

#endif
