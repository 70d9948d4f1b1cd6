/* Event streams: the same events at every split, byte for byte, within the cap, and in linear time. */
#include "test.h"

#include "sluice/sse.h"

#include <stdlib.h>
#include <time.h>

enum { CAP = 4096 };

/* Events as text: `type|data|raw;`, or `-` for data where there is none, with CR and LF spelled out. */
struct seen {
    struct buf text;
    struct buf raw; /* all raw bytes in a row */
    size_t events;
    size_t stop_after; /* 0: never */
};

static void seen_init(struct seen *s)
{
    *s = (struct seen){0};
    buf_init(&s->text, 1024 * 1024);
    buf_init(&s->raw, 16 * 1024 * 1024);
}

static void seen_free(struct seen *s)
{
    buf_free(&s->text);
    buf_free(&s->raw);
}

static void spell(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\n' || s.ptr[i] == '\r')
            assert_true(buf_append_text(b, s.ptr[i] == '\n' ? "\\n" : "\\r"));
        else
            assert_true(buf_append_char(b, s.ptr[i]));
    }
}

static bool note(void *ctx, const struct sse_event *event)
{
    struct seen *s = ctx;
    spell(&s->text, event->type);
    assert_true(buf_append_char(&s->text, '|'));
    if (!event->has_data)
        assert_int_equal(event->data.len, 0);
    spell(&s->text, event->has_data ? event->data : SLICE_LITERAL("-"));
    assert_true(buf_append_char(&s->text, ';'));
    assert_true(buf_append_slice(&s->raw, event->raw));
    return ++s->events != s->stop_after;
}

struct stream_case {
    const char *stream;
    const char *events;
    size_t rest; /* bytes of an event without an end */
};

static const struct stream_case cases[] = {
    {"", "", 0},
    {"data: a\n\n", "|a;", 0},
    {"data: a\r\n\r\n", "|a;", 0},
    {"data: a\n\ndata: b\n\n", "|a;|b;", 0},
    {"data: a\r\rdata: b\r\rx", "|a;|b;", 1},
    {"data: a\n\r\n\r\ndata: b\r\n\n", "|a;|-;|b;", 0},
    {"data: a\r\n\rdata: b\n\n", "|a;|b;", 0},
    {"data: a\n\rdata: b\n\n", "|a;|b;", 0},
    {"data: a\r\n\n\r\ndata: b\r\r\n", "|a;|-;|b;", 0},
    {"data: [DONE]\n\n", "|[DONE];", 0},
    /* several lines */
    {"data: a\ndata: b\n\n", "|a\\nb;", 0},
    {"data: a\r\ndata:b\rdata:  c\n\n", "|a\\nb\\n c;", 0},
    {"data\ndata\n\n", "|\\n;", 0},
    {"data:\n\n", "|;", 0},
    {"data\n\n", "|;", 0},
    {"data: \ndata: x\ndata:\n\n", "|\\nx\\n;", 0},
    /* other fields */
    {"event: e\ndata: a\n\n", "e|a;", 0},
    {"data: a\nevent: one\nevent:two\nid: 7\nretry: 9\n\n", "two|a;", 0},
    {"event: ping\n\n", "ping|-;", 0},
    {"event\ndata: a\n\n", "|a;", 0},
    {"dataset: a\ndat: b\n data: c\nDATA: d\n\n", "|-;", 0},
    {": keep-alive\n\ndata: a\n\n", "|-;|a;", 0},
    {":\n:\ndata: a\n\n", "|a;", 0},
    {"\n\n\ndata: a\n\n\n", "|-;|-;|-;|a;|-;", 0},
    {"data: a:b: c\n\n", "|a:b: c;", 0},
    /* no end */
    {"data: a", "", 7},
    {"data: a\n", "", 8},
    {"data: a\r", "", 8},
    {"data: a\n\ndata: b\n", "|a;", 8},
    {"data: {\"error\":1}\n\nevent: e", "|{\"error\":1};", 8},
};

/* Feeds [0, a), [a, b), [b, end) and compares. */
static void assert_split(const struct stream_case *c, size_t a, size_t b)
{
    struct slice all = slice_from_text(c->stream);
    struct sse_parser p;
    struct seen seen;
    sse_init(&p, CAP);
    seen_init(&seen);
    assert_true(sse_feed(&p, slice_take(all, a), note, &seen));
    assert_true(sse_feed(&p, slice_take(slice_skip(all, a), b - a), note, &seen));
    assert_true(sse_feed(&p, slice_skip(all, b), note, &seen));
    if (strcmp(buf_text(&seen.text), c->events) != 0)
        fail_msg("\"%s\" split at %zu and %zu gives %s", c->stream, a, b, buf_text(&seen.text));
    assert_int_equal(sse_held(&p), c->rest);
    assert_true(slice_equals(buf_slice(&seen.raw), slice_take(all, all.len - c->rest)));
    sse_free(&p);
    seen_free(&seen);
}

static void every_two_splits_give_the_same_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        for (size_t a = 0, len = strlen(cases[i].stream); a <= len; a++)
            for (size_t b = a; b <= len; b++)
                assert_split(&cases[i], a, b);
}

static void byte_by_byte_gives_the_same_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct slice all = slice_from_text(cases[i].stream);
        struct sse_parser p;
        struct seen seen;
        sse_init(&p, CAP);
        seen_init(&seen);
        for (size_t at = 0; at < all.len; at++)
            assert_true(sse_feed(&p, slice_make(all.ptr + at, 1), note, &seen));
        assert_string_equal(buf_text(&seen.text), cases[i].events);
        assert_int_equal(sse_held(&p), cases[i].rest);
        sse_free(&p);
        seen_free(&seen);
    }
}

/* A CR at the end of a stream waits for an LF that does not come. */
static void the_end_of_a_stream_settles_a_last_cr(void **state)
{
    (void)state;
    static const char *const streams[][2] = {
        {"data: a\r\r", "|a;"}, {"data: a\n\r", "|a;"}, {"data: a\r\n\r", "|a;"}, {"\r", "|-;"},
        {"data: a\r", ""},      {"data: a\n", ""},      {"data: a", ""},          {"", ""},
    };
    for (size_t i = 0; i < TEST_COUNT(streams); i++) {
        struct sse_parser p;
        struct seen seen;
        sse_init(&p, CAP);
        seen_init(&seen);
        assert_true(sse_feed(&p, slice_from_text(streams[i][0]), note, &seen));
        assert_string_equal(buf_text(&seen.text), "");
        assert_true(sse_end(&p, note, &seen));
        assert_string_equal(buf_text(&seen.text), streams[i][1]);
        size_t len = strlen(streams[i][0]);
        assert_int_equal(seen.raw.len, seen.events ? len : 0);
        assert_int_equal(sse_held(&p), seen.events ? 0 : len);
        assert_true(sse_end(&p, note, &seen));
        assert_true(seen.events <= 1);
        sse_free(&p);
        seen_free(&seen);
    }
}

/* Whether all of it was taken, at a cap, in pieces of a size. */
static bool fits(struct slice stream, size_t cap, size_t piece, size_t *events)
{
    struct sse_parser p;
    struct seen seen;
    sse_init(&p, cap);
    seen_init(&seen);
    bool ok = true;
    for (; stream.len > 0 && ok; stream = slice_skip(stream, piece))
        ok = sse_feed(&p, slice_take(stream, piece), note, &seen);
    if (!ok)
        assert_false(sse_feed(&p, SLICE_LITERAL("data: more\n\n"), note, &seen));
    *events = seen.events;
    sse_free(&p);
    seen_free(&seen);
    return ok;
}

static void the_cap_does_not_depend_on_the_splits(void **state)
{
    (void)state;
    static const char *const streams[] = {"data: 12345678\n\ndata: x\n\n", "data: 1234567\r\n\ndata: x\n\n",
                                          "data: 12345678\r\rdata: x\n\n", "data: 12345\r\n\r\ndata: x\n\n"};
    for (size_t i = 0; i < TEST_COUNT(streams); i++) {
        struct slice stream = slice_from_text(streams[i]);
        size_t longest = (size_t)(strstr(streams[i] + 1, "data") - streams[i]);
        for (size_t cap = longest - 2; cap <= longest + 2; cap++)
            for (size_t piece = 1; piece <= stream.len; piece++) {
                size_t events;
                bool ok = fits(stream, cap, piece, &events);
                if (ok != (cap >= longest) || events != (ok ? 2 : 0))
                    fail_msg("%s: cap %zu, pieces of %zu: %d, %zu events", streams[i], cap, piece, ok,
                             events);
            }
    }
}

static void an_event_that_ends_in_a_cr_fits_the_cap(void **state)
{
    (void)state;
    static const char stream[] = "data: a\r\r";
    for (size_t cap = 8; cap <= 10; cap++) {
        struct sse_parser p;
        struct seen seen;
        sse_init(&p, cap);
        seen_init(&seen);
        assert_true(sse_feed(&p, SLICE_LITERAL(stream), note, &seen));
        assert_int_equal(sse_end(&p, note, &seen), cap >= sizeof stream - 1);
        assert_int_equal(seen.events, cap >= sizeof stream - 1);
        sse_free(&p);
        seen_free(&seen);
    }
}

static void an_event_without_an_end_meets_the_cap(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= 3 * CAP; piece = piece * 3 + 1) {
        struct sse_parser p;
        struct seen seen;
        char *bytes = malloc(piece);
        assert_non_null(bytes);
        memset(bytes, 'x', piece);
        sse_init(&p, CAP);
        seen_init(&seen);
        size_t fed = 0;
        while (sse_feed(&p, slice_make(bytes, piece), note, &seen) && fed < 10 * CAP)
            fed += piece;
        assert_true(fed <= CAP + 1);
        assert_true(fed + piece > CAP);
        assert_true(sse_held(&p) <= CAP + 1);
        assert_int_equal(seen.events, 0);
        sse_free(&p);
        seen_free(&seen);
        free(bytes);
    }
}

static void the_callback_can_stop(void **state)
{
    (void)state;
    static const char stream[] = "data: a\n\ndata: b\n\ndata: c\n\n";
    for (size_t piece = 1; piece < sizeof stream; piece++) {
        struct sse_parser p;
        struct seen seen;
        sse_init(&p, CAP);
        seen_init(&seen);
        seen.stop_after = 2;
        bool ok = true;
        for (struct slice rest = SLICE_LITERAL(stream); rest.len > 0; rest = slice_skip(rest, piece))
            ok = sse_feed(&p, slice_take(rest, piece), note, &seen);
        assert_false(ok);
        assert_string_equal(buf_text(&seen.text), "|a;|b;");
        assert_false(sse_end(&p, note, &seen));
        assert_int_equal(seen.events, 2);
        sse_free(&p);
        seen_free(&seen);
    }
}

static void bytes_of_any_value_pass(void **state)
{
    (void)state;
    static const struct slice stream = SLICE_LITERAL("data: \0\xff\x01\xE2\x80\xA8\n\n");
    struct sse_parser p;
    struct seen seen;
    sse_init(&p, CAP);
    seen_init(&seen);
    assert_true(sse_feed(&p, stream, note, &seen));
    assert_int_equal(seen.events, 1);
    assert_true(slice_equals(buf_slice(&seen.raw), stream));
    sse_free(&p);
    seen_free(&seen);
}

static bool count_bytes(void *ctx, const struct sse_event *event)
{
    *(size_t *)ctx += event->data.len;
    return true;
}

/* Four megabytes in one event: were each piece looked at from the start, this would take hours. */
static void tiny_pieces_are_not_quadratic(void **state)
{
    (void)state;
    enum { SIZE = 4 * 1024 * 1024 };
    static const char *const units[] = {"x", "x\ndata: ", "\r\ndata:", "\rdata:"};
    char piece[8] = "data: ";
    for (size_t u = 0; u < TEST_COUNT(units); u++) {
        struct sse_parser p;
        size_t got = 0, fed = 0;
        clock_t start = clock(); /* of the processor: others may be busy */
        sse_init(&p, SIZE);
        assert_true(sse_feed(&p, slice_from_text(piece), count_bytes, &got));
        for (size_t at = 0; fed < SIZE - 100; fed++, at = (at + 1) % strlen(units[u]))
            assert_true(sse_feed(&p, slice_make(units[u] + at, 1), count_bytes, &got));
        assert_true(sse_feed(&p, SLICE_LITERAL("\n\n"), count_bytes, &got));
        assert_true(got > 0);
        assert_int_equal(sse_held(&p), 0);
        assert_true(clock() - start < 10 * (clock_t)CLOCKS_PER_SEC);
        sse_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_two_splits_give_the_same_events),
        cmocka_unit_test(byte_by_byte_gives_the_same_events),
        cmocka_unit_test(the_end_of_a_stream_settles_a_last_cr),
        cmocka_unit_test(the_cap_does_not_depend_on_the_splits),
        cmocka_unit_test(an_event_that_ends_in_a_cr_fits_the_cap),
        cmocka_unit_test(an_event_without_an_end_meets_the_cap),
        cmocka_unit_test(the_callback_can_stop),
        cmocka_unit_test(bytes_of_any_value_pass),
        cmocka_unit_test(tiny_pieces_are_not_quadratic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
