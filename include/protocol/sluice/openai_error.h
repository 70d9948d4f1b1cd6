/*
 * Every error that Sluice itself answers, in OpenAI's form (OpenAI reference, "Error"):
 *
 *   {"error":{"message":"…","type":"…","param":null,"code":null}}
 *
 * One table holds status, type, code, text, when it happens and what to do; docs/errors.md is written from it.
 */
#ifndef SLUICE_OPENAI_ERROR_H
#define SLUICE_OPENAI_ERROR_H

#include "sluice/buf.h"

enum openai_error_id {
    OPENAI_ERROR_NO_KEY,
    OPENAI_ERROR_WRONG_KEY,
    OPENAI_ERROR_UNKNOWN_URL,
    OPENAI_ERROR_WRONG_METHOD,
    OPENAI_ERROR_BAD_REQUEST,
    OPENAI_ERROR_HEADERS_TOO_LARGE,
    OPENAI_ERROR_BODY_TOO_LARGE,
    OPENAI_ERROR_BODY_TIMEOUT,
    OPENAI_ERROR_CONTENT_TYPE,
    OPENAI_ERROR_BAD_JSON,
    OPENAI_ERROR_NOT_OBJECT,
    OPENAI_ERROR_NO_MODEL,
    OPENAI_ERROR_MISSING_PARAMETER,
    OPENAI_ERROR_INVALID_TYPE,
    OPENAI_ERROR_INTEGER_ABOVE,
    OPENAI_ERROR_INTEGER_BELOW,
    OPENAI_ERROR_DECIMAL_ABOVE,
    OPENAI_ERROR_DECIMAL_BELOW,
    OPENAI_ERROR_ADMIN,
    OPENAI_ERROR_METRICS,
    OPENAI_ERROR_WEBSOCKET,
    OPENAI_ERROR_RATE_REQUESTS,
    OPENAI_ERROR_RATE_TOKENS,
    OPENAI_ERROR_RATE_CONCURRENT,
    OPENAI_ERROR_NOT_CACHED,
    OPENAI_ERROR_UPSTREAM_KEY,
    OPENAI_ERROR_UPSTREAM_UNREACHABLE,
    OPENAI_ERROR_UPSTREAM_TLS,
    OPENAI_ERROR_UPSTREAM_CUT,
    OPENAI_ERROR_UPSTREAM_GARBAGE,
    OPENAI_ERROR_UPSTREAM_CONNECT_TIMEOUT,
    OPENAI_ERROR_UPSTREAM_FIRST_BYTE_TIMEOUT,
    OPENAI_ERROR_UPSTREAM_IDLE_TIMEOUT,
    OPENAI_ERROR_UPSTREAM_TOTAL_TIMEOUT,
    OPENAI_ERROR_UPSTREAM_OPEN,
    OPENAI_ERROR_OVERLOADED,
    OPENAI_ERROR_DRAINING,
    OPENAI_ERROR_INTERNAL,
    OPENAI_ERROR_COUNT
};

enum { OPENAI_ERROR_ARGS = 5 };

/* One error as it happened. The slices must live until it is written. */
struct openai_error {
    enum openai_error_id id;
    struct slice param;                   /* empty: the table's, else null */
    struct slice args[OPENAI_ERROR_ARGS]; /* for the {} in the table's message, in order */
};

struct openai_error_info {
    const char *name; /* for logs and metrics, in snake_case */
    int status;
    const char *type;
    const char *param;      /* NULL: null */
    const char *code;       /* NULL: null */
    const char *message;    /* each {} is an argument */
    bool retry;             /* x-should-retry: whether the same request may succeed soon */
    const char *when;
    const char *advice;
};

const struct openai_error_info *openai_error_info(enum openai_error_id id);

/* The JSON object; false at the buffer's cap. */
bool openai_error_write(struct buf *b, const struct openai_error *error);

/* "sk-proj-****MxYA": at most 8 bytes of the front and 4 of the end of a wrong key, as the API shows it, and never
 * more than a third of it. out takes OPENAI_MASKED_KEY_SIZE bytes. */
enum { OPENAI_MASKED_KEY_SIZE = 24 };
void openai_error_mask_key(struct slice key, char out[OPENAI_MASKED_KEY_SIZE]);

/* The table as the Markdown of docs/errors.md. */
bool openai_error_write_markdown(struct buf *b);

#endif
