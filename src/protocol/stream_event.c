/* From colon to colon: few bytes of an event are one, and before each stands a name. */
#include "sluice/stream_event.h"

struct stream_event_scan {
    struct slice data;
    size_t delta_bytes;
    struct stream_event *out;
};

static bool stream_event_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *stream_event_skip_blank(const char *at, const char *end)
{
    while (at < end && stream_event_is_blank(*at))
        at++;
    return at;
}

/* Where the blanks before at begin. */
static const char *stream_event_skip_back(const char *at, const char *begin)
{
    while (at > begin && stream_event_is_blank(at[-1]))
        at--;
    return at;
}

/* Whether what ends before at is this name, in its quotes. */
static bool stream_event_is_name(struct slice before, struct slice quoted)
{
    return before.len >= quoted.len && memcmp(before.ptr + before.len - quoted.len, quoted.ptr, quoted.len) == 0;
}

/* The names under which the endpoints deliver text. */
static bool stream_event_is_delta(struct slice before)
{
    static const struct slice names[] = {{"\"content\"", 9}, {"\"delta\"", 7},   {"\"arguments\"", 11},
                                         {"\"text\"", 6},    {"\"refusal\"", 9}, {"\"reasoning_content\"", 19}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (stream_event_is_name(before, names[i]))
            return true;
    return false;
}

/* Behind the closing quote of the string whose first byte is at. */
static const char *stream_event_skip_string(const char *at, const char *end)
{
    for (; at < end; at++) {
        if (*at == '"')
            return at;
        if (*at == '\\' && at + 1 < end)
            at++;
    }
    return end;
}

static void stream_event_note_usage(struct stream_event_scan *s, const char *name, const char *value)
{
    const char *end = s->data.ptr + s->data.len;
    const char *comma = stream_event_skip_back(name, s->data.ptr);
    if (value < end && *value == '{')
        s->out->has_usage = true;
    if (comma == s->data.ptr || comma[-1] != ',' || end - value < 4 || memcmp(value, "null", 4) != 0)
        return;
    s->out->null_usage = slice_make(comma - 1, (size_t)(value + 4 - (comma - 1)));
}

/* Looks at the member whose colon this is; gives where the search goes on. */
static const char *stream_event_look(struct stream_event_scan *s, const char *colon)
{
    static const struct slice usage = {"\"usage\"", 7}, finish = {"\"finish_reason\"", 15};
    const char *end = s->data.ptr + s->data.len;
    const char *name_end = stream_event_skip_back(colon, s->data.ptr);
    struct slice before = slice_make(s->data.ptr, (size_t)(name_end - s->data.ptr));
    if (before.len == 0 || name_end[-1] != '"')
        return colon + 1;
    const char *value = stream_event_skip_blank(colon + 1, end);
    if (stream_event_is_name(before, usage)) {
        stream_event_note_usage(s, name_end - usage.len, value);
    } else if (value < end && *value == '"') {
        if (stream_event_is_delta(before)) {
            const char *behind = stream_event_skip_string(value + 1, end);
            s->delta_bytes += (size_t)(behind - (value + 1));
            return behind;
        }
        s->out->finishes = s->out->finishes || stream_event_is_name(before, finish);
    }
    return colon + 1;
}

void stream_event_read(struct slice data, struct stream_event *out)
{
    struct stream_event_scan s = {.data = data, .out = out};
    const char *at = data.ptr, *end = data.ptr + data.len, *colon;
    *out = (struct stream_event){.null_usage = {NULL, 0}};
    while (at < end && (colon = memchr(at, ':', (size_t)(end - at))))
        at = stream_event_look(&s, colon);
    out->delta_tokens = (s.delta_bytes + 3) / 4;
}
