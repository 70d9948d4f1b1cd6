/* The table of endpoints (OpenAI reference and the paths of the 0.28 client). */
#include "sluice/endpoint.h"

#define GET ENDPOINT_GET
#define POST ENDPOINT_POST
#define ANY ENDPOINT_ANY
#define FIELDS(kind) .fields = ENDPOINT_FIELDS_##kind
#define STREAM(kind) .stream = ENDPOINT_STREAM_##kind
#define STORED .is_stored = true

static const struct endpoint endpoints[] = {
    {"chat.completions", "/chat/completions", GET | POST, FIELDS(CHAT), STREAM(CHOICES)},
    {"chat.completions", "/chat/completions/{}", ANY, FIELDS(NONE), STORED},
    {"completions", "/completions", POST, FIELDS(COMPLETIONS), STREAM(CHOICES)},
    {"embeddings", "/embeddings", POST, FIELDS(EMBEDDINGS)},
    {"responses", "/responses", ANY, FIELDS(RESPONSES), STREAM(RESPONSES)},
    {"responses", "/responses/{}", ANY, FIELDS(NONE), STREAM(RESPONSES), STORED},
    {"responses", "/responses/{}/cancel", ANY, FIELDS(NONE), STORED},
    {"responses.compact", "/responses/compact", ANY, FIELDS(MODEL)},
    {"responses.input_tokens", "/responses/input_tokens", ANY, FIELDS(MODEL)},
    {"moderations", "/moderations", POST, FIELDS(MODEL)},
    {"models", "/models", GET, FIELDS(NONE)},
    {"models", "/models/{}", GET | ENDPOINT_DELETE, FIELDS(NONE)},
    {"audio.speech", "/audio/speech", POST, FIELDS(MODEL)},
    {"audio.transcriptions", "/audio/transcriptions", POST, FIELDS(NONE)},
    {"audio.translations", "/audio/translations", POST, FIELDS(NONE)},
    {"images.generations", "/images/generations", POST, FIELDS(MODEL)},
    {"images.edits", "/images/edits", POST, FIELDS(NONE)},
    {"images.variations", "/images/variations", POST, FIELDS(NONE)},
    {"files", "/files", ANY, FIELDS(NONE)},
    {"files", "/files/{}", ANY, FIELDS(NONE)},
    {"files.content", "/files/{}/content", ANY, FIELDS(NONE)},
    {"uploads", "/uploads", ANY, FIELDS(NONE)},
    {"uploads", "/uploads/{}/{}", ANY, FIELDS(NONE)},
    {"batches", "/batches", ANY, FIELDS(NONE), STORED},
    {"batches", "/batches/{}", ANY, FIELDS(NONE), STORED},
    {"batches", "/batches/{}/cancel", ANY, FIELDS(NONE), STORED},
    {"fine_tuning.jobs", "/fine_tuning/jobs", ANY, FIELDS(MODEL)},
    {"threads.runs", "/threads/runs", ANY, FIELDS(MODEL)},
    {"threads.runs", "/threads/{}/runs", ANY, FIELDS(MODEL)},
    {"threads.runs", "/threads/{}/runs/{}", ANY, FIELDS(NONE), STORED},
    {"threads.runs", "/threads/{}/runs/{}/cancel", ANY, FIELDS(NONE), STORED},
    {"assistants", "/assistants", ANY, FIELDS(MODEL)},
    {"edits", "/edits", POST, FIELDS(MODEL)},
    {"chat.completions", "/engines/{}/chat/completions", POST, FIELDS(CHAT), STREAM(CHOICES), true},
    {"completions", "/engines/{}/completions", POST, FIELDS(COMPLETIONS), STREAM(CHOICES), true},
    {"embeddings", "/engines/{}/embeddings", POST, FIELDS(EMBEDDINGS), .model_in_path = true},
    {"edits", "/engines/{}/edits", POST, FIELDS(MODEL), .model_in_path = true},
};

static const struct endpoint endpoint_other = {"other", "", ANY, FIELDS(NONE)};

struct slice endpoint_segment(struct slice path, size_t n)
{
    for (;;) {
        if (path.len == 0 || path.ptr[0] != '/')
            return (struct slice){NULL, 0};
        path = slice_skip(path, 1);
        const char *slash = path.len ? memchr(path.ptr, '/', path.len) : NULL;
        size_t len = slash ? (size_t)(slash - path.ptr) : path.len;
        if (n-- == 0)
            return len > 0 ? slice_take(path, len) : (struct slice){"", 0}; /* an empty segment is one */
        path = slice_skip(path, len);
    }
}

/* Segment by segment; {} matches one that is not empty. */
static bool endpoint_matches(struct slice pattern, struct slice path)
{
    for (size_t i = 0;; i++) {
        struct slice want = endpoint_segment(pattern, i), got = endpoint_segment(path, i);
        if (!want.ptr || !got.ptr)
            return want.ptr == got.ptr;
        if (slice_equals_text(want, "{}") ? got.len == 0 : !slice_equals(want, got))
            return false;
    }
}

const struct endpoint *endpoint_find(struct slice api_path)
{
    const struct endpoint *found = &endpoint_other;
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        if (slice_equals_text(api_path, endpoints[i].pattern))
            return &endpoints[i];
        if (found == &endpoint_other && endpoint_matches(slice_from_text(endpoints[i].pattern), api_path))
            found = &endpoints[i];
    }
    return found;
}

bool endpoint_allows(const struct endpoint *e, struct slice method)
{
    return e->methods & ENDPOINT_ANY || (e->methods & ENDPOINT_GET && slice_equals_text(method, "GET")) ||
           (e->methods & ENDPOINT_GET && slice_equals_text(method, "HEAD")) ||
           (e->methods & ENDPOINT_POST && slice_equals_text(method, "POST")) ||
           (e->methods & ENDPOINT_DELETE && slice_equals_text(method, "DELETE"));
}

bool endpoint_uses_tokens(const struct endpoint *e, struct slice method)
{
    return !e->is_stored && !slice_equals_text(method, "GET") && !slice_equals_text(method, "HEAD") &&
           !slice_equals_text(method, "DELETE");
}

struct slice endpoint_path_model(const struct endpoint *e, struct slice api_path)
{
    return e->model_in_path ? endpoint_segment(api_path, 1) : (struct slice){NULL, 0};
}

static int endpoint_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next character of a segment with percent-encoding undone, in lower case. */
static char endpoint_take_char(struct slice *s)
{
    char c = s->ptr[0];
    if (c == '%' && s->len >= 3 && endpoint_hex(s->ptr[1]) >= 0 && endpoint_hex(s->ptr[2]) >= 0) {
        c = (char)(endpoint_hex(s->ptr[1]) << 4 | endpoint_hex(s->ptr[2]));
        *s = slice_skip(*s, 3);
    } else {
        *s = slice_skip(*s, 1);
    }
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Whether the path's first segment is this one, as an upstream that decodes and folds slashes would read it. */
static bool endpoint_begins_with(struct slice path, const char *word)
{
    struct slice rest = path;
    while (rest.len > 0) {
        struct slice after = rest;
        if (endpoint_take_char(&after) != '/')
            break;
        rest = after;
    }
    for (; *word; word++)
        if (rest.len == 0 || endpoint_take_char(&rest) != *word)
            return false;
    return rest.len == 0 || strchr("/;?", endpoint_take_char(&rest));
}

bool endpoint_is_admin(struct slice api_path)
{
    return endpoint_begins_with(api_path, "organization") || endpoint_begins_with(api_path, "organizations") ||
           endpoint_begins_with(api_path, "projects");
}

bool endpoint_is_websocket(struct slice api_path)
{
    return slice_equals_text(api_path, "/realtime");
}
