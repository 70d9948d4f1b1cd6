/* Streams and whole answers: one taken for the other, and back. */
#include "test.h"

#include "sluice/cache_policy.h"
#include "sluice/cached_answer.h"
#include "sluice/sse.h"
#include "sluice/stream_fold.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { CAP = 1024 * 1024 };

static json_t *parsed(struct slice text)
{
    json_t *json = json_loadb(text.ptr, text.len, JSON_DECODE_INT_AS_REAL, NULL);
    if (!json)
        fail_msg("not JSON: %.*s", (int)text.len, text.ptr);
    return json;
}

static void assert_same_json(struct slice a, const char *b)
{
    json_t *x = parsed(a), *y = parsed(slice_from_text(b));
    if (!json_equal(x, y))
        fail_msg("%.*s\n%s", (int)a.len, a.ptr, b);
    json_decref(x);
    json_decref(y);
}

/* ---- streams to answers ------------------------------------------------------------------------------ */

static bool fold(const char *const *events, size_t max, struct buf *out)
{
    struct stream_fold *f = stream_fold_new(max);
    bool ok = true;
    buf_init(out, CAP);
    for (; ok && *events; events++)
        ok = stream_fold_feed(f, slice_from_text(*events));
    ok = stream_fold_write(f, out) && ok;
    stream_fold_free(&f);
    return ok;
}

#define EVENTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define HEAD                                                                                                 \
    "{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"system_"            \
    "fingerprint\":\"fp\","
#define CHOICES(text) HEAD "\"choices\":[" text "]}"
#define DELTA(delta)  CHOICES("{\"index\":0,\"delta\":" delta ",\"logprobs\":null,\"finish_reason\":null}")
#define FINISH(reason)                                                                                       \
    CHOICES("{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"" reason "\"}")

static void assert_folds(const char *const *events, const char *answer)
{
    struct buf out;
    assert_true(fold(events, CAP, &out));
    assert_same_json(buf_slice(&out), answer);
    buf_free(&out);
}

#define ANSWER(message, reason)                                                                              \
    "{\"id\":\"c1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\",\"system_fingerprint\":"    \
    "\"fp\","                                                                                                \
    "\"choices\":[{\"index\":0,\"message\":" message ",\"logprobs\":null,\"finish_reason\":\"" reason        \
    "\"}]}"

static void content_is_joined(void **state)
{
    (void)state;
    assert_folds(
        EVENTS(DELTA("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"),
               DELTA("{\"content\":\"Hel\\n\"}"), DELTA("{\"content\":\"lo \\u00e9\"}"), FINISH("stop"),
               "[DONE]"),
        ANSWER("{\"role\":\"assistant\",\"content\":\"Hel\\nlo \xC3\xA9\",\"refusal\":null}", "stop"));
}

static void a_refusal_is_joined(void **state)
{
    (void)state;
    assert_folds(EVENTS(DELTA("{\"role\":\"assistant\",\"content\":null}"), DELTA("{\"refusal\":\"I \"}"),
                        DELTA("{\"refusal\":\"won't\"}"), FINISH("stop"), "[DONE]"),
                 ANSWER("{\"role\":\"assistant\",\"content\":null,\"refusal\":\"I won't\"}", "stop"));
}

static void tool_calls_are_joined_by_index(void **state)
{
    (void)state;
    assert_folds(
        EVENTS(
            DELTA("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"a\","
                  "\"type\":\"function\","
                  "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}"),
            DELTA("{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":"
                  "\"g\",\"arguments\":\"\"}}]}"),
            DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"\",\"function\":{\"arguments\":\"{\\\"x\\\"\"}}]}"),
            DELTA("{\"tool_calls\":[{\"index\":1,\"type\":\"function\",\"function\":{\"arguments\":\"{}\"}},"
                  "{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]}"),
            FINISH("tool_calls"), "[DONE]"),
        ANSWER("{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"tool_calls\":["
               "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":"
               "1}\"}},"
               "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}",
               "tool_calls"));
}

static void unknown_fields_are_kept(void **state)
{
    (void)state;
    assert_folds(
        EVENTS(DELTA("{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"1\"}}"),
               DELTA("{\"function_call\":{\"arguments\":\"2\"},\"reasoning\":\"a\",\"annotations\":[]}"),
               DELTA("{\"reasoning\":\"b\",\"annotations\":[{\"type\":\"t\"}],\"weight\":1}"),
               DELTA("{\"annotations\":[{\"type\":\"u\"}],\"weight\":2,\"extra\":{\"k\":[1]}}"),
               FINISH("function_call"), "[DONE]"),
        ANSWER("{\"role\":\"assistant\",\"content\":null,\"refusal\":null,"
               "\"function_call\":{\"name\":\"f\",\"arguments\":\"12\"},\"reasoning\":\"ab\","
               "\"annotations\":[{\"type\":\"t\"},{\"type\":\"u\"}],\"weight\":2,\"extra\":{\"k\":[1]}}",
               "function_call"));
}

static void choices_usage_and_logprobs_are_told(void **state)
{
    (void)state;
    assert_folds(
        EVENTS(HEAD "\"service_tier\":\"default\",\"obfuscation\":\"x\",\"usage\":null,\"choices\":[]}",
               CHOICES("{\"index\":1,\"delta\":{\"content\":\"b\"},\"finish_reason\":null}"),
               CHOICES("{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"logprobs\":{"
                       "\"content\":[{\"token\":\"a\","
                       "\"logprob\":-0.1}],\"refusal\":null},\"finish_reason\":null}"),
               CHOICES("{\"index\":0,\"delta\":{\"content\":\"c\"},\"logprobs\":{\"content\":[{\"token\":"
                       "\"c\",\"logprob\":-1}]},"
                       "\"finish_reason\":\"stop\"},{\"index\":1,\"delta\":{},\"finish_reason\":\"length\"}"),
               HEAD "\"choices\":[],\"usage\":{\"total_tokens\":9}}", "[DONE]"),
        "{\"id\":\"c1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\",\"system_fingerprint\":"
        "\"fp\","
        "\"service_tier\":\"default\",\"usage\":{\"total_tokens\":9},\"choices\":["
        "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"ac\",\"refusal\":null},\"logprobs\":{"
        "\"content\":["
        "{\"token\":\"a\",\"logprob\":-0.1},{\"token\":\"c\",\"logprob\":-1}],\"refusal\":null},\"finish_"
        "reason\":\"stop\"},"
        "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"b\",\"refusal\":null},\"logprobs\":"
        "null,"
        "\"finish_reason\":\"length\"}]}");
}

#define TEXT(text, more)                                                                                     \
    "{\"id\":\"t\",\"object\":\"text_completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,"  \
    "\"text\":\"" text "\"" more "}]}"

static void a_completion_is_joined(void **state)
{
    (void)state;
    assert_folds(
        EVENTS(TEXT("ab", ",\"logprobs\":{\"tokens\":[\"ab\"],\"token_logprobs\":[-1],\"text_offset\":[0]},"
                          "\"finish_reason\":null"),
               TEXT("c", ",\"logprobs\":{\"tokens\":[\"c\"],\"token_logprobs\":[null],\"text_offset\":[2]},"
                         "\"finish_reason\":null"),
               TEXT("", ",\"logprobs\":null,\"finish_reason\":\"stop\""), "[DONE]"),
        TEXT("abc",
             ",\"logprobs\":{\"tokens\":[\"ab\",\"c\"],\"token_logprobs\":[-1,null],\"text_offset\":[0,2]},"
             "\"finish_reason\":\"stop\""));
}

static void assert_not_kept(const char *const *events, size_t max)
{
    struct buf out;
    assert_false(fold(events, max, &out));
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void what_is_not_whole_is_not_kept(void **state)
{
    (void)state;
    assert_not_kept(EVENTS(DELTA("{\"content\":\"a\"}"), FINISH("stop")), CAP);
    assert_not_kept(EVENTS(DELTA("{\"content\":\"a\"}"), "[DONE]"), CAP);
    assert_not_kept(EVENTS("[DONE]"), CAP);
    assert_not_kept(EVENTS(FINISH("stop"), "[DONE]", FINISH("stop")), CAP);
    assert_not_kept(EVENTS(FINISH("stop"), "{\"error\":{\"message\":\"x\"}}", "[DONE]"), CAP);
    assert_not_kept(EVENTS(HEAD "\"error\":{},\"choices\":[]}", FINISH("stop"), "[DONE]"), CAP);
    assert_not_kept(EVENTS(FINISH("stop"), "nonsense", "[DONE]"), CAP);
    assert_not_kept(EVENTS(CHOICES("{\"delta\":{},\"finish_reason\":\"stop\"}"), "[DONE]"), CAP);
    assert_not_kept(EVENTS("{\"object\":\"response\",\"choices\":[]}", "[DONE]"), CAP);
    assert_not_kept(
        EVENTS(CHOICES("{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"},{\"index\":1,\"delta\":{}}"),
               "[DONE]"),
        CAP);
    assert_not_kept(EVENTS(DELTA("{\"content\":\"\\ud83d\"}"), FINISH("stop"), "[DONE]"), CAP);
    assert_not_kept(EVENTS(DELTA("{\"a\":{\"b\":1}}"), DELTA("{\"a\":[1]}"), FINISH("stop"), "[DONE]"), CAP);
}

static void its_size_has_a_cap(void **state)
{
    (void)state;
    struct stream_fold *f = stream_fold_new(20000);
    int fed = 0;
    while (fed < 100000 && stream_fold_feed(f, SLICE_LITERAL(DELTA("{\"content\":\"0123456789\"}"))))
        fed++;
    assert_in_range(fed, 500, 2000);
    assert_false(stream_fold_feed(f, SLICE_LITERAL("[DONE]")));
    stream_fold_free(&f);
    f = stream_fold_new(1 << 20);
    char event[400];
    for (fed = 0; fed < 100000; fed++) {
        snprintf(event, sizeof event, DELTA("{\"k%d\":1}"), fed);
        if (!stream_fold_feed(f, slice_from_text(event)))
            break;
    }
    assert_in_range(fed, 1000, 2100);
    stream_fold_free(&f);
}

/* ---- answers to streams ------------------------------------------------------------------------------ */

struct reading {
    struct stream_fold *fold;
    size_t events;
    size_t usages, nulls; /* chunks with "usage":{…} and with "usage":null */
    bool done;
};

static bool read_event(void *ctx, const struct sse_event *event)
{
    struct reading *r = ctx;
    assert_true(event->has_data);
    assert_true(stream_fold_feed(r->fold, event->data));
    r->done = slice_equals_text(event->data, "[DONE]");
    r->events++;
    if (r->done)
        return true;
    json_t *json = parsed(event->data), *usage = json_object_get(json, "usage");
    static const char *const required[] = {"id", "object", "created", "model", "choices"};
    for (size_t i = 0; i < TEST_COUNT(required); i++)
        assert_non_null(json_object_get(json, required[i]));
    r->usages += json_is_object(usage);
    r->nulls += usage && json_is_null(usage);
    json_decref(json);
    return true;
}

static struct reading read_stream(const char *answer, bool include_usage, struct buf *back)
{
    struct reading r = {.fold = stream_fold_new(CAP)};
    struct sse_parser sse;
    struct buf stream;
    buf_init(&stream, CAP);
    buf_init(back, CAP);
    sse_init(&sse, CAP);
    assert_true(cached_answer_stream(slice_from_text(answer), include_usage, &stream));
    assert_true(sse_feed(&sse, buf_slice(&stream), read_event, &r));
    assert_int_equal(sse_held(&sse), 0);
    assert_true(r.done);
    assert_true(stream_fold_write(r.fold, back));
    stream_fold_free(&r.fold);
    sse_free(&sse);
    buf_free(&stream);
    return r;
}

#define FULL                                                                                                 \
    "{\n  \"id\": \"c1\", \"object\": \"chat.completion\", \"created\": 7, \"model\": \"m\",\n "             \
    "\"system_fingerprint\": \"fp\","                                                                        \
    "\"service_tier\":\"default\",\"x_unknown\":[1,2],\"choices\":[{\"index\":0,\"message\":{\"role\":"      \
    "\"assistant\","                                                                                         \
    "\"content\":\"a "                                                                                       \
    "\\\"b\\\"\\n\",\"refusal\":null,\"annotations\":[]},\"logprobs\":{\"content\":[\n{\"token\":\"a\","     \
    "\"logprob\":-0.25,\"bytes\":[97],\"top_logprobs\":[]}],\"refusal\":null},\"finish_reason\":\"stop\"},"  \
    "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"tool_calls\":["    \
    "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"               \
    "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"x\\\":1}\"}}]},"  \
    "\"logprobs\":null,\"finish_reason\":\"tool_calls\",\"content_filter_results\":{}}],"                    \
    "\"usage\":{\"prompt_tokens\":1,\n\"completion_tokens\":2,\"total_tokens\":3,\"big\":"                   \
    "12345678901234567890}}"

static void an_answer_survives_the_way_there_and_back(void **state)
{
    (void)state;
    struct buf back;
    struct reading r = read_stream(FULL, true, &back);
    assert_int_equal(r.usages, 1);
    assert_int_equal(r.nulls, r.events - 2);
    assert_non_null(strstr(buf_text(&back), "12345678901234567890"));
    json_t *x = json_loads(FULL, JSON_DECODE_INT_AS_REAL, NULL),
           *y = json_loads(buf_text(&back), JSON_DECODE_INT_AS_REAL, NULL);
    /* What is empty in the answer need not come back. */
    json_t *message = json_object_get(json_array_get(json_object_get(x, "choices"), 0), "message");
    json_object_del(message, "annotations");
    if (!json_equal(x, y))
        fail_msg("%s\n%s", FULL, buf_text(&back));
    json_decref(x);
    json_decref(y);
    buf_free(&back);
}

static void usage_comes_only_if_asked_for(void **state)
{
    (void)state;
    struct buf back;
    struct reading r = read_stream(FULL, false, &back);
    assert_int_equal(r.usages, 0);
    assert_int_equal(r.nulls, 0);
    buf_free(&back);
    r = read_stream(ANSWER("{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null}", "stop"), true,
                    &back);
    assert_int_equal(r.usages, 0); /* it is not known */
    assert_same_json(buf_slice(&back),
                     ANSWER("{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null}", "stop"));
    buf_free(&back);
}

static void a_text_survives_too(void **state)
{
    (void)state;
    static const char text[] =
        TEXT("a\\\"b", ",\"logprobs\":{\"tokens\":[\"a\"]},\"finish_reason\":\"length\"");
    struct buf back;
    read_stream(text, false, &back);
    assert_same_json(buf_slice(&back), text);
    buf_free(&back);
    static const char empty[] = TEXT("", ",\"logprobs\":null,\"finish_reason\":\"stop\"");
    read_stream(empty, false, &back);
    assert_same_json(buf_slice(&back), empty);
    buf_free(&back);
}

static void what_is_no_answer_has_no_stream(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"object\":\"list\",\"choices\":[]}",
        "{\"object\":\"chat.completion\"}",
        "{\"object\":\"chat.completion\",\"choices\":[]}",
        "{\"object\":\"chat.completion\",\"choices\":[1]}",
        "{\"object\":\"chat.completion\",\"choices\":[{\"text\":\"a\"}]}",
        "{\"object\":\"chat.completion\",\"choices\":[{\"message\":{\"tool_calls\":[1]}}]}",
        "{\"object\":\"chat.completion\",\"choices\":{}}",
    };
    struct buf out;
    buf_init(&out, CAP);
    for (size_t i = 0; i < TEST_COUNT(bad); i++)
        assert_false(cached_answer_stream(slice_from_text(bad[i]), true, &out));
    assert_int_equal(out.len, 0);
    out.max = 300;
    assert_false(cached_answer_stream(SLICE_LITERAL(FULL), true, &out));
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_is_joined),
        cmocka_unit_test(a_refusal_is_joined),
        cmocka_unit_test(tool_calls_are_joined_by_index),
        cmocka_unit_test(unknown_fields_are_kept),
        cmocka_unit_test(choices_usage_and_logprobs_are_told),
        cmocka_unit_test(a_completion_is_joined),
        cmocka_unit_test(what_is_not_whole_is_not_kept),
        cmocka_unit_test(its_size_has_a_cap),
        cmocka_unit_test(an_answer_survives_the_way_there_and_back),
        cmocka_unit_test(usage_comes_only_if_asked_for),
        cmocka_unit_test(a_text_survives_too),
        cmocka_unit_test(what_is_no_answer_has_no_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
