/*
 * Counting the text of a request.
 *
 * Every string value counts, whatever its name: prompts, messages, tool descriptions, schemas. Names of members do not,
 * but each object of "messages" has its small overhead. Token arrays (input of embeddings) count one a number.
 */
#include "sluice/estimate.h"

#include "sluice/json_scan.h"

enum { ESTIMATE_BYTES_A_TOKEN = 4, ESTIMATE_MESSAGE_TOKENS = 3, ESTIMATE_REPLY_TOKENS = 3 };

static int64_t estimate_cap(int64_t n)
{
    return n < 0 ? 0 : n > ESTIMATE_MAX ? ESTIMATE_MAX : n;
}

/* Bytes of the decoded string: an escape counts as what it stands for. */
static size_t estimate_string(struct slice inner)
{
    size_t bytes = 0;
    if (inner.len == 0 || !memchr(inner.ptr, '\\', inner.len))
        return inner.len;
    char c[4];
    for (size_t n; (n = json_scan_decode(&inner, c)) > 0;)
        bytes += n;
    return bytes;
}

struct estimate_sum {
    size_t bytes;
    int64_t extra; /* tokens beside the text */
};

/* One value of the request, with all that is in it. */
static void estimate_value(struct json_value value, bool numbers, struct estimate_sum *sum)
{
    struct json_scan s;
    struct slice token;
    enum json_kind kind;
    json_scan_init(&s, value.raw);
    while ((kind = json_scan_next(&s, &token)) != JSON_KIND_DONE && kind != JSON_KIND_ERROR) {
        if (kind == JSON_KIND_NUMBER && numbers)
            sum->extra++;
        if (kind != JSON_KIND_STRING)
            continue;
        if (slice_starts_with(token, SLICE_LITERAL("data:")))
            sum->extra += ESTIMATE_IMAGE_TOKENS;
        else
            sum->bytes += estimate_string(token);
    }
}

static void estimate_messages(struct json_value messages, struct estimate_sum *sum)
{
    struct json_items items;
    struct json_value message;
    if (messages.kind != JSON_KIND_ARRAY || !json_items_begin(&items, messages))
        return;
    while (json_items_next(&items, NULL, &message))
        sum->extra += ESTIMATE_MESSAGE_TOKENS;
    sum->extra += ESTIMATE_REPLY_TOKENS;
}

static int64_t estimate_int(struct json_value object, const char *name, int64_t otherwise)
{
    struct json_value value;
    int64_t n;
    return json_value_find(object, name, &value) && json_value_int(value, &n) && n >= 0 ? estimate_cap(n) : otherwise;
}

static int64_t estimate_output(struct json_value object, int64_t choices)
{
    static const char *const names[] = {"max_completion_tokens", "max_tokens", "max_output_tokens"};
    int64_t most = -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t n = estimate_int(object, names[i], -1);
        most = n > most ? n : most;
    }
    return most < 0 ? -1 : estimate_cap(most * choices);
}

/* What is text for the model. */
static bool estimate_is_input(struct slice name)
{
    static const char *const names[] = {"messages", "prompt",       "input", "instructions",    "tools",
                                        "functions", "suffix", "response_format", "text"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_equals_text(name, names[i]))
            return true;
    return false;
}

static int64_t estimate_input(struct json_value object)
{
    struct estimate_sum sum = {0, 0};
    struct json_items items;
    struct json_value value;
    struct slice name;
    if (!json_items_begin(&items, object))
        return 0;
    while (json_items_next(&items, &name, &value)) {
        if (!estimate_is_input(name))
            continue;
        estimate_value(value, slice_equals_text(name, "input") || slice_equals_text(name, "prompt"), &sum);
        if (slice_equals_text(name, "messages"))
            estimate_messages(value, &sum);
    }
    return estimate_cap((int64_t)(sum.bytes / ESTIMATE_BYTES_A_TOKEN) + sum.extra + 1);
}

struct estimate estimate_request(struct slice body, enum endpoint_fields fields)
{
    struct estimate e = {0, 0, 1};
    struct json_value object;
    if (!json_value_read(body, &object) || object.kind != JSON_KIND_OBJECT)
        return e;
    e.choices = estimate_int(object, "n", 1);
    e.choices = e.choices < 1 ? 1 : e.choices > 128 ? 128 : e.choices;
    e.input_tokens = estimate_input(object);
    bool generates = fields == ENDPOINT_FIELDS_CHAT || fields == ENDPOINT_FIELDS_COMPLETIONS ||
                     fields == ENDPOINT_FIELDS_RESPONSES;
    e.output_tokens = generates ? estimate_output(object, e.choices) : 0;
    return e;
}
