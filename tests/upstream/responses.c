/* The responses API, whole and streamed. */
#include "endpoints.h"
#include "errors.h"

#include <stdlib.h>
#include <string.h>

#define TOKENS_DEFAULT 16
#define TOKENS_MAX     1000000

struct response {
    const char *id;
    size_t id_len;
    const char *model;
    uint64_t prompt_tokens, tokens;
    int64_t cached;
};

/* The events before the deltas and after them, in their order. */
enum { STEP_CREATED, STEP_IN_PROGRESS, STEP_ITEM_ADDED, STEP_PART_ADDED, STEP_DELTAS };
enum { TAIL_TEXT_DONE, TAIL_PART_DONE, TAIL_ITEM_DONE, TAIL_COMPLETED, TAIL_END };

static void part_put(struct buf *out, const struct buf *text)
{
    BUF_LIT(out, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
    buf_add(out, text->data, text->len);
    BUF_LIT(out, "\"}");
}

static void item_put(struct buf *out, const struct buf *text)
{
    buf_printf(
        out,
        "{\"id\":\"msg_sim0000000000000001\",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\","
        "\"content\":[",
        text ? "completed" : "in_progress");
    if (text) {
        part_put(out, text);
    }
    BUF_LIT(out, "]}");
}

static void usage_put(struct buf *out, const struct response *r)
{
    buf_printf(out,
               "{\"input_tokens\":%llu,\"input_tokens_details\":{\"cached_tokens\":%lld},\"output_tokens\":%llu,"
               "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":%llu}",
               (unsigned long long)r->prompt_tokens, (long long)r->cached, (unsigned long long)r->tokens,
               (unsigned long long)(r->prompt_tokens + r->tokens));
}

/* The response object: complete with its text, or in progress without. */
static void object_put(struct buf *out, const struct response *r, const struct buf *text)
{
    BUF_LIT(out, "{\"id\":");
    buf_put_json(out, r->id, r->id_len);
    buf_printf(out, ",\"object\":\"response\",\"created_at\":1700000000,\"status\":\"%s\",\"model\":",
               text ? "completed" : "in_progress");
    buf_put_json(out, r->model, strlen(r->model));
    BUF_LIT(out,
            ",\"error\":null,\"incomplete_details\":null,\"instructions\":null,\"metadata\":{},"
            "\"max_output_tokens\":null,\"parallel_tool_calls\":true,\"previous_response_id\":null,"
            "\"reasoning\":{\"effort\":null,\"summary\":null},\"store\":true,\"temperature\":1.0,"
            "\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,"
            "\"truncation\":\"disabled\",\"user\":null,\"output\":[");
    if (text) {
        item_put(out, text);
    }
    BUF_LIT(out, "],\"usage\":");
    if (text) {
        usage_put(out, r);
    } else {
        BUF_LIT(out, "null");
    }
    BUF_LIT(out, "}");
}

static void event_open(struct stream *s, const char *type, struct buf *out)
{
    BUF_LIT(out, "event: ");
    buf_puts(out, type);
    BUF_LIT(out, "\ndata: {\"type\":\"");
    buf_puts(out, type);
    BUF_LIT(out, "\",\"sequence_number\":");
    buf_put_uint(out, s->sequence++);
    s->is_event = true;
}

static void event_close(struct buf *out)
{
    BUF_LIT(out, "}\n\n");
}

static void whole_event(struct stream *s, const char *type, bool complete, struct buf *out)
{
    struct response r = {s->prefix.data, s->prefix.len, s->suffix.data, s->prompt_tokens, s->tokens, s->dir->cached};
    event_open(s, type, out);
    BUF_LIT(out, ",\"response\":");
    object_put(out, &r, complete ? &s->text : NULL);
    event_close(out);
}

static void item_event(struct stream *s, const char *type, bool complete, struct buf *out)
{
    event_open(s, type, out);
    BUF_LIT(out, ",\"output_index\":0,\"item\":");
    item_put(out, complete ? &s->text : NULL);
    event_close(out);
}

static void place_put(struct buf *out)
{
    BUF_LIT(out, ",\"item_id\":\"msg_sim0000000000000001\",\"output_index\":0,\"content_index\":0");
}

static void part_event(struct stream *s, const char *type, bool complete, struct buf *out)
{
    struct buf none = {0};
    event_open(s, type, out);
    place_put(out);
    BUF_LIT(out, ",\"part\":");
    part_put(out, complete ? &s->text : &none);
    event_close(out);
}

static void delta_event(struct stream *s, uint64_t token, struct buf *out)
{
    event_open(s, "response.output_text.delta", out);
    place_put(out);
    BUF_LIT(out, ",\"logprobs\":[],\"delta\":\"");
    size_t from = out->len;
    stream_put_token(s, token, out);
    buf_add(&s->text, out->data + from, out->len - from);
    BUF_LIT(out, "\"");
    event_close(out);
    s->has_token = true;
    s->paced = token + 1 < s->tokens;
}

static void text_done_event(struct stream *s, struct buf *out)
{
    event_open(s, "response.output_text.done", out);
    place_put(out);
    BUF_LIT(out, ",\"logprobs\":[],\"text\":\"");
    buf_add(out, s->text.data, s->text.len);
    BUF_LIT(out, "\"");
    event_close(out);
}

static void head_event(struct stream *s, uint64_t step, struct buf *out)
{
    switch (step) {
    case STEP_CREATED:
        whole_event(s, "response.created", false, out);
        break;
    case STEP_IN_PROGRESS:
        whole_event(s, "response.in_progress", false, out);
        break;
    case STEP_ITEM_ADDED:
        item_event(s, "response.output_item.added", false, out);
        break;
    default:
        part_event(s, "response.content_part.added", false, out);
        s->paced = s->tokens > 0;
        break;
    }
}

static bool tail_event(struct stream *s, uint64_t step, struct buf *out)
{
    switch (step) {
    case TAIL_TEXT_DONE:
        text_done_event(s, out);
        return true;
    case TAIL_PART_DONE:
        part_event(s, "response.content_part.done", true, out);
        return true;
    case TAIL_ITEM_DONE:
        item_event(s, "response.output_item.done", true, out);
        return true;
    case TAIL_COMPLETED:
        if (!s->dir->nodone) {
            whole_event(s, "response.completed", true, out);
        }
        return !s->dir->nodone;
    default:
        return false;
    }
}

static bool responses_next(struct stream *s, struct buf *out)
{
    uint64_t step = s->step++;
    if (step < STEP_DELTAS) {
        head_event(s, step, out);
        return true;
    }
    if (step < STEP_DELTAS + s->tokens) {
        delta_event(s, step - STEP_DELTAS, out);
        return true;
    }
    return tail_event(s, step - STEP_DELTAS - s->tokens, out);
}

static uint64_t input_measure(json_t *input)
{
    size_t i;
    json_t *item;
    uint64_t bytes = 0;
    if (json_is_string(input)) {
        return json_string_length(input);
    }
    json_array_foreach(input, i, item)
    {
        json_t *content = json_object_get(item, "content");
        bytes += content ? input_measure(content) : json_string_length(json_object_get(item, "text"));
    }
    return bytes;
}

static void stream_answer(struct conn *c, const struct response *r)
{
    struct stream *s = stream_new(&c->dir, responses_next);
    s->named_events = true;
    s->tokens = r->tokens;
    s->prompt_tokens = r->prompt_tokens;
    buf_add(&s->prefix, r->id, r->id_len);
    buf_add(&s->suffix, r->model, strlen(r->model) + 1);
    reply_send_stream(c, "text/event-stream; charset=utf-8", s, -1);
}

static void whole_answer(struct conn *c, const struct response *r)
{
    struct buf body = {0}, text = {0};
    bool background = json_is_true(json_object_get(c->json, "background"));
    stream_put_words(r->tokens, &text);
    object_put(&body, r, background ? NULL : &text);
    BUF_LIT(&body, "\n");
    buf_free(&text);
    c->reply.prompt_tokens = r->prompt_tokens;
    c->reply.completion_tokens = r->tokens;
    endpoints_ok(c, &body);
}

static void responses_create(struct conn *c)
{
    struct response r = {.model = endpoints_model(c), .tokens = TOKENS_DEFAULT, .cached = c->dir.cached};
    struct buf id = {0};
    json_int_t most = json_integer_value(json_object_get(c->json, "max_output_tokens"));
    if (!json_is_object(c->json)) {
        errors_bad_json(c);
        return;
    }
    if (!r.model[0]) {
        errors_no_model(c);
        return;
    }
    if (most > 0) {
        r.tokens = most < TOKENS_MAX ? (uint64_t)most : TOKENS_MAX;
    }
    r.tokens = c->dir.events >= 0 ? (uint64_t)c->dir.events : r.tokens;
    r.prompt_tokens = input_measure(json_object_get(c->json, "input")) / 4 + 3;
    endpoints_put_id(c, &id, "resp_");
    r.id = id.data;
    r.id_len = id.len;
    if (json_is_true(json_object_get(c->json, "stream"))) {
        stream_answer(c, &r);
    } else {
        whole_answer(c, &r);
    }
    buf_free(&id);
}

/* One that was kept, or is cancelled: what it had used is told again. */
static void responses_one(struct conn *c, struct slice id)
{
    struct response r = {id.p, id.n, "gpt-4o-mini", 3, TOKENS_DEFAULT, 0};
    struct buf body = {0};
    struct buf stream = {0};
    if (slice_equals(c->request->method, "GET") && http_query_get(c->request, "stream", &stream) && stream.len == 4) {
        stream_answer(c, &r);
        buf_free(&stream);
        return;
    }
    buf_free(&stream);
    if (!slice_equals(c->request->method, "DELETE")) {
        whole_answer(c, &r);
        return;
    }
    BUF_LIT(&body, "{\"id\":");
    buf_put_json(&body, id.p, id.n);
    BUF_LIT(&body, ",\"object\":\"response\",\"deleted\":true}\n");
    endpoints_ok(c, &body);
}

void responses_handle(struct conn *c, struct slice rest)
{
    static const char cancel[] = "/cancel";
    bool post = slice_equals(c->request->method, "POST");
    struct slice id = {rest.p, rest.n - (rest.n > sizeof cancel - 1 ? sizeof cancel - 1 : 0)};
    bool cancels = post && id.n && id.n < rest.n && memcmp(rest.p + id.n, cancel, sizeof cancel - 1) == 0;
    if (post && !rest.n) {
        responses_create(c);
    } else if (cancels && !memchr(id.p, '/', id.n)) {
        responses_one(c, id);
    } else if (!post && rest.n && !memchr(rest.p, '/', rest.n)) {
        responses_one(c, rest);
    } else {
        misc_echo(c);
    }
}
