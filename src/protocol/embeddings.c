/* Requests and answers of several items: taken apart, and put together. Vectors are embedding_vector.c's. */
#include "sluice/embeddings.h"

#include <endian.h>
#include <stdint.h>
#include <stdlib.h>

/* ---- the request ------------------------------------------------------------------------------------- */

/* What all elements of input must be; a number means that the array itself is one item. */
static bool embeddings_element_fits(enum json_kind first, struct json_value element)
{
    if (element.kind != first)
        return false;
    return first == JSON_KIND_STRING || first == JSON_KIND_ARRAY || first == JSON_KIND_NUMBER;
}

static bool embeddings_add(struct embeddings_request *r, struct slice item, size_t *size)
{
    if (r->count == EMBEDDINGS_ITEMS_MAX)
        return false;
    if (r->count == *size) {
        size_t wanted = *size ? *size * 2 : 8;
        struct slice *grown = realloc(r->items, wanted * sizeof *grown);
        if (!grown)
            return false;
        r->items = grown;
        *size = wanted;
    }
    r->items[r->count++] = item;
    return true;
}

static bool embeddings_take_array(struct embeddings_request *r, struct json_value input)
{
    enum json_kind first = JSON_KIND_ERROR;
    struct json_value element;
    struct json_items items;
    size_t size = 0;
    json_items_begin(&items, input);
    while (json_items_next(&items, NULL, &element)) {
        first = first == JSON_KIND_ERROR ? element.kind : first;
        if (!embeddings_element_fits(first, element))
            return false;
        if (first != JSON_KIND_NUMBER && !embeddings_add(r, element.raw, &size))
            return false;
    }
    r->single = first == JSON_KIND_NUMBER;
    return r->single ? embeddings_add(r, input.raw, &size) : r->count > 0;
}

static bool embeddings_take_format(struct embeddings_request *r, struct json_value body)
{
    struct json_value format;
    if (!json_value_find(body, "encoding_format", &format) || format.kind == JSON_KIND_NULL)
        return true;
    r->base64 = json_value_is_text(format, "base64");
    return r->base64 || json_value_is_text(format, "float");
}

static bool embeddings_take(struct embeddings_request *r, struct slice text)
{
    struct json_value body, input;
    size_t size = 0;
    if (!json_value_read(text, &body) || !json_value_find(body, "input", &input) ||
        !embeddings_take_format(r, body))
        return false;
    r->body = text;
    r->input = input.raw;
    if (input.kind == JSON_KIND_ARRAY)
        return embeddings_take_array(r, input);
    r->single = true;
    return input.kind == JSON_KIND_STRING && embeddings_add(r, input.raw, &size);
}

bool embeddings_request_read(struct slice body, struct embeddings_request *out)
{
    *out = (struct embeddings_request){0};
    if (embeddings_take(out, body))
        return true;
    embeddings_request_free(out);
    return false;
}

void embeddings_request_free(struct embeddings_request *r)
{
    free(r->items);
    *r = (struct embeddings_request){0};
}

bool embeddings_request_write_missing(const struct embeddings_request *r, const bool *missing,
                                      struct buf *out)
{
    size_t before = (size_t)(r->input.ptr - r->body.ptr);
    bool ok = buf_append_slice(out, slice_take(r->body, before));
    if (r->single)
        ok = ok && buf_append_slice(out, r->input);
    else
        ok = ok && buf_append_char(out, '[');
    bool comma = false;
    for (size_t i = 0; !r->single && ok && i < r->count; i++) {
        if (!missing[i])
            continue;
        ok = (!comma || buf_append_char(out, ',')) && buf_append_slice(out, r->items[i]);
        comma = true;
    }
    ok = ok && (r->single || buf_append_char(out, ']'));
    return ok && buf_append_slice(out, slice_skip(r->body, before + r->input.len));
}

/* ---- an entry ---------------------------------------------------------------------------------------- */

bool embedding_pack(const struct embedding *e, struct buf *out)
{
    uint32_t len = htole32((uint32_t)e->model.len);
    return e->model.len <= UINT16_MAX && buf_append(out, &len, sizeof len) &&
           buf_append_slice(out, e->model) && buf_append_slice(out, e->vector);
}

bool embedding_unpack(struct slice bytes, struct embedding *out)
{
    uint32_t len;
    *out = (struct embedding){{NULL, 0}, {NULL, 0}};
    if (bytes.len < sizeof len)
        return false;
    memcpy(&len, bytes.ptr, sizeof len);
    len = le32toh(len);
    bytes = slice_skip(bytes, sizeof len);
    if (len >= bytes.len)
        return false;
    *out = (struct embedding){slice_take(bytes, len), slice_skip(bytes, len)};
    return true;
}

/* ---- the answer -------------------------------------------------------------------------------------- */

/* An array of numbers, or a string without escapes. */
static bool embeddings_is_vector(struct json_value vector)
{
    struct json_value element;
    struct json_items items;
    if (vector.kind == JSON_KIND_STRING)
        return vector.raw.len > 2 && !memchr(vector.raw.ptr, '\\', vector.raw.len);
    if (vector.kind != JSON_KIND_ARRAY)
        return false;
    json_items_begin(&items, vector);
    size_t count = 0;
    for (; json_items_next(&items, NULL, &element); count++)
        if (element.kind != JSON_KIND_NUMBER)
            return false;
    return count > 0;
}

static bool embeddings_take_item(struct json_value item, size_t count, struct embedding *items,
                                 struct slice model)
{
    struct json_value index, vector;
    int64_t number;
    if (!json_value_find(item, "index", &index) || !json_value_int(index, &number) || number < 0 ||
        (size_t)number >= count || items[number].vector.len > 0)
        return false;
    if (!json_value_find(item, "embedding", &vector) || !embeddings_is_vector(vector))
        return false;
    items[number] = (struct embedding){model, vector.raw};
    return true;
}

bool embeddings_answer_read(struct slice text, size_t count, struct embedding *items, struct slice *usage)
{
    struct json_value body, data, item, model, used;
    struct json_items elements;
    size_t found = 0;
    memset(items, 0, count * sizeof *items);
    *usage = (struct slice){NULL, 0};
    if (!json_value_read(text, &body) || !json_value_find(body, "data", &data) ||
        data.kind != JSON_KIND_ARRAY)
        return false;
    json_value_find(body, "model", &model);
    if (json_value_find(body, "usage", &used) && used.kind == JSON_KIND_OBJECT)
        *usage = used.raw;
    struct slice name = model.kind == JSON_KIND_STRING ? model.raw : (struct slice){NULL, 0};
    for (json_items_begin(&elements, data); json_items_next(&elements, NULL, &item); found++)
        if (!embeddings_take_item(item, count, items, name))
            return false;
    return found == count;
}

static bool embeddings_put_item(size_t index, const struct embedding *e, bool base64, struct buf *out)
{
    return buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", index > 0 ? "," : "",
                      index) &&
           embedding_put_vector(e->vector, base64, out) && buf_append_char(out, '}');
}

bool embeddings_answer_write(const struct embeddings_request *r, const struct embedding *items,
                             struct slice usage, struct buf *out)
{
    struct slice model = r->count > 0 ? items[0].model : (struct slice){NULL, 0};
    bool ok = buf_append_text(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; ok && i < r->count; i++)
        ok = embeddings_put_item(i, &items[i], r->base64, out);
    ok = ok && buf_append_text(out, "],\"model\":");
    ok = ok && (model.len > 0 ? buf_append_slice(out, model) : buf_append_text(out, "\"\""));
    ok = ok && buf_append_text(out, ",\"usage\":");
    ok = ok && (usage.len > 0 ? buf_append_slice(out, usage)
                              : buf_append_text(out, "{\"prompt_tokens\":0,\"total_tokens\":0}"));
    return ok && buf_append_char(out, '}');
}
