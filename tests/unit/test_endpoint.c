/* The endpoint table. */
#include "test.h"

#include "sluice/endpoint.h"

static void paths_are_found(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/chat/completions", "chat.completions"},
        {"/completions", "completions"},
        {"/embeddings", "embeddings"},
        {"/responses", "responses"},
        {"/responses/resp_1", "responses"},
        {"/responses/compact", "responses.compact"},
        {"/responses/resp_1/cancel", "responses"},
        {"/responses/resp_1/input_items", "other"},
        {"/chat/completions/chatcmpl-1", "chat.completions"},
        {"/chat/completions/chatcmpl-1/messages", "other"},
        {"/models", "models"},
        {"/models/ft%3Agpt", "models"},
        {"/files/file-1/content", "files.content"},
        {"/engines/davinci/completions", "completions"},
        {"/engines/gpt/chat/completions", "chat.completions"},
        {"", "other"},
        {"/", "other"},
        {"/chat", "other"},
        {"chat/completions", "other"},
        {"/chat/completions/", "other"},
        {"/chat/completions2", "other"},
        {"/Chat/completions", "other"},
        {"/chat%2Fcompletions", "other"},
        {"//chat/completions", "other"},
        {"/models/", "other"},
        {"/what/comes/next/year", "other"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        if (strcmp(endpoint_find(slice_from_text(cases[i][0]))->name, cases[i][1]) != 0)
            fail_msg("%s is %s", cases[i][0], endpoint_find(slice_from_text(cases[i][0]))->name);
    assert_string_equal(endpoint_find((struct slice){NULL, 0})->name, "other");
}

static void methods_are_those_of_the_table(void **state)
{
    (void)state;
    static const char *const names[] = {"GET", "POST", "DELETE", "HEAD", "PUT", "post"};
    static const struct {
        const char *path;
        bool allowed[6];
    } cases[] = {
        {"/chat/completions", {true, true, false, true, false, false}},
        {"/embeddings", {false, true, false, false, false, false}},
        {"/models/x", {true, false, true, true, false, false}},
        {"/files", {true, true, true, true, true, true}},
        {"/unknown", {true, true, true, true, true, true}},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        for (size_t m = 0; m < TEST_COUNT(names); m++)
            if (endpoint_allows(endpoint_find(slice_from_text(cases[i].path)), slice_from_text(names[m])) !=
                cases[i].allowed[m])
                fail_msg("%s %s", names[m], cases[i].path);
}

/* Of the endpoints whose answers have a usage (OpenAI reference). */
static void only_what_makes_a_model_work_uses_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        bool uses;
    } cases[] = {
        {"POST", "/chat/completions", true},
        {"POST", "/completions", true},
        {"POST", "/engines/gpt/completions", true},
        {"POST", "/embeddings", true},
        {"POST", "/responses", true},
        {"POST", "/responses/compact", true},
        {"POST", "/audio/speech", true},
        {"POST", "/audio/transcriptions", true},
        {"POST", "/images/generations", true},
        {"POST", "/images/edits", true},
        {"POST", "/images/variations", true},
        {"POST", "/threads/runs", true},
        {"POST", "/threads/thread_1/runs", true},
        {"POST", "/threads/thread_1/runs/run_1/submit_tool_outputs", true},
        {"POST", "/what/comes/next/year", true},
        {"GET", "/what/comes/next/year", false},
        {"GET", "/responses/resp_1", false},
        {"HEAD", "/responses/resp_1", false},
        {"DELETE", "/responses/resp_1", false},
        {"POST", "/responses/resp_1/cancel", false},
        {"GET", "/chat/completions", false},
        {"GET", "/chat/completions/chatcmpl-1", false},
        {"POST", "/chat/completions/chatcmpl-1", false},
        {"POST", "/batches", false},
        {"GET", "/batches/batch_1", false},
        {"POST", "/batches/batch_1/cancel", false},
        {"GET", "/threads/thread_1/runs/run_1", false},
        {"POST", "/threads/thread_1/runs/run_1", false},
        {"POST", "/threads/thread_1/runs/run_1/cancel", false},
        {"GET", "/threads/thread_1/runs/run_1/steps/step_1", false},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        if (endpoint_uses_tokens(endpoint_find(slice_from_text(cases[i].path)), slice_from_text(cases[i].method)) !=
            cases[i].uses)
            fail_msg("%s %s", cases[i].method, cases[i].path);
}

static void segments(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"", "", "", ""}, {"/", "", "", ""}, {"/a", "a", "", ""}, {"/a/b/c/d", "a", "b", "c"}, {"//b", "", "b", ""},
        {"a/b", "", "", ""},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        for (size_t n = 0; n < 3; n++)
            assert_true(slice_equals_text(endpoint_segment(slice_from_text(cases[i][0]), n), cases[i][n + 1]));
    assert_null(endpoint_segment(SLICE_LITERAL("/a"), 1).ptr);
}

static void models_in_paths(void **state)
{
    (void)state;
    struct slice path = SLICE_LITERAL("/engines/davinci/completions");
    assert_true(slice_equals_text(endpoint_path_model(endpoint_find(path), path), "davinci"));
    path = SLICE_LITERAL("/chat/completions");
    assert_int_equal(endpoint_path_model(endpoint_find(path), path).len, 0);
}

static void administration_is_known_however_it_is_written(void **state)
{
    (void)state;
    static const char *const admin[] = {"/organization", "/organization/users", "/projects", "//projects/x",
                                        "/%6Frganization", "/ORGANIZATION/x", "/%2forganization", "/projects;x",
                                        "/organizations", "/%4f%52ganization/admin_api_keys"};
    static const char *const others[] = {"/project", "/projectsx", "/files/organization", "/organizationx", "", "/",
                                         "/%organization", "/models/projects"};
    for (size_t i = 0; i < TEST_COUNT(admin); i++)
        if (!endpoint_is_admin(slice_from_text(admin[i])))
            fail_msg("%s is let through", admin[i]);
    for (size_t i = 0; i < TEST_COUNT(others); i++)
        if (endpoint_is_admin(slice_from_text(others[i])))
            fail_msg("%s is closed", others[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_found),
        cmocka_unit_test(methods_are_those_of_the_table),
        cmocka_unit_test(only_what_makes_a_model_work_uses_tokens),
        cmocka_unit_test(segments),
        cmocka_unit_test(models_in_paths),
        cmocka_unit_test(administration_is_known_however_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
