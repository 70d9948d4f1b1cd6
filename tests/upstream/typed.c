/* The smaller event streams: runs of assistants, transcriptions, speech and images. Each is some events, deltas, some events. */
#include "endpoints.h"
#include "multipart.h"

#include <string.h>

#define TOKENS_DEFAULT 4

#define RUN                                                                                                  \
    "{\"id\":\"run_sim\",\"object\":\"thread.run\",\"created_at\":1700000000,\"thread_id\":\"thread_sim\","  \
    "\"assistant_id\":\"asst_sim\",\"model\":\"gpt-4o-mini\",\"instructions\":\"\",\"tools\":[],"            \
    "\"metadata\":{},\"status\":"
#define MESSAGE                                                                                              \
    "{\"id\":\"msg_sim\",\"object\":\"thread.message\",\"created_at\":1700000000,"                           \
    "\"thread_id\":\"thread_sim\",\"run_id\":\"run_sim\",\"assistant_id\":\"asst_sim\","                     \
    "\"role\":\"assistant\",\"metadata\":{},\"attachments\":[],\"status\":"
#define USAGE "{\"input_tokens\":14,\"output_tokens\":8,\"total_tokens\":22}"
#define PIXEL                                                                                                \
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
#define IMAGE                                                                                                \
    "\"created_at\":1700000000,\"size\":\"1024x1024\",\"quality\":\"low\",\"background\":\"opaque\","        \
    "\"output_format\":\"png\",\"b64_json\":\"" PIXEL "\""

struct typed_event {
    const char *name; /* NULL: without an "event:" line */
    const char *data;
};

struct typed {
    struct typed_event before[4];
    const char *delta_name, *delta_head, *delta_tail; /* the token stands between head and tail */
    struct typed_event after[4];
};

static const struct typed run = {
    .before = {{"thread.run.created", RUN "\"queued\"}"},
               {"thread.run.in_progress", RUN "\"in_progress\"}"},
               {"thread.message.created", MESSAGE "\"in_progress\",\"content\":[]}"}},
    .delta_name = "thread.message.delta",
    .delta_head = "{\"id\":\"msg_sim\",\"object\":\"thread.message.delta\",\"delta\":{\"content\":[{\"index\":0,"
                  "\"type\":\"text\",\"text\":{\"annotations\":[],\"value\":\"",
    .delta_tail = "\"}}]}}",
    .after = {{"thread.message.completed", MESSAGE "\"completed\",\"content\":[{\"type\":\"text\",\"text\":{\"value\":\"The\",\"annotations\":[]}}]}"},
              {"thread.run.completed", RUN "\"completed\",\"usage\":{\"prompt_tokens\":14,"
                                           "\"completion_tokens\":8,\"total_tokens\":22}}"},
              {"done", "[DONE]"}},
};

static const struct typed transcript = {
    .delta_head = "{\"type\":\"transcript.text.delta\",\"delta\":\"",
    .delta_tail = "\"}",
    .after = {{NULL, "{\"type\":\"transcript.text.done\",\"text\":\"The quick\",\"usage\":{\"type\":\"tokens\","
                     "\"input_tokens\":14,\"output_tokens\":8,\"total_tokens\":22}}"}},
};

static const struct typed speech = {
    .delta_head = "{\"type\":\"speech.audio.delta\",\"audio\":\"",
    .delta_tail = "\"}",
    .after = {{NULL, "{\"type\":\"speech.audio.done\",\"usage\":" USAGE "}"}},
};

static const struct typed image = {
    .before = {{"image_generation.partial_image",
                "{\"type\":\"image_generation.partial_image\",\"partial_image_index\":0," IMAGE "}"}},
    .after = {{"image_generation.completed", "{\"type\":\"image_generation.completed\"," IMAGE ",\"usage\":" USAGE "}"}},
};

static void event_put(struct stream *s, const char *name, struct buf *out)
{
    if (name) {
        BUF_LIT(out, "event: ");
        buf_puts(out, name);
        BUF_LIT(out, "\n");
    }
    BUF_LIT(out, "data: ");
    s->is_event = true;
}

static bool fixed_put(struct stream *s, const struct typed_event *list, uint64_t i, struct buf *out)
{
    if (i >= sizeof run.before / sizeof *run.before || !list[i].data) {
        return false;
    }
    event_put(s, list[i].name, out);
    buf_puts(out, list[i].data);
    BUF_LIT(out, "\n\n");
    return true;
}

static void delta_put(struct stream *s, const struct typed *t, uint64_t token, struct buf *out)
{
    event_put(s, t->delta_name, out);
    buf_puts(out, t->delta_head);
    stream_put_token(s, token, out);
    buf_puts(out, t->delta_tail);
    BUF_LIT(out, "\n\n");
    s->has_token = true;
    s->paced = token + 1 < s->tokens;
}

static uint64_t count(const struct typed_event *list)
{
    uint64_t n = 0;
    while (n < sizeof run.before / sizeof *run.before && list[n].data) {
        n++;
    }
    return n;
}

static bool typed_next(struct stream *s, struct buf *out)
{
    const struct typed *t = s->typed;
    uint64_t step = s->step++, before = count(t->before), deltas = t->delta_head ? s->tokens : 0;
    if (step < before) {
        return fixed_put(s, t->before, step, out);
    }
    if (step < before + deltas) {
        delta_put(s, t, step - before, out);
        return true;
    }
    return !s->dir->nodone && fixed_put(s, t->after, step - before - deltas, out);
}

static bool typed_answer(struct conn *c, const struct typed *t)
{
    struct stream *s = stream_new(&c->dir, typed_next);
    s->named_events = t->delta_name || t->before[0].name;
    s->tokens = c->dir.events >= 0 ? (uint64_t)c->dir.events : TOKENS_DEFAULT;
    s->typed = t;
    reply_send_stream(c, "text/event-stream; charset=utf-8", s, -1);
    return true;
}

static bool path_ends(struct slice path, const char *tail)
{
    size_t n = strlen(tail);
    return path.n >= n && memcmp(path.p + path.n - n, tail, n) == 0;
}

bool typed_handle(struct conn *c, struct slice path)
{
    bool json_stream = json_is_true(json_object_get(c->json, "stream"));
    const char *format = json_string_value(json_object_get(c->json, "stream_format"));
    struct slice form_stream = multipart_field(c->request, "stream");
    if (!slice_equals(c->request->method, "POST")) {
        return false;
    }
    if (json_stream && slice_starts(path, "threads/") &&
        (path_ends(path, "/runs") || path_ends(path, "/submit_tool_outputs"))) {
        return typed_answer(c, &run);
    }
    if (json_stream && slice_equals(path, "images/generations")) {
        return typed_answer(c, &image);
    }
    if (slice_equals(path, "audio/speech") && format && strcmp(format, "sse") == 0) {
        return typed_answer(c, &speech);
    }
    if (slice_equals(path, "audio/transcriptions") && form_stream.p && slice_equals(form_stream, "true")) {
        return typed_answer(c, &transcript);
    }
    return false;
}
