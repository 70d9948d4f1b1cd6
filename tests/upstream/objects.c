/* The families that are only created, listed, read and deleted here: uploads, batches, assistants, ... */
#include "endpoints.h"

#include <string.h>

struct family {
    const char *path;
    const char *prefix; /* of ids */
    const char *object;
    const char *fields; /* what the official client's type needs besides id and object */
};

static const struct family families[] = {
    {"uploads", "upload_", "upload",
     "\"bytes\":0,\"created_at\":1700000000,\"expires_at\":1700003600,\"filename\":\"sim\",\"purpose\":"
     "\"user_data\","
     "\"status\":\"pending\""},
    {"batches", "batch_", "batch",
     "\"endpoint\":\"/v1/chat/completions\",\"input_file_id\":\"file-sim\",\"completion_window\":\"24h\","
     "\"status\":\"validating\",\"created_at\":1700000000,\"request_counts\":{\"total\":0,\"completed\":0,"
     "\"failed\":0}"},
    {"fine_tuning/jobs", "ftjob-", "fine_tuning.job",
     "\"created_at\":1700000000,\"error\":null,\"fine_tuned_model\":null,\"finished_at\":null,"
     "\"hyperparameters\":{},"
     "\"model\":\"gpt-4o-mini\",\"organization_id\":\"org-sim\",\"result_files\":[],\"seed\":1,\"status\":"
     "\"queued\","
     "\"trained_tokens\":null,\"training_file\":\"file-sim\",\"validation_file\":null"},
    {"vector_stores", "vs_", "vector_store",
     "\"created_at\":1700000000,\"name\":\"sim\",\"usage_bytes\":0,\"status\":\"completed\",\"last_active_"
     "at\":null,"
     "\"metadata\":{},\"file_counts\":{\"in_progress\":0,\"completed\":0,\"failed\":0,\"cancelled\":0,"
     "\"total\":0}"},
    {"assistants", "asst_", "assistant",
     "\"created_at\":1700000000,\"name\":null,\"description\":null,\"model\":\"gpt-4o-mini\","
     "\"instructions\":null,"
     "\"tools\":[],\"metadata\":{}"},
    {"threads", "thread_", "thread", "\"created_at\":1700000000,\"metadata\":{},\"tool_resources\":null"},
};

static void object_answer(struct conn *c, const struct family *f, struct slice id)
{
    struct buf body = {0}, made = {0};
    if (!id.n) {
        endpoints_put_id(c, &made, f->prefix);
        id = (struct slice){made.data, made.len};
    }
    BUF_LIT(&body, "{\"id\":");
    buf_put_json(&body, id.p, id.n);
    if (slice_equals(c->request->method, "DELETE")) {
        buf_printf(&body, ",\"object\":\"%s.deleted\",\"deleted\":true}\n", f->object);
    } else {
        buf_printf(&body, ",\"object\":\"%s\",%s}\n", f->object, f->fields);
    }
    buf_free(&made);
    endpoints_ok(c, &body);
}

static void list_answer(struct conn *c)
{
    struct buf body = {0};
    BUF_LIT(&body,
            "{\"object\":\"list\",\"data\":[],\"first_id\":null,\"last_id\":null,\"has_more\":false}\n");
    endpoints_ok(c, &body);
}

void objects_handle(struct conn *c, struct slice rest)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct family *f = &families[i];
        size_t n = strlen(f->path);
        if (!slice_starts(rest, f->path) || (rest.n > n && rest.p[n] != '/')) {
            continue;
        }
        struct slice id = {rest.p + n, rest.n - n};
        if (!id.n && slice_equals(c->request->method, "GET")) {
            list_answer(c);
            return;
        }
        id = id.n ? (struct slice){id.p + 1, id.n - 1} : id;
        if (!id.n || !memchr(id.p, '/', id.n)) { /* deeper paths are echoed */
            object_answer(c, f, id);
            return;
        }
    }
    misc_echo(c);
}
