/*
 * The request's body.
 *
 * JSON of the endpoints that Sluice knows is collected up to MAX_BODY_BYTES and looked into. Any other body is held
 * while it is small, so that it can be sent again, and streamed from then on, whatever its size. What can be
 * refused by the head alone is refused before a byte of the body is taken.
 */
#include "exchange.h"

static struct slice receive_media_type(const struct exchange *x)
{
    struct slice type = x->http.content_type;
    const char *semicolon = type.len ? memchr(type.ptr, ';', type.len) : NULL;
    return slice_trim(semicolon ? slice_take(type, (size_t)(semicolon - type.ptr)) : type);
}

static bool receive_refuse_method(struct exchange *x)
{
    if (endpoint_allows(x->endpoint, x->http.method))
        return false;
    struct openai_error error = {.id = OPENAI_ERROR_WRONG_METHOD, .args = {x->http.method, x->http.path}};
    answer_error(x, EXCHANGE_REFUSED, &error);
    return true;
}

/* A type that was not said is taken for JSON: the body itself will tell. */
static bool receive_refuse_type(struct exchange *x)
{
    struct slice type = receive_media_type(x);
    if (type.len == 0 || slice_equals_nocase(type, SLICE_LITERAL("application/json")))
        return false;
    struct openai_error error = {.id = OPENAI_ERROR_CONTENT_TYPE,
                                 .args = {x->http.content_type, x->http.content_type}};
    answer_error(x, EXCHANGE_REFUSED, &error);
    return true;
}

static void receive_begin_held(struct exchange *x)
{
    x->body_mode = EXCHANGE_BODY_HELD;
    buf_init(&x->body, (size_t)x->proxy->config->max_body_bytes);
    if (!receive_refuse_type(x) && x->http.content_length > x->proxy->config->max_body_bytes)
        answer_too_large(x, x->http.content_length);
}

/* From here on the body is passed on as it comes. */
static void receive_start_streaming(struct exchange *x)
{
    x->body_mode = EXCHANGE_BODY_STREAMED;
    x->body.max = EXCHANGE_BODY_HIGH + FCGI_RECORD_CONTENT_MAX;
    admit_request(x);
}

static void receive_begin_small(struct exchange *x)
{
    x->body_mode = EXCHANGE_BODY_SMALL;
    buf_init(&x->body, EXCHANGE_REPLAY_MAX + FCGI_RECORD_CONTENT_MAX);
    if (x->http.content_length > EXCHANGE_REPLAY_MAX)
        receive_start_streaming(x);
}

void receive_begin(struct exchange *x)
{
    if (diagnose_begin(x))
        return;
    x->endpoint = endpoint_find(x->api_path);
    if (receive_refuse_method(x))
        return;
    if (x->endpoint->fields != ENDPOINT_FIELDS_NONE && slice_equals_text(x->http.method, "POST"))
        receive_begin_held(x);
    else
        receive_begin_small(x);
}

/* A form names its model in a field, which clients send before the file. */
static void receive_look_for_model(struct exchange *x)
{
    struct slice model = request_form_field(slice_take(buf_slice(&x->body), EXCHANGE_REPLAY_MAX), "model");
    if (model.len > 0 && model.len < sizeof x->fields.model)
        memcpy(x->fields.model, model.ptr, model.len);
}

static void receive_passing_piece(struct exchange *x, struct slice bytes)
{
    bool first = x->body.len == 0 && x->bytes_in == bytes.len;
    if (!buf_append_slice(&x->body, bytes)) {
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_OVERLOADED);
        return;
    }
    if (first && slice_starts_with_nocase(receive_media_type(x), SLICE_LITERAL("multipart/")))
        receive_look_for_model(x);
    if (x->body_mode == EXCHANGE_BODY_SMALL && x->body.len > EXCHANGE_REPLAY_MAX)
        receive_start_streaming(x);
    else if (x->body_mode == EXCHANGE_BODY_STREAMED)
        upstream_more_body(x);
    if (x->body_mode == EXCHANGE_BODY_STREAMED && x->body.len > EXCHANGE_BODY_HIGH)
        fcgi_request_pause_body(x->fcgi);
}

void receive_piece(struct exchange *x, struct slice bytes)
{
    if (x->diagnosis) {
        diagnose_piece(x, bytes);
        return;
    }
    x->bytes_in += bytes.len;
    if (x->body_mode != EXCHANGE_BODY_HELD)
        receive_passing_piece(x, bytes);
    else if (bytes.len > buf_room(&x->body))
        answer_too_large(x, (int64_t)x->bytes_in);
    else if (!buf_append_slice(&x->body, bytes))
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_OVERLOADED);
}

/* A body that is not as long as its head said was cut or smuggled on its way. */
static bool receive_length_is_right(struct exchange *x)
{
    if (x->http.content_length < 0 || (uint64_t)x->http.content_length == x->bytes_in)
        return true;
    struct openai_error error = {.id = OPENAI_ERROR_BAD_REQUEST,
                                 .args = {SLICE_LITERAL("the body is not as long as Content-Length says")}};
    upstream_cancel(x);
    answer_error(x, EXCHANGE_REFUSED, &error);
    return false;
}

static bool receive_look_into(struct exchange *x)
{
    struct request_error error;
    enum request_check check = x->proxy->config->validate ? REQUEST_CHECK_FIELDS : REQUEST_CHECK_OBJECT;
    if (request_fields_read(buf_slice(&x->body), x->endpoint->fields, endpoint_path_model(x->endpoint, x->api_path),
                            check, &x->fields, &error))
        return true;
    answer_error(x, EXCHANGE_REFUSED, &error.error);
    return false;
}

void receive_end(struct exchange *x)
{
    if (x->diagnosis) {
        diagnose_end(x);
        return;
    }
    x->body_done = true;
    record_received(x);
    if (!receive_length_is_right(x))
        return;
    if (x->body_mode == EXCHANGE_BODY_STREAMED)
        upstream_more_body(x);
    else if (x->body_mode == EXCHANGE_BODY_SMALL || receive_look_into(x))
        admit_request(x);
}
