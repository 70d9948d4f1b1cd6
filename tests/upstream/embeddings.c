#include "endpoints.h"
#include "errors.h"

#include <string.h>

#define DIMENSIONS_DEFAULT 8
#define DIMENSIONS_MAX     4096

struct vector_form {
    size_t dimensions;
    bool base64;
};

static float vector_value(uint64_t hash, size_t i)
{
    return (float)(text_mix(hash + i) >> 40) / 8388608.0f - 1.0f;
}

static void vector_put(struct buf *out, uint64_t hash, struct vector_form form)
{
    float values[DIMENSIONS_MAX];
    for (size_t i = 0; i < form.dimensions; i++) {
        values[i] = vector_value(hash, i);
    }
    if (form.base64) {
        BUF_LIT(out, "\"");
        buf_put_base64(out, values, form.dimensions * sizeof *values);
        BUF_LIT(out, "\"");
        return;
    }
    for (size_t i = 0; i < form.dimensions; i++) {
        buf_printf(out, "%c%.9g", i ? ',' : '[', (double)values[i]);
    }
    BUF_LIT(out, "]");
}

/* A text, or an array of token ids, to one hash; adds to the token count. */
static uint64_t input_hash(json_t *input, uint64_t *tokens)
{
    size_t i;
    json_t *id;
    uint64_t hash = TEXT_HASH_START;
    if (json_is_string(input)) {
        *tokens += json_string_length(input) / 4 + 1;
        return text_hash(hash, json_string_value(input), json_string_length(input));
    }
    *tokens += json_array_size(input);
    json_array_foreach(input, i, id)
    {
        json_int_t value = json_integer_value(id);
        hash = text_hash(hash, &value, sizeof value);
    }
    return hash;
}

static void item_put(struct buf *out, json_t *input, size_t index, struct vector_form form, uint64_t *tokens)
{
    buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", index ? "," : "", index);
    vector_put(out, text_mix(input_hash(input, tokens)), form);
    BUF_LIT(out, "}");
}

static void items_put(struct buf *out, json_t *input, struct vector_form form, uint64_t *tokens)
{
    json_t *first = json_array_get(input, 0);
    size_t i;
    json_t *item;
    if (!json_is_array(input) || json_is_integer(first)) { /* one text, or one text's tokens */
        item_put(out, input, 0, form, tokens);
        return;
    }
    json_array_foreach(input, i, item)
    {
        item_put(out, item, i, form, tokens);
    }
}

static void embeddings_answer(struct conn *c, json_t *input)
{
    struct buf body = {0};
    uint64_t tokens = 0;
    const char *format = json_string_value(json_object_get(c->json, "encoding_format"));
    json_int_t wanted = json_integer_value(json_object_get(c->json, "dimensions"));
    struct vector_form form = {DIMENSIONS_DEFAULT, format && strcmp(format, "base64") == 0};
    if (wanted > 0) {
        form.dimensions = wanted < DIMENSIONS_MAX ? (size_t)wanted : DIMENSIONS_MAX;
    }
    const char *model = endpoints_model(c);
    BUF_LIT(&body, "{\"object\":\"list\",\"data\":[");
    items_put(&body, input, form, &tokens);
    BUF_LIT(&body, "],\"model\":");
    buf_put_json(&body, model, strlen(model));
    buf_printf(&body, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}\n",
               (unsigned long long)tokens, (unsigned long long)tokens);
    c->reply.prompt_tokens = tokens;
    endpoints_ok(c, &body);
}

void embeddings_handle(struct conn *c)
{
    json_t *input = json_object_get(c->json, "input");
    bool by_path = slice_starts(c->request->path, "/v1/engines/");
    if (!json_is_object(c->json)) {
        errors_bad_json(c);
    } else if (!endpoints_model(c)[0] && !by_path) {
        errors_no_model(c);
    } else if (!input) {
        errors_missing(c, "input");
    } else {
        embeddings_answer(c, input);
    }
}
