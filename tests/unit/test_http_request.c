/* CGI variables to a request: what front servers send, and what hostile clients get through them. */
#include "test.h"

#include "sluice/http_request.h"

#include <stdlib.h>

#define VARS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define GET(uri)  "REQUEST_METHOD=GET", "REQUEST_URI=" uri

static void assert_slice(struct slice got, const char *expected)
{
    if (!slice_equals_text(got, expected))
        fail_msg("\"%.*s\" is not \"%s\"", (int)got.len, got.len ? got.ptr : "", expected);
}

static void every_field_is_found(void **state)
{
    (void)state;
    struct http_request r;
    const char *const *vars =
        VARS("SERVER_SOFTWARE=lighttpd", "REQUEST_METHOD=POST", "REQUEST_URI=/v1/chat/completions?a=b?c",
             "CONTENT_TYPE=application/json", "CONTENT_LENGTH=12", "HTTP_AUTHORIZATION=Bearer k",
             "HTTP_X_REQUEST_ID=id-1", "HTTP_ORIGIN=http://o", "REMOTE_ADDR=::1", "HTTP_OPENAI_BETA=x=y");
    assert_int_equal(http_request_parse(vars, &r), HTTP_REQUEST_OK);
    assert_slice(r.method, "POST");
    assert_slice(r.path, "/v1/chat/completions");
    assert_slice(r.query, "a=b?c");
    assert_slice(r.content_type, "application/json");
    assert_slice(r.authorization, "Bearer k");
    assert_slice(r.request_id, "id-1");
    assert_slice(r.origin, "http://o");
    assert_slice(r.remote_addr, "::1");
    assert_int_equal(r.content_length, 12);
    assert_slice(http_request_variable(&r, "HTTP_OPENAI_BETA"), "x=y");
    assert_slice(http_request_variable(&r, "SERVER_SOFTWARE"), "lighttpd");
    assert_null(http_request_variable(&r, "HTTP_OPENAI").ptr);
    assert_null(http_request_variable(&r, "HTTP_OPENAI_BETA_").ptr);
    size_t headers = strlen("HTTP_AUTHORIZATION=Bearer k"
                            "HTTP_X_REQUEST_ID=id-1"
                            "HTTP_ORIGIN=http://o"
                            "HTTP_OPENAI_BETA=x=y");
    assert_int_equal(r.header_bytes, headers);
}

static void targets_are_split(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"/", "/", ""},
        {"/v1?", "/v1", ""},
        {"/v1?x", "/v1", "x"},
        {"/?x?y", "/", "x?y"},
        {"/a%2Fb/%2e%2E//c", "/a%2Fb/%2e%2E//c", ""},
        {"//host/v1", "//host/v1", ""},
        {"/?u=http://h/p", "/", "u=http://h/p"},
        {"http://host/v1/x?q", "/v1/x", "q"},
        {"https://user@host:8080/v1", "/v1", ""},
        {"http://host", "/", ""},
        {"http://", "/", ""},
        {"*", "*", ""},
        {"host:443", "host:443", ""},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char uri[128] = "REQUEST_URI=";
        struct http_request r;
        strcat(uri, cases[i][0]);
        assert_int_equal(http_request_parse(VARS("REQUEST_METHOD=GET", uri), &r), HTTP_REQUEST_OK);
        assert_slice(r.path, cases[i][1]);
        assert_slice(r.query, cases[i][2]);
    }
}

struct result_case {
    const char *const *vars;
    enum http_request_result result;
    int64_t content_length;
};

static void results(void **state)
{
    (void)state;
    const struct result_case cases[] = {
        {(const char *const[]){NULL}, HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS("REQUEST_METHOD=GET"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS("REQUEST_URI=/"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS("REQUEST_METHOD=", "REQUEST_URI=/"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS("REQUEST_METHOD=GET", "REQUEST_URI="), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("?x")), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/")), HTTP_REQUEST_OK, -1},
        {VARS(GET("/"), "noequals", "", "=", "HTTP_", "HTTP_X"), HTTP_REQUEST_OK, -1},
        /* control characters */
        {VARS(GET("/\r\nx")), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS("REQUEST_METHOD=GE\nT", "REQUEST_URI=/"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/"), "HTTP_USER_AGENT=a\r\nHost: b"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/"), "HTTP_X=\x01"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/"), "HTTP_X=\x7f"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/"), "HTTP_X\n=a"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/"), "CONTENT_TYPE=a\rb"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/"), "HTTP_X=a\tb \x80\xff"), HTTP_REQUEST_OK, -1},
        {VARS(GET("/"), "SERVER_NAME=a\nb"), HTTP_REQUEST_OK, -1},
        {VARS("REQUEST_METHOD=GET /x HTTP/1.1", "REQUEST_URI=/"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS("REQUEST_METHOD=G{ET", "REQUEST_URI=/"), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS("REQUEST_METHOD=M-SEARCH", "REQUEST_URI=/"), HTTP_REQUEST_OK, -1},
        {VARS(GET("/a b")), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/a\tb")), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/a#b")), HTTP_REQUEST_BAD_VARIABLE, -1},
        {VARS(GET("/?a#b")), HTTP_REQUEST_BAD_VARIABLE, -1},
        /* what may be there once */
        {VARS(GET("/"), "HTTP_AUTHORIZATION=Bearer a", "HTTP_AUTHORIZATION=Bearer a"), HTTP_REQUEST_REPEATED, -1},
        {VARS("HTTP_AUTHORIZATION=", GET("/"), "HTTP_AUTHORIZATION=Bearer a"), HTTP_REQUEST_REPEATED, -1},
        {VARS(GET("/"), "REQUEST_URI=/"), HTTP_REQUEST_OK, -1},
        {VARS(GET("/"), "REQUEST_URI=/a"), HTTP_REQUEST_OK, -1},
        {VARS(GET("/"), "REQUEST_METHOD=GET", "REMOTE_ADDR=::1", "REMOTE_ADDR=::1"), HTTP_REQUEST_OK, -1},
        {VARS(GET("/"), "CONTENT_TYPE=a", "CONTENT_LENGTH=1", "CONTENT_TYPE=a", "CONTENT_LENGTH=1"), HTTP_REQUEST_OK, 1},
        {VARS(GET("/"), "REQUEST_METHOD=POST"), HTTP_REQUEST_REPEATED, -1},
        {VARS(GET("/"), "CONTENT_TYPE=a", "CONTENT_TYPE=b"), HTTP_REQUEST_REPEATED, -1},
        {VARS(GET("/"), "CONTENT_LENGTH=1", "CONTENT_LENGTH=2"), HTTP_REQUEST_REPEATED, -1},
        {VARS(GET("/"), "REMOTE_ADDR=1.2.3.4", "REMOTE_ADDR=127.0.0.1"), HTTP_REQUEST_REPEATED, -1},
        {VARS(GET("/"), "HTTP_X_REQUEST_ID=a", "HTTP_X_REQUEST_ID=b", "HTTP_ORIGIN=a", "HTTP_ORIGIN=b"), HTTP_REQUEST_OK, -1},
        /* lengths */
        {VARS(GET("/"), "CONTENT_LENGTH="), HTTP_REQUEST_OK, -1},
        {VARS(GET("/"), "CONTENT_LENGTH=0"), HTTP_REQUEST_OK, 0},
        {VARS(GET("/"), "CONTENT_LENGTH=007"), HTTP_REQUEST_OK, 7},
        {VARS(GET("/"), "CONTENT_LENGTH=999999999999999999"), HTTP_REQUEST_OK, 999999999999999999},
        {VARS(GET("/"), "CONTENT_LENGTH=9999999999999999999"), HTTP_REQUEST_BAD_LENGTH, -1},
        {VARS(GET("/"), "CONTENT_LENGTH=-1"), HTTP_REQUEST_BAD_LENGTH, -1},
        {VARS(GET("/"), "CONTENT_LENGTH=+1"), HTTP_REQUEST_BAD_LENGTH, -1},
        {VARS(GET("/"), "CONTENT_LENGTH= 1"), HTTP_REQUEST_BAD_LENGTH, -1},
        {VARS(GET("/"), "CONTENT_LENGTH=1,1"), HTTP_REQUEST_BAD_LENGTH, -1},
        {VARS(GET("/"), "CONTENT_LENGTH=0x10"), HTTP_REQUEST_BAD_LENGTH, -1},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct http_request r;
        enum http_request_result result = http_request_parse(cases[i].vars, &r);
        if (result != cases[i].result || r.content_length != cases[i].content_length)
            fail_msg("case %zu: %d with length %lld", i, (int)result, (long long)r.content_length);
    }
}

static void headers_have_a_cap(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        char *header = calloc(1, HTTP_HEADERS_MAX_BYTES + 2);
        assert_non_null(header);
        memset(header, 'x', HTTP_HEADERS_MAX_BYTES + extra);
        memcpy(header, "HTTP_A=", 7);
        struct http_request r;
        enum http_request_result result = http_request_parse(VARS(header, GET("/v1")), &r);
        assert_int_equal(result, extra ? HTTP_REQUEST_HEADERS_TOO_LARGE : HTTP_REQUEST_OK);
        assert_slice(r.method, "GET");
        assert_slice(r.path, "/v1");
        free(header);
    }
}

static void bearer_tokens(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"Bearer sk-1", "sk-1"},
        {"bearer sk-1", "sk-1"},
        {"BEARER   sk-1  ", "sk-1"},
        {" Bearer sk-1", "sk-1"},
        {"Bearer a b", "a b"},
        {"Bearer", ""},
        {"Bearer ", ""},
        {"Bearersk-1", ""},
        {"Basic sk-1", ""},
        {"sk-1", ""},
        {"", ""},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char header[64] = "HTTP_AUTHORIZATION=";
        struct http_request r;
        strcat(header, cases[i][0]);
        assert_int_equal(http_request_parse(VARS(GET("/"), header), &r), HTTP_REQUEST_OK);
        assert_slice(http_request_bearer(&r), cases[i][1]);
    }
    struct http_request none;
    http_request_parse(VARS(GET("/")), &none);
    assert_int_equal(http_request_bearer(&none).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_found),
        cmocka_unit_test(targets_are_split),
        cmocka_unit_test(results),
        cmocka_unit_test(headers_have_a_cap),
        cmocka_unit_test(bearer_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
