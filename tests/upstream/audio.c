/* Speech (binary out) and transcription (multipart in). */
#include "endpoints.h"
#include "errors.h"
#include "multipart.h"

#include <string.h>

#define SPEECH_DEFAULT 4096

static void audio_speech(struct conn *c)
{
    uint64_t size = c->dir.size >= 0 ? (uint64_t)c->dir.size : SPEECH_DEFAULT;
    if (!json_is_object(c->json)) {
        errors_bad_json(c);
        return;
    }
    /* Of unknown length, as the API sends it: the audio is made while it is sent. */
    reply_send_stream(c, "audio/mpeg", stream_new_binary(&c->dir, size), -1);
}

static void audio_transcribe(struct conn *c)
{
    struct buf body = {0}, text = {0};
    struct multipart_part file = multipart_file(c->request);
    struct slice format = multipart_field(c->request, "response_format");
    if (!file.filename.p) {
        errors_missing(c, "file");
        return;
    }
    BUF_LIT(&text, "sha256 ");
    buf_put_sha256(&text, file.data.p, file.data.n);
    buf_printf(&text, " bytes %zu", file.data.n);
    if (format.p && slice_equals(format, "text")) {
        BUF_LIT(&text, "\n");
        reply_send(c, 200, "text/plain; charset=utf-8", &text);
        return;
    }
    BUF_LIT(&body, "{\"text\":");
    buf_put_json(&body, text.data, text.len);
    BUF_LIT(&body,
            ",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":8,\"total_tokens\":22,"
            "\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14}}}\n");
    buf_free(&text);
    c->reply.prompt_tokens = 14;
    c->reply.completion_tokens = 8;
    endpoints_ok(c, &body);
}

void audio_handle(struct conn *c, struct slice rest)
{
    bool post = slice_equals(c->request->method, "POST");
    if (post && slice_equals(rest, "speech")) {
        audio_speech(c);
    } else if (post && (slice_equals(rest, "transcriptions") || slice_equals(rest, "translations"))) {
        audio_transcribe(c);
    } else {
        misc_echo(c);
    }
}
