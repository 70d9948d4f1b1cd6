/* FastCGI connections in time: who leaves, who waits for whom, who is late, and how a server ends. */
#include "fcgi_world.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- memory ------------------------------------------------------------------------------------------------- */

static size_t largest_block = SIZE_MAX; /* that libevent gets */

static void *get(size_t size)
{
    return size > largest_block ? NULL : malloc(size);
}

static void *get_again(void *block, size_t size)
{
    return size > largest_block ? NULL : realloc(block, size);
}

/* ---- the peer leaves ---------------------------------------------------------------------------------------- */

static void make_nothing(struct buf *b)
{
    (void)b;
}

static void make_half_a_header(struct buf *b)
{
    assert_true(buf_append(b, "\1\1\0", 3));
}

static void make_begin_only(struct buf *b)
{
    put_begin(b, 1, RESPONDER, KEEP);
}

static void make_head(struct buf *b)
{
    put_head(b, 1, KEEP, "/");
}

static void make_half_a_body(struct buf *b)
{
    make_head(b);
    put(b, FCGI_RECORD_STDIN, 1, "half");
    assert_true(buf_append(b, "\1\5\0\1\1", 5));
}

static void make_whole(struct buf *b)
{
    put_request(b, 1, KEEP, "/", "body");
}

struct leave_case {
    void (*make)(struct buf *b);
    const char *log;
    bool at_a_record; /* an ABORT_REQUEST can follow */
};

static const struct leave_case leave_cases[] = {
    {make_nothing, "", true},
    {make_half_a_header, "", false},
    {make_begin_only, "", true},
    {make_head, "begin /;left;", true},
    {make_half_a_body, "begin /;left;", false},
    {make_whole, "begin /;end;left;", true},
};

static void the_end_of_a_connection_in_every_phase(void **state)
{
    (void)state;
    for (size_t i = 0; i < TEST_COUNT(leave_cases); i++) {
        struct world w;
        struct buf b = new_buf();
        world_begin(&w);
        w.on_body_end = do_nothing;
        leave_cases[i].make(&b);
        send_and_free(&w, &b);
        assert_int_equal(w.done, 0);
        assert_int_equal(fcgi_server_connections(w.server), 1);
        close(w.peer);
        w.peer = -1;
        settle(&w);
        assert_log(&w, leave_cases[i].log);
        assert_int_equal(fcgi_server_connections(w.server), 0);
        world_end(&w);
    }
}

static void abort_request_in_every_phase(void **state)
{
    (void)state;
    for (size_t i = 0; i < TEST_COUNT(leave_cases); i++) {
        if (!leave_cases[i].at_a_record)
            continue;
        struct world w;
        struct buf b = new_buf();
        world_begin(&w);
        w.on_body_end = do_nothing;
        leave_cases[i].make(&b);
        bool idle = b.len == 0;
        put(&b, FCGI_RECORD_ABORT, 1, "");
        send_and_free(&w, &b);
        assert_log(&w, leave_cases[i].log);
        assert_int_equal(w.closed, !idle);
        assert_int_equal(fcgi_server_connections(w.server), idle);
        world_end(&w);
    }
}

static void leaving_in_the_middle_of_an_answer(void **state)
{
    (void)state;
    static char block[1024 * 1024];
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = do_nothing;
    put_request(&b, 1, KEEP, "/", "");
    send_and_free(&w, &b);
    w.reading = false;
    assert_true(fcgi_request_write(w.apps[0].request, slice_make(block, sizeof block)));
    settle(&w);
    assert_true(fcgi_request_pending(w.apps[0].request) > 0);
    close(w.peer);
    w.peer = -1;
    settle(&w);
    assert_log(&w, "begin /;end;left;");
    world_end(&w);
}

/* ---- the body's flow ---------------------------------------------------------------------------------------- */

static void pause_body(struct app *a)
{
    fcgi_request_pause_body(a->request);
}

static void a_paused_body_holds_the_peer_back(void **state)
{
    (void)state;
    static char body[4 * 1024 * 1024];
    struct world w;
    struct buf b = new_buf();
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 7 % 253);
    world_begin(&w);
    w.on_begin = pause_body;
    put_head(&b, 1, KEEP, "/");
    put_stream(&b, FCGI_RECORD_STDIN, 1, slice_make(body, sizeof body), 30000);
    size_t sent = 0;
    for (int i = 0; i < 200; i++) {
        ssize_t n = send(w.peer, buf_data(&b) + sent, b.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        turn(&w);
    }
    assert_int_equal(w.pieces, 0);
    assert_true(sent < b.len / 2);
    /* One piece, then a pause again. */
    w.on_body = pause_body;
    fcgi_request_resume_body(w.apps[0].request);
    fcgi_request_resume_body(w.apps[0].request);
    settle(&w);
    assert_int_equal(w.pieces, 1);
    assert_int_equal(w.body.len, 30000);
    w.on_body = NULL;
    fcgi_request_resume_body(w.apps[0].request);
    peer_send(&w, slice_skip(buf_slice(&b), sent));
    assert_log(&w, "begin /;end;delivered;");
    assert_true(slice_equals(buf_slice(&w.body), slice_make(body, sizeof body)));
    buf_free(&b);
    world_end(&w);
}

static void a_pause_at_every_piece_loses_nothing(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_begin = pause_body;
    w.on_body = pause_body;
    put_head(&b, 1, KEEP, "/");
    put_stream(&b, FCGI_RECORD_STDIN, 1, SLICE_LITERAL("0123456789"), 1);
    send_and_free(&w, &b);
    for (size_t i = 0; i <= 10; i++) {
        assert_int_equal(w.pieces, i);
        assert_false(w.apps[0].body_ended);
        fcgi_request_resume_body(w.apps[0].request);
        settle(&w);
    }
    assert_log(&w, "begin /;end;delivered;");
    assert_string_equal(buf_text(&w.body), "0123456789");
    world_end(&w);
}

static void leaving_is_seen_while_paused(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body = pause_body;
    put_head(&b, 1, KEEP, "/");
    put(&b, FCGI_RECORD_STDIN, 1, "one");
    put(&b, FCGI_RECORD_STDIN, 1, "two");
    send_and_free(&w, &b);
    assert_int_equal(w.pieces, 1);
    close(w.peer);
    w.peer = -1;
    await_log(&w, "begin /;left;");
    assert_int_equal(w.pieces, 1);
    world_end(&w);
}

static void end_at_once(struct app *a)
{
    answer(a, "no");
}

static void an_answer_before_the_body_ended(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_begin = end_at_once;
    put_head(&b, 1, KEEP, "/");
    send_and_free(&w, &b);
    /* The answer goes out at once, its end when the body has been read. */
    assert_got(&w, "out;", "no");
    assert_int_equal(w.done, 0);
    b = new_buf();
    put(&b, FCGI_RECORD_STDIN, 1, "dropped");
    send_and_free(&w, &b);
    assert_int_equal(w.done, 0);
    b = new_buf();
    put(&b, FCGI_RECORD_STDIN, 1, "");
    send_and_free(&w, &b);
    assert_got(&w, "out;end 1 0;", "no");
    w.on_begin = NULL;
    b = new_buf();
    put_request(&b, 1, KEEP, "/2", "taken");
    send_and_free(&w, &b);
    assert_log(&w, "begin /;delivered;begin /2;end;delivered;");
    assert_string_equal(buf_text(&w.body), "taken");
    world_end(&w);
}

static void a_request_in_place_of_the_rest_of_a_body(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_begin = end_at_once;
    put_head(&b, 1, KEEP, "/");
    put(&b, FCGI_RECORD_STDIN, 1, "a part");
    send_and_free(&w, &b);
    /* A body that stops does not hold up the answer's end for long. */
    assert_got(&w, "out;", "no");
    await_log(&w, "delivered;");
    assert_got(&w, "out;end 1 0;", "no");
    w.on_begin = NULL;
    b = new_buf();
    put_request(&b, 1, KEEP, "/2", "taken");
    send_and_free(&w, &b);
    assert_log(&w, "begin /;delivered;begin /2;end;delivered;");
    assert_string_equal(buf_text(&w.body), "taken");
    world_end(&w);
}

static void an_answer_in_the_middle_of_the_body(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body = end_at_once;
    put_head(&b, 1, KEEP, "/");
    put(&b, FCGI_RECORD_STDIN, 1, "one");
    put(&b, FCGI_RECORD_STDIN, 1, "two");
    put(&b, FCGI_RECORD_STDIN, 1, "");
    send_and_free(&w, &b);
    assert_log(&w, "begin /;delivered;");
    assert_string_equal(buf_text(&w.body), "one");
    assert_got(&w, "out;end 1 0;", "no");
    world_end(&w);
}

static void an_answer_while_paused_reads_on(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body = pause_body;
    put_head(&b, 1, KEEP, "/");
    put_stream(&b, FCGI_RECORD_STDIN, 1, SLICE_LITERAL("0123456789"), 1);
    send_and_free(&w, &b);
    answer(&w.apps[0], "no");
    settle(&w);
    assert_log(&w, "begin /;delivered;");
    assert_string_equal(buf_text(&w.body), "0");
    world_end(&w);
}

/* ---- the answer's flow -------------------------------------------------------------------------------------- */

static char pattern(size_t i)
{
    return (char)((i ^ i >> 8) % 249);
}

static void assert_pattern(struct world *w, size_t len, const char *expected)
{
    struct buf text = new_buf(), out;
    buf_init(&out, 128 * 1024 * 1024);
    read_answer(w, &text, &out);
    assert_string_equal(buf_text(&text), expected);
    assert_int_equal(out.len, len);
    for (size_t i = 0; i < len; i++)
        if (buf_data(&out)[i] != pattern(i))
            fail_msg("byte %zu of %zu is wrong", i, len);
    buf_free(&text);
    buf_free(&out);
}

static void answers_of_every_size_arrive_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {65, 8127, 8128, 8129, 8192, 2 * 8128, 2 * 8128 + 1, 65536, 1000000, 9000000};
    static char block[9000000];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = pattern(i);
    for (size_t s = 0; s < TEST_COUNT(sizes); s++)
        for (size_t pieces = 1; pieces <= 3; pieces++) {
            struct world w;
            struct buf b = new_buf();
            world_begin(&w);
            w.on_body_end = do_nothing;
            put_request(&b, 1, 0, "/", "");
            send_and_free(&w, &b);
            size_t piece = sizes[s] / pieces + 1;
            for (struct slice rest = slice_make(block, sizes[s]); rest.len > 0; rest = slice_skip(rest, piece))
                assert_true(fcgi_request_write(w.apps[0].request, slice_take(rest, piece)));
            fcgi_request_end(w.apps[0].request);
            await_closed(&w);
            assert_pattern(&w, sizes[s], "out;end 1 0;");
            assert_log(&w, "begin /;end;delivered;");
            world_end(&w);
        }
}

static void a_slow_reader_is_told_of_when_it_drained(void **state)
{
    (void)state;
    static char block[1024 * 1024];
    struct world w;
    struct buf b = new_buf();
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = pattern(i);
    world_begin(&w);
    w.on_body_end = do_nothing;
    put_request(&b, 1, KEEP, "/", "");
    send_and_free(&w, &b);
    struct fcgi_request *r = w.apps[0].request;
    w.reading = false;
    assert_true(fcgi_request_write(r, slice_make(block, sizeof block)));
    assert_int_equal(fcgi_request_pending(r), sizeof block);
    wait_us(&w, 20 * CLOCK_US_PER_MS);
    size_t stuck = fcgi_request_pending(r);
    assert_in_range(stuck, FCGI_HIGH_WATER, sizeof block - 1);
    settle(&w);
    assert_int_equal(fcgi_request_pending(r), stuck);
    assert_log(&w, "begin /;end;");
    w.reading = true;
    await_log(&w, "drained;");
    assert_true(fcgi_request_pending(r) < FCGI_LOW_WATER);
    wait_us(&w, 5 * CLOCK_US_PER_MS);
    assert_int_equal(fcgi_request_pending(r), 0);
    /* Below the high-water mark nobody is told. */
    assert_true(fcgi_request_write(r, slice_make(block, 1000)));
    settle(&w);
    assert_log(&w, "begin /;end;drained;");
    fcgi_request_end(r);
    settle(&w);
    assert_log(&w, "begin /;end;drained;delivered;");
    world_end(&w);
}

static void write_more(struct app *a)
{
    static char block[200 * 1024];
    if (a->world->log.len < 60)
        assert_true(fcgi_request_write(a->request, slice_make(block, sizeof block)));
    else
        fcgi_request_end(a->request);
}

static void drained_can_write_and_end(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = write_more;
    w.on_drained = write_more;
    put_request(&b, 1, KEEP, "/", "");
    send_and_free(&w, &b);
    await_log(&w, "delivered;");
    assert_log(&w, "begin /;end;drained;drained;drained;drained;drained;drained;delivered;");
    world_end(&w);
}

static void more_than_the_cap_is_refused(void **state)
{
    (void)state;
    enum { MEGABYTE = 1024 * 1024 };
    static char block[MEGABYTE];
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = do_nothing;
    put_request(&b, 1, KEEP, "/", "");
    send_and_free(&w, &b);
    struct fcgi_request *r = w.apps[0].request;
    for (size_t i = 0; i < FCGI_PENDING_MAX / MEGABYTE; i++)
        assert_true(fcgi_request_write(r, slice_make(block, MEGABYTE)));
    assert_false(fcgi_request_write(r, slice_make(block, 1)));
    fcgi_request_abort(r);
    assert_true(fcgi_request_write(r, slice_make(block, 1)));
    settle(&w);
    assert_log(&w, "begin /;end;aborted;");
    world_end(&w);
}

/* ---- ends that the application makes ------------------------------------------------------------------------ */

static void abort_request(struct app *a)
{
    fcgi_request_abort(a->request);
}

static void the_application_can_abort_anywhere(void **state)
{
    (void)state;
    static const char *const logs[] = {"begin /;aborted;", "begin /;aborted;", "begin /;end;aborted;"};
    for (size_t place = 0; place < TEST_COUNT(logs); place++) {
        struct world w;
        struct buf b = new_buf();
        world_begin(&w);
        w.on_begin = place == 0 ? abort_request : NULL;
        w.on_body = place == 1 ? abort_request : NULL;
        w.on_body_end = place == 2 ? abort_request : NULL;
        put_request(&b, 1, KEEP, "/", "body");
        send_and_free(&w, &b);
        assert_log(&w, logs[place]);
        assert_got(&w, "", "");
        assert_true(w.closed);
        world_end(&w);
    }
}

static void an_abort_after_bytes_shows_no_end(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = do_nothing;
    put_request(&b, 1, KEEP, "/", "body");
    send_and_free(&w, &b);
    assert_true(fcgi_request_write(w.apps[0].request, SLICE_LITERAL("half")));
    settle(&w);
    fcgi_request_abort(w.apps[0].request);
    fcgi_request_abort(w.apps[0].request);
    settle(&w);
    assert_log(&w, "begin /;end;aborted;");
    assert_got(&w, "out;", "half");
    assert_true(w.closed);
    world_end(&w);
}

static void freeing_the_server_ends_every_request(void **state)
{
    (void)state;
    struct world w;
    int peers[4];
    world_begin(&w);
    w.on_body_end = do_nothing;
    void (*const makes[])(struct buf * b) = {make_nothing, make_begin_only, make_half_a_body, make_whole};
    for (size_t i = 0; i < TEST_COUNT(peers); i++) {
        struct buf b = new_buf();
        makes[i](&b);
        send_and_free(&w, &b);
        peers[i] = w.peer;
        w.peer = connect_to(w.listen_fd);
    }
    settle(&w);
    assert_int_equal(w.begun, 2);
    assert_int_equal(fcgi_server_connections(w.server), 5);
    buf_clear(&w.log);
    fcgi_server_free(&w.server);
    assert_log(&w, "aborted;aborted;");
    for (size_t i = 0; i < TEST_COUNT(peers); i++) {
        char byte;
        assert_int_equal(recv(peers[i], &byte, 1, MSG_DONTWAIT), 0);
        close(peers[i]);
    }
    world_end(&w);
}

/* ---- time --------------------------------------------------------------------------------------------------- */

enum { SHORT_US = 40 * CLOCK_US_PER_MS };

static void a_head_must_come_in_time(void **state)
{
    (void)state;
    void (*const makes[])(struct buf * b) = {make_half_a_header, make_begin_only};
    for (size_t i = 0; i < TEST_COUNT(makes); i++) {
        struct world w;
        struct buf b = new_buf();
        world_init(&w);
        w.limits.head_us = SHORT_US;
        world_serve(&w);
        /* Without a byte a connection may wait. */
        wait_us(&w, 3 * SHORT_US);
        assert_false(w.closed);
        makes[i](&b);
        int64_t start = clock_monotonic_us();
        send_and_free(&w, &b);
        assert_false(w.closed);
        await_closed(&w);
        assert_true(clock_monotonic_us() - start >= SHORT_US / 2);
        assert_log(&w, "");
        world_end(&w);
    }
}

static void a_drop_at_a_time_does_not_win_time(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_init(&w);
    w.limits.head_us = SHORT_US;
    world_serve(&w);
    put_head(&b, 1, KEEP, "/");
    int64_t start = clock_monotonic_us();
    for (size_t i = 0; i < b.len && !w.closed; i++) {
        peer_send(&w, slice_make(buf_data(&b) + i, 1));
        wait_us(&w, SHORT_US / 4);
    }
    assert_true(w.closed);
    assert_true(clock_monotonic_us() - start < 20 * SHORT_US);
    buf_free(&b);
    world_end(&w);
}

static void a_late_body_is_told_once(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_init(&w);
    w.limits.body_us = w.limits.head_us = SHORT_US;
    world_serve(&w);
    make_head(&b);
    for (int i = 0; i < 6; i++)
        put(&b, FCGI_RECORD_STDIN, 1, "x");
    /* A piece now and then is in time, however long the whole takes. */
    size_t head = b.len - 6 * (FCGI_RECORD_HEADER_SIZE + 1);
    peer_send(&w, slice_take(buf_slice(&b), head));
    for (struct slice rest = slice_skip(buf_slice(&b), head); rest.len > 0; rest = slice_skip(rest, 9)) {
        peer_send(&w, slice_take(rest, 9));
        wait_us(&w, SHORT_US / 2);
    }
    assert_log(&w, "begin /;");
    await_log(&w, "late;");
    wait_us(&w, 3 * SHORT_US);
    assert_log(&w, "begin /;late;");
    fcgi_request_pause_body(w.apps[0].request);
    fcgi_request_resume_body(w.apps[0].request);
    wait_us(&w, 3 * SHORT_US);
    assert_log(&w, "begin /;late;");
    buf_clear(&b);
    put(&b, FCGI_RECORD_STDIN, 1, "");
    send_and_free(&w, &b);
    assert_log(&w, "begin /;late;end;delivered;");
    wait_us(&w, 2 * SHORT_US);
    assert_false(w.closed);
    world_end(&w);
}

static void a_paused_body_is_not_late(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_init(&w);
    w.limits.body_us = SHORT_US;
    world_serve(&w);
    w.on_begin = pause_body;
    make_head(&b);
    send_and_free(&w, &b);
    wait_us(&w, 4 * SHORT_US);
    assert_log(&w, "begin /;");
    fcgi_request_resume_body(w.apps[0].request);
    assert_log(&w, "begin /;");
    await_log(&w, "late;");
    world_end(&w);
}

static void the_rest_of_a_body_is_awaited_so_long(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_init(&w);
    w.limits.drain_us = SHORT_US;
    world_serve(&w);
    w.on_begin = end_at_once;
    make_half_a_body(&b);
    send_and_free(&w, &b);
    assert_got(&w, "out;", "no");
    await_closed(&w);
    assert_got(&w, "out;end 1 0;", "no");
    assert_log(&w, "begin /;delivered;");
    world_end(&w);
}

static void a_reader_that_takes_nothing_is_left(void **state)
{
    (void)state;
    static char block[1024 * 1024];
    for (int answered = 0; answered < 2; answered++) {
        struct world w;
        struct buf b = new_buf();
        world_init(&w);
        w.limits.write_us = SHORT_US;
        world_serve(&w);
        w.on_body_end = do_nothing;
        put_request(&b, 1, KEEP, "/", "");
        send_and_free(&w, &b);
        w.reading = false;
        assert_true(fcgi_request_write(w.apps[0].request, slice_make(block, sizeof block)));
        if (answered)
            fcgi_request_end(w.apps[0].request);
        await_log(&w, "begin /;end;stalled;");
        assert_int_equal(fcgi_server_connections(w.server), 0);
        world_end(&w);
    }
}

/* ---- the server --------------------------------------------------------------------------------------------- */

static void no_more_connections_than_the_limit(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.limits.connections = 2;
    world_serve(&w);
    int others[3];
    settle(&w);
    for (size_t i = 0; i < TEST_COUNT(others); i++)
        others[i] = connect_to(w.listen_fd);
    settle(&w);
    assert_int_equal(fcgi_server_connections(w.server), 2);
    close(others[0]);
    settle(&w);
    assert_int_equal(fcgi_server_connections(w.server), 2);
    close(others[1]);
    settle(&w);
    close(others[2]);
    settle(&w);
    assert_int_equal(fcgi_server_connections(w.server), 1);
    world_end(&w);
}

static void a_server_that_stopped_finishes_what_it_has(void **state)
{
    (void)state;
    struct world w;
    struct buf b = new_buf();
    world_begin(&w);
    w.on_body_end = do_nothing;
    make_whole(&b);
    send_and_free(&w, &b);
    int idle = connect_to(w.listen_fd);
    settle(&w);
    assert_int_equal(fcgi_server_connections(w.server), 2);
    fcgi_server_stop_accepting(w.server, NULL);
    settle(&w);
    assert_int_equal(fcgi_server_connections(w.server), 1);
    char byte;
    assert_int_equal(recv(idle, &byte, 1, MSG_DONTWAIT), 0);
    close(idle);
    int late = connect_to(w.listen_fd);
    settle(&w);
    assert_int_equal(fcgi_server_connections(w.server), 1);
    close(late);
    answer(&w.apps[0], "last");
    settle(&w);
    assert_got(&w, "out;end 1 0;", "last");
    assert_true(w.closed);
    assert_int_equal(fcgi_server_connections(w.server), 0);
    world_end(&w);
}

/* What was sent on a connection before it changed its owner is not lost. */
static void idle_connections_are_handed_over(void **state)
{
    (void)state;
    struct world w, heir;
    struct handover handover;
    struct buf b = new_buf();
    assert_true(handover_open(&handover));
    world_begin(&w);
    world_begin(&heir);
    put_request(&b, 1, KEEP, "/1", "");
    send_and_free(&w, &b);
    b = new_buf();
    put_request(&b, 2, KEEP, "/2", "");
    assert_int_equal(send(w.peer, buf_data(&b), b.len, MSG_NOSIGNAL), (ssize_t)b.len);
    buf_free(&b);
    fcgi_server_stop_accepting(w.server, &handover);
    settle(&w);
    assert_int_equal(fcgi_server_connections(w.server), 0);
    assert_false(w.closed);
    int fd = handover_receive(&handover);
    assert_true(fd >= 0);
    assert_int_equal(handover_receive(&handover), -1);
    fcgi_server_adopt(heir.server, fd);
    settle(&heir);
    settle(&w);
    assert_log(&w, "begin /1;end;delivered;");
    assert_log(&heir, "begin /2;end;delivered;");
    assert_got(&w, "out;end 1 0;out;end 2 0;", "hellohello");
    assert_false(w.closed);
    handover_close(&handover);
    world_end(&heir);
    world_end(&w);
}

static void busy_connections_are_handed_over_when_they_are_idle(void **state)
{
    (void)state;
    struct world w;
    struct handover handover;
    struct buf b = new_buf();
    assert_true(handover_open(&handover));
    world_begin(&w);
    w.on_body_end = do_nothing;
    make_whole(&b);
    send_and_free(&w, &b);
    fcgi_server_stop_accepting(w.server, &handover);
    settle(&w);
    assert_int_equal(handover_receive(&handover), -1);
    answer(&w.apps[0], "hello");
    settle(&w);
    assert_log(&w, "begin /;end;delivered;");
    int fd = handover_receive(&handover);
    assert_true(fd >= 0);
    close(fd);
    settle(&w);
    assert_true(w.closed);
    handover_close(&handover);
    world_end(&w);
}

static void a_handover_that_is_closed_takes_nothing(void **state)
{
    (void)state;
    struct handover h = {-1, -1};
    assert_false(handover_send(&h, 0));
    assert_int_equal(handover_receive(&h), -1);
    handover_close(&h);
    struct world w;
    world_begin(&w);
    settle(&w);
    fcgi_server_stop_accepting(w.server, &h);
    settle(&w);
    assert_true(w.closed);
    world_end(&w);
}

/* A timer that could not be armed would never end what it is for. */
static void a_connection_without_room_for_its_timers_is_not_taken(void **state)
{
    (void)state;
    enum { ROOM = 64, HEAP = 16 * 1024 /* bytes of the next larger heap of timers */ };
    int others[ROOM + 1];
    struct world w;
    struct buf b = new_buf();
    world_init(&w);
    w.limits.timers = 6;
    world_serve(&w);
    settle(&w);
    for (size_t i = 1; i < ROOM; i++) {
        others[i] = connect_to(w.listen_fd);
        settle(&w);
    }
    assert_int_equal(fcgi_server_connections(w.server), ROOM);
    largest_block = HEAP - 1;
    others[0] = connect_to(w.listen_fd);
    settle(&w);
    assert_int_equal(recv(others[0], &(char){0}, 1, MSG_DONTWAIT), 0);
    assert_int_equal(fcgi_server_connections(w.server), ROOM);
    put_request(&b, 1, 0, "/", "x"); /* the others go on */
    send_and_free(&w, &b);
    assert_got(&w, "out;end 1 0;", "hello");
    largest_block = SIZE_MAX;
    close(others[0]);
    others[0] = connect_to(w.listen_fd); /* in the place of the one that was served */
    others[ROOM] = connect_to(w.listen_fd);
    settle(&w);
    assert_int_equal(fcgi_server_connections(w.server), ROOM + 1);
    for (size_t i = 0; i <= ROOM; i++)
        close(others[i]);
    world_end(&w);
}

static void a_server_needs_a_socket(void **state)
{
    (void)state;
    struct event_base *base = event_base_new();
    const struct fcgi_limits limits = {.connections = 1};
    assert_null(fcgi_server_new(base, -1, &app_events, &limits, NULL));
    struct fcgi_server *none = NULL;
    fcgi_server_free(&none);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_connection_in_every_phase),
        cmocka_unit_test(abort_request_in_every_phase),
        cmocka_unit_test(leaving_in_the_middle_of_an_answer),
        cmocka_unit_test(a_paused_body_holds_the_peer_back),
        cmocka_unit_test(a_pause_at_every_piece_loses_nothing),
        cmocka_unit_test(leaving_is_seen_while_paused),
        cmocka_unit_test(an_answer_before_the_body_ended),
        cmocka_unit_test(a_request_in_place_of_the_rest_of_a_body),
        cmocka_unit_test(an_answer_in_the_middle_of_the_body),
        cmocka_unit_test(an_answer_while_paused_reads_on),
        cmocka_unit_test(answers_of_every_size_arrive_whole),
        cmocka_unit_test(a_slow_reader_is_told_of_when_it_drained),
        cmocka_unit_test(drained_can_write_and_end),
        cmocka_unit_test(more_than_the_cap_is_refused),
        cmocka_unit_test(the_application_can_abort_anywhere),
        cmocka_unit_test(an_abort_after_bytes_shows_no_end),
        cmocka_unit_test(freeing_the_server_ends_every_request),
        cmocka_unit_test(a_head_must_come_in_time),
        cmocka_unit_test(a_drop_at_a_time_does_not_win_time),
        cmocka_unit_test(a_late_body_is_told_once),
        cmocka_unit_test(a_paused_body_is_not_late),
        cmocka_unit_test(the_rest_of_a_body_is_awaited_so_long),
        cmocka_unit_test(a_reader_that_takes_nothing_is_left),
        cmocka_unit_test(no_more_connections_than_the_limit),
        cmocka_unit_test(a_server_that_stopped_finishes_what_it_has),
        cmocka_unit_test(idle_connections_are_handed_over),
        cmocka_unit_test(busy_connections_are_handed_over_when_they_are_idle),
        cmocka_unit_test(a_handover_that_is_closed_takes_nothing),
        cmocka_unit_test(a_connection_without_room_for_its_timers_is_not_taken),
        cmocka_unit_test(a_server_needs_a_socket),
    };
    event_set_mem_functions(get, get_again, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
