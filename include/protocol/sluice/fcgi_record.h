/*
 * FastCGI record framing (FastCGI specification 1.0, section 3.3), the reading side.
 *
 * Only what is needed to know where a record ends and what it is. The content of PARAMS records and everything
 * that goes back to the front server is libfcgi's.
 */
#ifndef SLUICE_FCGI_RECORD_H
#define SLUICE_FCGI_RECORD_H

#include "sluice/slice.h"

#include <stdint.h>

enum {
    FCGI_RECORD_HEADER_SIZE = 8,
    FCGI_RECORD_MAX_SIZE = 8 + 65535 + 255,
    FCGI_RECORD_END_SIZE = 16
};

enum fcgi_record_type {
    FCGI_RECORD_BEGIN = 1,
    FCGI_RECORD_ABORT = 2,
    FCGI_RECORD_END = 3,
    FCGI_RECORD_PARAMS = 4,
    FCGI_RECORD_STDIN = 5,
    FCGI_RECORD_DATA = 8,
    FCGI_RECORD_GET_VALUES = 9,
    FCGI_RECORD_GET_VALUES_RESULT = 10,
    FCGI_RECORD_UNKNOWN = 11
};

struct fcgi_record {
    uint8_t type;
    uint16_t request_id;
    struct slice content; /* points into the parsed bytes */
    struct slice whole;   /* header, content and padding */
};

enum fcgi_record_result { FCGI_RECORD_OK, FCGI_RECORD_INCOMPLETE, FCGI_RECORD_BAD };

/* Takes the record at the front of bytes. INCOMPLETE wants more bytes; BAD is another protocol version. */
enum fcgi_record_result fcgi_record_parse(struct slice bytes, struct fcgi_record *out);

/* True where the name-value pairs of a whole PARAMS stream (section 3.4) fill it exactly, with no length that
 * points beyond it, no NUL within, and at most max_pairs pairs. libfcgi trusts these lengths. */
bool fcgi_params_are_sound(struct slice params, size_t max_pairs);

/* protocolStatus of an END_REQUEST record (section 5.5). */
enum fcgi_end_status { FCGI_END_COMPLETE = 0, FCGI_END_CANT_MULTIPLEX = 1, FCGI_END_UNKNOWN_ROLE = 3 };

/* An END_REQUEST record that refuses a request which libfcgi never sees. */
void fcgi_record_write_end(uint16_t request_id, enum fcgi_end_status status, uint8_t out[FCGI_RECORD_END_SIZE]);

/* The header of a record without padding. */
void fcgi_record_write_header(uint8_t type, uint16_t request_id, uint16_t content,
                              uint8_t out[FCGI_RECORD_HEADER_SIZE]);

/* The answer to a management record: an empty GET_VALUES_RESULT ("the application omits what it does not
 * understand") or UNKNOWN_TYPE. Gives the number of bytes written. */
size_t fcgi_record_write_management(uint8_t type, uint8_t out[FCGI_RECORD_END_SIZE]);

#endif
