/*
 * What metrics and log cost a request, and what a scrape costs: in CPU time, without the rest of the proxy.
 *
 *   sluice-bench-cost [DIRECTORY]        where log and metrics go; default: a new one below /tmp
 *
 * An exchange is filled in as a finished request has left it, and given to the same functions as in a worker.
 */
#include "exchange.h"

#include "sluice/clock.h"
#include "sluice/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COST_ROUNDS = 7, COST_REQUESTS = 40000, COST_EVENTS = 400000, COST_SETS = 1000, COST_SCRAPES = 200 };

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median over the rounds of what one of n costs. */
static double cost(double (*round)(void *arg), void *arg, int n)
{
    double us[COST_ROUNDS];
    for (int i = 0; i < COST_ROUNDS; i++)
        us[i] = round(arg) / n;
    qsort(us, COST_ROUNDS, sizeof *us, compare);
    return us[COST_ROUNDS / 2];
}

static const char *const variables[] = {
    "REQUEST_METHOD=POST", "REQUEST_URI=/v1/chat/completions", "HTTP_HOST=localhost", "HTTP_USER_AGENT=OpenAI/Python",
    "HTTP_ACCEPT=application/json", "HTTP_AUTHORIZATION=Bearer x", "CONTENT_LENGTH=300", "REMOTE_ADDR=127.0.0.1",
    "CONTENT_TYPE=application/json", "HTTP_ACCEPT_ENCODING=gzip", "HTTP_CONNECTION=keep-alive", NULL};

/* As receive.c, upstream.c and relay.c leave it. */
static void fill(struct exchange *x, struct proxy *p, const struct client_key *key)
{
    static const struct usage usage = {true, 120, 60, 180, 0, 0};
    *x = (struct exchange){.proxy = p, .request_id = "req_0123456789abcdef0123456789abcdef", .key = key};
    http_request_parse(variables, &x->http);
    x->upstream_request_id = "req_fedcba9876543210fedcba9876543210";
    x->api_path = SLICE_LITERAL("/chat/completions");
    x->endpoint = endpoint_find(x->api_path);
    memcpy(x->fields.model, "gpt-4o-mini", 12);
    x->status = x->upstream_status = 200;
    x->attempts = 1;
    x->answered = true;
    x->usage = usage;
    x->bytes_in = 300;
    x->bytes_out = 900;
    x->started_us = clock_monotonic_us() - 250000;
    x->upstream_started_us = x->started_us + 40;
    x->upstream_head_us = x->upstream_done_us = x->started_us + 249000;
    x->first_byte_us = x->started_us + 249100;
    x->record.received_us = x->started_us + 20;
}

static const struct client_key key = {.fingerprint = "0123456789ab", .name = "team search", .count = 1};

static int turn = 1; /* requests that end in one turn of the loop */

static void wake(void *arg)
{
    (void)arg;
}

static double requests(void *arg)
{
    struct exchange x;
    double began = cpu_us();
    for (int i = 0; i < COST_REQUESTS; i++) {
        fill(&x, arg, &key);
        record_attempt(&x, TRANSFER_OK, NULL, -1);
        settle_exchange(&x, FCGI_DELIVERED);
        if (i % turn == 0)
            log_flush();
    }
    return cpu_us() - began;
}

/* What filling it in costs by itself. */
static double nothing(void *arg)
{
    struct exchange x;
    double began = cpu_us();
    for (int i = 0; i < COST_REQUESTS; i++)
        fill(&x, arg, &key);
    return cpu_us() - began;
}

static double events(void *arg)
{
    struct proxy *p = arg;
    struct exchange x;
    fill(&x, p, NULL);
    record_event(&x, 1);
    double began = cpu_us();
    for (int i = 2; i < COST_EVENTS; i++)
        record_event(&x, (int64_t)i * 20000);
    return cpu_us() - began;
}

static double scrapes(void *arg)
{
    struct proxy *p = arg;
    struct buf page;
    buf_init(&page, 64 << 20);
    double began = cpu_us();
    for (int i = 0; i < COST_SCRAPES; i++) {
        buf_clear(&page);
        if (!metrics_write(p->recorder.metrics, EXPOSITION_TEXT, &page))
            exit(1);
    }
    double spent = cpu_us() - began;
    if (getenv("COST_VERBOSE"))
        printf("  a page of %zu bytes\n", page.len);
    buf_free(&page);
    return spent;
}

static void add_sets(struct metrics *m)
{
    char name[32];
    for (int i = 0; i < COST_SETS; i++) {
        snprintf(name, sizeof name, "model-%d", i);
        struct metrics_values values = {{SLICE_LITERAL("input"), slice_from_text(name), SLICE_LITERAL("team")}};
        metrics_count(m, METRICS_TOKENS, &values, 1);
    }
}

static void add_histograms(struct metrics *m)
{
    char name[32];
    for (int i = 0; i < COST_SETS; i++) {
        snprintf(name, sizeof name, "model-%d", i);
        struct metrics_values values = {{SLICE_LITERAL("chat"), slice_from_text(name)}};
        metrics_observe(metrics_find(m, (enum metrics_histogram_kind)(METRICS_GENAI_TOKENS + i % 4), &values), 5);
    }
}

/* As many prices as are allowed, all of them beginnings: the longer search. */
static struct config_prices prices(void)
{
    static struct config_price items[CONFIG_PRICES_MAX];
    static char names[CONFIG_PRICES_MAX][16];
    for (int i = 0; i < CONFIG_PRICES_MAX; i++) {
        snprintf(names[i], sizeof names[i], i == 0 ? "gpt-4" : "gpt-4%04d", i);
        items[i] = (struct config_price){names[i], 2500000, 1250000, 10000000};
    }
    return (struct config_prices){CONFIG_PRICES_MAX, 0, items};
}

int main(int argc, char **argv)
{
    static struct config config;
    char directory[] = "/tmp/sluice-bench-cost-XXXXXX", path[4096];
    const char *where = argc > 1 ? argv[1] : mkdtemp(directory);
    struct buf message;
    buf_init(&message, sizeof path);
    struct metrics *m = metrics_open(where, &(struct metrics_options){"bench", 100, 100, true}, &message);
    struct proxy p = {.config = &config, .recorder.metrics = m};
    snprintf(path, sizeof path, "%s/log", where);
    if (!m || !log_open(path, LOG_LEVEL_INFO)) {
        fprintf(stderr, "sluice-bench-cost: %s: %s\n", where, message.len ? buf_text(&message) : "no log");
        return 1;
    }
    log_gather(wake, NULL);
    double base = cost(nothing, &p, COST_REQUESTS), both = cost(requests, &p, COST_REQUESTS) - base;
    turn = 4;
    double together = cost(requests, &p, COST_REQUESTS) - base;
    log_open("/dev/null", LOG_LEVEL_ERROR);
    double metrics_only = cost(requests, &p, COST_REQUESTS) - base;
    config.prices = prices();
    double priced = cost(requests, &p, COST_REQUESTS) - base;
    config.prices = (struct config_prices){0, 0, NULL};
    config.metrics_genai = true;
    double genai = cost(requests, &p, COST_REQUESTS) - base;
    printf("metrics and log   %6.2f us CPU a request that ends alone in a turn of the loop\n", both);
    printf("                  %6.2f us CPU where four end in one\n", together);
    printf("  metrics alone   %6.2f us CPU a request, with METRICS__GENAI %.2f, with %d PRICES %.2f\n", metrics_only, genai,
           CONFIG_PRICES_MAX, priced);
    printf("an event          %6.3f us CPU\n", cost(events, &p, COST_EVENTS));
    add_sets(m);
    printf("a scrape          %6.2f ms CPU with %d sets of labels\n", cost(scrapes, &p, COST_SCRAPES) / 1000, COST_SETS);
    add_histograms(m);
    printf("                  %6.2f ms CPU with hundreds of histograms beside\n", cost(scrapes, &p, COST_SCRAPES) / 1000);
    metrics_close(&m);
    log_close();
    return 0;
}
