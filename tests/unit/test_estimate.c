/* Estimates of a request's tokens. */
#include "test.h"

#include "sluice/estimate.h"

static void requests_are_estimated(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum endpoint_fields fields;
        int64_t input, output, choices;
    } cases[] = {
        /* "user" and 12 bytes are 16: 4 tokens, and 3 for the message, 3 for the reply, 1 */
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"twelve bytes\"}]}", ENDPOINT_FIELDS_CHAT, 11, -1, 1},
        {"{\"messages\":[],\"max_tokens\":10}", ENDPOINT_FIELDS_CHAT, 4, 10, 1},
        {"{\"messages\":[],\"max_tokens\":10,\"max_completion_tokens\":20,\"n\":3}", ENDPOINT_FIELDS_CHAT, 4, 60, 3},
        {"{\"prompt\":\"12345678\",\"max_tokens\":5}", ENDPOINT_FIELDS_COMPLETIONS, 3, 5, 1},
        {"{\"input\":[\"1234\",\"5678\"],\"max_tokens\":5}", ENDPOINT_FIELDS_EMBEDDINGS, 3, 0, 1},
        {"{\"input\":[[1,2,3],[4,5]]}", ENDPOINT_FIELDS_EMBEDDINGS, 6, 0, 1},
        {"{\"input\":\"12345678\",\"max_output_tokens\":50}", ENDPOINT_FIELDS_RESPONSES, 3, 50, 1},
        {"{\"input\":\"\\u00e9\\u00e9\\u00e9\\u00e9\"}", ENDPOINT_FIELDS_EMBEDDINGS, 3, 0, 1},
        {"{\"input\":\"\\u007f\\u0080\\u07ff\\u0800\\uffff\\uD83d\\ude00\\n\\\"a\\\\u0\"}", ENDPOINT_FIELDS_EMBEDDINGS, 6, 0, 1},
        {"{\"input\":[{\"image_url\":\"data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
         ENDPOINT_FIELDS_RESPONSES, ESTIMATE_IMAGE_TOKENS + 1, -1, 1},
        {"{\"n\":99999999999999999999,\"max_tokens\":-4}", ENDPOINT_FIELDS_CHAT, 1, -1, 1},
        {"{\"n\":1000,\"max_tokens\":1000000000}", ENDPOINT_FIELDS_CHAT, 1, ESTIMATE_MAX, 128},
        {"{\"model\":\"not text for the model\"}", ENDPOINT_FIELDS_MODEL, 1, 0, 1},
        /* of two members the last counts, and only the request's own do */
        {"{\"max_tokens\":7,\"max_tokens\":\"8\",\"n\":5,\"n\":2}", ENDPOINT_FIELDS_CHAT, 1, -1, 2},
        {"{\"x\":{\"n\":5,\"max_tokens\":7,\"prompt\":\"12345678\"},\"m\\u0061x_tokens\":3}", ENDPOINT_FIELDS_CHAT, 1, 3, 1},
        {"{\"max_tokens\":[7],\"n\":{\"n\":4}}", ENDPOINT_FIELDS_CHAT, 1, -1, 1},
        {"{\"messages\":[{\"content\":[{\"text\":\"1234\"},{\"text\":\"5678\"}]},{\"n\":[1,2]},7],\"n\":2}", ENDPOINT_FIELDS_CHAT,
         15, -1, 2},
        {"{\"tools\":[{\"name\":\"1234\",\"parameters\":{\"enum\":[\"5678\",9]}}]}", ENDPOINT_FIELDS_CHAT, 3, -1, 1},
        {"{\"messages\":[{\"content\":\"1234\"}]} x", ENDPOINT_FIELDS_CHAT, 0, 0, 1},
        {"[\"1234\"]", ENDPOINT_FIELDS_CHAT, 0, 0, 1},
        {"[", ENDPOINT_FIELDS_CHAT, 0, 0, 1},
        {"", ENDPOINT_FIELDS_CHAT, 0, 0, 1},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct estimate e = estimate_request(slice_from_text(cases[i].body), cases[i].fields);
        if (e.input_tokens != cases[i].input || e.output_tokens != cases[i].output || e.choices != cases[i].choices)
            fail_msg("%s: %lld %lld %lld", cases[i].body, (long long)e.input_tokens, (long long)e.output_tokens,
                     (long long)e.choices);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_estimated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
