/* SHA-256 against the vectors of FIPS 180-4, hex, and random bytes. */
#include "test.h"

#include "sluice/digest.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_sha256(struct slice data, const char *expected)
{
    struct digest d;
    char hex[DIGEST_HEX_SIZE];
    assert_true(digest_sha256(data, &d));
    digest_hex(d.bytes, DIGEST_SIZE, hex);
    assert_string_equal(hex, expected);
}

static void known_digests(void **state)
{
    (void)state;
    const char *of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_sha256(SLICE_LITERAL(""), of_nothing);
    assert_sha256((struct slice){NULL, 0}, of_nothing);
    assert_sha256(SLICE_LITERAL("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_sha256(SLICE_LITERAL("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    assert_sha256(slice_make(million, 1000000),
                  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void any_different_byte_differs(void **state)
{
    (void)state;
    struct digest a, b;
    assert_true(digest_sha256(SLICE_LITERAL("key"), &a));
    b = a;
    assert_true(digest_equals(&a, &b));
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        b = a;
        b.bytes[i] ^= 1;
        assert_false(digest_equals(&a, &b));
    }
}

static void hex_is_lower_case_and_ends_in_nul(void **state)
{
    (void)state;
    char hex[9] = "xxxxxxxx";
    digest_hex("\x00\x0f\xa5\xff", 4, hex);
    assert_string_equal(hex, "000fa5ff");
    digest_hex("", 0, hex);
    assert_string_equal(hex, "");
}

static void random_bytes_differ_each_time(void **state)
{
    (void)state;
    unsigned char a[32] = {0}, b[32] = {0};
    assert_true(digest_random(a, sizeof a));
    assert_true(digest_random(b, sizeof b));
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(digest_random(a, 0));
}

/* A byte that came twice would make two requests one. */
static void no_byte_is_given_twice(void **state)
{
    (void)state;
    enum { TIMES = 600, SIZE = 8 };
    uint64_t seen[TIMES];
    for (size_t i = 0; i < TIMES; i++) {
        assert_true(digest_random(&seen[i], SIZE));
        for (size_t k = 0; k < i; k++)
            assert_true(seen[i] != seen[k]);
    }
    unsigned char large[5000] = {0};
    assert_true(digest_random(large, sizeof large));
    assert_true(large[0] | large[1] | large[2] | large[4997] | large[4998] | large[4999]);
}

static void child_processes_do_not_share_random_bytes(void **state)
{
    (void)state;
    enum { CHILDREN = 3, SIZE = 16 };
    unsigned char drawn[CHILDREN + 1][SIZE] = {{0}};
    int channel[2];
    assert_true(digest_random(drawn[CHILDREN], SIZE)); /* there is something to inherit */
    assert_int_equal(pipe(channel), 0);
    for (size_t i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(digest_random(drawn[i], SIZE) && write(channel[1], drawn[i], SIZE) == SIZE ? 0 : 1);
        assert_true(pid > 0);
        assert_int_equal(read(channel[0], drawn[i], SIZE), SIZE);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    assert_true(digest_random(drawn[CHILDREN], SIZE));
    for (size_t i = 0; i <= CHILDREN; i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(drawn[i], drawn[k], SIZE);
    close(channel[0]);
    close(channel[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests),
        cmocka_unit_test(any_different_byte_differs),
        cmocka_unit_test(hex_is_lower_case_and_ends_in_nul),
        cmocka_unit_test(random_bytes_differ_each_time),
        cmocka_unit_test(no_byte_is_given_twice),
        cmocka_unit_test(child_processes_do_not_share_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
