/*
 * Counting the text of a request.
 *
 * Every string value counts, whatever its name: prompts, messages, tool descriptions, schemas. Names of members do not,
 * but each object of "messages" has its small overhead. Token arrays (input of embeddings) count one a number.
 */
#include "sluice/estimate.h"

#include "sluice/json_scan.h"

enum { ESTIMATE_BYTES_A_TOKEN = 4, ESTIMATE_MESSAGE_TOKENS = 3, ESTIMATE_REPLY_TOKENS = 3, ESTIMATE_CHOICES_MAX = 128 };

static int64_t estimate_cap(int64_t n)
{
    return n < 0 ? 0 : n > ESTIMATE_MAX ? ESTIMATE_MAX : n;
}

/* Bytes in UTF-8 of the escape at p; half of a surrogate pair counts as half of its four. */
static size_t estimate_escape(const char *p)
{
    if (p[1] != 'u' || (p[2] == '0' && p[3] == '0' && p[4] < '8'))
        return 1;
    bool half = (p[2] | 0x20) == 'd' && p[3] > '7';
    return half || (p[2] == '0' && p[3] < '8') ? 2 : 3;
}

/* Bytes of the decoded string, which was checked: an escape counts as what it stands for. */
static size_t estimate_string(struct slice inner)
{
    size_t bytes = 0;
    while (inner.len > 0) {
        const char *escape = inner.ptr[0] == '\\' ? inner.ptr : memchr(inner.ptr, '\\', inner.len);
        size_t plain = escape ? (size_t)(escape - inner.ptr) : inner.len;
        bytes += plain + (escape ? estimate_escape(escape) : 0);
        inner = slice_skip(inner, plain + (escape ? (escape[1] == 'u' ? 6 : 2) : 0));
    }
    return bytes;
}

/* What a member of the request is for the estimate. */
enum estimate_role { ESTIMATE_OTHER, ESTIMATE_TEXT, ESTIMATE_NUMBERS, ESTIMATE_MESSAGES, ESTIMATE_CHOICES, ESTIMATE_LIMIT };

struct estimate_member {
    const char *name;
    enum estimate_role role;
};

static const struct estimate_member estimate_members[] = {
    {"messages", ESTIMATE_MESSAGES},
    {"prompt", ESTIMATE_NUMBERS}, /* text, or numbers that are tokens */
    {"input", ESTIMATE_NUMBERS},
    {"instructions", ESTIMATE_TEXT},
    {"tools", ESTIMATE_TEXT},
    {"functions", ESTIMATE_TEXT},
    {"suffix", ESTIMATE_TEXT},
    {"response_format", ESTIMATE_TEXT},
    {"text", ESTIMATE_TEXT},
    {"n", ESTIMATE_CHOICES},
    {"max_completion_tokens", ESTIMATE_LIMIT},
    {"max_tokens", ESTIMATE_LIMIT},
    {"max_output_tokens", ESTIMATE_LIMIT},
};

enum { ESTIMATE_MEMBERS = sizeof estimate_members / sizeof *estimate_members };

/* What was counted on the way through a body, which is read once. */
struct estimate_sum {
    size_t member; /* that the reader is in; ESTIMATE_MEMBERS: another one */
    enum estimate_role role;
    size_t bytes;
    int64_t extra;                     /* tokens beside the text */
    int64_t numbers[ESTIMATE_MEMBERS]; /* of choices and limits; -1: not said */
};

static size_t estimate_find(struct slice name)
{
    size_t i = 0;
    while (i < ESTIMATE_MEMBERS && !json_scan_text_is(name, estimate_members[i].name))
        i++;
    return i;
}

/* Of two members with one name the last counts. */
static void estimate_enter(struct slice name, struct estimate_sum *sum)
{
    sum->member = estimate_find(name);
    sum->role = sum->member < ESTIMATE_MEMBERS ? estimate_members[sum->member].role : ESTIMATE_OTHER;
    if (sum->role == ESTIMATE_CHOICES || sum->role == ESTIMATE_LIMIT)
        sum->numbers[sum->member] = -1;
}

static void estimate_take_string(struct slice token, struct estimate_sum *sum)
{
    if (slice_starts_with(token, SLICE_LITERAL("data:")))
        sum->extra += ESTIMATE_IMAGE_TOKENS;
    else
        sum->bytes += estimate_string(token);
}

/* depth: open containers around the number. */
static void estimate_take_number(struct slice token, unsigned depth, struct estimate_sum *sum)
{
    int64_t n;
    if (sum->role == ESTIMATE_NUMBERS)
        sum->extra++;
    else if ((sum->role == ESTIMATE_CHOICES || sum->role == ESTIMATE_LIMIT) && depth == 1 &&
             json_value_int((struct json_value){JSON_KIND_NUMBER, token}, &n) && n >= 0)
        sum->numbers[sum->member] = estimate_cap(n);
}

/* One token of a value. An array of messages is at depth 2, what is in it begins there or opens depth 3. */
static void estimate_take(enum json_kind kind, struct slice token, unsigned depth, struct estimate_sum *sum)
{
    bool opens = kind == JSON_KIND_OBJECT || kind == JSON_KIND_ARRAY;
    if (sum->role == ESTIMATE_OTHER || kind == JSON_KIND_END)
        return;
    if (sum->role == ESTIMATE_MESSAGES && kind == JSON_KIND_ARRAY && depth == 2)
        sum->extra += ESTIMATE_REPLY_TOKENS;
    else if (sum->role == ESTIMATE_MESSAGES && depth == 2u + opens)
        sum->extra += ESTIMATE_MESSAGE_TOKENS;
    if (kind == JSON_KIND_NUMBER)
        estimate_take_number(token, depth, sum);
    else if (kind == JSON_KIND_STRING && sum->role < ESTIMATE_CHOICES)
        estimate_take_string(token, sum);
}

/* False: the text is no JSON object. */
static bool estimate_read(struct slice body, struct estimate_sum *sum)
{
    struct json_scan s;
    struct slice token;
    json_scan_init(&s, body);
    enum json_kind kind = json_scan_next(&s, &token);
    bool object = kind == JSON_KIND_OBJECT;
    while (object && (kind = json_scan_next(&s, &token)) != JSON_KIND_DONE && kind != JSON_KIND_ERROR) {
        if (kind != JSON_KIND_NAME)
            estimate_take(kind, token, s.depth, sum);
        else if (s.depth == 1)
            estimate_enter(token, sum);
    }
    return kind == JSON_KIND_DONE;
}

static int64_t estimate_choices(const struct estimate_sum *sum)
{
    int64_t choices = 1;
    for (size_t i = 0; i < ESTIMATE_MEMBERS; i++)
        if (estimate_members[i].role == ESTIMATE_CHOICES && sum->numbers[i] >= 0)
            choices = sum->numbers[i];
    return choices < 1 ? 1 : choices > ESTIMATE_CHOICES_MAX ? ESTIMATE_CHOICES_MAX : choices;
}

static int64_t estimate_output(const struct estimate_sum *sum, int64_t choices)
{
    int64_t most = -1;
    for (size_t i = 0; i < ESTIMATE_MEMBERS; i++)
        if (estimate_members[i].role == ESTIMATE_LIMIT && sum->numbers[i] > most)
            most = sum->numbers[i];
    return most < 0 ? -1 : estimate_cap(most * choices);
}

struct estimate estimate_request(struct slice body, enum endpoint_fields fields)
{
    struct estimate e = {0, 0, 1};
    struct estimate_sum sum = {.member = ESTIMATE_MEMBERS};
    memset(sum.numbers, -1, sizeof sum.numbers);
    if (!estimate_read(body, &sum))
        return e;
    e.choices = estimate_choices(&sum);
    e.input_tokens = estimate_cap((int64_t)(sum.bytes / ESTIMATE_BYTES_A_TOKEN) + sum.extra + 1);
    bool generates = fields == ENDPOINT_FIELDS_CHAT || fields == ENDPOINT_FIELDS_COMPLETIONS ||
                     fields == ENDPOINT_FIELDS_RESPONSES;
    e.output_tokens = generates ? estimate_output(&sum, e.choices) : 0;
    return e;
}
