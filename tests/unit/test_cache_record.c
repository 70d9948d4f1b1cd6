/* Records: what was written is read; anything else is no record. */
#include "cache_world.h"

#include <stdlib.h>

static void a_record_comes_back(void **state)
{
    (void)state;
    struct digest key = world_key(1);
    struct cache_entry in = {.created_us = 5,
                             .expires_us = INT64_MAX,
                             .flags = 0xDEADBEEF,
                             .owner = {{9, 8, 7, 6, 5, 4}},
                             .content_type = SLICE_LITERAL("text/plain"),
                             .body = SLICE_LITERAL("a body\0with a NUL")};
    struct cache_entry out;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(cache_record_write(&b, &key, &in));
    assert_true(cache_record_read(buf_slice(&b), &key, &out));
    assert_int_equal(out.created_us, 5);
    assert_true(out.expires_us == INT64_MAX);
    assert_int_equal(out.flags, 0xDEADBEEF);
    assert_memory_equal(&out.owner, &in.owner, sizeof in.owner);
    assert_true(slice_equals(out.content_type, in.content_type));
    assert_true(slice_equals(out.body, in.body));
    buf_free(&b);
}

static void an_empty_body_is_a_body(void **state)
{
    (void)state;
    struct digest key = world_key(1);
    struct cache_entry in = {.expires_us = 1}, out;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(cache_record_write(&b, &key, &in));
    assert_int_equal(b.len, CACHE_RECORD_HEAD_SIZE);
    assert_true(cache_record_read(buf_slice(&b), &key, &out));
    assert_int_equal(out.body.len, 0);
    buf_free(&b);
}

static void another_key_s_record_is_none(void **state)
{
    (void)state;
    struct digest key = world_key(1), other = world_key(2);
    struct cache_entry out;
    struct buf b;
    buf_init(&b, 10000);
    world_record(&b, &key, 100, 7, 1000);
    assert_false(cache_record_read(buf_slice(&b), &other, &out));
    buf_free(&b);
}

static void every_changed_bit_is_seen(void **state)
{
    (void)state;
    struct digest key = world_key(3);
    struct cache_entry out;
    struct buf b;
    buf_init(&b, 10000);
    world_record(&b, &key, 333, 7, 1000);
    char *bytes = b.mem + b.start;
    for (size_t i = 0; i < b.len * 8; i++) {
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
        assert_false(cache_record_read(buf_slice(&b), &key, &out));
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
    }
    assert_true(cache_record_read(buf_slice(&b), &key, &out));
    buf_free(&b);
}

static void every_cut_is_seen(void **state)
{
    (void)state;
    struct digest key = world_key(4);
    struct cache_entry out;
    struct buf b;
    buf_init(&b, 10000);
    world_record(&b, &key, 200, 7, 1000);
    for (size_t n = 0; n < b.len; n++)
        assert_false(cache_record_read(slice_take(buf_slice(&b), n), &key, &out));
    assert_true(buf_append_char(&b, 0));
    assert_false(cache_record_read(buf_slice(&b), &key, &out));
    buf_free(&b);
}

static void noise_is_no_record(void **state)
{
    (void)state;
    struct digest key = world_key(5);
    struct cache_entry out;
    char noise[400];
    srandom(7);
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (char)random();
        memcpy(noise, "SLC1", round % 2 ? 4 : 0);
        assert_false(cache_record_read(slice_make(noise, sizeof noise), &key, &out));
    }
    assert_false(cache_record_read((struct slice){NULL, 0}, &key, &out));
}

static void the_cap_holds(void **state)
{
    (void)state;
    struct digest key = world_key(6);
    char type[CACHE_CONTENT_TYPE_MAX + 1];
    struct cache_entry in = {.body = SLICE_LITERAL("0123456789")};
    struct buf b;
    memset(type, 'x', sizeof type);
    buf_init(&b, CACHE_RECORD_HEAD_SIZE + 9);
    assert_false(cache_record_write(&b, &key, &in));
    assert_int_equal(b.len, 0);
    in = (struct cache_entry){.content_type = {type, sizeof type}};
    b.max = 10000;
    assert_false(cache_record_write(&b, &key, &in));
    in.content_type.len--;
    assert_true(cache_record_write(&b, &key, &in));
    buf_free(&b);
}

static void owners_are_fingerprints(void **state)
{
    (void)state;
    struct cache_owner owner;
    assert_true(cache_owner_parse(SLICE_LITERAL("00ff10a9bcde"), &owner));
    assert_memory_equal(owner.bytes, "\x00\xff\x10\xa9\xbc\xde", CACHE_OWNER_SIZE);
    assert_false(cache_owner_parse(SLICE_LITERAL("00ff10a9bcd"), &owner));
    assert_false(cache_owner_parse(SLICE_LITERAL("00ff10a9bcdeF"), &owner));
    assert_false(cache_owner_parse(SLICE_LITERAL("00ff10a9bcdg"), &owner));
    assert_false(cache_owner_parse(SLICE_LITERAL(""), &owner));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back),
        cmocka_unit_test(an_empty_body_is_a_body),
        cmocka_unit_test(another_key_s_record_is_none),
        cmocka_unit_test(every_changed_bit_is_seen),
        cmocka_unit_test(every_cut_is_seen),
        cmocka_unit_test(noise_is_no_record),
        cmocka_unit_test(the_cap_holds),
        cmocka_unit_test(owners_are_fingerprints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
