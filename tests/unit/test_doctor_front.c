/* Which server it is, and what is to be changed there. */
#include "test.h"

#include "sluice/doctor_front.h"

static void servers_are_told_by_their_software(void **state)
{
    (void)state;
    static const struct {
        const char *software;
        bool proxied;
        enum front_server server;
    } cases[] = {
        {"lighttpd/1.4.69", false, FRONT_LIGHTTPD},
        {"nginx/1.22.1", false, FRONT_NGINX},
        {"nginx", false, FRONT_NGINX},
        {"openresty/1.21", false, FRONT_NGINX},
        {"Apache/2.4.57 (Debian)", false, FRONT_APACHE},
        {"Apache/2.4.57 (Debian)", true, FRONT_APACHE_PROXY_FCGI},
        {"Apache/2.4.57 (Debian) mod_fcgid/2.3.9", false, FRONT_APACHE_FCGID},
        {"Apache/2.4.57 (Debian) mod_fcgid/2.3.9", true, FRONT_APACHE_PROXY_FCGI},
        {"Caddy", false, FRONT_UNKNOWN},
        {"", false, FRONT_UNKNOWN},
        {NULL, true, FRONT_APACHE_PROXY_FCGI},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        assert_int_equal(front_detect(slice_from_text(cases[i].software), cases[i].proxied), cases[i].server);
}

static struct buf advice(enum front_server server, enum front_fault fault, int64_t number)
{
    struct buf b;
    buf_init(&b, 4096);
    assert_true(front_put_advice(&b, server, fault, number));
    return b;
}

static void every_server_has_an_advice_for_every_fault(void **state)
{
    (void)state;
    for (int server = 0; server < FRONT_COUNT; server++) {
        assert_non_null(front_name((enum front_server)server));
        for (int fault = 0; fault < FRONT_FAULT_COUNT; fault++) {
            struct buf b = advice((enum front_server)server, (enum front_fault)fault, 7);
            assert_true(b.len > 10);
            assert_null(strstr(buf_text(&b), "{}"));
            buf_free(&b);
        }
    }
}

static void numbers_are_filled_in(void **state)
{
    (void)state;
    struct buf b = advice(FRONT_NGINX, FRONT_FAULT_BODY, 33554432);
    assert_string_equal(buf_text(&b), "client_max_body_size 33554432;");
    buf_free(&b);
    b = advice(FRONT_LIGHTTPD, FRONT_FAULT_BODY, 1025);
    assert_string_equal(buf_text(&b), "server.max-request-size = 2");
    buf_free(&b);
    b = advice(FRONT_APACHE_FCGID, FRONT_FAULT_BODY, 5);
    assert_string_equal(buf_text(&b), "FcgidMaxRequestLen 5 and LimitRequestBody 5");
    buf_free(&b);
}

static void modules_have_apaches_advice_where_they_have_none(void **state)
{
    (void)state;
    for (int server = FRONT_APACHE; server <= FRONT_APACHE_FCGID; server++) {
        struct buf b = advice((enum front_server)server, FRONT_FAULT_AUTHORIZATION, 0);
        assert_string_equal(buf_text(&b), "CGIPassAuth On");
        buf_free(&b);
    }
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    assert_false(front_put_advice(&b, FRONT_NGINX, FRONT_FAULT_BODY, 1));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_are_told_by_their_software),
        cmocka_unit_test(every_server_has_an_advice_for_every_fault),
        cmocka_unit_test(numbers_are_filled_in),
        cmocka_unit_test(modules_have_apaches_advice_where_they_have_none),
        cmocka_unit_test(a_full_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
