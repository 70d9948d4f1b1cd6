/*
 * Two passes over the text.
 *
 * The first one checks it and notes every object and every member of one; members of an object are then
 * sorted. The second pass writes: it walks arrays in the text's order and objects in the order of their
 * names. To find an object's notes again it counts objects as the first pass did, and each member knows how
 * many came before its value.
 *
 * The second pass recurses only into the values of members, so that JSON_SCAN_DEPTH_MAX bounds it.
 */
#include "sluice/canonical.h"

#include "sluice/digest.h"
#include "sluice/json_scan.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CANONICAL_OBJECTS_MAX = CANONICAL_MEMBERS_MAX,
    CANONICAL_BLOCK_SIZE = 4096,
    CANONICAL_EXPONENT_DIGITS_MAX = 15
};

struct canonical_member {
    struct slice name; /* its escapes decoded */
    const char *value; /* where it begins, white space before it included */
    uint32_t object;   /* that it belongs to */
    uint32_t objects_before;
};

struct canonical_object {
    const char *end;        /* behind its bracket */
    uint32_t objects_after; /* how many the text has up to there */
    uint32_t count, first;  /* of its members in order[] */
};

/* Where the form goes: into a buffer or into a digest, by blocks. */
struct canonical_sink {
    struct buf *buf;
    struct digest_stream *digest;
    size_t used;
    bool failed;
    char block[CANONICAL_BLOCK_SIZE];
};

struct canonical {
    struct slice text;
    const char *const *ignored;
    struct canonical_member *members;
    struct canonical_object *objects;
    uint32_t *order; /* of the members, object by object, sorted */
    size_t member_count, member_size, object_count, object_size;
    char *names; /* room for those that were escaped, as long as the text; NULL until there is one */
    size_t names_used;
    struct canonical_sink *sink;
};

/* ---- the sink ---------------------------------------------------------------------------------------- */

static void canonical_flush(struct canonical_sink *s)
{
    if (s->digest)
        digest_stream_put(s->digest, slice_make(s->block, s->used));
    else if (!buf_append(s->buf, s->block, s->used))
        s->failed = true;
    s->used = 0;
}

static void canonical_put(struct canonical_sink *s, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t n = CANONICAL_BLOCK_SIZE - s->used;
        n = n < len ? n : len;
        memcpy(s->block + s->used, bytes, n);
        s->used += n;
        bytes += n;
        len -= n;
        if (s->used == CANONICAL_BLOCK_SIZE)
            canonical_flush(s);
    }
}

static void canonical_put_char(struct canonical_sink *s, char c)
{
    s->block[s->used++] = c;
    if (s->used == CANONICAL_BLOCK_SIZE)
        canonical_flush(s);
}

/* ---- scalars ----------------------------------------------------------------------------------------- */

static void canonical_put_piece(struct canonical_sink *s, const char *piece, size_t len)
{
    unsigned char c = (unsigned char)piece[0];
    char control[8];
    if (c == '"' || c == '\\')
        canonical_put_char(s, '\\');
    if (c >= 0x20)
        canonical_put(s, piece, len);
    else
        canonical_put(s, control, (size_t)snprintf(control, sizeof control, "\\u%04x", c));
}

static void canonical_put_string(struct canonical_sink *s, struct slice inner)
{
    canonical_put_char(s, '"');
    while (inner.len > 0) {
        const char *escape = memchr(inner.ptr, '\\', inner.len);
        size_t plain = escape ? (size_t)(escape - inner.ptr) : inner.len;
        canonical_put(s, inner.ptr, plain);
        inner = slice_skip(inner, plain);
        char piece[4];
        size_t n = json_scan_decode(&inner, piece);
        if (n > 0)
            canonical_put_piece(s, piece, n);
    }
    canonical_put_char(s, '"');
}

static void canonical_put_name(struct canonical_sink *s, struct slice name)
{
    canonical_put_char(s, '"');
    for (size_t i = 0; i < name.len; i++)
        canonical_put_piece(s, name.ptr + i, 1);
    canonical_put_char(s, '"');
}

/* A number's lexeme in parts. */
struct canonical_number {
    bool negative;
    const char *from,
        *to; /* from the first digit that is not 0 to the last one, a point perhaps between; or equal */
    int64_t exponent; /* of ten, of the last of these digits */
    bool huge;        /* the exponent is too long to be counted with */
};

/* Digits, and perhaps a point among them, without the zeros at both ends. */
static void canonical_read_digits(struct canonical_number *n, struct slice digits)
{
    const char *point = memchr(digits.ptr, '.', digits.len), *end = digits.ptr + digits.len;
    const char *first = digits.ptr, *last = end;
    while (first < last && (*first == '0' || *first == '.'))
        first++;
    while (last > first && (last[-1] == '0' || last[-1] == '.'))
        last--;
    n->from = first;
    n->to = last;
    const char *ones = point ? point : end; /* behind the digit of ten to the 0 */
    n->exponent += last > ones ? -(last - ones - 1) : ones - last;
}

static void canonical_read_exponent(struct canonical_number *n, struct slice text)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    if (text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+'))
        text = slice_skip(text, 1);
    while (text.len > 1 && text.ptr[0] == '0')
        text = slice_skip(text, 1);
    n->huge = text.len > CANONICAL_EXPONENT_DIGITS_MAX;
    for (size_t i = 0; !n->huge && i < text.len; i++)
        n->exponent = n->exponent * 10 + (text.ptr[i] - '0');
    if (negative)
        n->exponent = -n->exponent;
}

static struct canonical_number canonical_read_number(struct slice lexeme)
{
    struct canonical_number n = {.negative = lexeme.ptr[0] == '-'};
    struct slice rest = slice_skip(lexeme, n.negative ? 1 : 0);
    size_t len = 0;
    while (len < rest.len && rest.ptr[len] != 'e' && rest.ptr[len] != 'E')
        len++;
    canonical_read_exponent(&n, slice_skip(rest, len + 1));
    canonical_read_digits(&n, slice_take(rest, len));
    return n;
}

/* -12300.5e7 as -123005e6, 120 as 12e1, 1.0 as 1. */
static void canonical_put_number(struct canonical_sink *s, struct slice lexeme)
{
    struct canonical_number n = canonical_read_number(lexeme);
    char exponent[24];
    if (n.from == n.to) {
        canonical_put_char(s, '0');
        return;
    }
    if (n.huge) {
        canonical_put(s, lexeme.ptr, lexeme.len);
        return;
    }
    if (n.negative)
        canonical_put_char(s, '-');
    for (const char *p = n.from; p < n.to; p++)
        if (*p != '.')
            canonical_put_char(s, *p);
    if (n.exponent != 0)
        canonical_put(s, exponent,
                      (size_t)snprintf(exponent, sizeof exponent, "e%lld", (long long)n.exponent));
}

static void canonical_put_scalar(struct canonical_sink *s, enum json_kind kind, struct slice token)
{
    if (kind == JSON_KIND_STRING)
        canonical_put_string(s, token);
    else if (kind == JSON_KIND_NUMBER)
        canonical_put_number(s, token);
    else
        canonical_put(s, token.ptr, token.len);
}

/* ---- the first pass ---------------------------------------------------------------------------------- */

/* Makes room for one more. */
static enum canonical_result canonical_grow(void **array, size_t count, size_t *size, size_t item, size_t max)
{
    if (count < *size)
        return CANONICAL_OK;
    if (count == max)
        return CANONICAL_TOO_COMPLEX;
    size_t wanted = *size ? *size * 2 : 64;
    void *grown = realloc(*array, wanted * item);
    if (!grown)
        return CANONICAL_FAILED;
    *array = grown;
    *size = wanted;
    return CANONICAL_OK;
}

static enum canonical_result canonical_note_object(struct canonical *c)
{
    void *objects = c->objects;
    enum canonical_result result =
        canonical_grow(&objects, c->object_count, &c->object_size, sizeof *c->objects, CANONICAL_OBJECTS_MAX);
    c->objects = objects;
    if (result == CANONICAL_OK)
        c->objects[c->object_count++] = (struct canonical_object){0};
    return result;
}

/* Decoded once, as it is compared often. */
static bool canonical_decode_name(struct canonical *c, struct slice *name)
{
    char piece[4];
    size_t n, first = c->names_used;
    if (!c->names)
        c->names = malloc(c->text.len);
    if (!c->names)
        return false;
    for (struct slice rest = *name; (n = json_scan_decode(&rest, piece)) > 0; c->names_used += n)
        memcpy(c->names + c->names_used, piece, n);
    *name = slice_make(c->names + first, c->names_used - first);
    return true;
}

static enum canonical_result canonical_note_member(struct canonical *c, uint32_t object,
                                                   const struct json_scan *s, struct slice name)
{
    void *members = c->members;
    enum canonical_result result =
        canonical_grow(&members, c->member_count, &c->member_size, sizeof *c->members, CANONICAL_MEMBERS_MAX);
    c->members = members;
    if (result != CANONICAL_OK)
        return result;
    if (s->escaped && !canonical_decode_name(c, &name))
        return CANONICAL_FAILED;
    c->members[c->member_count++] = (struct canonical_member){name, s->at, object, (uint32_t)c->object_count};
    c->objects[object].count++;
    return CANONICAL_OK;
}

/* In place of an object's number. */
#define CANONICAL_ARRAY UINT32_MAX

static enum canonical_result canonical_note(struct canonical *c, struct json_scan *s, uint32_t *open,
                                            enum json_kind kind, struct slice token)
{
    switch (kind) {
    case JSON_KIND_OBJECT:
        open[s->depth - 1] = (uint32_t)c->object_count;
        return canonical_note_object(c);
    case JSON_KIND_ARRAY:
        open[s->depth - 1] = CANONICAL_ARRAY;
        return CANONICAL_OK;
    case JSON_KIND_NAME:
        return canonical_note_member(c, open[s->depth - 1], s, token);
    case JSON_KIND_END:
        if (open[s->depth] != CANONICAL_ARRAY) {
            c->objects[open[s->depth]].end = s->at;
            c->objects[open[s->depth]].objects_after = (uint32_t)c->object_count;
        }
        return CANONICAL_OK;
    default:
        return kind == JSON_KIND_ERROR ? CANONICAL_NOT_JSON : CANONICAL_OK;
    }
}

static enum canonical_result canonical_read(struct canonical *c)
{
    uint32_t open[JSON_SCAN_DEPTH_MAX];
    enum canonical_result result = CANONICAL_OK;
    enum json_kind kind = JSON_KIND_NULL;
    struct json_scan s;
    struct slice token;
    json_scan_init(&s, c->text);
    while (result == CANONICAL_OK && kind != JSON_KIND_DONE) {
        kind = json_scan_next(&s, &token);
        result = canonical_note(c, &s, open, kind, token);
    }
    return result;
}

static int canonical_compare_names(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* By name; of equal ones the later one is behind. */
static int canonical_compare(const void *left, const void *right, void *arg)
{
    const struct canonical *c = arg;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    int order = canonical_compare_names(c->members[a].name, c->members[b].name);
    return order != 0 ? order : (a > b) - (a < b);
}

static bool canonical_sort(struct canonical *c)
{
    uint32_t first = 0;
    c->order = calloc(c->member_count + 1, sizeof *c->order);
    if (!c->order)
        return false;
    for (size_t i = 0; i < c->object_count; i++) {
        c->objects[i].first = first;
        first += c->objects[i].count;
        c->objects[i].count = 0;
    }
    for (uint32_t i = 0; i < c->member_count; i++) {
        struct canonical_object *o = &c->objects[c->members[i].object];
        c->order[o->first + o->count++] = i;
    }
    for (size_t i = 0; i < c->object_count; i++)
        if (c->objects[i].count > 1)
            qsort_r(c->order + c->objects[i].first, c->objects[i].count, sizeof *c->order, canonical_compare,
                    c);
    return true;
}

/* ---- the second pass --------------------------------------------------------------------------------- */

static bool canonical_is_ignored(const struct canonical *c, struct slice name)
{
    for (const char *const *ignored = c->ignored; ignored && *ignored; ignored++)
        if (slice_equals_text(name, *ignored))
            return true;
    return false;
}

/* A later member with the same name counts instead. */
static bool canonical_is_overruled(const struct canonical *c, const struct canonical_object *o, uint32_t i)
{
    return i + 1 < o->count &&
           slice_equals(c->members[c->order[o->first + i]].name, c->members[c->order[o->first + i + 1]].name);
}

static void canonical_put_value(struct canonical *c, const char *at, uint32_t object);

/* *object: which one it is; afterwards that which comes next in the text. */
static void canonical_put_object(struct canonical *c, uint32_t *object)
{
    const struct canonical_object *o = &c->objects[*object];
    bool top = *object == 0 && o->end == c->text.ptr + c->text.len, comma = false;
    canonical_put_char(c->sink, '{');
    for (uint32_t i = 0; i < o->count; i++) {
        const struct canonical_member *m = &c->members[c->order[o->first + i]];
        if (canonical_is_overruled(c, o, i) || (top && canonical_is_ignored(c, m->name)))
            continue;
        if (comma)
            canonical_put_char(c->sink, ',');
        canonical_put_name(c->sink, m->name);
        canonical_put_char(c->sink, ':');
        canonical_put_value(c, m->value, m->objects_before);
        comma = true;
    }
    canonical_put_char(c->sink, '}');
    *object = o->objects_after;
}

/* The value at at; object: the number of the first object in it, if it has any. */
static void canonical_put_value(struct canonical *c, const char *at, uint32_t object)
{
    struct json_scan s;
    bool comma = false;
    json_scan_init(&s, slice_make(at, (size_t)(c->text.ptr + c->text.len - at)));
    do {
        struct slice token;
        enum json_kind kind = json_scan_next(&s, &token);
        if (comma && kind != JSON_KIND_END)
            canonical_put_char(c->sink, ',');
        comma = kind != JSON_KIND_ARRAY;
        if (kind == JSON_KIND_OBJECT) {
            const char *end = c->objects[object].end;
            canonical_put_object(c, &object);
            json_scan_leave(&s, end);
        } else {
            canonical_put_scalar(c->sink, kind, token);
        }
    } while (s.depth > 0);
}

static void canonical_free(struct canonical *c)
{
    free(c->members);
    free(c->objects);
    free(c->order);
    free(c->names);
}

static enum canonical_result canonical_run(struct slice json, const char *const *ignored,
                                           struct canonical_sink *sink)
{
    struct canonical c = {.text = slice_trim(json), .ignored = ignored, .sink = sink};
    if (json.len > CANONICAL_BYTES_MAX)
        return CANONICAL_TOO_COMPLEX;
    enum canonical_result result = canonical_read(&c);
    if (result == CANONICAL_OK && !canonical_sort(&c))
        result = CANONICAL_FAILED;
    if (result == CANONICAL_OK) {
        canonical_put_value(&c, c.text.ptr, 0);
        canonical_flush(sink);
        result = sink->failed ? CANONICAL_FAILED : CANONICAL_OK;
    }
    canonical_free(&c);
    return result;
}

enum canonical_result canonical_write(struct slice json, const char *const *ignored, struct buf *out)
{
    struct canonical_sink sink = {.buf = out};
    return canonical_run(json, ignored, &sink);
}

enum canonical_result canonical_digest(struct slice prefix, struct slice json, const char *const *ignored,
                                       struct digest *out)
{
    struct digest_stream digest;
    struct canonical_sink sink; /* its block is not cleared: that would cost more than a short text */
    sink.buf = NULL;
    sink.digest = &digest;
    sink.used = 0;
    sink.failed = false;
    digest_stream_begin(&digest);
    canonical_put(&sink, prefix.ptr, prefix.len);
    enum canonical_result result = canonical_run(json, ignored, &sink);
    bool ok = digest_stream_end(&digest, out);
    if (result != CANONICAL_OK)
        memset(out, 0, sizeof *out);
    return result == CANONICAL_OK && !ok ? CANONICAL_FAILED : result;
}
