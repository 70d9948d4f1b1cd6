/* The errors of the API as Sluice answers them. The texts are those that OpenAI's clients know. */
#include "sluice/openai_error.h"

#include "sluice/json_out.h"

#include <ctype.h>

#define IRE "invalid_request_error"
#define SERVER "server_error"
#define LATER "The official clients try again by themselves."

static const struct openai_error_info openai_errors[OPENAI_ERROR_COUNT] = {
    [OPENAI_ERROR_NO_KEY] =
        {"no_key", 401, IRE, NULL, NULL,
         "You didn't provide an API key. You need to provide your API key in an Authorization header using "
         "Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if "
         "you're accessing the API from your browser and are prompted for a username and password. You can "
         "obtain an API key from https://platform.openai.com/account/api-keys.",
         false, "The request has no `Authorization: Bearer` header.",
         "Send the client key. Behind Apache, set `CGIPassAuth On`: it strips the header otherwise."},
    [OPENAI_ERROR_WRONG_KEY] =
        {"wrong_key", 401, IRE, NULL, "invalid_api_key",
         "Incorrect API key provided: {}. You can find your API key at "
         "https://platform.openai.com/account/api-keys.",
         false, "The key is not among the client keys.", "Add it to `CLIENT_API_KEYS` or `API_KEY_MAPPING`."},
    [OPENAI_ERROR_UNKNOWN_URL] =
        {"unknown_url", 404, IRE, NULL, NULL, "Invalid URL ({} {})", false,
         "The path is not one that Sluice serves.", "Check the client's base URL: it ends in `/v1`."},
    [OPENAI_ERROR_WRONG_METHOD] =
        {"wrong_method", 405, IRE, NULL, NULL,
         "Not allowed to {} on {}. (HINT: Perhaps you meant to use a different HTTP method?)", false,
         "The path exists, but not with this method.", "Use the method of the API reference."},
    [OPENAI_ERROR_BAD_REQUEST] =
        {"bad_request", 400, IRE, NULL, NULL, "The request could not be understood: {}.", false,
         "A header holds control characters, or `Content-Length` is not the body's length.",
         "Mend the client or what stands between it and the web server."},
    [OPENAI_ERROR_HEADERS_TOO_LARGE] =
        {"headers_too_large", 431, IRE, NULL, "request_headers_too_large",
         "The request's headers are too large: at most {} bytes are accepted.", false,
         "The header lines exceed 64 KiB.", "Send less, cookies above all."},
    [OPENAI_ERROR_BODY_TOO_LARGE] =
        {"body_too_large", 413, SERVER, NULL, NULL, "Maximum content size limit ({}) exceeded ({} bytes read)",
         false, "The body is larger than `MAX_BODY_BYTES`.", "Send less, or raise the option."},
    [OPENAI_ERROR_BODY_TIMEOUT] =
        {"body_timeout", 408, IRE, NULL, "request_timeout", "The request's body did not arrive in time.", true,
         "The client stopped sending in the middle of its body.", "Check the client's network. " LATER},
    [OPENAI_ERROR_CONTENT_TYPE] =
        {"content_type", 400, IRE, NULL, "unsupported_content_type",
         "Unsupported content type: '{}'. This API method only accepts 'application/json' requests, but you "
         "specified the header 'Content-Type: {}'. Please try again with a supported content type.",
         false, "The endpoint takes JSON, and the header says otherwise.",
         "Send `Content-Type: application/json`."},
    [OPENAI_ERROR_BAD_JSON] =
        {"bad_json", 400, IRE, NULL, NULL,
         "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
         "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If "
         "you have trouble figuring out how to fix this, please contact us through our help center at "
         "help.openai.com.)",
         false, "The body is empty or not JSON.", "Mend the body."},
    [OPENAI_ERROR_NOT_OBJECT] =
        {"not_object", 400, IRE, NULL, NULL,
         "Invalid body: expected a JSON object, but got {} instead.", false,
         "The body is JSON, but not an object.", "Send an object."},
    [OPENAI_ERROR_NO_MODEL] = {"no_model", 400, IRE, NULL, NULL, "you must provide a model parameter", false,
                               "`model` is missing or empty.", "Name a model."},
    [OPENAI_ERROR_MISSING_PARAMETER] =
        {"missing_parameter", 400, IRE, NULL, "missing_required_parameter", "Missing required parameter: '{}'.",
         false, "A required field is missing.", "Add the field."},
    [OPENAI_ERROR_INVALID_TYPE] =
        {"invalid_type", 400, IRE, NULL, "invalid_type",
         "Invalid type for '{}': expected {}, but got {} instead.", false, "A field has the wrong JSON type.",
         "Send the type of the API reference."},
    [OPENAI_ERROR_INTEGER_ABOVE] =
        {"integer_above_max_value", 400, IRE, NULL, "integer_above_max_value",
         "Invalid '{}': integer above maximum value. Expected a value <= {}, but got {} instead.", false,
         "A number is out of its range.", "Stay within the range of the API reference."},
    [OPENAI_ERROR_INTEGER_BELOW] =
        {"integer_below_min_value", 400, IRE, NULL, "integer_below_min_value",
         "Invalid '{}': integer below minimum value. Expected a value >= {}, but got {} instead.", false,
         "A number is out of its range.", "Stay within the range of the API reference."},
    [OPENAI_ERROR_DECIMAL_ABOVE] =
        {"decimal_above_max_value", 400, IRE, NULL, "decimal_above_max_value",
         "Invalid '{}': decimal above maximum value. Expected a value <= {}, but got {} instead.", false,
         "A number is out of its range.", "Stay within the range of the API reference."},
    [OPENAI_ERROR_DECIMAL_BELOW] =
        {"decimal_below_min_value", 400, IRE, NULL, "decimal_below_min_value",
         "Invalid '{}': decimal below minimum value. Expected a value >= {}, but got {} instead.", false,
         "A number is out of its range.", "Stay within the range of the API reference."},
    [OPENAI_ERROR_ADMIN] =
        {"admin_api_closed", 403, IRE, NULL, "admin_api_not_allowed",
         "The administration API ({} {}) is not available through this proxy.", false,
         "The path belongs to the administration of the upstream's organisation, which a shared key must not open.",
         "Set `ALLOW_ADMIN_API=true` if every client may have it."},
    [OPENAI_ERROR_METRICS] =
        {"metrics_closed", 403, IRE, NULL, "metrics_not_allowed", "You are not allowed to {} {}.", false,
         "Metrics and the status page are read from an address that is not allowed, through another proxy, or with "
         "another token.",
         "Add the address to `METRICS__ALLOW`, or send `METRICS__TOKEN` as a bearer token."},
    [OPENAI_ERROR_WEBSOCKET] =
        {"websocket", 501, IRE, NULL, "websocket_not_supported",
         "WebSocket connections ({} {}) are not available through this proxy. Connect to the API directly, or use "
         "its HTTP endpoints.",
         false, "The endpoint speaks WebSocket, which FastCGI cannot carry.",
         "Let the web server pass `/v1/realtime` on to OpenAI by itself."},
    [OPENAI_ERROR_RATE_REQUESTS] =
        {"rate_requests", 429, "requests", NULL, "rate_limit_exceeded",
         "Rate limit reached for {} on requests per min (RPM): Limit {}, Used {}, Requested {}. Please try again in {}.",
         true, "The client key has made `RATE_LIMIT__REQUESTS_PER_MINUTE` requests.", "Ask less often. " LATER},
    [OPENAI_ERROR_RATE_TOKENS] =
        {"rate_tokens", 429, "tokens", NULL, "rate_limit_exceeded",
         "Rate limit reached for {} on tokens per min (TPM): Limit {}, Used {}, Requested {}. Please try again in {}.",
         true, "The client key has used `RATE_LIMIT__TOKENS_PER_MINUTE` tokens, or would with this request.",
         "Ask less often, or for less (`max_completion_tokens`). " LATER},
    [OPENAI_ERROR_RATE_CONCURRENT] =
        {"rate_concurrent", 429, "requests", NULL, "rate_limit_exceeded",
         "Rate limit reached for {} on concurrent requests: Limit {}, Used {}, Requested {}. Please try again in {}.",
         true, "The client key has `RATE_LIMIT__CONCURRENT_REQUESTS` requests under way.",
         "Wait for one to end. " LATER},
    [OPENAI_ERROR_NOT_CACHED] =
        {"not_cached", 504, IRE, NULL, "not_cached",
         "There is no cached answer to this request, and Cache-Control: only-if-cached asks for nothing else.", false,
         "The request says `Cache-Control: only-if-cached`.", "Ask without it."},
    [OPENAI_ERROR_UPSTREAM_KEY] =
        {"upstream_key", 401, IRE, NULL, "upstream_key_rejected",
         "The upstream rejected the API key that this proxy is configured with. Please contact the proxy's "
         "operator.",
         false, "The upstream answered 401 to the key that Sluice sent.",
         "Put a valid key into `OPENAI_API_KEY` or `API_KEY_MAPPING`."},
    [OPENAI_ERROR_UPSTREAM_UNREACHABLE] =
        {"upstream_unreachable", 502, SERVER, NULL, "upstream_unreachable",
         "The upstream API could not be reached. You can retry your request.", true,
         "No connection to the upstream: refused, reset, or its name not found.",
         "Check `OPENAI_BASE_URL` and the machine's way out. " LATER},
    [OPENAI_ERROR_UPSTREAM_TLS] =
        {"upstream_tls", 502, SERVER, NULL, "upstream_tls_failed",
         "A secure connection to the upstream API could not be made.", false,
         "The upstream's certificate did not verify, or the TLS handshake failed.",
         "Check `OPENAI_BASE_URL` and the machine's CA certificates."},
    [OPENAI_ERROR_UPSTREAM_CUT] =
        {"upstream_cut", 502, SERVER, NULL, "upstream_cut",
         "The upstream API closed the connection before its answer was complete. You can retry your request.",
         true, "The upstream's answer broke off.", "See the log for how far it came. " LATER},
    [OPENAI_ERROR_UPSTREAM_GARBAGE] =
        {"upstream_garbage", 502, SERVER, NULL, "upstream_invalid_response",
         "The upstream API sent an answer that could not be understood.", true,
         "What the upstream sent is not HTTP, or exceeds a bound.", "Check `OPENAI_BASE_URL`."},
    [OPENAI_ERROR_UPSTREAM_CONNECT_TIMEOUT] =
        {"upstream_connect_timeout", 504, SERVER, NULL, "upstream_connect_timeout",
         "The upstream API did not accept a connection in time. You can retry your request.", true,
         "No connection within `UPSTREAM__CONNECT_SECONDS`.", LATER},
    [OPENAI_ERROR_UPSTREAM_FIRST_BYTE_TIMEOUT] =
        {"upstream_first_byte_timeout", 504, SERVER, NULL, "upstream_timeout",
         "The upstream API did not answer in time. You can retry your request.", true,
         "No answer within `UPSTREAM__FIRST_BYTE_SECONDS`.", LATER},
    [OPENAI_ERROR_UPSTREAM_IDLE_TIMEOUT] =
        {"upstream_idle_timeout", 504, SERVER, NULL, "upstream_idle_timeout",
         "The upstream API stopped sending in the middle of its answer. You can retry your request.", true,
         "Nothing for `UPSTREAM__IDLE_SECONDS` within an answer.", LATER},
    [OPENAI_ERROR_UPSTREAM_TOTAL_TIMEOUT] =
        {"upstream_total_timeout", 504, SERVER, NULL, "upstream_total_timeout",
         "The upstream API did not complete its answer in time.", true,
         "The whole took longer than `UPSTREAM__TOTAL_SECONDS`.", "Raise the option if such answers are wanted."},
    [OPENAI_ERROR_UPSTREAM_OPEN] =
        {"upstream_open", 503, SERVER, NULL, "upstream_unavailable",
         "The upstream API is failing at the moment. Please try again later.", true,
         "The upstream has failed many times in a row: for `UPSTREAM__BREAKER_SECONDS` it is not asked.",
         "See the log for the failures. `Retry-After` says when it is asked again. " LATER},
    [OPENAI_ERROR_OVERLOADED] =
        {"overloaded", 503, SERVER, NULL, "overloaded",
         "The server is currently overloaded with other requests. Sorry about that! You can retry your request.",
         true, "Sluice is near its limit of open descriptors or of memory.",
         "Raise the limit of open files or the number of workers. " LATER},
    [OPENAI_ERROR_DRAINING] =
        {"draining", 503, SERVER, NULL, "shutting_down",
         "The server is shutting down. You can retry your request.", true,
         "Sluice is ending: what comes now is refused, and what is not finished after `DRAIN_SECONDS` is ended.", LATER},
    [OPENAI_ERROR_INTERNAL] =
        {"internal", 500, SERVER, NULL, NULL,
         "The server had an error while processing your request. Sorry about that!", true,
         "An error in Sluice itself, such as no memory.", "See the log. " LATER},
};

const struct openai_error_info *openai_error_info(enum openai_error_id id)
{
    return &openai_errors[id];
}

static bool openai_error_put_message(struct buf *b, const struct openai_error *error)
{
    const char *at = openai_errors[error->id].message;
    for (size_t arg = 0;; arg++) {
        const char *hole = strstr(at, "{}");
        size_t plain = hole ? (size_t)(hole - at) : strlen(at);
        if (!json_put_escaped(b, slice_make(at, plain)))
            return false;
        if (!hole)
            return true;
        if (arg < OPENAI_ERROR_ARGS && !json_put_escaped(b, error->args[arg]))
            return false;
        at = hole + 2;
    }
}

static bool openai_error_put_nullable(struct buf *b, const char *name, struct slice value)
{
    if (value.len > 0)
        return json_put_member_string(b, name, value);
    return json_put_name(b, name) && buf_append_text(b, "null");
}

bool openai_error_write(struct buf *b, const struct openai_error *error)
{
    const struct openai_error_info *info = openai_error_info(error->id);
    struct slice param = error->param.len > 0 ? error->param : slice_from_text(info->param);
    return buf_append_text(b, "{\"error\":{\"message\":\"") && openai_error_put_message(b, error) &&
           buf_append_char(b, '"') && json_put_member_string(b, "type", slice_from_text(info->type)) &&
           openai_error_put_nullable(b, "param", param) &&
           openai_error_put_nullable(b, "code", slice_from_text(info->code)) && buf_append_text(b, "}}");
}

void openai_error_mask_key(struct slice key, char out[OPENAI_MASKED_KEY_SIZE])
{
    size_t shown = key.len / 3;
    size_t front = shown * 2 / 3 < 8 ? shown * 2 / 3 : 8;
    size_t back = shown / 3 < 4 ? shown / 3 : 4;
    size_t n = 0;
    for (size_t i = 0; i < front; i++)
        out[n++] = isgraph((unsigned char)key.ptr[i]) ? key.ptr[i] : '?';
    for (size_t i = 0; i < 4; i++)
        out[n++] = '*';
    for (size_t i = key.len - back; i < key.len; i++)
        out[n++] = isgraph((unsigned char)key.ptr[i]) ? key.ptr[i] : '?';
    out[n] = '\0';
}

bool openai_error_write_markdown(struct buf *b)
{
    bool ok = buf_append_text(b, "| status | type | code | message | when | what to do |\n"
                                 "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; ok && i < OPENAI_ERROR_COUNT; i++) {
        const struct openai_error_info *e = &openai_errors[i];
        ok = buf_printf(b, "| %d | `%s` | %s%s%s | %s | %s | %s |\n", e->status, e->type, e->code ? "`" : "",
                        e->code ? e->code : "null", e->code ? "`" : "", e->message, e->when, e->advice);
    }
    return ok;
}
