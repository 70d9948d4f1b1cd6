/* Command line, environment, key file. */
#include "arguments.h"

#include "sluice/slice.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARGUMENTS_SILENCE = 65, ARGUMENTS_SILENCE_MAX = 900 };

static bool arguments_fail(struct arguments *a, const char *what, const char *text)
{
    snprintf(a->message, sizeof a->message, "%s%s%.300s", what, *text ? ": " : "", text);
    return false;
}

/* ---- the key ------------------------------------------------------------------------------------------- */

static bool arguments_set_key(struct arguments *a, const char *from, struct slice key)
{
    key = slice_trim(key);
    bool good = key.len > 0 && key.len < sizeof a->key;
    for (size_t i = 0; good && i < key.len; i++)
        good = (unsigned char)key.ptr[i] > 0x20 && (unsigned char)key.ptr[i] < 0x7F;
    if (!good)
        return arguments_fail(a, "there is no usable key in", from);
    memcpy(a->key, key.ptr, key.len);
    a->key[key.len] = '\0';
    return true;
}

static bool arguments_read_key(struct arguments *a, const char *from, FILE *file)
{
    char text[ARGUMENTS_KEY_MAX + 2];
    if (!fgets(text, sizeof text, file))
        return arguments_fail(a, "there is no key in", from);
    return arguments_set_key(a, from, slice_from_text(text));
}

static bool arguments_read_key_file(struct arguments *a, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(a->message, sizeof a->message, "%.300s: %s", path, strerror(errno));
        return false;
    }
    bool ok = arguments_read_key(a, path, file);
    fclose(file);
    return ok;
}

/* The command line of a process is open to all users of the machine. */
static bool arguments_take_literal_key(struct arguments *a, char *key)
{
    fputs("sluice doctor: a key on the command line can be read by every user of this machine: "
          "--key-file, --key - and SLUICE_DOCTOR_KEY are safer\n",
          stderr);
    bool ok = arguments_set_key(a, "--key", slice_from_text(key));
    memset(key, 'x', strlen(key));
    return ok;
}

static bool arguments_take_key(struct arguments *a, char *value)
{
    if (strcmp(value, "-") == 0)
        return arguments_read_key(a, "standard input", stdin);
    return arguments_take_literal_key(a, value);
}

static bool arguments_default_key(struct arguments *a)
{
    const char *key = getenv("SLUICE_DOCTOR_KEY");
    if (a->key[0] || !key || !*key)
        return true;
    return arguments_set_key(a, "SLUICE_DOCTOR_KEY", slice_from_text(key));
}

/* ---- the URL ------------------------------------------------------------------------------------------- */

static bool arguments_url_is_usable(CURLU *url)
{
    static const CURLUPart unwanted[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY,
                                         CURLUPART_FRAGMENT};
    for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++) {
        char *part = NULL;
        bool found = curl_url_get(url, unwanted[i], &part, 0) == CURLUE_OK;
        curl_free(part);
        if (found)
            return false;
    }
    return true;
}

/* Without slashes at its end, and without the /v1 that a client's base URL ends in. */
static void arguments_cut_root(char *root)
{
    size_t len = strlen(root);
    while (len > 0 && root[len - 1] == '/')
        root[--len] = '\0';
    if (len > 3 && strcmp(root + len - 3, "/v1") == 0)
        root[len -= 3] = '\0';
    while (len > 0 && root[len - 1] == '/')
        root[--len] = '\0';
}

static bool arguments_set_root(struct arguments *a, const char *text, CURLU *url)
{
    char *whole = NULL;
    bool ok = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK && arguments_url_is_usable(url) &&
              curl_url_get(url, CURLUPART_URL, &whole, 0) == CURLUE_OK && strlen(whole) < sizeof a->root;
    if (ok)
        snprintf(a->root, sizeof a->root, "%s", whole);
    curl_free(whole);
    a->tls = strncmp(a->root, "https://", 8) == 0;
    ok = ok && (a->tls || strncmp(a->root, "http://", 7) == 0);
    if (!ok)
        return arguments_fail(a, "the URL is http:// or https://, a host, and what stands before /v1; not",
                              text);
    arguments_cut_root(a->root);
    char *slash = strchr(strstr(a->root, "://") + 3, '/');
    a->path = slash ? slash : "";
    return true;
}

static bool arguments_take_url(struct arguments *a, const char *text)
{
    if (a->root[0])
        return arguments_fail(a, "one URL is asked at a time; surplus", text);
    CURLU *url = curl_url();
    if (!url)
        return arguments_fail(a, "there is not enough memory", "");
    bool ok = arguments_set_root(a, text, url);
    curl_url_cleanup(url);
    return ok;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static bool arguments_take_silence(struct arguments *a, char *value)
{
    char *end;
    errno = 0;
    long n = strtol(value, &end, 10);
    if (errno || end == value || *end || n < 1 || n > ARGUMENTS_SILENCE_MAX)
        return arguments_fail(a, "--silence takes 1 to 900 seconds, not", value);
    a->silence_s = n;
    return true;
}

static bool arguments_take_key_file(struct arguments *a, char *value)
{
    return arguments_read_key_file(a, value);
}

/* "--name value" or "--name=value". */
static const struct arguments_option {
    const char *name;
    bool (*take)(struct arguments *a, char *value);
} arguments_options[] = {
    {"--key", arguments_take_key},
    {"--key-file", arguments_take_key_file},
    {"--silence", arguments_take_silence},
};

static bool arguments_take_option(struct arguments *a, int argc, char **argv, int *i)
{
    for (size_t n = 0; n < sizeof arguments_options / sizeof *arguments_options; n++) {
        const struct arguments_option *o = &arguments_options[n];
        size_t len = strlen(o->name);
        if (strncmp(argv[*i], o->name, len) != 0)
            continue;
        if (argv[*i][len] == '=')
            return o->take(a, argv[*i] + len + 1);
        if (argv[*i][len] != '\0')
            continue;
        return *i + 1 < argc ? o->take(a, argv[++*i]) : arguments_fail(a, "a value is missing for", o->name);
    }
    return arguments_fail(a, "unknown argument", argv[*i]);
}

static bool arguments_take_flag(struct arguments *a, const char *text)
{
    if (strcmp(text, "--quick") == 0)
        a->silence_s = 0;
    else if (strcmp(text, "--insecure") == 0)
        a->insecure = true;
    else if (strcmp(text, "--json") == 0)
        a->as_json = true;
    else if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0)
        a->help = true;
    else
        return false;
    return true;
}

bool arguments_parse(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){.silence_s = ARGUMENTS_SILENCE};
    for (int i = 1; i < argc && !a->help; i++) {
        if (arguments_take_flag(a, argv[i]))
            continue;
        if (argv[i][0] == '-' ? !arguments_take_option(a, argc, argv, &i) : !arguments_take_url(a, argv[i]))
            return false;
    }
    if (!a->help && !a->root[0])
        return arguments_fail(a, "the URL of the installation is missing, such as https://example.org/v1",
                              "");
    return a->help || arguments_default_key(a);
}

void arguments_print_help(void)
{
    puts("usage: sluice doctor URL [--key-file FILE | --key - | --key KEY] [--quick | --silence SECONDS]\n"
         "                         [--insecure] [--json]\n"
         "\n"
         "Asks a running installation through its web server, as a client would, and tells what is\n"
         "wrong there and which directive to change. Status 0: nothing; 1: faults; 2: a wrong command\n"
         "line.\n"
         "\n"
         "  URL                as clients have it, with or without /v1 at its end\n"
         "  --key-file FILE    a client key, in the first line of FILE; --key - reads it from standard\n"
         "                     input; without either it is taken from SLUICE_DOCTOR_KEY\n"
         "  --key KEY          the same, for every user of the machine to see\n"
         "  --silence SECONDS  how long a silent stream must survive (65)\n"
         "  --quick            leave that out\n"
         "  --insecure         do not check the certificate\n"
         "  --json             one JSON object instead of lines");
}
