#include "directive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_INT, KIND_MS, KIND_REAL, KIND_TEXT, KIND_HANG };

struct key {
    const char *name;
    enum kind kind;
    size_t offset;
    size_t size;
};

#define KEY(name, kind, field)                                                                               \
    {                                                                                                        \
        name, kind, offsetof(struct directive, field), sizeof(((struct directive *)0)->field)                \
    }

static const struct key keys[] = {
    KEY("events", KIND_INT, events),
    KEY("pace", KIND_MS, pace_us),
    KEY("first", KIND_MS, first_us),
    KEY("delay", KIND_MS, delay_us),
    KEY("status", KIND_INT, status),
    KEY("code", KIND_TEXT, code),
    KEY("type", KIND_TEXT, type),
    KEY("message", KIND_TEXT, message),
    KEY("retry-after", KIND_TEXT, retry_after),
    KEY("retry-after-ms", KIND_TEXT, retry_after_ms),
    KEY("should-retry", KIND_TEXT, should_retry),
    KEY("hang", KIND_HANG, hang),
    KEY("cut", KIND_INT, cut),
    KEY("cut-event", KIND_INT, cut_event),
    KEY("drop", KIND_INT, drop),
    KEY("rst", KIND_INT, rst),
    KEY("split", KIND_INT, split),
    KEY("badjson", KIND_INT, badjson),
    KEY("garbage", KIND_INT, garbage),
    KEY("wrong-length", KIND_INT, wrong_length),
    KEY("endless-header", KIND_INT, endless_header),
    KEY("headers", KIND_INT, headers),
    KEY("odd-header", KIND_INT, odd_header),
    KEY("slow-head", KIND_MS, slow_head_us),
    KEY("drip", KIND_MS, drip_us),
    KEY("read-pace", KIND_MS, read_pace_us),
    KEY("size", KIND_INT, size),
    KEY("cached", KIND_INT, cached),
    KEY("gzip", KIND_INT, gzip),
    KEY("nodone", KIND_INT, nodone),
    KEY("error-event", KIND_INT, error_event),
    KEY("ts", KIND_INT, ts),
    KEY("bigevent", KIND_INT, bigevent),
    KEY("comment", KIND_INT, comment),
    KEY("crlf", KIND_INT, crlf),
    KEY("fail-times", KIND_INT, fail_times),
    KEY("prob", KIND_REAL, prob),
    KEY("seed", KIND_INT, seed),
};

void directive_init(struct directive *d)
{
    *d = (struct directive){
        .events = -1,
        .cut = -1,
        .cut_event = -1,
        .size = -1,
        .error_event = -1,
        .fail_times = -1,
        .seed = -1,
        .prob = 1.0,
    };
}

static int64_t hang_value(const char *text)
{
    if (strcmp(text, "accept") == 0) {
        return HANG_ACCEPT;
    }
    return strcmp(text, "body") == 0 ? HANG_BODY : HANG_HEAD;
}

static void key_apply(struct directive *d, const struct key *key, const char *value)
{
    char *field = (char *)d + key->offset;
    switch (key->kind) {
    case KIND_INT:
        *(int64_t *)(void *)field = strtoll(value, NULL, 10);
        break;
    case KIND_MS:
        *(int64_t *)(void *)field = (int64_t)(strtod(value, NULL) * 1000.0);
        break;
    case KIND_REAL:
        *(double *)(void *)field = strtod(value, NULL);
        break;
    case KIND_HANG:
        *(int64_t *)(void *)field = hang_value(value);
        break;
    case KIND_TEXT:
        snprintf(field, key->size, "%s", value);
        break;
    }
}

static bool pair_apply(struct directive *d, struct slice pair)
{
    const char *equals = memchr(pair.p, '=', pair.n);
    size_t name_len = equals ? (size_t)(equals - pair.p) : pair.n;
    char value[DIRECTIVE_TEXT * 2] = "1";
    if (equals) {
        snprintf(value, sizeof value, "%.*s", (int)(pair.n - name_len - 1), equals + 1);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (slice_equals((struct slice){pair.p, name_len}, keys[i].name)) {
            key_apply(d, &keys[i], value);
            return true;
        }
    }
    return false;
}

bool directive_parse(struct directive *d, struct slice text)
{
    bool known = true;
    while (text.n) {
        const char *end = memchr(text.p, ';', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        struct slice pair = slice_trim((struct slice){text.p, n});
        if (pair.n && !pair_apply(d, pair)) {
            known = false;
        }
        n += end ? 1 : 0;
        text.p += n;
        text.n -= n;
    }
    return known;
}
