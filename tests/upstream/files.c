/* The files endpoints. Contents are not kept, only their size and digest. */
#include "endpoints.h"
#include "errors.h"
#include "multipart.h"

#include <stdlib.h>
#include <string.h>

#define CONTENT_DEFAULT 1024

static void file_clear(struct sim_file *file)
{
    free(file->name);
    free(file->purpose);
    *file = (struct sim_file){0};
}

void sim_files_clear(struct sim *sim)
{
    for (size_t i = 0; i < SIM_FILES; i++) {
        file_clear(&sim->files[i]);
    }
    sim->file_count = 0;
}

static char *slice_copy(struct slice s, const char *fallback)
{
    return s.p ? strndup(s.p, s.n) : strdup(fallback);
}

static struct sim_file *file_find(struct sim *sim, struct slice id)
{
    for (size_t i = 0; i < SIM_FILES; i++) {
        if (sim->files[i].name && slice_equals(id, sim->files[i].id)) {
            return &sim->files[i];
        }
    }
    return NULL;
}

static void file_put(struct buf *out, const struct sim_file *file)
{
    buf_printf(out,
               "{\"id\":\"%s\",\"object\":\"file\",\"bytes\":%llu,\"created_at\":1700000000,\"filename\":",
               file->id, (unsigned long long)file->bytes);
    buf_put_json(out, file->name, strlen(file->name));
    BUF_LIT(out, ",\"purpose\":");
    buf_put_json(out, file->purpose, strlen(file->purpose));
    buf_printf(out, ",\"status\":\"processed\",\"status_details\":null,\"sha256\":\"%s\"}", file->sha256);
}

static struct sim_file *file_add(struct conn *c, struct multipart_part part)
{
    struct sim_file *file = &c->sim->files[c->sim->file_count++ % SIM_FILES];
    struct buf text = {0};
    file_clear(file);
    endpoints_put_id(c, &text, "file-");
    memcpy(file->id, text.data, text.len);
    text.len = 0;
    buf_put_sha256(&text, part.data.p, part.data.n);
    memcpy(file->sha256, text.data, 64);
    buf_free(&text);
    file->bytes = part.data.n;
    file->name = slice_copy(part.filename, "file");
    file->purpose = slice_copy(multipart_field(c->request, "purpose"), "user_data");
    return file;
}

static void files_create(struct conn *c)
{
    struct buf body = {0};
    struct multipart_part part = multipart_file(c->request);
    if (!part.filename.p) {
        errors_missing(c, "file");
        return;
    }
    file_put(&body, file_add(c, part));
    endpoints_ok(c, &body);
}

static void files_list(struct conn *c)
{
    struct buf body = {0};
    const char *comma = "";
    BUF_LIT(&body, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < SIM_FILES; i++) {
        if (c->sim->files[i].name) {
            buf_puts(&body, comma);
            file_put(&body, &c->sim->files[i]);
            comma = ",";
        }
    }
    BUF_LIT(&body, "],\"has_more\":false}\n");
    endpoints_ok(c, &body);
}

static void files_content(struct conn *c, const struct sim_file *file)
{
    uint64_t size = file ? file->bytes : CONTENT_DEFAULT;
    if (c->dir.size >= 0) {
        size = (uint64_t)c->dir.size;
    }
    reply_send_stream(c, "application/octet-stream", stream_new_binary(&c->dir, size), (int64_t)size);
}

static void files_unknown(struct conn *c, struct slice id)
{
    struct buf message = {0};
    buf_printf(&message, "No such File object: %.*s", (int)id.n, id.p);
    buf_add(&message, "", 1);
    errors_send(c, 404, "invalid_request_error", "id", NULL, message.data);
    buf_free(&message);
}

static void files_one(struct conn *c, struct slice id)
{
    struct buf body = {0};
    struct sim_file *file = file_find(c->sim, id);
    if (!file) {
        files_unknown(c, id);
    } else if (slice_equals(c->request->method, "DELETE")) {
        buf_printf(&body, "{\"id\":\"%s\",\"object\":\"file\",\"deleted\":true}\n", file->id);
        file_clear(file);
        endpoints_ok(c, &body);
    } else {
        file_put(&body, file);
        endpoints_ok(c, &body);
    }
}

void files_handle(struct conn *c, struct slice rest)
{
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    struct slice id = {rest.p, slash ? (size_t)(slash - rest.p) : rest.n};
    if (slash && slice_equals((struct slice){slash, rest.n - id.n}, "/content")) {
        files_content(c, file_find(c->sim, id)); /* any id has contents, so that size= alone will do */
    } else if (rest.n) {
        files_one(c, id);
    } else if (slice_equals(c->request->method, "POST")) {
        files_create(c);
    } else {
        files_list(c);
    }
}
