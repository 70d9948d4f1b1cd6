/*
 * A request's path and body, as far as they decide what is done with it: segments are the path's; whether a path is
 * administration is what a plain reading of the decoded path gives; an estimate is within its bounds, and is one of an
 * object; what may be cached is JSON.
 */
#include "fuzz.h"

#include "sluice/cache_policy.h"
#include "sluice/estimate.h"
#include "sluice/json_scan.h"

#include <ctype.h>
#include <string.h>

enum { DECODED_MAX = 4096, SEGMENTS_MAX = 4096 };

/* Decoded, in lower case, without slashes in front, and up to what ends the first segment. */
static size_t first_segment(struct slice path, char *out)
{
    size_t n = 0;
    char decoded[DECODED_MAX];
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c == '%' && i + 2 < path.len && isxdigit((unsigned char)path.ptr[i + 1]) &&
            isxdigit((unsigned char)path.ptr[i + 2])) {
            const char hex[3] = {path.ptr[i + 1], path.ptr[i + 2], '\0'};
            c = (char)strtoul(hex, NULL, 16);
            i += 2;
        }
        decoded[n++] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    size_t from = 0, len = 0;
    while (from < n && decoded[from] == '/')
        from++;
    while (from + len < n && decoded[from + len] != '/' && decoded[from + len] != ';' && decoded[from + len] != '?' &&
           decoded[from + len] != '\0')
        len++;
    memcpy(out, decoded + from, len);
    return len;
}

static void check_admin(struct slice path)
{
    char segment[DECODED_MAX];
    struct slice first = slice_make(segment, first_segment(path, segment));
    bool admin = slice_equals_text(first, "organization") || slice_equals_text(first, "organizations") ||
                 slice_equals_text(first, "projects");
    FUZZ_ASSERT(endpoint_is_admin(path) == admin);
}

static const struct endpoint *check_path(struct slice path)
{
    size_t n = 0, bytes = 0;
    for (struct slice s; (s = endpoint_segment(path, n)).ptr; n++) {
        FUZZ_ASSERT(n < SEGMENTS_MAX && (s.len == 0 || (s.ptr > path.ptr && s.ptr + s.len <= path.ptr + path.len)));
        FUZZ_ASSERT(s.len == 0 || !memchr(s.ptr, '/', s.len));
        bytes += 1 + s.len;
    }
    FUZZ_ASSERT(bytes == (path.len > 0 && path.ptr[0] == '/' ? path.len : 0));
    const struct endpoint *e = endpoint_find(path);
    struct slice model = endpoint_path_model(e, path);
    FUZZ_ASSERT(e && (model.len > 0) == e->model_in_path);
    FUZZ_ASSERT(!endpoint_is_websocket(path) || !endpoint_is_admin(path));
    return e;
}

static bool is_object(struct slice text)
{
    struct json_value value;
    return json_value_read(text, &value) && value.kind == JSON_KIND_OBJECT;
}

static void check_body(const struct endpoint *e, struct slice method, struct slice body)
{
    struct estimate est = estimate_request(body, e->fields);
    bool object = is_object(body);
    FUZZ_ASSERT(est.input_tokens >= 0 && est.input_tokens <= ESTIMATE_MAX && (est.input_tokens > 0) == object);
    FUZZ_ASSERT(est.output_tokens >= -1 && est.output_tokens <= ESTIMATE_MAX && est.choices >= 1);
    FUZZ_ASSERT(est.input_tokens <= (int64_t)(body.len + 1) * ESTIMATE_IMAGE_TOKENS);
    struct cache_verdict v = cache_policy_request(e, method, body);
    FUZZ_ASSERT((v.kind == CACHE_KIND_NONE) == (v.reason != NULL));
    FUZZ_ASSERT(v.kind == CACHE_KIND_NONE || v.kind == CACHE_KIND_MODELS || object);
    FUZZ_ASSERT(v.kind == CACHE_KIND_NONE || endpoint_allows(e, method));
    for (int kind = CACHE_KIND_NONE; kind <= CACHE_KIND_MODELS; kind++)
        if (!cache_policy_answer((enum cache_kind)kind, 200, body))
            FUZZ_ASSERT(kind != CACHE_KIND_NONE && object);
}

/* A byte for the method, the path up to a line's end, the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"POST", "GET", "HEAD", "DELETE", "PATCH"};
    if (size < 1 || size > DECODED_MAX)
        return 0;
    struct slice method = slice_from_text(methods[data[0] % 5]), rest = slice_make(data + 1, size - 1);
    const char *end = rest.len > 0 ? memchr(rest.ptr, '\n', rest.len) : NULL;
    struct slice path = end ? slice_take(rest, (size_t)(end - rest.ptr)) : rest;
    check_admin(path);
    const struct endpoint *e = check_path(path);
    check_body(e, method, slice_skip(rest, path.len + 1));
    return 0;
}
