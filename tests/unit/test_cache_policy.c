/* What may be cached: requests, answers, and Cache-Control. */
#include "test.h"

#include "sluice/cache_policy.h"

static const char *judge(const char *path, const char *method, const char *body)
{
    struct cache_verdict v = cache_policy_request(endpoint_find(slice_from_text(path)),
                                                  slice_from_text(method), slice_from_text(body));
    static const char *const names[] = {"", "completion", "embeddings", "models"};
    return v.kind == CACHE_KIND_NONE ? v.reason : names[v.kind];
}

#define CHAT(extra)                                                                                          \
    judge("/chat/completions", "POST", "{\"model\":\"m\",\"temperature\":0,\"seed\":1" extra "}")

static void endpoints_that_are_cached(void **state)
{
    (void)state;
    assert_string_equal(judge("/embeddings", "POST", "{\"input\":\"a\"}"), "embeddings");
    assert_string_equal(judge("/engines/x/embeddings", "POST", "{\"input\":\"a\"}"), "embeddings");
    assert_string_equal(judge("/models", "GET", ""), "models");
    assert_string_equal(judge("/models/gpt-4o", "GET", ""), "models");
    assert_string_equal(judge("/models/gpt-4o", "DELETE", ""), "endpoint");
    assert_string_equal(judge("/chat/completions", "GET", ""), "endpoint");
    assert_string_equal(judge("/responses", "POST", "{\"temperature\":0,\"seed\":1}"), "endpoint");
    assert_string_equal(judge("/files", "GET", ""), "endpoint");
    assert_string_equal(judge("/embeddings", "POST", "{\"input\":"), "not_json");
    assert_string_equal(judge("/embeddings", "POST", "[]"), "not_json");
}

static void completions_that_are_repeatable(void **state)
{
    (void)state;
    assert_string_equal(CHAT(""), "completion");
    assert_string_equal(CHAT(",\"n\":3,\"stream\":true"), "completion");
    assert_string_equal(judge("/completions", "POST", "{\"prompt\":\"a\",\"temperature\":-0.0,\"seed\":0}"),
                        "completion");
    assert_string_equal(judge("/chat/completions", "POST", "{\"seed\":1}"), "temperature");
    assert_string_equal(judge("/chat/completions", "POST", "{\"temperature\":0}"), "seed");
    assert_string_equal(judge("/chat/completions", "POST", "{\"temperature\":0,\"seed\":null}"), "seed");
    assert_string_equal(judge("/chat/completions", "POST", "{\"temperature\":0.0001,\"seed\":1}"),
                        "temperature");
    assert_string_equal(
        judge("/chat/completions", "POST", "{\"temperature\":0,\"temperature\":1,\"seed\":1}"),
        "temperature");
    assert_string_equal(judge("/chat/completions", "POST", "{\"temperature\":null,\"seed\":1}"),
                        "temperature");
}

static void what_acts_elsewhere_is_not(void **state)
{
    (void)state;
    assert_string_equal(CHAT(",\"store\":true"), "store");
    assert_string_equal(CHAT(",\"store\":false"), "completion");
    assert_string_equal(CHAT(",\"store\":null"), "completion");
    assert_string_equal(CHAT(",\"st\\u006fre\":true"), "store");
    assert_string_equal(CHAT(",\"background\":true"), "background");
    assert_string_equal(CHAT(",\"previous_response_id\":\"r\""), "conversation");
    assert_string_equal(CHAT(",\"conversation\":\"c\""), "conversation");
    assert_string_equal(CHAT(",\"conversation\":null"), "completion");
    assert_string_equal(CHAT(",\"web_search_options\":{}"), "web_search");
    assert_string_equal(CHAT(",\"model\":\"gpt-4o-search-preview\""), "web_search");
    assert_string_equal(CHAT(",\"prompt\":{\"id\":\"p\"}"), "prompt_template");
    assert_string_equal(
        judge("/completions", "POST", "{\"prompt\":{\"id\":\"p\"},\"temperature\":0,\"seed\":0}"),
        "prompt_template");
}

static void only_the_client_s_tools_are(void **state)
{
    (void)state;
    assert_string_equal(
        CHAT(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"custom\"}]"),
        "completion");
    assert_string_equal(CHAT(",\"tools\":[]"), "completion");
    assert_string_equal(CHAT(",\"tools\":null"), "completion");
    assert_string_equal(CHAT(",\"tools\":[{\"type\":\"function\"},{\"type\":\"web_search\"}]"),
                        "hosted_tool");
    assert_string_equal(CHAT(",\"tools\":[{}]"), "hosted_tool");
    assert_string_equal(CHAT(",\"tools\":[\"function\"]"), "hosted_tool");
    assert_string_equal(CHAT(",\"tools\":{\"type\":\"function\"}"), "hosted_tool");
    assert_string_equal(CHAT(",\"tools\":[{\"type\":\"function\",\"type\":\"mcp\"}]"), "hosted_tool");
}

static void audio_is_not(void **state)
{
    (void)state;
    assert_string_equal(CHAT(",\"audio\":{\"voice\":\"v\"}"), "audio_output");
    assert_string_equal(CHAT(",\"modalities\":[\"text\",\"audio\"]"), "audio_output");
    assert_string_equal(CHAT(",\"modalities\":[\"text\"]"), "completion");
    assert_string_equal(CHAT(",\"modalities\":null,\"audio\":null"), "completion");
    assert_string_equal(CHAT(",\"modalities\":\"audio\""), "audio_output");
}

#define ANSWER(kind, status, text) cache_policy_answer(kind, status, SLICE_LITERAL(text))
#define CHOICE(reason)             "{\"choices\":[{\"finish_reason\":\"stop\"},{\"finish_reason\":" reason "}]}"

static void answers_that_are_kept(void **state)
{
    (void)state;
    enum cache_kind kind = CACHE_KIND_COMPLETION;
    assert_null(ANSWER(kind, 200, CHOICE("\"stop\"")));
    assert_null(ANSWER(kind, 200, CHOICE("\"length\"")));
    assert_null(ANSWER(kind, 200, CHOICE("\"tool_calls\"")));
    assert_null(ANSWER(kind, 200, CHOICE("\"function_call\"")));
    assert_string_equal(ANSWER(kind, 200, CHOICE("\"content_filter\"")), "finish_reason");
    assert_string_equal(ANSWER(kind, 200, CHOICE("null")), "finish_reason");
    assert_string_equal(ANSWER(kind, 200, "{\"choices\":[{}]}"), "finish_reason");
    assert_string_equal(ANSWER(kind, 200, "{\"choices\":[]}"), "no_choices");
    assert_string_equal(ANSWER(kind, 200, "{}"), "no_choices");
    assert_string_equal(ANSWER(kind, 201, CHOICE("\"stop\"")), "status");
    assert_string_equal(ANSWER(kind, 429, CHOICE("\"stop\"")), "status");
    assert_string_equal(ANSWER(kind, 200, "{\"error\":{},\"choices\":[{\"finish_reason\":\"stop\"}]}"),
                        "error");
    assert_null(ANSWER(kind, 200, "{\"error\":null,\"choices\":[{\"finish_reason\":\"stop\"}]}"));
    assert_string_equal(ANSWER(kind, 200, "{\"choices\":[{\"finish_reason\":\"stop\"}]"), "not_json");
    assert_null(ANSWER(CACHE_KIND_EMBEDDINGS, 200, "{\"data\":[]}"));
    assert_string_equal(ANSWER(CACHE_KIND_EMBEDDINGS, 200, "{}"), "no_data");
    assert_null(ANSWER(CACHE_KIND_MODELS, 200, "{\"data\":[]}"));
    assert_string_equal(ANSWER(CACHE_KIND_NONE, 200, "{}"), "status");
}

static void directives_are_read(void **state)
{
    (void)state;
    struct cache_control c = cache_control_parse(SLICE_LITERAL(""));
    assert_true(!c.no_store && !c.no_cache && !c.only_if_cached && c.max_age_s == -1);
    c = cache_control_parse(SLICE_LITERAL(" No-Store,no-cache , ONLY-IF-CACHED,max-age=60, x=y"));
    assert_true(c.no_store && c.no_cache && c.only_if_cached && c.max_age_s == 60);
    assert_int_equal(cache_control_parse(SLICE_LITERAL("max-age=\"7\"")).max_age_s, 7);
    assert_int_equal(cache_control_parse(SLICE_LITERAL("max-age = 8")).max_age_s, 8);
    assert_int_equal(cache_control_parse(SLICE_LITERAL("max-age=-1")).max_age_s, 0);
    assert_int_equal(cache_control_parse(SLICE_LITERAL("max-age=")).max_age_s, 0);
    assert_int_equal(cache_control_parse(SLICE_LITERAL("max-age=99999999999999999999")).max_age_s, INT32_MAX);
    c = cache_control_parse(SLICE_LITERAL("no-storee,xno-cache,,=,"));
    assert_true(!c.no_store && !c.no_cache && !c.only_if_cached && c.max_age_s == -1);
}

static void ages_are_allowed(void **state)
{
    (void)state;
    struct cache_control c = cache_control_parse(SLICE_LITERAL("max-age=10"));
    assert_true(cache_control_allows(&c, 10000000));
    assert_false(cache_control_allows(&c, 10000001));
    c = cache_control_parse(SLICE_LITERAL("max-age=0"));
    assert_false(cache_control_allows(&c, 1));
    c = cache_control_parse(SLICE_LITERAL(""));
    assert_true(cache_control_allows(&c, INT64_MAX));
    c = cache_control_parse(SLICE_LITERAL("no-cache"));
    assert_false(cache_control_allows(&c, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_that_are_cached),
        cmocka_unit_test(completions_that_are_repeatable),
        cmocka_unit_test(what_acts_elsewhere_is_not),
        cmocka_unit_test(only_the_client_s_tools_are),
        cmocka_unit_test(audio_is_not),
        cmocka_unit_test(answers_that_are_kept),
        cmocka_unit_test(directives_are_read),
        cmocka_unit_test(ages_are_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
