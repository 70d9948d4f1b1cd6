/*
 * sluice-bench-load: sends one request again and again, and says in one line of JSON how long the answers
 * took.
 *
 * It is one thread that never computes while it waits, so that it takes little of the machine that it
 * measures.
 */
#include "load.h"

#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MAIN_REQUEST_MAX = 64 * 1024 * 1024 };

static const struct option main_options[] = {
    {"port", required_argument, NULL, 'p'},         {"request", required_argument, NULL, 'r'},
    {"connections", required_argument, NULL, 'c'},  {"requests", required_argument, NULL, 'n'},
    {"milliseconds", required_argument, NULL, 'm'}, {"ramp", required_argument, NULL, 'a'},
    {"stamps", required_argument, NULL, 's'},       {"timeout", required_argument, NULL, 't'},
    {"first-number", required_argument, NULL, 'f'},
    {"numbers", required_argument, NULL, 'N'},      {"progress", no_argument, NULL, 'P'},
    {NULL, 0, NULL, 0},
};

static int main_usage(void)
{
    fputs("usage: sluice-bench-load --port N --request FILE [--connections N] [--requests N] [--milliseconds "
          "N]\n"
          "                         [--ramp MS] [--stamps N] [--timeout MS] [--progress]\n"
          "                         [--first-number N] [--numbers N]\n"
          "@@@@@@@@ in the request becomes its number\n",
          stderr);
    return 2;
}

static char *main_read_request(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    char *text = file ? malloc(MAIN_REQUEST_MAX) : NULL;
    if (text)
        *len = fread(text, 1, MAIN_REQUEST_MAX, file);
    if (file)
        fclose(file);
    return text;
}

static int64_t main_ms(const char *text)
{
    return strtoll(text, NULL, 10) * 1000000;
}

static bool main_parse(struct load_plan *plan, const char **request_path, int argc, char **argv)
{
    int choice;
    *plan = (struct load_plan){.connections = 1, .timeout_ns = main_ms("60000")};
    while ((choice = getopt_long(argc, argv, "", main_options, NULL)) != -1) {
        switch (choice) {
        case 'p':
            plan->port = atoi(optarg);
            break;
        case 'r':
            *request_path = optarg;
            break;
        case 'c':
            plan->connections = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            plan->requests = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            plan->duration_ns = main_ms(optarg);
            break;
        case 'a':
            plan->ramp_ns = main_ms(optarg);
            break;
        case 's':
            plan->stamps = strtoull(optarg, NULL, 10);
            break;
        case 't':
            plan->timeout_ns = main_ms(optarg);
            break;
        case 'f':
            plan->first_number = strtoull(optarg, NULL, 10);
            break;
        case 'N':
            plan->numbers = strtoull(optarg, NULL, 10);
            break;
        case 'P':
            plan->progress = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && plan->port > 0 && *request_path && plan->connections > 0 &&
           (plan->requests > 0 || plan->duration_ns > 0);
}

static const char main_number[] = "@@@@@@@@";

static_assert(sizeof main_number == LOAD_NUMBER_DIGITS + 1, "as long as a number");

static size_t main_find_number(const char *request, size_t len)
{
    const char *found = memmem(request, len, main_number, LOAD_NUMBER_DIGITS);
    return found ? (size_t)(found - request) : SIZE_MAX;
}

static double main_cpu_us(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void main_write_phase(const char *name, struct load_phase *phase)
{
    printf(",\"%s\":{\"delay_us\":", name);
    samples_write(&phase->delay, stdout);
    fputs(",\"gap_us\":", stdout);
    samples_write(&phase->gap, stdout);
    fputs("}", stdout);
}

static void main_free_phase(struct load_phase *phase)
{
    samples_free(&phase->delay);
    samples_free(&phase->gap);
}

static void main_write(struct load_result *r)
{
    printf("{\"complete\":%llu,\"broken\":%llu,\"wrong\":%llu,\"disordered\":%llu,\"reconnects\":%llu,"
           "\"events\":%llu,\"timed_out\":%s,\"seconds\":%.6f,\"load_cpu_us\":%.0f,\"total_us\":",
           (unsigned long long)r->complete, (unsigned long long)r->broken, (unsigned long long)r->wrong,
           (unsigned long long)r->disordered, (unsigned long long)r->reconnects,
           (unsigned long long)r->events, r->timed_out ? "true" : "false", (double)r->elapsed_ns / 1e9,
           main_cpu_us());
    samples_write(&r->total, stdout);
    fputs(",\"first_us\":", stdout);
    samples_write(&r->first, stdout);
    fputs(",\"delay_us\":", stdout);
    samples_write(&r->delay, stdout);
    main_write_phase("ramp", &r->ramp);
    main_write_phase("steady", &r->steady);
    fputs("}\n", stdout);
}

static void main_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct load_plan plan;
    struct load_result result;
    const char *path = NULL;
    if (!main_parse(&plan, &path, argc, argv))
        return main_usage();
    char *request = main_read_request(path, &plan.request_len);
    if (!request) {
        perror(path);
        return 1;
    }
    plan.request = request;
    plan.number_at = main_find_number(request, plan.request_len);
    main_raise_files();
    bool ok = load_run(&plan, &result);
    if (ok)
        main_write(&result);
    else
        perror("sluice-bench-load");
    samples_free(&result.total);
    samples_free(&result.first);
    samples_free(&result.delay);
    main_free_phase(&result.ramp);
    main_free_phase(&result.steady);
    free(request);
    return ok ? 0 : 1;
}
