/* The small endpoints: models, engines, moderations, images, and the echo of everything unknown. */
#include "endpoints.h"
#include "errors.h"

#include <string.h>

static const char *const model_names[] = {"gpt-4o-mini", "gpt-4o", "text-embedding-3-small"};

static void model_put(struct buf *out, const char *id, size_t len)
{
    BUF_LIT(out, "{\"id\":");
    buf_put_json(out, id, len);
    BUF_LIT(out, ",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"system\"}");
}

static void models_list(struct conn *c)
{
    struct buf body = {0};
    BUF_LIT(&body, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < sizeof model_names / sizeof *model_names; i++) {
        buf_puts(&body, i ? "," : "");
        model_put(&body, model_names[i], strlen(model_names[i]));
    }
    BUF_LIT(&body, "]}\n");
    endpoints_ok(c, &body);
}

void misc_models(struct conn *c, struct slice rest)
{
    struct buf body = {0}, id = {0};
    if (!rest.n) {
        models_list(c);
        return;
    }
    text_url_decode(&id, rest);
    if (slice_equals(rest, "missing")) {
        errors_send(c, 404, "invalid_request_error", "model", "model_not_found",
                    "The model 'missing' does not exist");
    } else {
        if (slice_equals(c->request->method, "DELETE")) {
            BUF_LIT(&body, "{\"id\":");
            buf_put_json(&body, id.data, id.len);
            BUF_LIT(&body, ",\"object\":\"model\",\"deleted\":true}");
        } else {
            model_put(&body, id.data, id.len);
        }
        BUF_LIT(&body, "\n");
        endpoints_ok(c, &body);
    }
    buf_free(&id);
}

void misc_engines(struct conn *c)
{
    struct buf body = {0};
    BUF_LIT(&body, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < sizeof model_names / sizeof *model_names; i++) {
        buf_printf(&body, "%s{\"id\":\"%s\",\"object\":\"engine\",\"owner\":\"system\",\"ready\":true}",
                   i ? "," : "", model_names[i]);
    }
    BUF_LIT(&body, "]}\n");
    endpoints_ok(c, &body);
}

static void moderation_put(struct buf *out)
{
    static const char *const categories[] = {
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/intent",
        "self-harm/instructions",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    };
    static const struct {
        const char *name, *value;
    } maps[] = {{"categories", "false"},
                {"category_scores", "0.0001"},
                {"category_applied_input_types", "[\"text\"]"}};
    BUF_LIT(out, "{\"flagged\":false");
    for (size_t m = 0; m < 3; m++) {
        buf_printf(out, ",\"%s\":{", maps[m].name);
        for (size_t i = 0; i < sizeof categories / sizeof *categories; i++) {
            buf_printf(out, "%s\"%s\":%s", i ? "," : "", categories[i], maps[m].value);
        }
        BUF_LIT(out, "}");
    }
    BUF_LIT(out, "}");
}

void misc_moderations(struct conn *c)
{
    struct buf body = {0};
    json_t *input = json_object_get(c->json, "input");
    size_t count = json_is_array(input) ? json_array_size(input) : 1;
    const char *model = endpoints_model(c);
    if (!json_is_object(c->json)) {
        errors_bad_json(c);
        return;
    }
    if (!input) {
        errors_missing(c, "input");
        return;
    }
    model = model[0] ? model : "omni-moderation-latest";
    BUF_LIT(&body, "{\"id\":\"");
    endpoints_put_id(c, &body, "modr-");
    BUF_LIT(&body, "\",\"model\":");
    buf_put_json(&body, model, strlen(model));
    BUF_LIT(&body, ",\"results\":[");
    for (size_t i = 0; i < count; i++) {
        buf_puts(&body, i ? "," : "");
        moderation_put(&body);
    }
    BUF_LIT(&body, "]}\n");
    endpoints_ok(c, &body);
}

void misc_images(struct conn *c)
{
    static const char pixel[] =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg==";
    struct buf body = {0};
    json_int_t count = json_integer_value(json_object_get(c->json, "n"));
    const char *format = json_string_value(json_object_get(c->json, "response_format"));
    bool url = format && strcmp(format, "url") == 0;
    BUF_LIT(&body, "{\"created\":1700000000,\"data\":[");
    for (json_int_t i = 0; i < (count > 0 && count <= 10 ? count : 1); i++) {
        buf_puts(&body, i ? "," : "");
        if (url) {
            buf_printf(&body, "{\"url\":\"https://images.invalid/sim-%d.png\"}", (int)i);
        } else {
            buf_printf(&body, "{\"b64_json\":\"%s\"}", pixel);
        }
    }
    BUF_LIT(&body, "],\"usage\":{\"input_tokens\":10,\"output_tokens\":20,\"total_tokens\":30,"
                   "\"input_tokens_details\":{\"text_tokens\":10,\"image_tokens\":0}}}\n");
    c->reply.prompt_tokens = 10;
    c->reply.completion_tokens = 20;
    endpoints_ok(c, &body);
}

static void member_put(struct buf *out, const char *name, struct slice value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_put_json(out, value.p, value.n);
}

void misc_echo(struct conn *c)
{
    struct request *r = c->request;
    struct buf body = {0};
    BUF_LIT(&body, "{\"object\":\"echo\"");
    member_put(&body, "method", r->method);
    member_put(&body, "path", r->path);
    member_put(&body, "query", r->query);
    buf_printf(&body, ",\"body_bytes\":%llu,\"body_sha256\":\"", (unsigned long long)r->body_bytes);
    buf_put_sha256(&body, r->body.data, r->body.len);
    BUF_LIT(&body, "\"");
    member_put(&body, "content_type", r->content_type);
    BUF_LIT(&body, "}\n");
    endpoints_ok(c, &body);
}
