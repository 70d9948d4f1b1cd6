/*
 * What a transfer that is paused costs with the libcurl that is here: measure_paused.py runs it.
 *
 *   measure_paused 1|2 CA_FILE LARGE_URL SMALL_URL
 *
 * The large body is paused at its first piece. After two seconds of waiting small ones are asked for, one after the
 * other, by the same multi handle: do they come, and what does the paused one hold by then?
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SMALL_ONES = 100 };

static size_t pause_at_once(char *bytes, size_t size, size_t count, void *user)
{
    int *calls = user;
    (void)bytes;
    return (*calls)++ == 0 ? size * count : CURL_WRITEFUNC_PAUSE;
}

static size_t take(char *bytes, size_t size, size_t count, void *user)
{
    (void)bytes;
    *(size_t *)user += size * count;
    return size * count;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long memory_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return kib;
}

static CURL *start(CURLM *multi, const char *url, const char *const *arguments, curl_write_callback fn, void *user)
{
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CAINFO, arguments[2]);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     (long)(*arguments[1] == '2' ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 16384L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, fn);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, user);
    curl_multi_add_handle(multi, easy);
    return easy;
}

/* Runs for this long, or until the transfer is done; whether it is. */
static int run(CURLM *multi, double seconds, const CURL *awaited)
{
    double end = now() + seconds;
    int running, left;
    while (now() < end) {
        CURLMsg *message;
        curl_multi_perform(multi, &running);
        while ((message = curl_multi_info_read(multi, &left)))
            if (message->msg == CURLMSG_DONE && message->easy_handle == awaited)
                return message->data.result == CURLE_OK;
        curl_multi_poll(multi, NULL, 0, 50, NULL);
    }
    return 0;
}

int main(int argc, char **argv)
{
    int calls = 0;
    size_t got = 0;
    if (argc != 5)
        return 2;
    CURLM *multi = curl_multi_init();
    /* What the library needs anyway is not counted. */
    CURL *first = start(multi, argv[4], (const char *const *)argv, take, &got);
    run(multi, 2, first);
    long before = memory_kib();
    start(multi, argv[3], (const char *const *)argv, pause_at_once, &calls);
    run(multi, 2, NULL);
    long grown = memory_kib() - before;
    printf("alone: memory +%ld KiB;", grown);
    int came = 0;
    double slowest = 0;
    for (int i = 0; i < SMALL_ONES; i++) {
        double began = now();
        CURL *small = start(multi, argv[4], (const char *const *)argv, take, &got);
        came += run(multi, 2, small);
        slowest = now() - began > slowest ? now() - began : slowest;
        curl_multi_remove_handle(multi, small);
        curl_easy_cleanup(small);
    }
    printf(" beside %d of %d small answers (the slowest %.0f ms): memory +%ld KiB\n", came, SMALL_ONES, slowest * 1000,
           memory_kib() - before);
    return 0;
}
