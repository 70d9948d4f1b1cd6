/* What each path answers. */
#ifndef SIM_ENDPOINTS_H
#define SIM_ENDPOINTS_H

#include "conn.h"

/* Answers c's request, which has been read whole. */
void endpoints_dispatch(struct conn *c);

/* The pause between reads of the body, which has not been read yet; 0: none. */
int64_t endpoints_read_pace(const struct conn *c);

/* Writes a generated id such as "file-sim0000000000000001". */
void endpoints_put_id(struct conn *c, struct buf *out, const char *prefix);
const char *endpoints_model(const struct conn *c);   /* the body's model, or "" */
void endpoints_ok(struct conn *c, struct buf *body); /* 200 JSON */

void control_handle(struct conn *c);
void chat_handle(struct conn *c);
void chat_stored(struct conn *c, struct slice id);
void completions_handle(struct conn *c);
void embeddings_handle(struct conn *c);
void responses_handle(struct conn *c, struct slice rest);
void files_handle(struct conn *c, struct slice rest);
void audio_handle(struct conn *c, struct slice rest);
void objects_handle(struct conn *c, struct slice rest); /* every other create/list/get/delete family */
/* Answers where the request asks for one of the smaller event streams; otherwise false. */
bool typed_handle(struct conn *c, struct slice path);
void misc_models(struct conn *c, struct slice rest);
void misc_engines(struct conn *c);
void misc_moderations(struct conn *c);
void misc_images(struct conn *c);
void misc_echo(struct conn *c);

#endif
