/* Keys: what is part of one, and that two tenants never have one in common. */
#include "test.h"

#include "sluice/cache_key.h"

#include <stdio.h>
#include <stdlib.h>

static struct cache_key_place a_place(void)
{
    return (struct cache_key_place){
        .scope = SLICE_LITERAL("client"),
        .scope_id = SLICE_LITERAL("0123456789"),
        .base_url = SLICE_LITERAL("https://api.openai.com/v1"),
        .endpoint = SLICE_LITERAL("chat.completions"),
        .path = SLICE_LITERAL("/chat/completions"),
        .beta = SLICE_LITERAL("x=1"),
        .organization = SLICE_LITERAL("org"),
        .project = SLICE_LITERAL("proj"),
    };
}

static struct digest key_of(const struct cache_key_place *place, const char *body)
{
    struct digest where, key;
    assert_true(cache_key_place(place, &where));
    assert_int_equal(cache_key_request(&where, slice_from_text(body), &key), CANONICAL_OK);
    return key;
}

static void every_part_counts(void **state)
{
    (void)state;
    struct cache_key_place place = a_place();
    struct digest first = key_of(&place, "{}");
    struct slice *parts[] = {&place.scope, &place.scope_id, &place.base_url,     &place.endpoint, &place.path,
                             &place.query, &place.beta,     &place.organization, &place.project};
    for (size_t i = 0; i < TEST_COUNT(parts); i++) {
        struct slice before = *parts[i];
        *parts[i] = SLICE_LITERAL("other");
        struct digest other = key_of(&place, "{}");
        assert_false(digest_equals(&first, &other));
        *parts[i] = before;
    }
    struct digest again = key_of(&place, "{}");
    assert_true(digest_equals(&first, &again));
}

/* No text runs from one part into the next. */
static void parts_have_borders(void **state)
{
    (void)state;
    struct cache_key_place a = {.scope_id = SLICE_LITERAL("ab"), .base_url = SLICE_LITERAL("c")};
    struct cache_key_place b = {.scope_id = SLICE_LITERAL("a"), .base_url = SLICE_LITERAL("bc")};
    struct cache_key_place c = {.scope_id = SLICE_LITERAL("ab1:c")};
    struct digest x = key_of(&a, "{}"), y = key_of(&b, "{}"), z = key_of(&c, "{}");
    assert_false(digest_equals(&x, &y));
    assert_false(digest_equals(&x, &z));
    assert_false(digest_equals(&y, &z));
}

static void what_does_not_change_the_answer_does_not_count(void **state)
{
    (void)state;
    struct cache_key_place place = a_place();
    struct digest plain = key_of(&place, "{\"model\":\"m\",\"seed\":1}");
    struct digest more = key_of(
        &place, "{\"seed\":1.0,\"user\":\"u\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                "\"metadata\":{\"a\":\"b\"},\"safety_identifier\":\"s\",\"prompt_cache_key\":\"k\","
                "\"prompt_cache_retention\":\"24h\",\"prompt_cache_options\":{},\"model\":\"m\"}");
    assert_true(digest_equals(&plain, &more));
    static const char *const different[] = {
        "{\"model\":\"m\",\"seed\":2}", "{\"model\":\"m\",\"seed\":1,\"x\":null}",
        "{\"model\":\"m\",\"seed\":1,\"n\":1}", "{\"model\":\"m\",\"seed\":1,\"encoding_format\":\"float\"}",
        "{\"model\":\"M\",\"seed\":1}"};
    for (size_t i = 0; i < TEST_COUNT(different); i++) {
        struct digest other = key_of(&place, different[i]);
        assert_false(digest_equals(&plain, &other));
    }
}

static struct digest item_key(const struct cache_key_place *place, const char *body, const char *item)
{
    struct digest where, frame, key;
    assert_true(cache_key_place(place, &where));
    assert_int_equal(cache_key_frame(&where, slice_from_text(body), &frame), CANONICAL_OK);
    assert_int_equal(cache_key_item(&frame, slice_from_text(item), &key), CANONICAL_OK);
    return key;
}

static void items_share_a_frame(void **state)
{
    (void)state;
    struct cache_key_place p = a_place();
    struct digest one = item_key(&p, "{\"model\":\"m\",\"input\":\"a\"}", "\"a\"");
    struct digest two = item_key(
        &p, "{\"input\":[\"b\",\"a\"],\"model\":\"m\",\"encoding_format\":\"base64\"}", "\"\\u0061\"");
    assert_true(digest_equals(&one, &two));
    struct digest other = item_key(&p, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":5}", "\"a\"");
    assert_false(digest_equals(&one, &other));
    other = item_key(&p, "{\"model\":\"m\",\"input\":\"a\"}", "\"b\"");
    assert_false(digest_equals(&one, &other));
    other = item_key(&p, "{\"model\":\"m\",\"input\":\"a\"}", "[1]");
    assert_false(digest_equals(&one, &other));
}

static void kinds_of_keys_are_apart(void **state)
{
    (void)state;
    struct cache_key_place p = a_place();
    struct digest where, get, request, frame;
    assert_true(cache_key_place(&p, &where));
    assert_true(cache_key_get(&where, &get));
    assert_int_equal(cache_key_request(&where, SLICE_LITERAL("{}"), &request), CANONICAL_OK);
    assert_int_equal(cache_key_frame(&where, SLICE_LITERAL("{}"), &frame), CANONICAL_OK);
    assert_false(digest_equals(&get, &request));
    assert_false(digest_equals(&get, &frame));
    assert_false(digest_equals(&request, &frame));
}

/* ---- the property ------------------------------------------------------------------------------------ */

static void random_text(struct buf *b)
{
    static const char letters[] = "ab:0123\\\"{}";
    buf_clear(b);
    for (long n = random() % 12; n > 0; n--)
        assert_true(buf_append_char(b, letters[random() % (long)(sizeof letters - 1)]));
}

static void random_json(struct buf *b, int depth)
{
    static const char *const scalars[] = {"0",           "1",   "null",  "true", "\"a\"",
                                          "\"\\u0061\"", "1.0", "\"0\"", "-1"};
    long kind = depth > 2 ? 0 : random() % 3;
    if (kind == 0) {
        assert_true(buf_append_text(b, scalars[random() % (long)TEST_COUNT(scalars)]));
        return;
    }
    assert_true(buf_append_char(b, kind == 1 ? '{' : '['));
    for (long i = 0, n = random() % 4; i < n; i++) {
        assert_true(buf_printf(b, i > 0 ? ", " : ""));
        if (kind == 1)
            assert_true(buf_printf(b, "\"%c\":", (int)('a' + random() % 3)));
        random_json(b, depth + 1);
    }
    assert_true(buf_append_char(b, kind == 1 ? '}' : ']'));
}

enum { ROUNDS = 20000, TENANTS = 40 };

struct seen {
    struct digest key;
    int tenant;
};

static int compare_seen(const void *a, const void *b)
{
    return memcmp(&((const struct seen *)a)->key, &((const struct seen *)b)->key, sizeof(struct digest));
}

/* Tenants are hostile: they choose every other part and the body, so that they run into each other if they
 * can. */
static void two_tenants_never_share_a_key(void **state)
{
    (void)state;
    struct seen *seen = calloc(ROUNDS, sizeof *seen);
    struct buf texts[8], body;
    size_t repeats = 0;
    srandom(11);
    buf_init(&body, 10000);
    for (size_t i = 0; i < TEST_COUNT(texts); i++)
        buf_init(&texts[i], 100);
    for (size_t i = 0; i < ROUNDS; i++) {
        seen[i].tenant = (int)(random() % TENANTS);
        struct digest tenant;
        assert_true(digest_sha256(slice_make(&seen[i].tenant, sizeof seen[i].tenant), &tenant));
        for (size_t j = 0; j < TEST_COUNT(texts); j++)
            random() % 4 ? buf_clear(&texts[j]) : random_text(&texts[j]);
        struct cache_key_place place = {SLICE_LITERAL("client"), slice_make(&tenant, sizeof tenant),
                                        buf_slice(&texts[0]),    buf_slice(&texts[1]),
                                        buf_slice(&texts[2]),    buf_slice(&texts[3]),
                                        buf_slice(&texts[4]),    buf_slice(&texts[5]),
                                        buf_slice(&texts[6])};
        buf_clear(&body);
        random_json(&body, 0);
        seen[i].key = key_of(&place, buf_text(&body));
    }
    qsort(seen, ROUNDS, sizeof *seen, compare_seen);
    for (size_t i = 1; i < ROUNDS; i++) {
        bool equal = digest_equals(&seen[i].key, &seen[i - 1].key);
        assert_true(!equal || seen[i].tenant == seen[i - 1].tenant);
        repeats += equal;
    }
    assert_true(repeats > 0);
    print_message("%d requests, %zu keys came again, none with another tenant\n", ROUNDS, repeats);
    for (size_t i = 0; i < TEST_COUNT(texts); i++)
        buf_free(&texts[i]);
    buf_free(&body);
    free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_counts),
        cmocka_unit_test(parts_have_borders),
        cmocka_unit_test(what_does_not_change_the_answer_does_not_count),
        cmocka_unit_test(items_share_a_frame),
        cmocka_unit_test(kinds_of_keys_are_apart),
        cmocka_unit_test(two_tenants_never_share_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
