#include "errors.h"

#include <string.h>

struct known_error {
    int status;
    const char *type;
    const char *code; /* as JSON */
    const char *message;
};

static const struct known_error known_errors[] = {
    {400, "invalid_request_error", "null", "Invalid request."},
    {401, "invalid_request_error", "\"invalid_api_key\"",
     "Incorrect API key provided: sk-sim-x****xxxx. You can find your API key at "
     "https://platform.openai.com/account/api-keys."},
    {403, "request_forbidden", "\"unsupported_country_region_territory\"",
     "Country, region, or territory not supported"},
    {404, "invalid_request_error", "\"model_not_found\"",
     "The model `sim` does not exist or you do not have access to it."},
    {408, "invalid_request_error", "null", "Request timed out."},
    {409, "invalid_request_error", "\"conflict\"",
     "The resource was updated by another request. Please try again."},
    {413, "server_error", "null", "Maximum content size limit (26214400) exceeded (26214401 bytes read)"},
    {422, "invalid_request_error", "null", "The request could not be processed."},
    {429, "requests", "\"rate_limit_exceeded\"",
     "Rate limit reached for gpt-4o-mini in organization org-sim on requests per min (RPM): Limit 3, Used 3, "
     "Requested 1. Please try again in 20s. Visit https://platform.openai.com/account/rate-limits to learn "
     "more."},
    {500, "server_error", "null", "The server had an error while processing your request. Sorry about that!"},
    {502, "cf_bad_gateway", "502", "Bad gateway."},
    {503, "service_unavailable_error", "\"server_is_overloaded\"",
     "Our servers are currently overloaded. Please try again later."},
    {504, "server_error", "\"gateway_timeout\"", "Gateway timeout."},
    {529, "overloaded_error", "null", "Overloaded"},
};

static const struct known_error *known_find(int status)
{
    for (size_t i = 0; i < sizeof known_errors / sizeof *known_errors; i++) {
        if (known_errors[i].status == status) {
            return &known_errors[i];
        }
    }
    return &known_errors[status < 500 ? 0 : 9];
}

static void put_text(struct buf *out, const char *text)
{
    if (text) {
        buf_put_json(out, text, strlen(text));
    } else {
        BUF_LIT(out, "null");
    }
}

void errors_put_status(struct buf *out, const struct directive *d, int status)
{
    const struct known_error *e = known_find(status);
    BUF_LIT(out, "{\"error\":{\"message\":");
    put_text(out, d->message[0] ? d->message : e->message);
    BUF_LIT(out, ",\"type\":");
    put_text(out, d->type[0] ? d->type : e->type);
    BUF_LIT(out, ",\"param\":null,\"code\":");
    if (d->code[0]) {
        put_text(out, d->code);
    } else {
        buf_puts(out, e->code);
    }
    BUF_LIT(out, "}}");
}

void errors_send_status(struct conn *c, int status)
{
    struct buf body = {0};
    errors_put_status(&body, &c->dir, status);
    BUF_LIT(&body, "\n");
    reply_send(c, status, "application/json", &body);
}

void errors_send(struct conn *c, int status, const char *type, const char *param, const char *code,
                 const char *message)
{
    struct buf body = {0};
    BUF_LIT(&body, "{\n  \"error\": {\n    \"message\": ");
    put_text(&body, message);
    BUF_LIT(&body, ",\n    \"type\": ");
    put_text(&body, type);
    BUF_LIT(&body, ",\n    \"param\": ");
    put_text(&body, param);
    BUF_LIT(&body, ",\n    \"code\": ");
    put_text(&body, code);
    BUF_LIT(&body, "\n  }\n}\n");
    reply_send(c, status, "application/json", &body);
}

void errors_bad_json(struct conn *c)
{
    errors_send(
        c, 400, "invalid_request_error", NULL, NULL,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your "
        "HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid "
        "JSON. If you have trouble figuring out how to fix this, please contact us through our help center "
        "at help.openai.com.)");
}

void errors_no_model(struct conn *c)
{
    errors_send(c, 400, "invalid_request_error", NULL, NULL, "you must provide a model parameter");
}

void errors_missing(struct conn *c, const char *param)
{
    struct buf message = {0};
    buf_printf(&message, "Missing required parameter: '%s'.", param);
    buf_add(&message, "", 1);
    errors_send(c, 400, "invalid_request_error", param, "missing_required_parameter", message.data);
    buf_free(&message);
}
