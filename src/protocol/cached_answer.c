/*
 * An answer told as a stream. Every chunk is the same frame around one choice; what is said of the choice
 * goes through a few small writers. Failure is noted once, in the writer, and taken back at the end.
 */
#include "sluice/cached_answer.h"

#include "sluice/json_scan.h"

enum { CACHED_FRAME_MAX = 16 * 1024, CACHED_KNOWN = 8 };

struct cached_writer {
    struct buf *out;
    struct buf frame; /* {"id":…,"choices":[ */
    struct json_value object;
    struct json_value known[CACHED_KNOWN]; /* its members of these names */
    bool chat;
    bool include_usage;
    bool first; /* no chunk was written yet */
    bool ok;
};

/* Several members by one reading; of those with the same name the last. names ends in NULL. */
static void cached_find(struct json_value object, const char *const *names, struct json_value *values)
{
    struct json_items items;
    struct json_value value;
    struct slice name;
    for (size_t i = 0; names[i]; i++)
        values[i] = (struct json_value){JSON_KIND_ERROR, {NULL, 0}};
    if (object.kind != JSON_KIND_OBJECT || !json_items_begin(&items, object))
        return;
    while (json_items_next(&items, &name, &value))
        for (size_t i = 0; names[i]; i++)
            if (json_scan_text_is(name, names[i]))
                values[i] = value;
}

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

/* Members of an object but for the listed ones; each with a comma before it, but for the first where bare
 * says so. */
static void cached_put_members(struct cached_writer *w, struct json_value object, const char *const *but,
                               bool bare)
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

/* ---- the frame --------------------------------------------------------------------------------------- */

/* The first ones are told in every chunk. */
enum {
    CACHED_ID,
    CACHED_CREATED,
    CACHED_MODEL,
    CACHED_TIER,
    CACHED_FINGERPRINT,
    CACHED_IN_FRAME,
    CACHED_OBJECT = CACHED_IN_FRAME,
    CACHED_CHOICES,
    CACHED_USAGE,
};

static const char *const cached_known_names[CACHED_KNOWN + 1] = {
    "id", "created", "model", "service_tier", "system_fingerprint", "object", "choices", "usage", NULL};

static bool cached_make_frame(struct cached_writer *w)
{
    struct buf *f = &w->frame;
    bool ok =
        buf_printf(f, "data: {\"object\":\"%s\"", w->chat ? "chat.completion.chunk" : "text_completion");
    for (size_t i = 0; ok && i < CACHED_IN_FRAME; i++)
        if (w->known[i].kind != JSON_KIND_ERROR)
            ok =
                buf_printf(f, ",\"%s\":", cached_known_names[i]) && json_scan_put_compact(f, w->known[i].raw);
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

/* ---- chunks of a choice ------------------------------------------------------------------------------ */

struct cached_choice {
    struct json_value value, index, message, text;
    struct json_value logprobs; /* until they are told */
    size_t position;
};

static void cached_open_choice(struct cached_writer *w, const struct cached_choice *c)
{
    cached_open(w);
    cached_put(w, "{\"index\":");
    if (c->index.kind != JSON_KIND_ERROR)
        cached_put_json(w, c->index.raw);
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
    static const char *const names[] = {"role", "content", NULL};
    struct json_value said[2];
    cached_find(c->message, names, said);
    cached_open_choice(w, c);
    cached_put(w, ",\"delta\":{\"role\":");
    if (said[0].kind != JSON_KIND_ERROR)
        cached_put_json(w, said[0].raw);
    else
        cached_put(w, "\"assistant\"");
    cached_put(w, said[1].kind == JSON_KIND_STRING ? ",\"content\":\"\"" : ",\"content\":null");
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
    if (c->text.kind == JSON_KIND_ERROR || !cached_says_something(c->text))
        return;
    cached_open_choice(w, c);
    cached_put(w, ",\"text\":");
    cached_put_json(w, c->text.raw);
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
    static const char *const names[] = {"index", "message", "text", "logprobs", NULL};
    struct json_value found[4];
    cached_find(c->value, names, found);
    c->index = found[0];
    c->message = found[1];
    c->text = found[2];
    c->logprobs = found[3];
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
    if (!w->include_usage || w->known[CACHED_USAGE].kind != JSON_KIND_OBJECT)
        return;
    cached_open(w);
    cached_put(w, "],\"usage\":");
    cached_put_json(w, w->known[CACHED_USAGE].raw);
    cached_put(w, "}\n\n");
}

static void cached_write(struct cached_writer *w)
{
    struct json_value choices = w->known[CACHED_CHOICES];
    struct json_items items;
    struct cached_choice choice = {.position = 0};
    w->ok = choices.kind == JSON_KIND_ARRAY && json_items_begin(&items, choices) && cached_make_frame(w);
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
    size_t before = out->len;
    if (!json_value_read(text, &w.object))
        return false;
    cached_find(w.object, cached_known_names, w.known);
    w.chat = json_value_is_text(w.known[CACHED_OBJECT], "chat.completion");
    if (!w.chat && !json_value_is_text(w.known[CACHED_OBJECT], "text_completion"))
        return false;
    buf_init(&w.frame, CACHED_FRAME_MAX);
    cached_write(&w);
    buf_free(&w.frame);
    if (!w.ok)
        out->len = before;
    return w.ok;
}
