/*
 * A tree of what was told so far, merged with every chunk.
 *
 * Strings are kept as they are escaped: joined, they are still JSON. (A surrogate pair that is cut between
 * two chunks is not; the tokenizer refuses its halves, and the stream is not kept.)
 */
#include "sluice/stream_fold.h"

#include "sluice/arena.h"
#include "sluice/json_scan.h"

#include <stdint.h>
#include <stdlib.h>

enum {
    FOLD_DEPTH_MAX = 24,
    FOLD_NODE_COST = 512, /* bytes that a node counts for beside its text */
    FOLD_MEMORY_MAX = 4 * 1024 * 1024
};

enum fold_kind {
    FOLD_NEW,
    FOLD_WORD,   /* text: any value that replaces and is replaced */
    FOLD_STRING, /* text: without quotes */
    FOLD_LIST,   /* text: elements and commas */
    FOLD_OBJECT, /* children by name */
    FOLD_INDEXED /* children by index, in its order */
};

struct fold_node {
    enum fold_kind kind;
    struct slice name;
    int64_t index;
    struct buf text;
    struct fold_node *first, *next;
};

struct stream_fold {
    struct arena memory; /* of nodes and names */
    struct fold_node root;
    size_t max, used;
    bool chat, done, failed;
};

struct stream_fold *stream_fold_new(size_t max)
{
    struct stream_fold *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->max = max;
    f->root.kind = FOLD_OBJECT;
    arena_init(&f->memory, FOLD_MEMORY_MAX);
    return f;
}

static void fold_free_texts(struct fold_node *node)
{
    buf_free(&node->text);
    for (struct fold_node *child = node->first; child; child = child->next)
        fold_free_texts(child);
}

void stream_fold_free(struct stream_fold **fold)
{
    struct stream_fold *f = *fold;
    *fold = NULL;
    if (!f)
        return;
    fold_free_texts(&f->root);
    arena_free(&f->memory);
    free(f);
}

/* ---- nodes ------------------------------------------------------------------------------------------- */

static bool fold_pay(struct stream_fold *f, size_t bytes)
{
    if (bytes > f->max - f->used)
        return false;
    f->used += bytes;
    return true;
}

static struct fold_node *fold_add(struct stream_fold *f, struct fold_node **place, struct slice name,
                                  int64_t index)
{
    struct fold_node *node =
        fold_pay(f, FOLD_NODE_COST + name.len) ? arena_alloc(&f->memory, sizeof *node) : NULL;
    char *copy = node ? arena_copy(&f->memory, name) : NULL;
    if (!copy)
        return NULL;
    node->name = slice_make(copy, name.len);
    node->index = index;
    node->next = *place;
    buf_init(&node->text, f->max);
    *place = node;
    return node;
}

/* The child, which is made if need be; NULL at the cap. */
static struct fold_node *fold_member(struct stream_fold *f, struct fold_node *object, struct slice name)
{
    struct fold_node **place = &object->first;
    for (; *place; place = &(*place)->next)
        if (slice_equals((*place)->name, name))
            return *place;
    return fold_add(f, place, name, 0);
}

static struct fold_node *fold_element(struct stream_fold *f, struct fold_node *array, int64_t index)
{
    struct fold_node **place = &array->first;
    while (*place && (*place)->index < index)
        place = &(*place)->next;
    if (*place && (*place)->index == index)
        return *place;
    return fold_add(f, place, (struct slice){NULL, 0}, index);
}

static struct fold_node *fold_find(const struct fold_node *object, const char *name)
{
    for (struct fold_node *child = object->first; child; child = child->next)
        if (slice_equals_text(child->name, name))
            return child;
    return NULL;
}

/* ---- merging ----------------------------------------------------------------------------------------- */

/* Of a container nothing can be made but the same container; an empty list may become anything. */
static bool fold_become(struct fold_node *node, enum fold_kind kind)
{
    bool container = node->kind == FOLD_OBJECT || node->kind == FOLD_INDEXED ||
                     (node->kind == FOLD_LIST && node->text.len > 0);
    if (container && node->kind != kind)
        return false;
    if (node->kind != kind)
        buf_clear(&node->text);
    node->kind = kind;
    return true;
}

static bool fold_append(struct stream_fold *f, struct fold_node *node, struct slice text)
{
    return fold_pay(f, text.len) && buf_append_slice(&node->text, text);
}

static bool fold_replace(struct stream_fold *f, struct fold_node *node, enum fold_kind kind,
                         struct slice text)
{
    if (!fold_become(node, kind))
        return false;
    f->used -= node->text.len < f->used ? node->text.len : f->used;
    buf_clear(&node->text);
    return fold_append(f, node, text);
}

/* Strings that stand for the whole, however often they are said. */
static bool fold_is_whole(struct slice name)
{
    static const char *const whole[] = {"role", "type", "id", "finish_reason", "object"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (slice_equals_text(name, whole[i]))
            return true;
    return false;
}

static bool fold_string(struct stream_fold *f, struct fold_node *node, struct json_value value)
{
    struct slice inner = json_value_inner(value);
    bool whole = fold_is_whole(node->name);
    if (node->kind == FOLD_STRING && (!whole || inner.len == 0))
        return fold_append(f, node, inner);
    return fold_replace(f, node, FOLD_STRING, inner);
}

static bool fold_merge(struct stream_fold *f, struct fold_node *node, struct json_value value,
                       unsigned depth);

static bool fold_object(struct stream_fold *f, struct fold_node *node, struct json_value value,
                        unsigned depth)
{
    struct json_items items;
    struct json_value member;
    struct slice name;
    if (!fold_become(node, FOLD_OBJECT) || !json_items_begin(&items, value))
        return false;
    while (json_items_next(&items, &name, &member)) {
        struct fold_node *child = fold_member(f, node, name);
        if (!child || !fold_merge(f, child, member, depth + 1))
            return false;
    }
    return true;
}

static bool fold_list_item(struct stream_fold *f, struct fold_node *node, struct json_value item)
{
    size_t before = node->text.len;
    if (!fold_become(node, FOLD_LIST) || (before > 0 && !buf_append_char(&node->text, ',')) ||
        !json_scan_put_compact(&node->text, item.raw))
        return false;
    return fold_pay(f, node->text.len - before);
}

static bool fold_array(struct stream_fold *f, struct fold_node *node, struct json_value value, unsigned depth)
{
    struct json_items items;
    struct json_value item, member;
    int64_t index;
    if (node->kind == FOLD_WORD)
        fold_replace(f, node, FOLD_NEW, (struct slice){NULL, 0});
    for (json_items_begin(&items, value); json_items_next(&items, NULL, &item);) {
        bool indexed = json_value_find(item, "index", &member) && json_value_int(member, &index);
        if (!indexed) {
            if (!fold_list_item(f, node, item))
                return false;
            continue;
        }
        struct fold_node *element = fold_become(node, FOLD_INDEXED) ? fold_element(f, node, index) : NULL;
        if (!element || !fold_object(f, element, item, depth + 1))
            return false;
    }
    return node->kind != FOLD_NEW || fold_become(node, FOLD_LIST);
}

static bool fold_merge(struct stream_fold *f, struct fold_node *node, struct json_value value, unsigned depth)
{
    if (depth > FOLD_DEPTH_MAX)
        return false;
    switch (value.kind) {
    case JSON_KIND_NULL:
        return node->kind != FOLD_NEW || fold_replace(f, node, FOLD_WORD, value.raw);
    case JSON_KIND_STRING:
        return fold_string(f, node, value);
    case JSON_KIND_OBJECT:
        return fold_object(f, node, value, depth);
    case JSON_KIND_ARRAY:
        return fold_array(f, node, value, depth);
    default:
        return fold_replace(f, node, FOLD_WORD, value.raw);
    }
}

/* ---- chunks ------------------------------------------------------------------------------------------ */

static bool fold_choices(struct stream_fold *f, struct json_value choices)
{
    struct json_items items;
    struct json_value choice, index;
    struct fold_node *node = fold_member(f, &f->root, SLICE_LITERAL("choices"));
    int64_t number;
    if (!node || choices.kind != JSON_KIND_ARRAY)
        return false;
    for (json_items_begin(&items, choices); json_items_next(&items, NULL, &choice);)
        if (!json_value_find(choice, "index", &index) || !json_value_int(index, &number))
            return false;
    return fold_array(f, node, choices, 0);
}

/* What is said of the whole answer replaces, but null does not. */
static bool fold_envelope(struct stream_fold *f, struct slice name, struct json_value value)
{
    struct fold_node *node = fold_member(f, &f->root, name);
    if (!node)
        return false;
    if (value.kind == JSON_KIND_NULL && node->kind != FOLD_NEW)
        return true;
    return fold_replace(f, node, FOLD_WORD, value.raw);
}

static bool fold_chunk(struct stream_fold *f, struct json_value chunk)
{
    struct json_items items;
    struct json_value value;
    struct slice name;
    json_items_begin(&items, chunk);
    while (json_items_next(&items, &name, &value)) {
        bool choices = slice_equals_text(name, "choices");
        if (slice_equals_text(name, "object") || slice_equals_text(name, "obfuscation"))
            continue;
        if (!(choices ? fold_choices(f, value) : fold_envelope(f, name, value)))
            return false;
    }
    return true;
}

static bool fold_take(struct stream_fold *f, struct slice data)
{
    struct json_value chunk, kind, error;
    if (slice_equals_text(slice_trim(data), "[DONE]")) {
        f->done = true;
        return true;
    }
    if (f->done || !json_value_read(data, &chunk) || !json_value_find(chunk, "object", &kind))
        return false;
    if (json_value_find(chunk, "error", &error) && error.kind != JSON_KIND_NULL)
        return false;
    f->chat = json_value_is_text(kind, "chat.completion.chunk");
    return (f->chat || json_value_is_text(kind, "text_completion")) && fold_chunk(f, chunk);
}

bool stream_fold_feed(struct stream_fold *f, struct slice data)
{
    f->failed = f->failed || !fold_take(f, data);
    return !f->failed;
}

/* ---- the object -------------------------------------------------------------------------------------- */

static bool fold_put(const struct fold_node *node, struct buf *out);

static bool fold_put_member(const struct fold_node *node, const char *name, bool *comma, struct buf *out)
{
    bool ok = (!*comma || buf_append_char(out, ',')) && buf_append_char(out, '"');
    *comma = true;
    ok = ok && (name ? buf_append_text(out, name) : buf_append_slice(out, node->name));
    return ok && buf_append_text(out, "\":") && (node ? fold_put(node, out) : buf_append_text(out, "null"));
}

/* but: a member that is left out; or NULL. */
static bool fold_put_object(const struct fold_node *node, const char *but, struct buf *out)
{
    bool comma = false;
    if (!buf_append_char(out, '{'))
        return false;
    for (const struct fold_node *child = node->first; child; child = child->next)
        if (!(but && slice_equals_text(child->name, but)) && !fold_put_member(child, NULL, &comma, out))
            return false;
    return buf_append_char(out, '}');
}

/* The index of an element is its place. */
static bool fold_put_elements(const struct fold_node *node, struct buf *out)
{
    bool ok = buf_append_char(out, '[');
    for (const struct fold_node *child = node->first; ok && child; child = child->next)
        ok = fold_put_object(child, "index", out) && (!child->next || buf_append_char(out, ','));
    return ok && buf_append_char(out, ']');
}

static bool fold_put(const struct fold_node *node, struct buf *out)
{
    switch (node->kind) {
    case FOLD_STRING:
        return buf_append_char(out, '"') && buf_append_slice(out, buf_slice(&node->text)) &&
               buf_append_char(out, '"');
    case FOLD_LIST:
        return buf_append_char(out, '[') && buf_append_slice(out, buf_slice(&node->text)) &&
               buf_append_char(out, ']');
    case FOLD_OBJECT:
        return fold_put_object(node, NULL, out);
    case FOLD_INDEXED:
        return fold_put_elements(node, out);
    default:
        return json_scan_put_compact(out, buf_slice(&node->text));
    }
}

/* A message always has these three. */
static bool fold_put_message(const struct fold_node *delta, struct buf *out)
{
    static const char *const always[] = {"role", "content", "refusal"};
    bool comma = false, ok = buf_append_char(out, '{');
    for (size_t i = 0; ok && i < sizeof always / sizeof *always; i++) {
        const struct fold_node *node = delta ? fold_find(delta, always[i]) : NULL;
        if (i == 0 && !node)
            ok = buf_append_text(out, "\"role\":\"assistant\"");
        else
            ok = fold_put_member(node, always[i], &comma, out);
        comma = true;
    }
    for (const struct fold_node *child = delta ? delta->first : NULL; ok && child; child = child->next) {
        bool put = false;
        for (size_t i = 0; i < sizeof always / sizeof *always; i++)
            put |= slice_equals_text(child->name, always[i]);
        ok = put || fold_put_member(child, NULL, &comma, out);
    }
    return ok && buf_append_char(out, '}');
}

static bool fold_put_choice(const struct stream_fold *f, const struct fold_node *choice, struct buf *out)
{
    bool comma = true;
    bool ok = buf_printf(out, "{\"index\":%lld", (long long)choice->index);
    if (f->chat)
        ok = ok && buf_append_text(out, ",\"message\":") && fold_put_message(fold_find(choice, "delta"), out);
    else if (!fold_find(choice, "text"))
        ok = ok && buf_append_text(out, ",\"text\":\"\"");
    if (!fold_find(choice, "logprobs"))
        ok = ok && fold_put_member(NULL, "logprobs", &comma, out);
    for (const struct fold_node *child = choice->first; ok && child; child = child->next)
        if (!slice_equals_text(child->name, "index") && !slice_equals_text(child->name, "delta"))
            ok = fold_put_member(child, NULL, &comma, out);
    return ok && buf_append_char(out, '}');
}

static bool fold_put_all(const struct stream_fold *f, const struct fold_node *choices, struct buf *out)
{
    bool comma = true;
    bool ok = buf_printf(out, "{\"object\":\"%s\"", f->chat ? "chat.completion" : "text_completion");
    for (const struct fold_node *child = f->root.first; ok && child; child = child->next)
        if (child != choices &&
            !(slice_equals_text(child->name, "usage") && child->text.len == strlen("null")))
            ok = fold_put_member(child, NULL, &comma, out);
    ok = ok && buf_append_text(out, ",\"choices\":[");
    for (const struct fold_node *choice = choices->first; ok && choice; choice = choice->next)
        ok = fold_put_choice(f, choice, out) && (!choice->next || buf_append_char(out, ','));
    return ok && buf_append_text(out, "]}");
}

static bool fold_is_complete(const struct stream_fold *f, const struct fold_node *choices)
{
    if (!f->done || f->failed || !choices || choices->kind != FOLD_INDEXED)
        return false;
    for (const struct fold_node *choice = choices->first; choice; choice = choice->next) {
        const struct fold_node *finish = fold_find(choice, "finish_reason");
        if (!finish || finish->kind != FOLD_STRING)
            return false;
    }
    return true;
}

bool stream_fold_write(const struct stream_fold *f, struct buf *out)
{
    const struct fold_node *choices = fold_find(&f->root, "choices");
    size_t before = out->len;
    bool ok = fold_is_complete(f, choices) && fold_put_all(f, choices, out);
    if (!ok)
        out->len = before;
    return ok;
}
