/*
 * The head of an upstream's answer, line by line: what goes on to the client is one line for each header, with its name
 * and its value; hints for retries stay within their bounds, and a duration that Sluice writes is read as it was. The
 * same for a client's Cache-Control.
 */
#include "fuzz.h"

#include "sluice/cache_policy.h"
#include "sluice/http_response.h"
#include "sluice/ratelimit_headers.h"
#include "sluice/retry.h"

#include <string.h>

enum { HEAD_MAX = 256 * 1024, NOW_S = 1700000000 };

#define LONGEST_US    INT64_C(31622400000000) /* 366 days */
#define LONGEST_DATE  INT64_C(253402300799)   /* of the year 9999 */

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7F)
            return false;
    return true;
}

static struct slice take_until(struct slice *rest, const char *end, size_t len)
{
    const char *at = rest->len > 0 ? memmem(rest->ptr, rest->len, end, len) : NULL;
    struct slice taken = at ? slice_take(*rest, (size_t)(at - rest->ptr)) : *rest;
    *rest = slice_skip(*rest, taken.len + len);
    return taken;
}

static void check_hints(const struct retry_hints *h)
{
    FUZZ_ASSERT(h->should_retry >= -1 && h->should_retry <= 1);
    FUZZ_ASSERT(h->reset_us >= -1 && h->reset_us <= LONGEST_US);
    FUZZ_ASSERT(h->after_us >= -1 && h->after_us <= (LONGEST_DATE - NOW_S) * 1000000);
}

/* The line that was written for one header, which is the first of head. */
static void check_line(struct slice *head, struct slice name, struct slice value)
{
    struct slice line = take_until(head, "\r\n", 2);
    FUZZ_ASSERT(line.len == name.len + 2 + value.len && slice_equals(slice_take(line, name.len), name));
    FUZZ_ASSERT(slice_equals(slice_skip(line, name.len + 2), value));
}

static void check_head(struct slice text)
{
    struct buf head;
    struct retry_hints hints;
    buf_init(&head, HEAD_MAX);
    retry_hints_init(&hints);
    FUZZ_ASSERT(http_response_begin(&head, text.len > 0 ? 100 + (uint8_t)text.ptr[0] * 2 : 200));
    struct slice rest = text;
    while (rest.len > 0) {
        struct slice value = take_until(&rest, "\n", 1), name = take_until(&value, ":", 1);
        retry_hints_take(&hints, name, slice_trim(value), NOW_S);
        check_hints(&hints);
        FUZZ_ASSERT(!ratelimit_is_header(name) || http_response_passes(name));
        FUZZ_ASSERT(http_response_header(&head, name, value));
    }
    FUZZ_ASSERT(http_response_end(&head));
    struct slice written = buf_slice(&head);
    FUZZ_ASSERT(slice_starts_with(take_until(&written, "\r\n", 2), SLICE_LITERAL("Status: ")));
    for (rest = text; rest.len > 0;) {
        struct slice value = take_until(&rest, "\n", 1), name = take_until(&value, ":", 1);
        if (is_plain(name) && is_plain(value))
            check_line(&written, name, value);
    }
    FUZZ_ASSERT(slice_equals_text(written, "\r\n"));
    buf_free(&head);
}

/* Written in milliseconds, rounded up. */
static void check_duration(struct slice text)
{
    char out[RATELIMIT_DURATION_SIZE];
    uint64_t bits = 0;
    FUZZ_ASSERT(retry_parse_duration(text) >= -1 && retry_parse_duration(text) <= LONGEST_US);
    if (text.len > 0)
        memcpy(&bits, text.ptr, text.len < sizeof bits ? text.len : sizeof bits);
    int64_t us = (int64_t)(bits % (uint64_t)LONGEST_US);
    ratelimit_format_duration(us, out);
    int64_t read = retry_parse_duration(slice_from_text(out));
    FUZZ_ASSERT(read >= us && read < us + 1000);
}

static void check_cache_control(struct slice text)
{
    struct cache_control c = cache_control_parse(text);
    FUZZ_ASSERT(c.max_age_s >= -1 && c.max_age_s <= INT32_MAX);
    FUZZ_ASSERT(!cache_control_allows(&c, INT64_MAX) || (!c.no_store && !c.no_cache && c.max_age_s < 0));
    if (text.len > 0 && !memchr(text.ptr, '-', text.len))
        FUZZ_ASSERT(!c.no_store && !c.no_cache && !c.only_if_cached && c.max_age_s == -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    check_head(text);
    check_duration(text);
    check_cache_control(text);
    return 0;
}
