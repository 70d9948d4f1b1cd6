/* One parsed directive string: how the simulator is to behave for one request. */
#ifndef SIM_DIRECTIVE_H
#define SIM_DIRECTIVE_H

#include "buf.h"

enum directive_hang { HANG_NONE, HANG_HEAD, HANG_BODY, HANG_ACCEPT };

#define DIRECTIVE_TEXT 64

struct directive {
    int64_t events; /* -1: as the request says */
    int64_t pace_us;
    int64_t first_us;
    int64_t delay_us;
    int64_t slow_head_us;
    int64_t drip_us;
    int64_t read_pace_us;
    int64_t status;
    int64_t hang;
    int64_t cut; /* -1: no cut */
    int64_t cut_event;
    int64_t split;
    int64_t wrong_length;
    int64_t headers;
    int64_t odd_header;
    int64_t size; /* -1: the endpoint's own */
    int64_t cached; /* tokens */
    int64_t error_event;
    int64_t bigevent;
    int64_t fail_times;
    int64_t seed;
    int64_t drop, rst, badjson, garbage, endless_header, gzip, nodone, ts, comment, crlf;
    double prob;
    char code[DIRECTIVE_TEXT];
    char type[DIRECTIVE_TEXT];
    char message[DIRECTIVE_TEXT * 2];
    char retry_after[DIRECTIVE_TEXT];
    char retry_after_ms[DIRECTIVE_TEXT];
    char should_retry[DIRECTIVE_TEXT];
};

void directive_init(struct directive *d);

/* Returns false when a key is unknown; the keys known are applied all the same. */
bool directive_parse(struct directive *d, struct slice text);

#endif
