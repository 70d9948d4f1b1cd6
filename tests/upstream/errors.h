/* OpenAI's error bodies. */
#ifndef SIM_ERRORS_H
#define SIM_ERRORS_H

#include "conn.h"

/* The JSON error the API would give for status, with the directive's overrides. */
void errors_put_status(struct buf *out, const struct directive *d, int status);
void errors_send_status(struct conn *c, int status);
void errors_send(struct conn *c, int status, const char *type, const char *param, const char *code,
                 const char *message);
void errors_bad_json(struct conn *c);
void errors_no_model(struct conn *c);
void errors_missing(struct conn *c, const char *param);

#endif
