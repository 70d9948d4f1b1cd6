/*
 * The request's body: collected up to MAX_BODY_BYTES, then looked into.
 *
 * What can be refused by the head alone is refused before a byte of the body is taken.
 */
#include "exchange.h"

/* A type that was not said is taken for JSON: the body itself will tell. */
static bool receive_type_is_json(struct slice type)
{
    const char *semicolon = type.len ? memchr(type.ptr, ';', type.len) : NULL;
    if (semicolon)
        type = slice_take(type, (size_t)(semicolon - type.ptr));
    type = slice_trim(type);
    return type.len == 0 || slice_equals_nocase(type, SLICE_LITERAL("application/json"));
}

void receive_begin(struct exchange *x)
{
    if (diagnose_begin(x))
        return;
    x->endpoint = endpoint_find(x->api_path);
    struct openai_error error = {.args = {x->http.method, x->http.path}};
    if (!x->endpoint || !endpoint_allows(x->endpoint, x->http.method)) {
        error.id = x->endpoint ? OPENAI_ERROR_WRONG_METHOD : OPENAI_ERROR_UNKNOWN_URL;
        answer_error(x, EXCHANGE_REFUSED, &error);
    } else if (x->http.content_length > x->proxy->config->max_body_bytes) {
        answer_too_large(x, x->http.content_length);
    } else if (!receive_type_is_json(x->http.content_type)) {
        error = (struct openai_error){.id = OPENAI_ERROR_CONTENT_TYPE,
                                      .args = {x->http.content_type, x->http.content_type}};
        answer_error(x, EXCHANGE_REFUSED, &error);
    }
}

void receive_piece(struct exchange *x, struct slice bytes)
{
    if (x->diagnosis) {
        diagnose_piece(x, bytes);
        return;
    }
    x->bytes_in += bytes.len;
    if (bytes.len > buf_room(&x->body))
        answer_too_large(x, (int64_t)x->bytes_in);
    else if (!buf_append_slice(&x->body, bytes))
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_OVERLOADED);
}

/* A body that is not as long as its head said was cut or smuggled on its way. */
static bool receive_length_is_right(struct exchange *x)
{
    if (x->http.content_length < 0 || (uint64_t)x->http.content_length == x->body.len)
        return true;
    struct openai_error error = {.id = OPENAI_ERROR_BAD_REQUEST,
                                 .args = {SLICE_LITERAL("the body is not as long as Content-Length says")}};
    answer_error(x, EXCHANGE_REFUSED, &error);
    return false;
}

void receive_end(struct exchange *x)
{
    struct request_error error;
    if (x->diagnosis) {
        diagnose_end(x);
        return;
    }
    x->body_done = true;
    if (!receive_length_is_right(x))
        return;
    if (request_fields_read_chat(buf_slice(&x->body), &x->fields, &error))
        upstream_begin(x);
    else
        answer_error(x, EXCHANGE_REFUSED, &error.error);
}
