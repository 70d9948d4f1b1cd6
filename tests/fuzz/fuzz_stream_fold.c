/*
 * Streams and answers: whatever the events, what is folded is JSON within its cap; an answer that can be told
 * as a stream comes back from it, and telling that again gives the same.
 */
#include "fuzz.h"

#include "sluice/cached_answer.h"
#include "sluice/embeddings.h"
#include "sluice/json_scan.h"
#include "sluice/sse.h"
#include "sluice/stream_fold.h"

enum { CAP = 64 * 1024, OUT_MAX = 4 * 1024 * 1024 };

static bool feed(void *ctx, const struct sse_event *event)
{
    return !event->has_data || stream_fold_feed(ctx, event->data);
}

/* Whether the stream gave an answer. */
static bool fold(struct slice stream, size_t cap, struct buf *out)
{
    struct stream_fold *f = stream_fold_new(cap);
    struct sse_parser sse;
    struct json_value value;
    buf_init(out, OUT_MAX);
    sse_init(&sse, OUT_MAX);
    sse_feed(&sse, stream, feed, f);
    bool ok = stream_fold_write(f, out);
    FUZZ_ASSERT(ok == (out->len > 0));
    FUZZ_ASSERT(!ok || (json_value_read(buf_slice(out), &value) && value.kind == JSON_KIND_OBJECT));
    sse_free(&sse);
    stream_fold_free(&f);
    return ok;
}

static void check_answer(struct slice answer)
{
    struct buf stream, again, back, back_again;
    buf_init(&stream, OUT_MAX);
    buf_init(&again, OUT_MAX);
    if (cached_answer_stream(answer, true, &stream) && fold(buf_slice(&stream), OUT_MAX, &back)) {
        FUZZ_ASSERT(cached_answer_stream(buf_slice(&back), true, &again));
        FUZZ_ASSERT(fold(buf_slice(&again), OUT_MAX, &back_again));
        FUZZ_ASSERT(slice_equals(buf_slice(&back), buf_slice(&back_again)));
        buf_free(&back_again);
        buf_free(&back);
    }
    buf_free(&stream);
    buf_free(&again);
}

static void check_embeddings(struct slice text)
{
    struct embeddings_request r;
    struct embedding items[4];
    struct slice usage;
    struct json_value value;
    struct buf out;
    bool missing[EMBEDDINGS_ITEMS_MAX] = {true};
    buf_init(&out, OUT_MAX);
    if (embeddings_request_read(text, &r)) {
        missing[r.count - 1] = true;
        FUZZ_ASSERT(embeddings_request_write_missing(&r, missing, &out));
        FUZZ_ASSERT(json_value_read(buf_slice(&out), &value));
        embeddings_request_free(&r);
    }
    for (size_t n = 1; n <= 4; n++)
        if (embeddings_answer_read(text, n, items, &usage))
            for (size_t i = 0; i < n; i++) {
                buf_clear(&out);
                bool ok = embedding_put_vector(items[i].vector, i % 2, &out);
                FUZZ_ASSERT(!ok || json_value_read(buf_slice(&out), &value));
            }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct buf out;
    if (fold(text, CAP, &out))
        check_answer(buf_slice(&out));
    buf_free(&out);
    check_answer(text);
    check_embeddings(text);
    return 0;
}
