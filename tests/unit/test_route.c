/* Where a request goes, with the stages behind the route in place of the real ones. */
#include "test.h"

#include "exchange.h"

#include <stdio.h>

/* What became of it: "api PATH", "health", "error NAME" or "preflight". */
static char went[256];
static bool is_preflight;

bool cors_handle(struct exchange *x)
{
    x->answered = is_preflight;
    if (is_preflight)
        snprintf(went, sizeof went, "preflight");
    return is_preflight;
}

bool metrics_answer(struct exchange *x, struct slice path)
{
    x->answered = slice_equals_text(path, "/metrics");
    if (x->answered)
        snprintf(went, sizeof went, "metrics");
    return x->answered;
}

bool status_answer(struct exchange *x, struct slice path)
{
    (void)x;
    (void)path;
    return false;
}

void answer_error_id(struct exchange *x, enum exchange_end end, enum openai_error_id id)
{
    struct openai_error error = {.id = id, .args = {x->http.method, x->http.path}};
    answer_error(x, end, &error);
}

bool services_redis_is_connected(const struct proxy *p)
{
    (void)p;
    return false;
}

void authenticate_request(struct exchange *x)
{
    assert_false(x->answered);
    snprintf(went, sizeof went, "api %.*s", (int)x->api_path.len, x->api_path.ptr);
}

void answer_error(struct exchange *x, enum exchange_end end, const struct openai_error *error)
{
    assert_int_equal(end, EXCHANGE_REFUSED);
    assert_true(slice_equals(error->args[1], x->http.path));
    x->answered = true;
    snprintf(went, sizeof went, "error %s", openai_error_info(error->id)->name);
}

void answer_json(struct exchange *x, int status, struct slice json)
{
    assert_int_equal(status, 200);
    assert_true(json.len > 0);
    x->answered = true;
    snprintf(went, sizeof went, "health");
}

static const char *route(const char *base_path, bool admin, const char *method, const char *uri,
                         const char *header)
{
    struct config config = {.base_path = base_path, .allow_admin_api = admin};
    struct proxy proxy = {.config = &config};
    struct exchange x = {.proxy = &proxy};
    char variables[2][200];
    snprintf(variables[0], sizeof variables[0], "REQUEST_METHOD=%s", method);
    snprintf(variables[1], sizeof variables[1], "REQUEST_URI=%s", uri);
    const char *const vars[] = {variables[0], variables[1], header, NULL};
    assert_int_equal(http_request_parse(vars, &x.http), HTTP_REQUEST_OK);
    went[0] = '\0';
    route_request(&x);
    return went;
}

struct route_case {
    const char *base_path, *uri, *went;
};

static void paths(void **state)
{
    (void)state;
    static const struct route_case cases[] = {
        {"", "/v1/chat/completions", "api /chat/completions"},
        {"", "/v1/chat/completions?a=/../b", "api /chat/completions"},
        {"", "/v1/new", "api /new"},
        {"", "/v1//", "api //"},
        {"", "http://host/v1/models", "api /models"},
        {"", "/health", "health"},
        {"", "/health?x", "health"},
        {"", "/health/ready", "health"},
        {"", "/health/live", "health"},
        /* with a prefix */
        {"/ai", "/ai/v1/models", "api /models"},
        {"/ai", "/ai/health", "health"},
        {"/ai", "/health", "health"},
        {"/ai", "/ai/health/ready", "health"},
        {"", "/metrics", "metrics"},
        {"/ai", "/metrics?x", "metrics"},
        {"/ai", "/ai/metrics", "metrics"},
        {"/ai", "/air/metrics", "error unknown_url"},
        {"", "/metrics/", "error unknown_url"},
        {"", "/v1/metrics", "api /metrics"},
        {"/ai", "/v1/models", "error unknown_url"},
        {"/ai", "/air/v1/models", "error unknown_url"},
        {"/ai", "/ai", "error unknown_url"},
        {"/ai", "/AI/v1/models", "error unknown_url"},
        {"/a/b", "/a/b/v1/models", "api /models"},
        /* nothing of ours */
        {"", "/", "error unknown_url"},
        {"", "*", "error unknown_url"},
        {"", "/v1", "error unknown_url"},
        {"", "/v1/", "error unknown_url"},
        {"", "/v1x/models", "error unknown_url"},
        {"", "/V1/models", "error unknown_url"},
        {"", "//v1/models", "error unknown_url"},
        {"", "/v2/models", "error unknown_url"},
        {"", "/health/", "error unknown_url"},
        {"", "/healthy", "error unknown_url"},
        {"", "v1/models", "error unknown_url"},
        /* dot segments, however they are written */
        {"", "/v1/..", "error unknown_url"},
        {"", "/v1/../admin", "error unknown_url"},
        {"", "/v1/a/./b", "error unknown_url"},
        {"", "/v1/a/.", "error unknown_url"},
        {"", "/v1/%2e%2E/x", "error unknown_url"},
        {"", "/v1/.%2e/x", "error unknown_url"},
        {"", "/v1/%2e", "error unknown_url"},
        {"", "/v1/a/..%2fb", "error unknown_url"},
        {"", "/v1/a%2F..", "error unknown_url"},
        {"", "/v1/a%5c.%2e%5Cb", "error unknown_url"},
        {"", "/v1/a\\..\\b", "error unknown_url"},
        {"", "/v1/..;x=y/b", "error unknown_url"},
        {"", "/v1/%2e.;/b", "error unknown_url"},
        {"", "/v1/.;", "error unknown_url"},
        {"", "/v1/a%2fb..%2f..c", "api /a%2fb..%2f..c"},
        {"", "/v1/;a/x;..", "api /;a/x;.."},
        {"", "/v1/.../x", "api /.../x"},
        {"", "/v1/..a/b..", "api /..a/b.."},
        {"", "/v1/%2e%2/x", "api /%2e%2/x"},
        {"", "/v1/a.b", "api /a.b"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        const char *got = route(cases[i].base_path, false, "POST", cases[i].uri, NULL);
        bool health = strcmp(cases[i].went, "health") == 0;
        if (health) {
            assert_string_equal(got, "error wrong_method");
            assert_string_equal(route(cases[i].base_path, false, "HEAD", cases[i].uri, NULL), "health");
            got = route(cases[i].base_path, false, "GET", cases[i].uri, NULL);
        }
        if (strcmp(got, cases[i].went) != 0)
            fail_msg("%s%s went to %s", cases[i].base_path, cases[i].uri, got);
    }
}

static void administration_is_closed_unless_it_is_opened(void **state)
{
    (void)state;
    static const char *const uris[] = {"/v1/organization/users", "/v1/%6frganization", "/v1//projects"};
    for (size_t i = 0; i < TEST_COUNT(uris); i++) {
        const char *closed = openai_error_info(OPENAI_ERROR_ADMIN)->name;
        assert_string_equal(route("", false, "GET", uris[i], NULL) + strlen("error "), closed);
        assert_memory_equal(route("", true, "GET", uris[i], NULL), "api /", 5);
    }
}

static void methods_that_show_the_request_are_refused(void **state)
{
    (void)state;
    static const char *const methods[] = {"TRACE", "trace", "TRACK", "DEBUG", "CONNECT"};
    for (size_t i = 0; i < TEST_COUNT(methods); i++)
        assert_string_equal(route("", true, methods[i], "/v1/new", NULL), "error wrong_method");
    assert_string_equal(route("", true, "TRACES", "/v1/new", NULL), "api /new");
}

static void websockets_are_refused(void **state)
{
    (void)state;
    const char *closed = openai_error_info(OPENAI_ERROR_WEBSOCKET)->name;
    assert_string_equal(route("", true, "GET", "/v1/realtime?model=m", NULL) + strlen("error "), closed);
    assert_string_equal(route("", true, "GET", "/v1/models", "HTTP_UPGRADE=WebSocket") + strlen("error "),
                        closed);
    assert_string_equal(route("", true, "GET", "/v1/models", "HTTP_UPGRADE=h2c"), "api /models");
}

static void a_preflight_is_answered_before_anything_is_judged(void **state)
{
    (void)state;
    is_preflight = true;
    assert_string_equal(route("", false, "OPTIONS", "/v1/chat/completions", NULL), "preflight");
    assert_string_equal(route("", false, "OPTIONS", "/v1/organization", NULL), "preflight");
    assert_string_equal(route("", false, "OPTIONS", "/other", NULL), "error unknown_url");
    is_preflight = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(administration_is_closed_unless_it_is_opened),
        cmocka_unit_test(methods_that_show_the_request_are_refused),
        cmocka_unit_test(websockets_are_refused),
        cmocka_unit_test(a_preflight_is_answered_before_anything_is_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
