/*
 * An answer told as a stream. Every chunk is the same frame around one choice; what is said of the choice goes through
 * a few small writers. Failure is noted once, in the writer, and taken back at the end.
 */
#include "sluice/cached_answer.h"

#include "sluice/json_scan.h"

enum { CACHED_FRAME_MAX = 16 * 1024 };

struct cached_writer {
    struct buf *out;
    struct buf frame; /* {"id":…,"choices":[ */
    struct json_value object;
    bool chat;
    bool include_usage;
    bool first; /* no chunk was written yet */
    bool ok;
};

static void cached_put(struct cached_writer *w, const char *text)
{
    w->ok = w->ok && buf_append_text(w->out, text);
}

static void cached_put_json(struct cached_writer *w, struct slice json)
{
    w->ok = w->ok && json_scan_put_compact(w->out, json);
}

static void cached_put_name(struct cached_writer *w, struct slice name)
{
    cached_put(w, "\"");
    w->ok = w->ok && buf_append_slice(w->out, name);
    cached_put(w, "\":");
}

static bool cached_name_is_one_of(struct slice name, const char *const *names)
{
    for (; *names; names++)
        if (json_scan_text_is(name, *names))
            return true;
    return false;
}

/* Members of an object but for the listed ones; each with a comma before it, but for the first where bare says so. */
static void cached_put_members(struct cached_writer *w, struct json_value object, const char *const *but, bool bare)
{
    struct json_items items;
    struct json_value value;
    struct slice name;
    json_items_begin(&items, object);
    while (json_items_next(&items, &name, &value)) {
        if (cached_name_is_one_of(name, but))
            continue;
        if (!bare)
            cached_put(w, ",");
        bare = false;
        cached_put_name(w, name);
        cached_put_json(w, value.raw);
    }
}

/* ---- the frame ---------------------------------------------------------------------------------------------- */

static const char *const cached_frame_names[] = {"id", "created", "model", "service_tier", "system_fingerprint"};
static const char *const cached_known_names[] = {
    "id", "created", "model", "service_tier", "system_fingerprint", "object", "choices", "usage", NULL};

static bool cached_make_frame(struct cached_writer *w)
{
    struct buf *f = &w->frame;
    bool ok = buf_printf(f, "data: {\"object\":\"%s\"", w->chat ? "chat.completion.chunk" : "text_completion");
    for (size_t i = 0; i < sizeof cached_frame_names / sizeof *cached_frame_names; i++) {
        struct json_value value;
        if (json_value_find(w->object, cached_frame_names[i], &value))
            ok = ok && buf_printf(f, ",\"%s\":", cached_frame_names[i]) && json_scan_put_compact(f, value.raw);
    }
    return ok && buf_append_text(f, ",\"choices\":[");
}

static void cached_open(struct cached_writer *w)
{
    w->ok = w->ok && buf_append_slice(w->out, buf_slice(&w->frame));
}

static void cached_close(struct cached_writer *w)
{
    cached_put(w, "]");
    if (w->first)
        cached_put_members(w, w->object, cached_known_names, false);
    w->first = false;
    cached_put(w, w->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

/* ---- chunks of a choice ------------------------------------------------------------------------------------- */

struct cached_choice {
    struct json_value value, message;
    struct json_value logprobs; /* until they are told */
    size_t position;
};

static void cached_open_choice(struct cached_writer *w, const struct cached_choice *c)
{
    struct json_value index;
    cached_open(w);
    cached_put(w, "{\"index\":");
    if (json_value_find(c->value, "index", &index))
        cached_put_json(w, index.raw);
    else
        w->ok = w->ok && buf_printf(w->out, "%zu", c->position);
}

/* They come with the first chunk that says something. */
static void cached_put_logprobs(struct cached_writer *w, struct cached_choice *c)
{
    cached_put(w, ",\"logprobs\":");
    if (c->logprobs.kind == JSON_KIND_OBJECT)
        cached_put_json(w, c->logprobs.raw);
    else
        cached_put(w, "null");
    c->logprobs.kind = JSON_KIND_NULL;
}

static void cached_close_choice(struct cached_writer *w, struct cached_choice *c)
{
    cached_put_logprobs(w, c);
    cached_put(w, ",\"finish_reason\":null}");
    cached_close(w);
}

static void cached_role_chunk(struct cached_writer *w, const struct cached_choice *c)
{
    struct json_value role, content;
    cached_open_choice(w, c);
    cached_put(w, ",\"delta\":{\"role\":");
    if (json_value_find(c->message, "role", &role))
        cached_put_json(w, role.raw);
    else
        cached_put(w, "\"assistant\"");
    json_value_find(c->message, "content", &content);
    cached_put(w, content.kind == JSON_KIND_STRING ? ",\"content\":\"\"" : ",\"content\":null");
    cached_put(w, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}");
    cached_close(w);
}

static void cached_delta_chunk(struct cached_writer *w, struct cached_choice *c, struct slice name,
                               struct json_value value)
{
    cached_open_choice(w, c);
    cached_put(w, ",\"delta\":{");
    cached_put_name(w, name);
    cached_put_json(w, value.raw);
    cached_put(w, "}");
    cached_close_choice(w, c);
}

static void cached_tool_chunks(struct cached_writer *w, struct cached_choice *c, struct json_value calls)
{
    static const char *const index[] = {"index", NULL};
    struct json_items items;
    struct json_value call;
    json_items_begin(&items, calls);
    for (size_t i = 0; json_items_next(&items, NULL, &call); i++) {
        cached_open_choice(w, c);
        w->ok = w->ok && buf_printf(w->out, ",\"delta\":{\"tool_calls\":[{\"index\":%zu", i);
        w->ok = w->ok && call.kind == JSON_KIND_OBJECT;
        if (w->ok)
            cached_put_members(w, call, index, false);
        cached_put(w, "}]}");
        cached_close_choice(w, c);
    }
}

/* null and the empty say nothing that the absent does not. */
static bool cached_says_something(struct json_value value)
{
    struct json_items items;
    struct json_value first;
    if (value.kind == JSON_KIND_STRING)
        return value.raw.len > 2;
    if (value.kind == JSON_KIND_ARRAY)
        return json_items_begin(&items, value) && json_items_next(&items, NULL, &first);
    return value.kind != JSON_KIND_NULL;
}

static void cached_message_chunks(struct cached_writer *w, struct cached_choice *c)
{
    struct json_items items;
    struct json_value value;
    struct slice name;
    json_items_begin(&items, c->message);
    while (json_items_next(&items, &name, &value)) {
        if (json_scan_text_is(name, "role") || !cached_says_something(value))
            continue;
        if (json_scan_text_is(name, "tool_calls") && value.kind == JSON_KIND_ARRAY)
            cached_tool_chunks(w, c, value);
        else
            cached_delta_chunk(w, c, name, value);
    }
}

static void cached_text_chunk(struct cached_writer *w, struct cached_choice *c)
{
    struct json_value text;
    if (!json_value_find(c->value, "text", &text) || !cached_says_something(text))
        return;
    cached_open_choice(w, c);
    cached_put(w, ",\"text\":");
    cached_put_json(w, text.raw);
    cached_close_choice(w, c);
}

/* With what else the choice says. */
static void cached_finish_chunk(struct cached_writer *w, struct cached_choice *c)
{
    static const char *const told[] = {"index", "message", "text", "logprobs", NULL};
    cached_open_choice(w, c);
    cached_put(w, w->chat ? ",\"delta\":{}" : ",\"text\":\"\"");
    cached_put_logprobs(w, c);
    cached_put_members(w, c->value, told, false);
    cached_put(w, "}");
    cached_close(w);
}

static void cached_choice_chunks(struct cached_writer *w, struct cached_choice *c)
{
    json_value_find(c->value, "message", &c->message);
    json_value_find(c->value, "logprobs", &c->logprobs);
    w->ok = w->ok && c->value.kind == JSON_KIND_OBJECT && (c->message.kind == JSON_KIND_OBJECT) == w->chat;
    if (!w->ok)
        return;
    if (w->chat) {
        cached_role_chunk(w, c);
        cached_message_chunks(w, c);
    } else {
        cached_text_chunk(w, c);
    }
    cached_finish_chunk(w, c);
}

static void cached_usage_chunk(struct cached_writer *w)
{
    struct json_value usage;
    if (!w->include_usage || !json_value_find(w->object, "usage", &usage) || usage.kind != JSON_KIND_OBJECT)
        return;
    cached_open(w);
    cached_put(w, "],\"usage\":");
    cached_put_json(w, usage.raw);
    cached_put(w, "}\n\n");
}

static void cached_write(struct cached_writer *w)
{
    struct json_value choices;
    struct json_items items;
    struct cached_choice choice = {.position = 0};
    w->ok = json_value_find(w->object, "choices", &choices) && choices.kind == JSON_KIND_ARRAY &&
            json_items_begin(&items, choices) && cached_make_frame(w);
    while (w->ok && json_items_next(&items, NULL, &choice.value)) {
        cached_choice_chunks(w, &choice);
        choice.position++;
    }
    w->ok = w->ok && choice.position > 0;
    cached_usage_chunk(w);
    cached_put(w, "data: [DONE]\n\n");
}

bool cached_answer_stream(struct slice text, bool include_usage, struct buf *out)
{
    struct cached_writer w = {.out = out, .include_usage = include_usage, .first = true};
    struct json_value kind;
    size_t before = out->len;
    if (!json_value_read(text, &w.object) || !json_value_find(w.object, "object", &kind))
        return false;
    w.chat = json_value_is_text(kind, "chat.completion");
    if (!w.chat && !json_value_is_text(kind, "text_completion"))
        return false;
    buf_init(&w.frame, CACHED_FRAME_MAX);
    cached_write(&w);
    buf_free(&w.frame);
    if (!w.ok)
        out->len = before;
    return w.ok;
}
