#include "endpoints.h"

#include "errors.h"

#include <stdlib.h>
#include <string.h>

#define JSON_BODY_MAX (64u << 20)

static void json_load(struct conn *c)
{
    struct request *r = c->request;
    if (r->body.len && r->body.len <= JSON_BODY_MAX && slice_starts(r->content_type, "application/json")) {
        c->json = jsoncache_load(&c->sim->parsed, (struct slice){r->body.data, r->body.len});
    }
}

static void directive_from_queue(struct conn *c)
{
    struct sim *sim = c->sim;
    struct sim_queued *first = sim->queue;
    c->dir = first->directive;
    if (first->directive.fail_times > 1) {
        first->directive.fail_times--;
        return;
    }
    sim->queue = first->next;
    if (!sim->queue) {
        sim->queue_end = &sim->queue;
    }
    free(first);
}

static void directive_from_standard(struct conn *c)
{
    struct directive *standard = &c->sim->standard;
    c->dir = *standard;
    if (standard->fail_times == 0) {
        c->dir.status = 0;
    } else if (standard->fail_times > 0) {
        standard->fail_times--;
    }
}

static bool directive_from_query(const struct conn *c, struct directive *d)
{
    struct buf text = {0};
    bool found = c->request->query.n && http_query_get(c->request, "sim", &text);
    if (found) {
        directive_parse(d, (struct slice){text.data, text.len});
    }
    buf_free(&text);
    return found;
}

int64_t endpoints_read_pace(const struct conn *c)
{
    struct directive d;
    directive_init(&d);
    return directive_from_query(c, &d) ? d.read_pace_us : c->sim->standard.read_pace_us;
}

static void directive_select(struct conn *c)
{
    const char *from_body = json_string_value(json_object_get(json_object_get(c->json, "metadata"), "sim"));
    if (directive_from_query(c, &c->dir)) {
        return;
    }
    if (from_body) {
        directive_parse(&c->dir, (struct slice){from_body, strlen(from_body)});
    } else if (c->sim->queue) {
        directive_from_queue(c);
    } else {
        directive_from_standard(c);
    }
}

static bool key_listed(const char *keys, struct slice key)
{
    while (*keys) {
        size_t n = strcspn(keys, ",");
        if (n == key.n && memcmp(keys, key.p, n) == 0) {
            return true;
        }
        keys += n + (keys[n] == ',');
    }
    return false;
}

static void key_refuse(struct conn *c, struct slice key)
{
    struct buf message = {0};
    size_t head = key.n < 16 ? 0 : 8, tail = key.n < 8 ? 0 : 4;
    BUF_LIT(&message, "Incorrect API key provided: ");
    buf_add(&message, key.p, head);
    for (size_t i = head + tail; i < key.n; i++) {
        BUF_LIT(&message, "*");
    }
    buf_add(&message, key.p + key.n - tail, tail);
    BUF_LIT(&message, ". You can find your API key at https://platform.openai.com/account/api-keys.");
    buf_add(&message, "", 1);
    errors_send(c, 401, "invalid_request_error", NULL, "invalid_api_key", message.data);
    buf_free(&message);
}

static void key_demand(struct conn *c)
{
    errors_send(
        c, 401, "invalid_request_error", NULL, NULL,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) "
        "if you're accessing the API from your browser and are prompted for a username and password. You "
        "can obtain an API key from https://platform.openai.com/account/api-keys.");
}

/* True when the request may go on; otherwise it has been answered. */
static bool key_check(struct conn *c)
{
    struct slice key = c->request->authorization;
    if (!c->sim->keys) {
        return true;
    }
    if (key.n < 7 || strncasecmp(key.p, "bearer ", 7) != 0) {
        key_demand(c);
        return false;
    }
    key = slice_trim((struct slice){key.p + 7, key.n - 7});
    if (!key_listed(c->sim->keys, key)) {
        key_refuse(c, key);
        return false;
    }
    return true;
}

void endpoints_put_id(struct conn *c, struct buf *out, const char *prefix)
{
    buf_puts(out, prefix);
    BUF_LIT(out, "sim");
    buf_put_hex64(out, ++c->sim->request_counter);
}

const char *endpoints_model(const struct conn *c)
{
    const char *model = json_string_value(json_object_get(c->json, "model"));
    return model ? model : "";
}

void endpoints_ok(struct conn *c, struct buf *body)
{
    reply_send(c, 200, "application/json", body);
}

/* When path is name or starts with name + "/", leaves what follows in rest. */
static bool under(struct slice path, const char *name, struct slice *rest)
{
    size_t n = strlen(name);
    if (!slice_starts(path, name) || (path.n > n && path.p[n] != '/')) {
        return false;
    }
    *rest = path.n > n ? (struct slice){path.p + n + 1, path.n - n - 1} : (struct slice){path.p + n, 0};
    return true;
}

static bool ends_with(struct slice path, const char *tail)
{
    size_t n = strlen(tail);
    return path.n > n && memcmp(path.p + path.n - n, tail, n) == 0;
}

static bool route_post(struct conn *c, struct slice path)
{
    static const struct {
        const char *path;
        void (*handle)(struct conn *);
    } exact[] = {
        {"chat/completions", chat_handle},   {"completions", completions_handle},
        {"embeddings", embeddings_handle},   {"moderations", misc_moderations},
        {"images/generations", misc_images}, {"images/edits", misc_images},
        {"images/variations", misc_images},
    };
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        if (slice_equals(path, exact[i].path)) {
            exact[i].handle(c);
            return true;
        }
    }
    if (!slice_starts(path, "engines/")) {
        return false;
    }
    if (ends_with(path, "/chat/completions")) {
        chat_handle(c);
    } else if (ends_with(path, "/completions")) {
        completions_handle(c);
    } else if (ends_with(path, "/embeddings")) {
        embeddings_handle(c);
    } else {
        return false;
    }
    return true;
}

static void route(struct conn *c, struct slice path)
{
    struct slice rest;
    if (typed_handle(c, path) || (slice_equals(c->request->method, "POST") && route_post(c, path))) {
        return;
    }
    if (under(path, "models", &rest)) {
        misc_models(c, rest);
    } else if (slice_equals(path, "engines")) {
        misc_engines(c);
    } else if (under(path, "chat/completions", &rest) && rest.n) {
        chat_stored(c, rest);
    } else if (under(path, "responses", &rest)) {
        responses_handle(c, rest);
    } else if (under(path, "files", &rest)) {
        files_handle(c, rest);
    } else if (under(path, "audio", &rest)) {
        audio_handle(c, rest);
    } else {
        objects_handle(c, path);
    }
}

static void no_such_url(struct conn *c)
{
    struct request *r = c->request;
    struct buf message = {0};
    buf_printf(&message, "Invalid URL (%.*s %.*s)", (int)r->method.n, r->method.p, (int)r->path.n, r->path.p);
    buf_add(&message, "", 1);
    errors_send(c, 404, "invalid_request_error", NULL, NULL, message.data);
    buf_free(&message);
}

void endpoints_dispatch(struct conn *c)
{
    struct slice path = c->request->path;
    if (c->control) {
        control_handle(c);
        return;
    }
    json_load(c);
    directive_select(c);
    if (!key_check(c)) {
        return;
    }
    if (c->dir.status >= 400 && c->dir.error_event < 0 &&
        (c->dir.prob >= 1.0 || sim_random(c->sim) < c->dir.prob)) {
        errors_send_status(c, (int)c->dir.status);
    } else if (slice_starts(path, "/v1/")) {
        route(c, (struct slice){path.p + 4, path.n - 4});
    } else {
        no_such_url(c);
    }
}
