/* Whose request it is: the bearer token against the key table. */
#include "exchange.h"

#include "sluice/log.h"

/* Apache strips the header unless told otherwise: the operator hears of it once, the clients get their 401. */
static void authenticate_warn_once(struct exchange *x)
{
    if (x->proxy->warned_no_authorization)
        return;
    x->proxy->warned_no_authorization = true;
    log_message(LOG_LEVEL_WARNING, "no_authorization",
                "A request came without an Authorization header. If clients do send one, the web server strips "
                "it: in Apache set \"CGIPassAuth On\".");
}

static void authenticate_refuse_key(struct exchange *x, struct slice token)
{
    char masked[OPENAI_MASKED_KEY_SIZE];
    openai_error_mask_key(token, masked);
    struct openai_error error = {.id = OPENAI_ERROR_WRONG_KEY, .args = {slice_from_text(masked)}};
    answer_error(x, EXCHANGE_REFUSED, &error);
}

void authenticate_request(struct exchange *x)
{
    struct slice token = http_request_bearer(&x->http);
    if (token.len == 0) {
        if (x->http.authorization.len == 0)
            authenticate_warn_once(x);
        answer_error_id(x, EXCHANGE_REFUSED, OPENAI_ERROR_NO_KEY);
        return;
    }
    if (!keys_find(x->proxy->keys, token, &x->key))
        answer_error_id(x, EXCHANGE_FAILED, OPENAI_ERROR_INTERNAL);
    else if (x->key)
        receive_begin(x);
    else
        authenticate_refuse_key(x, token);
}
