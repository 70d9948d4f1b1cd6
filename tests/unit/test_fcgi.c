/* FastCGI requests: whole and in every kind of piece, records of every kind, and peers that break the rules. */
#include "fcgi_world.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- whole requests ----------------------------------------------------------------------------------------- */

static void a_request_in_one_piece(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    put_request(&b, 1, 0, "/one", "body");
    send_and_free(&w, &b);
    assert_log(&w, "begin /one;end;delivered;");
    assert_string_equal(buf_text(&w.body), "body");
    assert_got(&w, "out;end 1 0;", "hello");
    assert_true(w.closed);
    assert_int_equal(fcgi_server_connections(w.server), 0);
    world_end(&w);
}

static void a_kept_request_byte_by_byte(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    put_request(&b, 0xFFFF, KEEP, "/one", "body");
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(w.done, 0);
        peer_send(&w, slice_make(buf_data(&b) + i, 1));
    }
    assert_log(&w, "begin /one;end;delivered;");
    assert_string_equal(buf_text(&w.body), "body");
    assert_got(&w, "out;end 65535 0;", "hello");
    assert_false(w.closed);
    assert_int_equal(fcgi_server_connections(w.server), 1);
    buf_free(&b);
    world_end(&w);
}

static void two_pieces_at_every_cut_on_one_connection(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    put_request(&b, 7, KEEP, "/", "some body");
    assert_true(b.len < APPS_MAX);
    for (size_t cut = 0; cut <= b.len; cut++) {
        buf_clear(&w.log);
        buf_clear(&w.body);
        buf_clear(&w.got);
        peer_send(&w, slice_take(buf_slice(&b), cut));
        peer_send(&w, slice_skip(buf_slice(&b), cut));
        assert_log(&w, "begin /;end;delivered;");
        assert_string_equal(buf_text(&w.body), "some body");
        assert_got(&w, "out;end 7 0;", "hello");
    }
    buf_free(&b);
    world_end(&w);
}

static void check_variables(struct app *a)
{
    static const char *const expected[] = {"A=b=c", "EMPTY=", "=noname", "LONG="};
    const char *const *v = fcgi_request_variables(a->request) + 1;
    for (size_t i = 0; i < TEST_COUNT(expected); i++)
        assert_memory_equal(v[i], expected[i], strlen(expected[i]));
    assert_int_equal(strlen(v[3]), 5 + 70000);
    assert_null(v[4]);
}

static void variables_of_every_length(void **state)
{
    (void)state;
    static char value[70000];
    memset(value, 'v', sizeof value);
    for (size_t record = 1; record <= 65535; record = record * 7 + 1) {
        struct world w;
        struct buf b = new_buf(), params = new_buf();
        world_begin(&w);
        w.on_begin = check_variables;
        put_pair(&params, "A", SLICE_LITERAL("b=c"));
        put_pair(&params, "EMPTY", (struct slice){NULL, 0});
        put_pair(&params, "", SLICE_LITERAL("noname"));
        put_pair(&params, "LONG", slice_make(value, sizeof value));
        put_begin(&b, 1, RESPONDER, 0);
        put_stream(&b, FCGI_RECORD_PARAMS, 1, buf_slice(&params), record);
        put(&b, FCGI_RECORD_STDIN, 1, "");
        send_and_free(&w, &b);
        assert_log(&w, "begin ;end;delivered;");
        buf_free(&params);
        world_end(&w);
    }
}

static void no_variables_at_all(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    put_begin(&b, 1, RESPONDER, 0);
    put(&b, FCGI_RECORD_PARAMS, 1, "");
    put(&b, FCGI_RECORD_STDIN, 1, "");
    send_and_free(&w, &b);
    assert_log(&w, "begin ;end;delivered;");
    world_end(&w);
}

static void answer_and_close(struct app *a)
{
    assert_true(fcgi_request_keeps_connection(a->request));
    fcgi_request_close_connection(a->request);
    assert_false(fcgi_request_keeps_connection(a->request));
    answer(a, "hello");
}

static void the_application_may_close_a_kept_connection(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = answer_and_close;
    put_request(&b, 1, KEEP, "/", "");
    send_and_free(&w, &b);
    assert_got(&w, "out;end 1 0;", "hello");
    assert_log(&w, "begin /;end;delivered;");
    assert_true(w.closed);
    world_end(&w);
}

static void many_requests_on_a_kept_connection(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    for (unsigned i = 1; i <= 50; i++) {
        struct buf b = new_buf();
        char expected[64];
        buf_clear(&w.got);
        put_request(&b, (uint16_t)i, KEEP, "/", "x");
        send_and_free(&w, &b);
        snprintf(expected, sizeof expected, "out;end %u 0;", i);
        assert_got(&w, expected, "hello");
        assert_int_equal(w.done, i);
    }
    assert_int_equal(fcgi_server_connections(w.server), 1);
    struct buf last = new_buf();
    put_request(&last, 1, 0, "/", "");
    send_and_free(&w, &last);
    assert_true(w.closed);
    world_end(&w);
}

/* A front server may send the first bytes of its next request early. */
static void the_beginning_of_the_next_request_is_kept(void **state)
{
    (void)state;
    struct world w;
    struct buf first = new_buf(), second = new_buf();
    world_begin(&w);
    w.on_body_end = do_nothing;
    put_request(&first, 1, KEEP, "/1", "");
    put_request(&second, 2, KEEP, "/2", "x");
    assert_true(buf_append_slice(&first, slice_take(buf_slice(&second), 5)));
    send_and_free(&w, &first);
    answer(&w.apps[0], "one");
    settle(&w);
    peer_send(&w, slice_skip(buf_slice(&second), 5));
    answer(&w.apps[1], "two");
    settle(&w);
    assert_log(&w, "begin /1;end;delivered;begin /2;end;delivered;");
    assert_got(&w, "out;end 1 0;out;end 2 0;", "onetwo");
    buf_free(&second);
    world_end(&w);
}

static void an_answer_without_a_byte(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = do_nothing;
    put_request(&b, 3, KEEP, "/", "");
    send_and_free(&w, &b);
    assert_true(fcgi_request_write(w.apps[0].request, (struct slice){NULL, 0}));
    fcgi_request_end(w.apps[0].request);
    assert_false(fcgi_request_write(w.apps[0].request, SLICE_LITERAL("late")));
    settle(&w);
    assert_got(&w, "end 3 0;", "");
    assert_log(&w, "begin /;end;delivered;");
    world_end(&w);
}

/* ---- records of every kind ---------------------------------------------------------------------------------- */

static void records_of_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 7, 8, 8192, 65528, 65535};
    static char body[65535];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 31 % 251);
    struct world w;
    struct buf b = new_buf(), all = new_buf();
    world_begin(&w);
    put_head(&b, 1, KEEP, "/");
    for (int padding = 0; padding <= 255; padding += 255)
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            put_padded(&b, FCGI_RECORD_STDIN, 1, slice_make(body, sizes[i]), (uint8_t)padding);
            assert_true(buf_append(&all, body, sizes[i]));
        }
    put_padded(&b, FCGI_RECORD_STDIN, 1, (struct slice){NULL, 0}, 255);
    send_and_free(&w, &b);
    assert_log(&w, "begin /;end;delivered;");
    assert_true(slice_equals(buf_slice(&w.body), buf_slice(&all)));
    buf_free(&all);
    world_end(&w);
}

static void other_records_are_passed_over(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    put(&b, FCGI_RECORD_STDIN, 9, "of nothing");
    put(&b, FCGI_RECORD_PARAMS, 9, "of nothing");
    put(&b, FCGI_RECORD_ABORT, 9, "");
    put_head(&b, 1, KEEP, "/");
    put(&b, FCGI_RECORD_STDIN, 9, "of another");
    put(&b, FCGI_RECORD_ABORT, 9, "");
    put(&b, FCGI_RECORD_DATA, 1, "data");
    put(&b, 77, 1, "unknown");
    put(&b, FCGI_RECORD_STDIN, 1, "mine");
    put(&b, FCGI_RECORD_STDIN, 1, "");
    put(&b, FCGI_RECORD_STDIN, 1, "behind the end");
    send_and_free(&w, &b);
    assert_log(&w, "begin /;end;delivered;");
    assert_string_equal(buf_text(&w.body), "mine");
    assert_got(&w, "out;end 1 0;", "hello");
    assert_false(w.closed);
    world_end(&w);
}

static void management_records_are_answered_in_every_phase(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = do_nothing;
    put(&b, FCGI_RECORD_GET_VALUES, 0, "\x0e" "\0FCGI_MAX_CONNS");
    put_begin(&b, 1, RESPONDER, KEEP);
    put(&b, 200, 0, "x");
    put(&b, FCGI_RECORD_PARAMS, 1, "");
    put(&b, FCGI_RECORD_GET_VALUES, 0, "");
    put(&b, FCGI_RECORD_STDIN, 1, "");
    put(&b, FCGI_RECORD_BEGIN, 0, "12345678");
    send_and_free(&w, &b);
    assert_got(&w, "values;unknown 200;values;unknown 1;", "");
    answer(&w.apps[0], "hello");
    settle(&w);
    assert_got(&w, "values;unknown 200;values;unknown 1;out;end 1 0;", "hello");
    world_end(&w);
}

static void a_second_request_while_busy_is_refused(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = do_nothing;
    put_begin(&b, 1, RESPONDER, KEEP);
    put_request(&b, 2, KEEP, "/2", "two");
    put(&b, FCGI_RECORD_PARAMS, 1, "");
    put_request(&b, 3, KEEP, "/3", "three");
    put(&b, FCGI_RECORD_STDIN, 1, "one");
    put(&b, FCGI_RECORD_STDIN, 1, "");
    put_request(&b, 4, KEEP, "/4", "four");
    send_and_free(&w, &b);
    assert_got(&w, "end 2 1;end 3 1;end 4 1;", "");
    answer(&w.apps[0], "hello");
    settle(&w);
    assert_log(&w, "begin ;end;delivered;");
    assert_string_equal(buf_text(&w.body), "one");
    assert_got(&w, "end 2 1;end 3 1;end 4 1;out;end 1 0;", "hello");
    world_end(&w);
}

static void other_roles_are_refused(void **state)
{
    (void)state;
    static const uint8_t roles[] = {0, 2, 3, 255};
    struct world w;
    world_begin(&w);
    for (size_t i = 0; i < TEST_COUNT(roles); i++) {
        struct buf b = new_buf();
        buf_clear(&w.got);
        put_begin(&b, 1, roles[i], KEEP);
        put(&b, FCGI_RECORD_PARAMS, 1, "");
        put(&b, FCGI_RECORD_STDIN, 1, "body");
        put(&b, FCGI_RECORD_STDIN, 1, "");
        put_request(&b, 2, KEEP, "/", "");
        send_and_free(&w, &b);
        assert_got(&w, "end 1 3;out;end 2 0;", "hello");
    }
    assert_false(w.closed);
    world_end(&w);
}

/* ---- broken peers ------------------------------------------------------------------------------------------- */

static void make_wrong_version(struct buf *b)
{
    assert_true(buf_append_text(b, "GET / HTTP/1.1\r\n\r\n"));
}

static void make_wrong_version_in_body(struct buf *b)
{
    put_head(b, 1, KEEP, "/");
    assert_true(buf_append_char(b, 2));
}

static void make_params_in_body(struct buf *b)
{
    put_head(b, 1, KEEP, "/");
    put(b, FCGI_RECORD_PARAMS, 1, "\1\1ab");
}

static void make_stdin_in_head(struct buf *b)
{
    put_begin(b, 1, RESPONDER, KEEP);
    put(b, FCGI_RECORD_STDIN, 1, "early");
}

static void make_short_begin(struct buf *b)
{
    put(b, FCGI_RECORD_BEGIN, 1, "\0\1");
}

static void make_long_begin(struct buf *b)
{
    put(b, FCGI_RECORD_BEGIN, 1, "123456789");
}

static void make_begin_twice(struct buf *b)
{
    put_head(b, 1, KEEP, "/");
    put_begin(b, 1, RESPONDER, KEEP);
}

static void make_begin_twice_in_head(struct buf *b)
{
    put_begin(b, 1, RESPONDER, KEEP);
    put_begin(b, 1, RESPONDER, KEEP);
}

static void make_params(struct buf *b, struct slice params)
{
    put_begin(b, 1, RESPONDER, KEEP);
    put_stream(b, FCGI_RECORD_PARAMS, 1, params, 65535);
}

static void make_length_beyond_the_end(struct buf *b)
{
    make_params(b, SLICE_LITERAL("\5\5abc"));
}

static void make_largest_length(struct buf *b)
{
    make_params(b, SLICE_LITERAL("\xff\xff\xff\xff\xff\xff\xff\xff" "ab"));
}

static void make_cut_length(struct buf *b)
{
    make_params(b, SLICE_LITERAL("\1\1ab\x80\0"));
}

static void make_nul_in_name(struct buf *b)
{
    make_params(b, SLICE_LITERAL("\3\1a\0bc"));
}

static void make_nul_in_value(struct buf *b)
{
    make_params(b, SLICE_LITERAL("\1\3ab\0c"));
}

struct broken_case {
    void (*make)(struct buf *b);
    const char *log;
};

static const struct broken_case broken_cases[] = {
    {make_wrong_version, ""},
    {make_wrong_version_in_body, "begin /;broke;"},
    {make_params_in_body, "begin /;broke;"},
    {make_stdin_in_head, ""},
    {make_short_begin, ""},
    {make_long_begin, ""},
    {make_begin_twice, "begin /;broke;"},
    {make_begin_twice_in_head, ""},
    {make_length_beyond_the_end, ""},
    {make_largest_length, ""},
    {make_cut_length, ""},
    {make_nul_in_name, ""},
    {make_nul_in_value, ""},
};

static void a_broken_peer_is_disconnected(void **state)
{
    (void)state;
    for (size_t i = 0; i < TEST_COUNT(broken_cases); i++)
        for (int slow = 0; slow < 2; slow++) {
            struct world w;
            struct buf b = new_buf();
            world_begin(&w);
            broken_cases[i].make(&b);
            for (size_t at = 0; slow && at < b.len; at++)
                peer_send(&w, slice_make(buf_data(&b) + at, 1));
            if (!slow)
                peer_send(&w, buf_slice(&b));
            if (strcmp(buf_text(&w.log), broken_cases[i].log) != 0 || !w.closed)
                fail_msg("case %zu: %s, closed %d", i, buf_text(&w.log), w.closed);
            assert_int_equal(fcgi_server_connections(w.server), 0);
            /* Others are served as ever. */
            buf_clear(&b);
            buf_clear(&w.log);
            world_connect(&w);
            put_request(&b, 1, 0, "/next", "");
            send_and_free(&w, &b);
            assert_log(&w, "begin /next;end;delivered;");
            world_end(&w);
        }
}

/* Heads that are sound, but too large: the application answers them. */
static void assert_head(size_t pairs, size_t value_len, bool too_large)
{
    struct world w;
    struct buf b = new_buf(), params = new_buf();
    char *value = malloc(value_len + 1);
    assert_non_null(value);
    memset(value, 'v', value_len);
    world_begin(&w);
    put_pair(&params, "REQUEST_URI", SLICE_LITERAL("/"));
    for (size_t i = 1; i < pairs; i++)
        put_pair(&params, "N", slice_make(value, value_len));
    put_begin(&b, 1, RESPONDER, KEEP);
    put_stream(&b, FCGI_RECORD_PARAMS, 1, buf_slice(&params), 65535);
    put(&b, FCGI_RECORD_STDIN, 1, "");
    put_request(&b, 2, KEEP, "/2", "");
    struct slice all = buf_slice(&b);
    struct buf second = new_buf();
    put_request(&second, 2, KEEP, "/2", "");
    peer_send(&w, slice_take(all, all.len - second.len));
    assert_log(&w, too_large ? "begin ;end;delivered;" : "begin /;end;delivered;");
    assert_got(&w, "out;end 1 0;", "hello");
    buf_clear(&w.log);
    send_and_free(&w, &second);
    assert_log(&w, "begin /2;end;delivered;");
    buf_free(&params);
    buf_free(&b);
    free(value);
    world_end(&w);
}

static void a_large_head_arrives_empty(void **state)
{
    (void)state;
    enum { URI_PAIR = 2 + 11 + 1, PAIR = 1 + 4 + 1 };
    assert_head(FCGI_PARAMS_MAX, 1, false);
    assert_head(FCGI_PARAMS_MAX + 1, 1, true);
    assert_head(40000, 0, true);
    assert_head(2, FCGI_HEAD_MAX - URI_PAIR - PAIR, false);
    assert_head(2, FCGI_HEAD_MAX - URI_PAIR - PAIR + 1, true);
    assert_head(20, 100000, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_in_one_piece),
        cmocka_unit_test(a_kept_request_byte_by_byte),
        cmocka_unit_test(two_pieces_at_every_cut_on_one_connection),
        cmocka_unit_test(variables_of_every_length),
        cmocka_unit_test(no_variables_at_all),
        cmocka_unit_test(the_application_may_close_a_kept_connection),
        cmocka_unit_test(many_requests_on_a_kept_connection),
        cmocka_unit_test(the_beginning_of_the_next_request_is_kept),
        cmocka_unit_test(an_answer_without_a_byte),
        cmocka_unit_test(records_of_every_size),
        cmocka_unit_test(other_records_are_passed_over),
        cmocka_unit_test(management_records_are_answered_in_every_phase),
        cmocka_unit_test(a_second_request_while_busy_is_refused),
        cmocka_unit_test(other_roles_are_refused),
        cmocka_unit_test(a_broken_peer_is_disconnected),
        cmocka_unit_test(a_large_head_arrives_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
