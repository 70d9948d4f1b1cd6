#include "stream.h"

#include <stdlib.h>

#define BINARY_PERIOD 251u
#define BINARY_PIECE  (BINARY_PERIOD * 256u)

static const struct slice words[] = {
    {"The", 3},  {"quick", 5}, {"brown", 5}, {"fox", 3}, {"jumps", 5},
    {"over", 4}, {"the", 3},   {"lazy", 4},  {"dog", 3},
};

#define WORD_COUNT (sizeof words / sizeof *words)

struct stream *stream_new(const struct directive *dir, bool (*next)(struct stream *, struct buf *))
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s) {
        abort();
    }
    s->dir = dir;
    s->next = next;
    s->sse = true;
    s->choices = 1;
    return s;
}

void stream_free(struct stream *s)
{
    if (s) {
        buf_free(&s->prefix);
        buf_free(&s->suffix);
        buf_free(&s->text);
        free(s->tool_name);
        free(s);
    }
}

static void word_put(uint64_t i, struct buf *out)
{
    struct slice word = words[i % WORD_COUNT];
    buf_add(out, " ", i ? 1 : 0);
    buf_add(out, word.p, word.n);
}

void stream_put_words(uint64_t tokens, struct buf *out)
{
    buf_reserve(out, tokens * 6 + 1);
    for (uint64_t i = 0; i < tokens; i++) {
        word_put(i, out);
    }
}

static void big_put(uint64_t size, struct buf *out)
{
    buf_reserve(out, size);
    for (uint64_t i = 0; i < size; i++) {
        out->data[out->len++] = (char)('a' + i % 26);
    }
}

void stream_put_token(struct stream *s, uint64_t i, struct buf *out)
{
    if (s->dir->bigevent > 0 && i == 0) {
        big_put((uint64_t)s->dir->bigevent, out);
    } else if (s->dir->ts) {
        buf_put_uint(out, clock_now_us());
        BUF_LIT(out, " ");
    } else {
        word_put(i, out);
    }
}

static bool binary_next(struct stream *s, struct buf *out)
{
    if (!s->left) {
        return false;
    }
    uint64_t n = s->left < BINARY_PIECE ? s->left : BINARY_PIECE;
    buf_reserve(out, n);
    for (uint64_t i = 0; i < n; i++) {
        out->data[out->len++] = (char)(i % BINARY_PERIOD);
    }
    s->left -= n;
    s->last = s->left == 0;
    return true;
}

struct stream *stream_new_binary(const struct directive *dir, uint64_t size)
{
    struct stream *s = stream_new(dir, binary_next);
    s->sse = false;
    s->left = size;
    return s;
}
