/* Networks of both families. */
#include "test.h"

#include "sluice/network.h"

static void texts_are_read(void **state)
{
    (void)state;
    static const char *const good[] = {"10.0.0.0/8", "127.0.0.1",    "0.0.0.0/0", "::1",
                                       "::/0",       "2001:db8::/32", "fe80::/10", "10.1.2.3/32",
                                       "::ffff:10.0.0.0/104"};
    static const char *const bad[] = {"",      "x",         "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/",  "10.0.0.0/-1",
                                      "::1/0", "1.2.3",     "::/129",     "fe80::1%lo",  "10.0.0.0/8 ", "127.1",
                                      "localhost", "[::1]", "2001:db8::1/32"};
    struct network n;
    for (size_t i = 0; i < TEST_COUNT(good); i++)
        if (!network_parse(slice_from_text(good[i]), &n))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < TEST_COUNT(bad); i++)
        if (network_parse(slice_from_text(bad[i]), &n))
            fail_msg("%s", bad[i]);
}

static void addresses_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *network, *address;
        bool in;
    } cases[] = {
        {"127.0.0.0/8", "127.0.0.1", true},   {"127.0.0.0/8", "127.255.255.255", true},
        {"127.0.0.0/8", "128.0.0.1", false},  {"127.0.0.0/8", "::ffff:127.0.0.1", true},
        {"127.0.0.0/8", "::1", false},        {"::1", "::1", true},
        {"::1", "0:0:0:0:0:0:0:1", true},     {"::1", "127.0.0.1", false},
        {"::1", "::2", false},                {"0.0.0.0/0", "9.9.9.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},  {"::/0", "2001:db8::1", true},
        {"::/0", "9.9.9.9", false},           {"fe80::/10", "fe80::1%eth0", true},
        {"10.1.2.0/23", "10.1.3.255", true},  {"10.1.2.0/23", "10.1.4.0", false},
        {"10.0.0.0/8", "", false},            {"10.0.0.0/8", "unix:", false},
        {"10.0.0.0/8", "10.0.0.1, 1.2.3.4", false},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct network n;
        assert_true(network_parse(slice_from_text(cases[i].network), &n));
        if (network_contains(&n, slice_from_text(cases[i].address)) != cases[i].in)
            fail_msg("%s in %s", cases[i].address, cases[i].network);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read),
        cmocka_unit_test(addresses_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
