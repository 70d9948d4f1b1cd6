/* Embeddings item by item, and vectors in both forms. */
#include "test.h"

#include "sluice/clock.h"
#include "sluice/embeddings.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CAP = 1024 * 1024 };

static bool split(const char *body, struct embeddings_request *r)
{
    return embeddings_request_read(slice_from_text(body), r);
}

static void requests_are_taken_apart(void **state)
{
    (void)state;
    struct embeddings_request r;
    assert_true(split("{\"input\":[\"a\", \"b,]\" ,\"a\"],\"model\":\"m\"}", &r));
    assert_int_equal(r.count, 3);
    assert_false(r.single);
    assert_false(r.base64);
    assert_true(slice_equals_text(r.items[1], "\"b,]\""));
    embeddings_request_free(&r);
    assert_true(split("{\"input\":\"a\",\"encoding_format\":\"base64\"}", &r));
    assert_true(r.single && r.base64 && r.count == 1);
    embeddings_request_free(&r);
    assert_true(split("{\"input\":[1,2,3],\"encoding_format\":null}", &r));
    assert_true(r.single && r.count == 1 && slice_equals_text(r.items[0], "[1,2,3]"));
    embeddings_request_free(&r);
    assert_true(split("{\"input\":[[1,2],[3]],\"encoding_format\":\"float\"}", &r));
    assert_true(!r.single && r.count == 2 && slice_equals_text(r.items[1], "[3]"));
    embeddings_request_free(&r);
}

static void others_are_left_alone(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"input\":[]}",
        "{\"input\":1}",
        "{\"input\":null}",
        "{\"input\":[\"a\",1]}",
        "{\"input\":[1,\"a\"]}",
        "{\"input\":[{}]}",
        "{\"input\":[\"a\",[1]]}",
        "{\"input\":\"a\",\"encoding_format\":\"int8\"}",
        "{\"input\":[null]}",
        "{\"input\":\"a\",\"encoding_format\":1}",
        "{\"input\":\"a\"",
    };
    struct embeddings_request r;
    for (size_t i = 0; i < TEST_COUNT(bad); i++)
        assert_false(split(bad[i], &r));
    struct buf b;
    buf_init(&b, CAP);
    for (int more = 0; more < 2; more++) {
        buf_clear(&b);
        assert_true(buf_append_text(&b, "{\"input\":[\"x\""));
        for (int i = 1; i < EMBEDDINGS_ITEMS_MAX + more; i++)
            assert_true(buf_append_text(&b, ",\"x\""));
        assert_true(buf_append_text(&b, "]}"));
        assert_int_equal(embeddings_request_read(buf_slice(&b), &r), !more);
        embeddings_request_free(&r);
    }
    buf_free(&b);
}

static void the_missing_are_asked_for(void **state)
{
    (void)state;
    struct embeddings_request r;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(split("{\"x\":1.50, \"input\" : [ \"a\" , \"b\",\"c\" ] , \"model\":\"m\"}", &r));
    assert_true(embeddings_request_write_missing(&r, (const bool[]){true, false, true}, &b));
    assert_string_equal(buf_text(&b), "{\"x\":1.50, \"input\" : [\"a\",\"c\"] , \"model\":\"m\"}");
    buf_clear(&b);
    assert_true(embeddings_request_write_missing(&r, (const bool[]){false, true, false}, &b));
    assert_string_equal(buf_text(&b), "{\"x\":1.50, \"input\" : [\"b\"] , \"model\":\"m\"}");
    embeddings_request_free(&r);
    buf_clear(&b);
    assert_true(split("{\"input\":[1,2]}", &r));
    assert_true(embeddings_request_write_missing(&r, (const bool[]){true}, &b));
    assert_string_equal(buf_text(&b), "{\"input\":[1,2]}");
    b.max = b.len + 3;
    assert_false(embeddings_request_write_missing(&r, (const bool[]){true}, &b));
    embeddings_request_free(&r);
    buf_free(&b);
}

static void entries_are_packed(void **state)
{
    (void)state;
    struct embedding in = {SLICE_LITERAL("\"m\""), SLICE_LITERAL("[1,2]")}, out;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(embedding_pack(&in, &b));
    assert_true(embedding_unpack(buf_slice(&b), &out));
    assert_true(slice_equals(in.model, out.model) && slice_equals(in.vector, out.vector));
    for (size_t n = 0; n < b.len - 5; n++)
        assert_false(embedding_unpack(slice_take(buf_slice(&b), n), &out));
    buf_free(&b);
}

static void answers_are_read_by_index(void **state)
{
    (void)state;
    struct embedding items[2];
    struct slice usage;
    static const char good[] =
        "{\"object\":\"list\",\"model\":\"m-1\",\"data\":[{\"index\":1,\"embedding\":[0.5]},"
        "{\"embedding\":\"AAAAPw==\",\"index\":0}],\"usage\":{\"prompt_tokens\":2}}";
    assert_true(embeddings_answer_read(SLICE_LITERAL(good), 2, items, &usage));
    assert_true(slice_equals_text(items[0].vector, "\"AAAAPw==\""));
    assert_true(slice_equals_text(items[1].vector, "[0.5]"));
    assert_true(slice_equals_text(items[1].model, "\"m-1\""));
    assert_true(slice_equals_text(usage, "{\"prompt_tokens\":2}"));
    static const char *const bad[] = {
        "{\"data\":[{\"index\":0,\"embedding\":[1]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":0,\"embedding\":[1]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":2,\"embedding\":[1]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":-1,\"embedding\":[1]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[]},{\"index\":1,\"embedding\":[1]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":[null]},{\"index\":1,\"embedding\":[1]}]}",
        "{\"data\":[{\"index\":0,\"embedding\":\"\"},{\"index\":1,\"embedding\":[1]}]}",
        "{\"data\":[{\"index\":0},{\"index\":1,\"embedding\":[1]}]}",
        "{\"data\":[1,2]}",
        "{\"data\":{}}",
        "",
    };
    for (size_t i = 0; i < TEST_COUNT(bad); i++)
        assert_false(embeddings_answer_read(slice_from_text(bad[i]), 2, items, &usage));
}

static void an_answer_is_put_together(void **state)
{
    (void)state;
    struct embeddings_request r;
    struct embedding items[2] = {{SLICE_LITERAL("\"m\""), SLICE_LITERAL("[0.5, -1]")},
                                 {SLICE_LITERAL("\"m\""), SLICE_LITERAL("\"AAAAPwAAgL8=\"")}};
    struct buf b;
    buf_init(&b, 1000);
    assert_true(split("{\"input\":[\"a\",\"b\"]}", &r));
    assert_true(embeddings_answer_write(&r, items, (struct slice){NULL, 0}, &b));
    assert_string_equal(
        buf_text(&b),
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5, -1]},"
        "{\"object\":\"embedding\",\"index\":1,\"embedding\":[0.5,-1.0]}],\"model\":\"m\","
        "\"usage\":{\"prompt_tokens\":0,\"total_tokens\":0}}");
    embeddings_request_free(&r);
    buf_clear(&b);
    assert_true(split("{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}", &r));
    assert_true(embeddings_answer_write(&r, items, SLICE_LITERAL("{\"prompt_tokens\":3}"), &b));
    assert_string_equal(
        buf_text(&b),
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":\"AAAAPwAAgL8=\"}"
        ","
        "{\"object\":\"embedding\",\"index\":1,\"embedding\":\"AAAAPwAAgL8=\"}],\"model\":\"m\","
        "\"usage\":{\"prompt_tokens\":3}}");
    embeddings_request_free(&r);
    buf_free(&b);
}

/* ---- vectors ----------------------------------------------------------------------------------------- */

static void put_float(struct buf *b, float value)
{
    assert_true(buf_printf(b, "%s%.9g", b->len > 1 ? "," : "", (double)value));
}

/* Numbers to base64 and back are the same floats. */
static void vectors_go_both_ways(void **state)
{
    (void)state;
    struct buf numbers, base64, back;
    buf_init(&numbers, CAP);
    buf_init(&base64, CAP);
    buf_init(&back, CAP);
    srandom(5);
    for (int round = 0; round < 300; round++) {
        float values[40];
        size_t count = 1 + (size_t)random() % 40;
        buf_clear(&numbers);
        buf_clear(&base64);
        buf_clear(&back);
        assert_true(buf_append_char(&numbers, '['));
        for (size_t i = 0; i < count; i++) {
            uint32_t bits = (uint32_t)random() << 1 ^ (uint32_t)random();
            memcpy(&values[i], &bits, sizeof bits);
            if (round % 2 || !isfinite(values[i]))
                values[i] = (float)random() / (float)RAND_MAX * 2 - 1;
            put_float(&numbers, values[i]);
        }
        assert_true(buf_append_char(&numbers, ']'));
        assert_true(embedding_put_vector(buf_slice(&numbers), true, &base64));
        assert_true(embedding_put_vector(buf_slice(&base64), false, &back));
        json_t *array = json_loads(buf_text(&back), 0, NULL);
        assert_int_equal(json_array_size(array), count);
        for (size_t i = 0; i < count; i++) {
            assert_true(json_is_real(json_array_get(array, i)));
            assert_true((float)json_real_value(json_array_get(array, i)) == values[i]);
        }
        json_decref(array);
    }
    buf_free(&numbers);
    buf_free(&base64);
    buf_free(&back);
}

static void numbers_look_like_numbers(void **state)
{
    (void)state;
    static const struct {
        float value;
        const char *text;
    } cases[] = {
        {0.0f, "0.0"},
        {1.0f, "1.0"},
        {-1.0f, "-1.0"},
        {0.5f, "0.5"},
        {0.1f, "0.100000001"},
        {9.99999f, "9.99999046"},
        {123456.0f, "123456.0"},
        {0.00012207031f, "0.000122070313"},
        {1e10f, "1e+10"},
        {-0.0023064255f, "-0.00230642548"},
        {3e-9f, "3.00000003e-09"},
        {9999999.0f, "9999999.0"},
        {0.99999994f, "0.99999994"},
        {0.01f, "0.00999999978"},
    };
    struct buf base64, out;
    buf_init(&base64, 100);
    buf_init(&out, 100);
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char text[40], want[40];
        snprintf(text, sizeof text, "[%.9g]", (double)cases[i].value);
        snprintf(want, sizeof want, "[%s]", cases[i].text);
        buf_clear(&base64);
        buf_clear(&out);
        assert_true(embedding_put_vector(slice_from_text(text), true, &base64));
        assert_true(embedding_put_vector(buf_slice(&base64), false, &out));
        assert_string_equal(buf_text(&out), want);
    }
    buf_free(&base64);
    buf_free(&out);
}

static void what_is_no_vector_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"\"AAAAP\"",    "\"AAA\"",       "\"AAAAPw=\"",      "\"AAAAPx==\"",
                                      "\"AAAA\"",     "\"AA=AAPw==\"", "\"AAAAPw==AAAA\"", "\"AADAfw==\"",
                                      "\"AA-_PQ==\"", "\"\"",          "\"====\""};
    static const char *const bad_arrays[] = {"[]", "[1,null]", "[1e99]", "[\"a\"]", "[[1]]"};
    struct buf out;
    buf_init(&out, 100);
    for (size_t i = 0; i < TEST_COUNT(bad); i++)
        if (embedding_put_vector(slice_from_text(bad[i]), false, &out))
            fail_msg("%s", bad[i]);
    for (size_t i = 0; i < TEST_COUNT(bad_arrays); i++)
        if (embedding_put_vector(slice_from_text(bad_arrays[i]), true, &out))
            fail_msg("%s", bad_arrays[i]);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_taken_apart),     cmocka_unit_test(others_are_left_alone),
        cmocka_unit_test(the_missing_are_asked_for),    cmocka_unit_test(entries_are_packed),
        cmocka_unit_test(answers_are_read_by_index),    cmocka_unit_test(an_answer_is_put_together),
        cmocka_unit_test(vectors_go_both_ways),         cmocka_unit_test(numbers_look_like_numbers),
        cmocka_unit_test(what_is_no_vector_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
