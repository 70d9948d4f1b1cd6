/* Chat completions and the older text completions. */
#include "endpoints.h"
#include "errors.h"

#include <stdlib.h>
#include <string.h>

#define TOKENS_DEFAULT 16
#define TOKENS_MAX     1000000
#define CHOICES_MAX    128

static const char *const tool_pieces[] = {"{\\\"", "location", "\\\":\\\"", "Paris", "\\\"}"};

#define TOOL_PIECES (sizeof tool_pieces / sizeof *tool_pieces)

struct ask {
    const char *model; /* may point into engine */
    struct buf engine;
    const char *tool; /* the function to call, or NULL */
    uint64_t hash;
    uint64_t prompt_tokens;
    uint64_t tokens;
    uint64_t choices;
    bool stream, include_usage, chat;
};

static void text_measure(json_t *value, uint64_t *hash, uint64_t *bytes)
{
    size_t i;
    json_t *item;
    if (json_is_string(value)) {
        size_t n = json_string_length(value);
        *hash = text_hash(*hash, json_string_value(value), n);
        *bytes += n;
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            text_measure(json_is_object(item) ? json_object_get(item, "text") : item, hash, bytes);
        }
    } else if (json_is_integer(value)) { /* a token id */
        json_int_t id = json_integer_value(value);
        *hash = text_hash(*hash, &id, sizeof id);
        *bytes += 4;
    }
}

static void messages_measure(json_t *messages, struct ask *ask)
{
    uint64_t bytes = 0, ignored = 0;
    size_t i;
    json_t *message;
    json_array_foreach(messages, i, message)
    {
        text_measure(json_object_get(message, "role"), &ask->hash, &ignored);
        text_measure(json_object_get(message, "content"), &ask->hash, &bytes);
    }
    ask->prompt_tokens = bytes / 4 + 3;
}

static uint64_t count_get(json_t *json, const char *name, uint64_t fallback, uint64_t max)
{
    json_int_t value = json_integer_value(json_object_get(json, name));
    if (value <= 0) {
        return fallback;
    }
    return (uint64_t)value < max ? (uint64_t)value : max;
}

static const char *tool_chosen(json_t *json)
{
    json_t *choice = json_object_get(json, "tool_choice");
    json_t *tool = json_array_get(json_object_get(json, "tools"), 0);
    const char *name = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
    if (json_is_object(choice)) {
        const char *wanted = json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
        return wanted && tool ? wanted : NULL;
    }
    const char *text = json_string_value(choice);
    return text && strcmp(text, "required") == 0 ? name : NULL;
}

/* In /v1/engines/{engine}/... the path names the model. */
static void model_find(struct conn *c, struct ask *ask)
{
    struct slice path = c->request->path;
    ask->model = endpoints_model(c);
    if (!ask->model[0] && slice_starts(path, "/v1/engines/")) {
        const char *name = path.p + 12;
        const char *end = memchr(name, '/', path.n - 12);
        text_url_decode(&ask->engine, (struct slice){name, end ? (size_t)(end - name) : path.n - 12});
        buf_add(&ask->engine, "", 1);
        ask->model = ask->engine.data;
    }
}

static void ask_read(struct conn *c, struct ask *ask)
{
    json_t *json = c->json;
    uint64_t bytes = 0;
    model_find(c, ask);
    ask->hash = text_hash(TEXT_HASH_START, ask->model, strlen(ask->model));
    if (ask->chat) {
        messages_measure(json_object_get(json, "messages"), ask);
        ask->tool = tool_chosen(json);
    } else {
        text_measure(json_object_get(json, "prompt"), &ask->hash, &bytes);
        ask->prompt_tokens = bytes / 4 + 3;
    }
    ask->tokens = count_get(json, "max_tokens", TOKENS_DEFAULT, TOKENS_MAX);
    ask->tokens = count_get(json, "max_completion_tokens", ask->tokens, TOKENS_MAX);
    if (c->dir.events >= 0) {
        ask->tokens = (uint64_t)c->dir.events;
    }
    ask->choices = count_get(json, "n", 1, CHOICES_MAX);
    ask->stream = json_is_true(json_object_get(json, "stream"));
    ask->include_usage =
        json_is_true(json_object_get(json_object_get(json, "stream_options"), "include_usage"));
    if (ask->tool) {
        ask->tokens = TOOL_PIECES;
    }
}

/* {"id":...,"object":...,"created":...,"model":...,"system_fingerprint":... without the closing brace. */
static void envelope_put(struct buf *out, const struct ask *ask, const char *object)
{
    buf_puts(out, ask->chat ? "{\"id\":\"chatcmpl-sim" : "{\"id\":\"cmpl-sim");
    buf_put_hex64(out, text_mix(ask->hash));
    BUF_LIT(out, "\",\"object\":\"");
    buf_puts(out, object);
    BUF_LIT(out, "\",\"created\":1700000000,\"model\":");
    buf_put_json(out, ask->model, strlen(ask->model));
    BUF_LIT(out, ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_sim\"");
}

static void usage_put(struct buf *out, uint64_t prompt, uint64_t completion, int64_t cached)
{
    BUF_LIT(out, "\"usage\":{\"prompt_tokens\":");
    buf_put_uint(out, prompt);
    BUF_LIT(out, ",\"completion_tokens\":");
    buf_put_uint(out, completion);
    BUF_LIT(out, ",\"total_tokens\":");
    buf_put_uint(out, prompt + completion);
    BUF_LIT(out, ",\"prompt_tokens_details\":{\"cached_tokens\":");
    buf_put_uint(out, (uint64_t)cached);
    BUF_LIT(
        out,
        ",\"audio_tokens\":0},\"completion_tokens_details\":{"
        "\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
        "\"rejected_prediction_tokens\":0}}");
}

static void tool_put(struct buf *out, const char *name, const char *arguments)
{
    BUF_LIT(out, "\"tool_calls\":[{\"index\":0,\"id\":\"call_sim0000000000000001\",\"type\":\"function\","
                 "\"function\":{"
                 "\"name\":");
    buf_put_json(out, name, strlen(name));
    BUF_LIT(out, ",\"arguments\":\"");
    buf_puts(out, arguments);
    BUF_LIT(out, "\"}}]");
}

static void choice_put(struct buf *out, const struct ask *ask, uint64_t index)
{
    BUF_LIT(out, "{\"index\":");
    buf_put_uint(out, index);
    if (!ask->chat) {
        BUF_LIT(out, ",\"text\":\"");
        stream_put_words(ask->tokens, out);
        BUF_LIT(out, "\",\"logprobs\":null,\"finish_reason\":\"stop\"}");
        return;
    }
    BUF_LIT(out, ",\"message\":{\"role\":\"assistant\",");
    if (ask->tool) {
        BUF_LIT(out, "\"content\":null,");
        tool_put(out, ask->tool, "{\\\"location\\\":\\\"Paris\\\"}");
    } else {
        BUF_LIT(out, "\"content\":\"");
        stream_put_words(ask->tokens, out);
        BUF_LIT(out, "\"");
    }
    BUF_LIT(out, ",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"");
    buf_puts(out, ask->tool ? "tool_calls\"}" : "stop\"}");
}

static void answer_whole(struct conn *c, const struct ask *ask)
{
    struct buf body = {0};
    buf_reserve(&body, 1024);
    envelope_put(&body, ask, ask->chat ? "chat.completion" : "text_completion");
    BUF_LIT(&body, ",\"choices\":[");
    for (uint64_t i = 0; i < ask->choices; i++) {
        buf_add(&body, ",", i ? 1 : 0);
        choice_put(&body, ask, i);
    }
    BUF_LIT(&body, "],");
    usage_put(&body, ask->prompt_tokens, ask->tokens * ask->choices, c->dir.cached);
    BUF_LIT(&body, "}\n");
    c->reply.prompt_tokens = ask->prompt_tokens;
    c->reply.completion_tokens = ask->tokens * ask->choices;
    endpoints_ok(c, &body);
}

static void chunk_open(struct stream *s, uint64_t index, struct buf *out)
{
    buf_add(out, s->prefix.data, s->prefix.len);
    BUF_LIT(out, "{\"index\":");
    buf_put_uint(out, index);
}

static void chunk_close(struct stream *s, const char *finish, struct buf *out)
{
    BUF_LIT(out, ",\"logprobs\":null,\"finish_reason\":");
    buf_puts(out, finish);
    buf_add(out, s->suffix.data, s->suffix.len);
    s->is_event = true;
}

static void role_event(struct stream *s, uint64_t index, struct buf *out)
{
    chunk_open(s, index, out);
    BUF_LIT(out, ",\"delta\":{\"role\":\"assistant\",");
    if (s->tool_name) {
        BUF_LIT(out, "\"content\":null,");
        tool_put(out, s->tool_name, "");
        BUF_LIT(out, "}");
    } else {
        BUF_LIT(out, "\"content\":\"\",\"refusal\":null}");
    }
    chunk_close(s, "null", out);
    s->paced = index + 1 == s->choices && s->tokens;
}

static void token_event(struct stream *s, uint64_t token, uint64_t index, struct buf *out)
{
    chunk_open(s, index, out);
    if (s->tool_name) {
        BUF_LIT(out, ",\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"");
        buf_puts(out, tool_pieces[token % TOOL_PIECES]);
        BUF_LIT(out, "\"}}]}");
    } else if (s->chat) {
        BUF_LIT(out, ",\"delta\":{\"content\":\"");
        stream_put_token(s, token, out);
        BUF_LIT(out, "\"}");
    } else {
        BUF_LIT(out, ",\"text\":\"");
        stream_put_token(s, token, out);
        BUF_LIT(out, "\"");
    }
    chunk_close(s, "null", out);
    s->has_token = true;
    s->paced = index + 1 == s->choices && token + 1 < s->tokens;
}

static void finish_event(struct stream *s, uint64_t index, struct buf *out)
{
    chunk_open(s, index, out);
    buf_puts(out, s->chat ? ",\"delta\":{}" : ",\"text\":\"\"");
    chunk_close(s, s->tool_name ? "\"tool_calls\"" : "\"stop\"", out);
}

static void usage_event(struct stream *s, struct buf *out)
{
    buf_add(out, s->prefix.data, s->prefix.len);
    BUF_LIT(out, "],");
    usage_put(out, s->prompt_tokens, s->tokens * s->choices, s->dir->cached);
    BUF_LIT(out, "}\n\n");
    s->is_event = true;
}

/* Roles (chat only), tokens with the choices interleaved, finishes, usage, [DONE]. */
static bool chat_next(struct stream *s, struct buf *out)
{
    uint64_t step = s->step++;
    uint64_t roles = s->chat ? s->choices : 0;
    uint64_t tokens_end = roles + s->tokens * s->choices;
    uint64_t finish_end = tokens_end + s->choices;
    uint64_t usage_end = finish_end + (s->include_usage ? 1 : 0);
    if (step < roles) {
        role_event(s, step, out);
    } else if (step < tokens_end) {
        token_event(s, (step - roles) / s->choices, (step - roles) % s->choices, out);
    } else if (step < finish_end) {
        finish_event(s, step - tokens_end, out);
    } else if (step < usage_end) {
        usage_event(s, out);
    } else if (step == usage_end && !s->dir->nodone) {
        BUF_LIT(out, "data: [DONE]\n\n");
    } else {
        return false;
    }
    return true;
}

static void answer_stream(struct conn *c, const struct ask *ask)
{
    struct stream *s = stream_new(&c->dir, chat_next);
    s->chat = ask->chat;
    s->tokens = ask->tokens;
    s->choices = ask->choices;
    s->prompt_tokens = ask->prompt_tokens;
    s->include_usage = ask->include_usage;
    s->tool_name = ask->tool ? strdup(ask->tool) : NULL;
    BUF_LIT(&s->prefix, "data: ");
    envelope_put(&s->prefix, ask, ask->chat ? "chat.completion.chunk" : "text_completion");
    BUF_LIT(&s->prefix, ",\"choices\":[");
    buf_puts(&s->suffix, ask->include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
    reply_send_stream(c, "text/event-stream; charset=utf-8", s, -1);
}

static void ask_answer(struct conn *c, bool chat)
{
    struct ask ask = {.chat = chat};
    if (!json_is_object(c->json)) {
        errors_bad_json(c);
        return;
    }
    ask_read(c, &ask);
    if (!ask.model[0]) {
        errors_no_model(c);
    } else if (chat && !json_is_array(json_object_get(c->json, "messages"))) {
        errors_missing(c, "messages");
    } else if (ask.stream) {
        answer_stream(c, &ask);
    } else {
        answer_whole(c, &ask);
    }
    buf_free(&ask.engine);
}

void chat_handle(struct conn *c)
{
    ask_answer(c, true);
}

/* A completion that was kept: what it had used is told again. Deleted ones and what belongs to it are not played. */
void chat_stored(struct conn *c, struct slice id)
{
    struct ask ask = {.chat = true, .model = "gpt-4o-mini", .prompt_tokens = 3, .tokens = TOKENS_DEFAULT, .choices = 1};
    bool read = slice_equals(c->request->method, "GET") || slice_equals(c->request->method, "POST");
    if (!read || memchr(id.p, '/', id.n)) {
        misc_echo(c);
        return;
    }
    ask.hash = text_hash(TEXT_HASH_START, id.p, id.n);
    answer_whole(c, &ask);
}

void completions_handle(struct conn *c)
{
    ask_answer(c, false);
}
