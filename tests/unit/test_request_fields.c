/* Request bodies: what is read from good ones, and what OpenAI would say to bad ones. */
#include "test.h"

#include "sluice/request_fields.h"

#include <stdio.h>
#include <stdlib.h>

static bool read_fields(const char *body, enum endpoint_fields kind, const char *path_model,
                        struct request_fields *fields, struct request_error *error)
{
    return request_fields_read(slice_from_text(body), kind, slice_from_text(path_model), REQUEST_CHECK_FIELDS, fields,
                               error);
}

static bool read_chat(struct slice body, struct request_fields *fields, struct request_error *error)
{
    return request_fields_read(body, ENDPOINT_FIELDS_CHAT, (struct slice){NULL, 0}, REQUEST_CHECK_FIELDS, fields,
                               error);
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

struct good_case {
    const char *body;
    const char *model;
    bool stream, include_usage;
};

static void good_bodies(void **state)
{
    (void)state;
    static const struct good_case cases[] = {
        {"{\"model\":\"gpt-4o\"," MESSAGES "}", "gpt-4o", false, false},
        {" \r\n\t{ \"model\" : \"m\" , " MESSAGES " } \n", "m", false, false},
        {"{\"model\":\"m\"," MESSAGES ",\"stream\":true}", "m", true, false},
        {"{\"model\":\"m\"," MESSAGES ",\"stream\":false}", "m", false, false},
        {"{\"model\":\"m\"," MESSAGES ",\"stream\":null,\"stream_options\":null}", "m", false, false},
        {"{\"model\":\"m\"," MESSAGES ",\"stream\":true,\"stream_options\":{}}", "m", true, false},
        {"{\"model\":\"m\"," MESSAGES ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", "m", true, true},
        {"{\"model\":\"m\"," MESSAGES ",\"stream\":true,\"stream_options\":{\"include_usage\":1}}", "m", true, false},
        {"{\"model\":\"m\",\"messages\":[]}", "m", false, false},
        /* the last of two members counts, as it does upstream */
        {"{\"model\":\"a\",\"model\":\"b\"," MESSAGES "}", "b", false, false},
        {"{\"model\":\"m\"," MESSAGES ",\"stream\":true,\"stream\":false}", "m", false, false},
        /* what is not Sluice's to judge */
        {"{\"model\":\"m\"," MESSAGES ",\"seed\":123456789012345678901234567890}", "m", false, false},
        {"{\"model\":\"m\"," MESSAGES ",\"n\":null,\"temperature\":2e0,\"unknown\":[null]}", "m", false, false},
        {"{\"model\":\"m\",\"messages\":[{\"content\":\"\\u0000\\ud83d\\ude00\"}]}", "m", false, false},
        {"{\"\\u006dodel\":\"\\u006d\"," MESSAGES "}", "m", false, false},
        {"{\"mo\\u0064el\":\"\\u00e9\\ud83d\\ude00\"," MESSAGES "}", "\xc3\xa9\xf0\x9f\x98\x80", false, false},
        {"{\"model\":\"m\\u0000n\"," MESSAGES "}", "m", false, false},
        {"{\"\\u0000\":1,\"model\":\"m\"," MESSAGES "}", "m", false, false},
        /* only members of the body itself count */
        {"{\"x\":{\"model\":4,\"stream\":true},\"model\":\"m\"," MESSAGES "}", "m", false, false},
        {"{\"model\":\"m\",\"messages\":[{\"content\":[1,[2],null]},{}],\"stop\":[1]}", "m", false, false},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct request_fields fields;
        struct request_error error;
        if (!read_chat(slice_from_text(cases[i].body), &fields, &error))
            fail_msg("refused with %d: %s", (int)error.error.id, cases[i].body);
        assert_string_equal(fields.model, cases[i].model);
        assert_int_equal(fields.stream, cases[i].stream);
        assert_int_equal(fields.include_usage, cases[i].include_usage);
    }
}

static void the_background_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool background;
    } cases[] = {
        {"{\"model\":\"m\"}", false},
        {"{\"model\":\"m\",\"background\":true}", true},
        {"{\"model\":\"m\",\"background\":false}", false},
        {"{\"model\":\"m\",\"background\":null}", false},
        {"{\"background\":true,\"background\":false}", false},
        {"{\"metadata\":{\"background\":true}}", false},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct request_fields fields;
        struct request_error error;
        assert_true(read_fields(cases[i].body, ENDPOINT_FIELDS_RESPONSES, "", &fields, &error));
        assert_int_equal(fields.background, cases[i].background);
    }
    struct request_fields image;
    struct request_error error;
    assert_true(read_fields("{\"background\":\"transparent\"}", ENDPOINT_FIELDS_MODEL, "", &image, &error));
    assert_false(image.background);
}

struct bad_case {
    const char *body;
    enum openai_error_id id;
    const char *param;                   /* "": null */
    const char *args[OPENAI_ERROR_ARGS]; /* NULL: none */
};

#define BAD_JSON(body)       {body, OPENAI_ERROR_BAD_JSON, "", {NULL}}
#define NO_MODEL(body)       {body, OPENAI_ERROR_NO_MODEL, "", {NULL}}
#define NOT_OBJECT(body, is) {body, OPENAI_ERROR_NOT_OBJECT, "", {is}}
#define INVALID_TYPE(body, param, expected, got)                                                                  \
    {                                                                                                             \
        body, OPENAI_ERROR_INVALID_TYPE, param,                                                                   \
        {                                                                                                         \
            param, expected, got                                                                                  \
        }                                                                                                         \
    }

static void bad_bodies(void **state)
{
    (void)state;
    static const struct bad_case cases[] = {
        BAD_JSON(""),
        BAD_JSON(" "),
        BAD_JSON("{"),
        BAD_JSON("{}x"),
        BAD_JSON("{\"model\":\"m\"," MESSAGES "} {}"),
        BAD_JSON("{'model':'m'}"),
        BAD_JSON("{\"model\":\"\xff\"}"),
        BAD_JSON("{\"model\":\"\\ud800\"}"),
        BAD_JSON("{\"model\":NaN}"),
        BAD_JSON("model=m"),
        BAD_JSON("{\"model\":4," MESSAGES ",}"),
        BAD_JSON("{\"model\":4," MESSAGES "]"),
        BAD_JSON("{\"model\":4,\"messages\":[1}"),
        BAD_JSON("[1] 2"),
        NOT_OBJECT("[]", "an array"),
        NOT_OBJECT("\"x\"", "a string"),
        NOT_OBJECT("1", "a number"),
        NOT_OBJECT("1.5", "a number"),
        NOT_OBJECT("true", "a boolean"),
        NOT_OBJECT("null", "null"),
        NO_MODEL("{}"),
        NO_MODEL("{" MESSAGES "}"),
        NO_MODEL("{\"model\":null," MESSAGES "}"),
        NO_MODEL("{\"model\":\"\"," MESSAGES "}"),
        INVALID_TYPE("{\"model\":4," MESSAGES "}", "model", "a string", "an integer"),
        INVALID_TYPE("{\"model\":-123456789012345678901234567890," MESSAGES "}", "model", "a string", "an integer"),
        INVALID_TYPE("{\"model\":4.5," MESSAGES "}", "model", "a string", "a decimal"),
        INVALID_TYPE("{\"model\":[\"m\"]," MESSAGES "}", "model", "a string", "an array"),
        INVALID_TYPE("{\"model\":{}," MESSAGES "}", "model", "a string", "an object"),
        INVALID_TYPE("{\"model\":false," MESSAGES "}", "model", "a string", "a boolean"),
        INVALID_TYPE("{\"model\":\"m\"," MESSAGES ",\"stream\":\"true\"}", "stream", "a boolean", "a string"),
        INVALID_TYPE("{\"model\":\"m\"," MESSAGES ",\"stream\":1}", "stream", "a boolean", "an integer"),
        INVALID_TYPE("{\"model\":\"m\"," MESSAGES ",\"stream_options\":true}", "stream_options", "an object", "a boolean"),
        {"{\"model\":\"m\"}", OPENAI_ERROR_MISSING_PARAMETER, "messages", {"messages"}},
        INVALID_TYPE("{\"model\":\"m\",\"messages\":null}", "messages", "an array of objects", "null"),
        INVALID_TYPE("{\"model\":\"m\",\"messages\":\"hi\"}", "messages", "an array of objects", "a string"),
        INVALID_TYPE("{\"model\":\"m\",\"messages\":{}}", "messages", "an array of objects", "an object"),
        INVALID_TYPE("{\"model\":\"m\",\"messages\":[{},\"hi\"]}", "messages[1]", "an object", "a string"),
        INVALID_TYPE("{\"model\":\"m\",\"messages\":[{\"a\":[1]},{},[{}],5]}", "messages[2]", "an object", "an array"),
        INVALID_TYPE("{\"model\":\"m\",\"messages\":[{},1.5,[]]}", "messages[1]", "an object", "a decimal"),
        INVALID_TYPE("{\"model\":\"m\",\"messages\":[1],\"messages\":[{},true]}", "messages[1]", "an object", "a boolean"),
        INVALID_TYPE("{\"model\":\"m\",\"messages\":[null]}", "messages[0]", "an object", "null"),
        INVALID_TYPE("{\"model\":\"m\"," MESSAGES ",\"n\":\"2\"}", "n", "an integer", "a string"),
        INVALID_TYPE("{\"model\":\"m\"," MESSAGES ",\"n\":1.5}", "n", "an integer", "a decimal"),
        INVALID_TYPE("{\"model\":\"m\"," MESSAGES ",\"temperature\":\"hot\"}", "temperature", "a decimal", "a string"),
        {"{\"model\":\"m\"," MESSAGES ",\"temperature\":99}", OPENAI_ERROR_DECIMAL_ABOVE, "temperature",
         {"temperature", "2", "99.0"}},
        {"{\"model\":\"m\"," MESSAGES ",\"top_p\":-0.5}", OPENAI_ERROR_DECIMAL_BELOW, "top_p", {"top_p", "0", "-0.5"}},
        {"{\"model\":\"m\"," MESSAGES ",\"n\":129}", OPENAI_ERROR_INTEGER_ABOVE, "n", {"n", "128", "129"}},
        {"{\"model\":\"m\"," MESSAGES ",\"n\":0}", OPENAI_ERROR_INTEGER_BELOW, "n", {"n", "1", "0"}},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        const struct bad_case *c = &cases[i];
        struct request_fields fields;
        struct request_error error;
        if (read_chat(slice_from_text(c->body), &fields, &error))
            fail_msg("not refused: %s", c->body);
        if (error.error.id != c->id)
            fail_msg("refused with %d instead of %d: %s", (int)error.error.id, (int)c->id, c->body);
        assert_true(slice_equals_text(error.error.param, c->param));
        for (size_t arg = 0; arg < OPENAI_ERROR_ARGS; arg++)
            if (!slice_equals_text(error.error.args[arg], c->args[arg]))
                fail_msg("argument %zu is \"%.*s\": %s", arg, (int)error.error.args[arg].len,
                         error.error.args[arg].ptr ? error.error.args[arg].ptr : "", c->body);
    }
}

struct range_case {
    enum endpoint_fields kind;
    const char *member; /* with a value */
    enum openai_error_id id; /* OPENAI_ERROR_COUNT: it passes */
    const char *args[OPENAI_ERROR_ARGS];
};

#define PASSES OPENAI_ERROR_COUNT, {NULL}
#define CHAT        ENDPOINT_FIELDS_CHAT
#define COMPLETIONS ENDPOINT_FIELDS_COMPLETIONS
#define EMBEDDINGS  ENDPOINT_FIELDS_EMBEDDINGS
#define RESPONSES   ENDPOINT_FIELDS_RESPONSES

static void ranges_are_those_of_the_api(void **state)
{
    (void)state;
    static const struct range_case cases[] = {
        {CHAT, "\"temperature\":0", PASSES},
        {CHAT, "\"temperature\":2", PASSES},
        {CHAT, "\"temperature\":2.0001", OPENAI_ERROR_DECIMAL_ABOVE, {"temperature", "2", "2.0001"}},
        {CHAT, "\"temperature\":3", OPENAI_ERROR_DECIMAL_ABOVE, {"temperature", "2", "3.0"}},
        {CHAT, "\"temperature\":-0.5", OPENAI_ERROR_DECIMAL_BELOW, {"temperature", "0", "-0.5"}},
        {CHAT, "\"temperature\":\"1\"", OPENAI_ERROR_INVALID_TYPE, {"temperature", "a decimal", "a string"}},
        {CHAT, "\"top_p\":1.5", OPENAI_ERROR_DECIMAL_ABOVE, {"top_p", "1", "1.5"}},
        {CHAT, "\"n\":128", PASSES},
        {CHAT, "\"n\":129", OPENAI_ERROR_INTEGER_ABOVE, {"n", "128", "129"}},
        {CHAT, "\"n\":0", OPENAI_ERROR_INTEGER_BELOW, {"n", "1", "0"}},
        {CHAT, "\"n\":1.5", OPENAI_ERROR_INVALID_TYPE, {"n", "an integer", "a decimal"}},
        {CHAT, "\"max_tokens\":123456789012345678901234567890", PASSES},
        {CHAT, "\"max_tokens\":0", OPENAI_ERROR_INTEGER_BELOW, {"max_tokens", "1", "0"}},
        {CHAT, "\"stop\":\"x\"", PASSES},
        {CHAT, "\"stop\":[\"x\"]", PASSES},
        {CHAT, "\"stop\":1", OPENAI_ERROR_INVALID_TYPE, {"stop", "one of a string or array of strings", "an integer"}},
        {CHAT, "\"tools\":{}", OPENAI_ERROR_INVALID_TYPE, {"tools", "an array", "an object"}},
        {COMPLETIONS, "\"max_tokens\":0", PASSES},
        {COMPLETIONS, "\"logprobs\":6", OPENAI_ERROR_INTEGER_ABOVE, {"logprobs", "5", "6"}},
        {COMPLETIONS, "\"prompt\":7", OPENAI_ERROR_INVALID_TYPE,
         {"prompt", "one of a string or array of strings", "an integer"}},
        {EMBEDDINGS, "\"dimensions\":0", OPENAI_ERROR_INTEGER_BELOW, {"dimensions", "1", "0"}},
        {RESPONSES, "\"max_output_tokens\":15", OPENAI_ERROR_INTEGER_BELOW, {"max_output_tokens", "16", "15"}},
        {RESPONSES, "\"n\":\"not one of its fields\"", PASSES},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        char body[400];
        struct request_fields fields;
        struct request_error error;
        snprintf(body, sizeof body, "{\"model\":\"m\",\"input\":\"x\",\"messages\":[],%s}", cases[i].member);
        bool ok = read_fields(body, cases[i].kind, "", &fields, &error);
        if (ok != (cases[i].id == OPENAI_ERROR_COUNT) || (!ok && error.error.id != cases[i].id))
            fail_msg("%s: %d", cases[i].member, ok ? -1 : (int)error.error.id);
        for (size_t arg = 0; !ok && arg < OPENAI_ERROR_ARGS; arg++)
            if (!slice_equals_text(error.error.args[arg], cases[i].args[arg]))
                fail_msg("%s: argument %zu is %s", cases[i].member, arg, error.error.args[arg].ptr);
    }
}

static void every_endpoint_asks_for_its_own(void **state)
{
    (void)state;
    struct request_fields fields;
    struct request_error error;
    assert_false(read_fields("{\"model\":\"m\"}", EMBEDDINGS, "", &fields, &error));
    assert_int_equal(error.error.id, OPENAI_ERROR_MISSING_PARAMETER);
    assert_true(slice_equals_text(error.error.param, "input"));
    assert_false(read_fields("{}", COMPLETIONS, "", &fields, &error));
    assert_int_equal(error.error.id, OPENAI_ERROR_NO_MODEL);
    assert_true(read_fields("{\"model\":\"m\"}", COMPLETIONS, "", &fields, &error));
    assert_true(read_fields("{}", RESPONSES, "", &fields, &error));
    assert_true(read_fields("{\"stream\":true}", ENDPOINT_FIELDS_MODEL, "", &fields, &error));
    assert_true(fields.stream);
    assert_false(read_fields("[]", ENDPOINT_FIELDS_MODEL, "", &fields, &error));
    assert_int_equal(error.error.id, OPENAI_ERROR_NOT_OBJECT);
}

static void a_model_may_stand_in_the_path(void **state)
{
    (void)state;
    struct request_fields fields;
    struct request_error error;
    assert_true(read_fields("{\"messages\":[]}", CHAT, "from-path", &fields, &error));
    assert_string_equal(fields.model, "from-path");
    assert_true(read_fields("{\"model\":\"m\",\"messages\":[]}", CHAT, "from-path", &fields, &error));
    assert_string_equal(fields.model, "m");
}

static void an_object_alone_can_be_asked_for(void **state)
{
    (void)state;
    static const struct slice body = SLICE_LITERAL("{\"model\":\"m\",\"n\":\"x\",\"stream\":true,\"messages\":7}");
    struct request_fields fields;
    struct request_error error;
    assert_true(request_fields_read(body, CHAT, (struct slice){NULL, 0}, REQUEST_CHECK_OBJECT, &fields, &error));
    assert_string_equal(fields.model, "m");
    assert_true(fields.stream);
    assert_false(request_fields_read(SLICE_LITERAL("[]"), CHAT, (struct slice){NULL, 0}, REQUEST_CHECK_OBJECT, &fields,
                                     &error));
}

static void form_fields(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n", "whisper-1"},
        {"--b\r\nContent-Disposition: form-data;name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n", "whisper-1"},
        {"--b\r\ncontent-disposition: form-data; name=\"model\"\r\nContent-Type: text/plain\r\n\r\nm\r\n", "m"},
        {"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\nbytes\r\n"
         "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n", "m"},
        {"--b\r\nContent-Disposition: form-data; name=\"models\"\r\n\r\nm\r\n", ""},
        {"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ncut", ""},
        {"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n", ""},
        {"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n", ""},
        {"name=\"model\"", ""},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct slice value = request_form_field(slice_from_text(cases[i][0]), "model");
        if (!slice_equals_text(value, cases[i][1]))
            fail_msg("case %zu: \"%.*s\"", i, (int)value.len, value.len ? value.ptr : "");
    }
}

static void what_was_read_before_a_mistake_is_kept_for_the_log(void **state)
{
    (void)state;
    struct request_fields fields;
    struct request_error error;
    assert_false(read_chat(SLICE_LITERAL("{\"messages\":1,\"stream\":true,\"model\":\"m\"}"), &fields, &error));
    assert_string_equal(fields.model, "m");
    assert_true(fields.stream);
    assert_false(read_chat(SLICE_LITERAL("["), &fields, &error));
    assert_string_equal(fields.model, "");
    assert_false(fields.stream);
}

static void a_long_model_is_cut(void **state)
{
    (void)state;
    char body[600];
    struct request_fields fields;
    struct request_error error;
    int n = snprintf(body, sizeof body, "{\"model\":\"%0*d\"," MESSAGES "}", 3 * REQUEST_MODEL_MAX, 7);
    assert_true(read_chat(slice_make(body, (size_t)n), &fields, &error));
    assert_int_equal(strlen(fields.model), REQUEST_MODEL_MAX - 1);
}

/* Brackets do not cost stack without end. */
static void deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 1000000 };
    struct request_fields fields;
    struct request_error error;
    for (int object = 0; object < 2; object++) {
        struct buf b;
        buf_init(&b, 8 * DEPTH);
        for (size_t i = 0; i < DEPTH; i++)
            assert_true(buf_append_text(&b, object ? "{\"a\":" : "["));
        assert_false(read_chat(buf_slice(&b), &fields, &error));
        assert_int_equal(error.error.id, OPENAI_ERROR_BAD_JSON);
        buf_free(&b);
    }
}

static bool read_nested(unsigned depth)
{
    struct buf b;
    struct request_fields fields;
    struct request_error error;
    buf_init(&b, 4096);
    assert_true(buf_append_text(&b, "{\"model\":\"m\",\"messages\":[],\"x\":"));
    for (unsigned i = 1; i < depth; i++)
        assert_true(buf_append_char(&b, '['));
    for (unsigned i = 1; i < depth; i++)
        assert_true(buf_append_char(&b, ']'));
    assert_true(buf_append_char(&b, '}'));
    bool ok = read_chat(buf_slice(&b), &fields, &error);
    buf_free(&b);
    return ok;
}

static void the_bound_of_nesting_is_exact(void **state)
{
    (void)state;
    assert_true(read_nested(REQUEST_DEPTH_MAX));
    assert_false(read_nested(REQUEST_DEPTH_MAX + 1));
}

/* Text is looked at in pieces of several bytes: what must be seen is seen wherever it stands. */
static void every_byte_of_a_text_is_looked_at(void **state)
{
    (void)state;
    enum { TEXT = 40 };
    for (int byte = 0; byte < 256; byte++)
        for (size_t at = 0; at < TEXT; at++) {
            char body[200], text[TEXT + 1];
            struct request_fields fields;
            struct request_error error;
            memset(text, 'a', TEXT);
            text[at] = (char)byte;
            int n = snprintf(body, sizeof body, "{\"messages\":[{\"content\":\"");
            memcpy(body + n, text, TEXT);
            n += TEXT + snprintf(body + n + TEXT, sizeof body - (size_t)n - TEXT, "\"}],\"model\":\"m\"}");
            bool fine = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
            if (read_chat(slice_make(body, (size_t)n), &fields, &error) != fine)
                fail_msg("byte %d at %zu", byte, at);
        }
}

static void a_body_is_not_read_beyond_its_end(void **state)
{
    (void)state;
    static const char text[] = "{\"model\":\"m\"," MESSAGES "}";
    struct request_fields fields;
    struct request_error error;
    for (size_t n = 0; n < sizeof text; n++) {
        char *exact = malloc(n ? n : 1);
        assert_non_null(exact);
        memcpy(exact, text, n);
        bool whole = n == sizeof text - 1;
        assert_int_equal(read_chat(slice_make(exact, n), &fields, &error), whole);
        free(exact);
        if (whole)
            break;
    }
    assert_false(read_chat((struct slice){NULL, 0}, &fields, &error));
}

struct endpoint_case {
    enum endpoint_fields fields;
    const char *body;
    const char *path_model;
    int error; /* OPENAI_ERROR_COUNT: none */
};

static void other_endpoints(void **state)
{
    (void)state;
    static const struct endpoint_case cases[] = {
        {ENDPOINT_FIELDS_COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"x\"}", "", OPENAI_ERROR_COUNT},
        {ENDPOINT_FIELDS_COMPLETIONS, "{\"prompt\":\"x\"}", "", OPENAI_ERROR_NO_MODEL},
        {ENDPOINT_FIELDS_COMPLETIONS, "{\"prompt\":\"x\"}", "davinci", OPENAI_ERROR_COUNT},
        {ENDPOINT_FIELDS_COMPLETIONS, "{\"model\":\"m\",\"prompt\":3}", "", OPENAI_ERROR_INVALID_TYPE},
        {ENDPOINT_FIELDS_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"a\"]}", "", OPENAI_ERROR_COUNT},
        {ENDPOINT_FIELDS_EMBEDDINGS, "{\"model\":\"m\"}", "", OPENAI_ERROR_MISSING_PARAMETER},
        {ENDPOINT_FIELDS_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":0}", "",
         OPENAI_ERROR_INTEGER_BELOW},
        {ENDPOINT_FIELDS_RESPONSES, "{\"input\":\"a\"}", "", OPENAI_ERROR_COUNT},
        {ENDPOINT_FIELDS_RESPONSES, "{\"input\":\"a\",\"max_output_tokens\":3}", "", OPENAI_ERROR_INTEGER_BELOW},
        {ENDPOINT_FIELDS_MODEL, "{\"anything\":[1]}", "", OPENAI_ERROR_COUNT},
        {ENDPOINT_FIELDS_MODEL, "[", "", OPENAI_ERROR_BAD_JSON},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        const struct endpoint_case *c = &cases[i];
        struct request_fields fields;
        struct request_error error;
        bool ok = request_fields_read(slice_from_text(c->body), c->fields, slice_from_text(c->path_model),
                                      REQUEST_CHECK_FIELDS, &fields, &error);
        if (ok != (c->error == OPENAI_ERROR_COUNT) || (!ok && (int)error.error.id != c->error))
            fail_msg("%s: %d", c->body, ok ? -1 : (int)error.error.id);
        if (!ok && c->error != OPENAI_ERROR_BAD_JSON)
            assert_true(request_fields_read(slice_from_text(c->body), c->fields, slice_from_text(c->path_model),
                                            REQUEST_CHECK_OBJECT, &fields, &error));
    }
}

static void form_fields_are_found(void **state)
{
    (void)state;
    struct slice form = SLICE_LITERAL("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n");
    assert_true(slice_equals_text(request_form_field(form, "model"), "whisper-1"));
    assert_int_equal(request_form_field(form, "file").len, 0);
    for (size_t n = 0; n + 8 < form.len; n++)
        assert_true(request_form_field(slice_take(form, n), "model").len <= 9);
    assert_int_equal(request_form_field((struct slice){NULL, 0}, "model").len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies),
        cmocka_unit_test(the_background_is_read),
        cmocka_unit_test(bad_bodies),
        cmocka_unit_test(ranges_are_those_of_the_api),
        cmocka_unit_test(every_endpoint_asks_for_its_own),
        cmocka_unit_test(a_model_may_stand_in_the_path),
        cmocka_unit_test(an_object_alone_can_be_asked_for),
        cmocka_unit_test(form_fields),
        cmocka_unit_test(what_was_read_before_a_mistake_is_kept_for_the_log),
        cmocka_unit_test(a_long_model_is_cut),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(the_bound_of_nesting_is_exact),
        cmocka_unit_test(every_byte_of_a_text_is_looked_at),
        cmocka_unit_test(a_body_is_not_read_beyond_its_end),
        cmocka_unit_test(other_endpoints),
        cmocka_unit_test(form_fields_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
