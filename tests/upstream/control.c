#include "endpoints.h"

#include <stdlib.h>
#include <string.h>

void sim_queue_clear(struct sim *sim)
{
    while (sim->queue) {
        struct sim_queued *first = sim->queue;
        sim->queue = first->next;
        free(first);
    }
    sim->queue_end = &sim->queue;
}

double sim_random(struct sim *sim)
{
    return (double)(text_mix(sim->random++) >> 11) / 9007199254740992.0;
}

static void seed_apply(struct sim *sim, const struct directive *d)
{
    if (d->seed >= 0) {
        sim->random = (uint64_t)d->seed;
    }
}

static bool queue_add(struct sim *sim, struct slice line)
{
    struct sim_queued *item = calloc(1, sizeof *item);
    if (!item) {
        abort();
    }
    directive_init(&item->directive);
    bool known = directive_parse(&item->directive, line);
    seed_apply(sim, &item->directive);
    *sim->queue_end = item;
    sim->queue_end = &item->next;
    return known;
}

static bool queue_fill(struct sim *sim, struct slice text)
{
    bool known = true;
    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        if (n && !queue_add(sim, slice_trim((struct slice){text.p, n}))) {
            known = false;
        }
        n += end ? 1 : 0;
        text.p += n;
        text.n -= n;
    }
    return known;
}

static bool standard_set(struct sim *sim, struct slice text)
{
    directive_init(&sim->standard);
    bool known = directive_parse(&sim->standard, slice_trim(text));
    seed_apply(sim, &sim->standard);
    return known;
}

static void all_reset(struct sim *sim, struct slice text)
{
    standard_set(sim, (struct slice){0});
    sim_queue_clear(sim);
    requests_clear(&sim->log);
    stats_reset(&sim->stats);
    sim_files_clear(sim);
    sim->request_counter = 0;
    sim->random = 1;
    struct directive seed;
    directive_init(&seed);
    directive_parse(&seed, text);
    seed_apply(sim, &seed);
}

static void requests_answer(struct conn *c, struct buf *body)
{
    struct buf last = {0};
    http_query_get(c->request, "last", &last);
    buf_add(&last, "", 1);
    requests_write_json(&c->sim->log, last.len > 1 ? strtoull(last.data, NULL, 10) : REQUESTS_KEPT, body);
    buf_free(&last);
}

static int control_answer(struct conn *c, struct slice what, struct slice argument, struct buf *body)
{
    struct sim *sim = c->sim;
    bool known = true;
    if (slice_equals(what, "stats")) {
        stats_write_json(&sim->stats, body);
        return 200;
    }
    if (slice_equals(what, "requests")) {
        requests_answer(c, body);
        return 200;
    }
    if (slice_equals(what, "default")) {
        known = standard_set(sim, argument);
    } else if (slice_equals(what, "queue")) {
        known = queue_fill(sim, argument);
    } else if (slice_equals(what, "reset")) {
        all_reset(sim, argument);
    } else {
        BUF_LIT(body, "{\"ok\":false,\"error\":\"no such control\"}\n");
        return 404;
    }
    buf_puts(body, known ? "{\"ok\":true}\n" : "{\"ok\":false,\"error\":\"unknown directive\"}\n");
    return known ? 200 : 400;
}

void control_handle(struct conn *c)
{
    struct request *r = c->request;
    struct buf body = {0}, argument = {0};
    struct slice what = {r->path.p + 6, r->path.n - 6};
    if (!http_query_get(r, "sim", &argument)) {
        buf_add(&argument, r->body.data, r->body.len);
    }
    int status = control_answer(c, what, (struct slice){argument.data, argument.len}, &body);
    buf_free(&argument);
    reply_send(c, status, "application/json", &body);
}
