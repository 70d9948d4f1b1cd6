/* The .env grammar: a table of good lines, a table of bad ones, and the caps. */
#include "test.h"

#include "sluice/buf.h"
#include "sluice/dotenv.h"

#include <stdlib.h>

/* What the parser said, as text: `line NAME=[value]` or `line !message`, each ending in a semicolon. */
static void note_entry(void *arg, size_t line, struct slice name, struct slice value)
{
    struct buf *b = arg;
    assert_true(buf_printf(b, "%zu %.*s=[%.*s];", line, (int)name.len, name.ptr, (int)value.len,
                           value.ptr ? value.ptr : ""));
}

static void note_error(void *arg, size_t line, const char *message)
{
    assert_non_null(message);
    assert_true(buf_printf(arg, "%zu !%s;", line, message));
}

static bool parse(struct slice text, struct buf *b)
{
    const struct dotenv_sink sink = {b, note_entry, note_error};
    buf_init(b, 2 * (size_t)DOTENV_FILE_MAX);
    return dotenv_parse(text, &sink);
}

static void good_files(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"\n\r\n  \n\t\n", ""},
        {"# comment\n   # another\n", ""},
        {"A=b", "1 A=[b];"},
        {"A=b\n", "1 A=[b];"},
        {"A=b\r\nC=d\r\n", "1 A=[b];2 C=[d];"},
        {"A=b\r", "1 A=[b];"},
        {"\r\nA=1\r\n\r\n", "2 A=[1];"},
        {"\xEF\xBB\xBF"
         "A=b\n",
         "1 A=[b];"},
        {"  A  =  b  \n", "1 A=[b];"},
        {"\tA\t=\tb\t", "1 A=[b];"},
        {"_a.b-9=x", "1 _a.b-9=[x];"},
        /* export */
        {"export A=b", "1 A=[b];"},
        {"  export \t A = b", "1 A=[b];"},
        {"export=b", "1 export=[b];"},
        {"export =b", "1 export=[b];"},
        {"exported=b", "1 exported=[b];"},
        /* empty values */
        {"A=", "1 A=[];"},
        {"A=\nB=\r\nC=   \n", "1 A=[];2 B=[];3 C=[];"},
        {"A=''\nB=\"\"", "1 A=[];2 B=[];"},
        /* unquoted values */
        {"A=b=c==d", "1 A=[b=c==d];"},
        {"A=b c  d", "1 A=[b c  d];"},
        {"A=b # comment", "1 A=[b];"},
        {"A=b\t# comment", "1 A=[b];"},
        {"A=b#c", "1 A=[b#c];"},
        {"A=b#c #d #e", "1 A=[b#c];"},
        {"A=#b", "1 A=[#b];"},
        {"A= # comment", "1 A=[];"},
        {"A=it's", "1 A=[it's];"},
        {"A=a\"b\"c", "1 A=[a\"b\"c];"},
        {"A=C:\\new\\table", "1 A=[C:\\new\\table];"},
        {"A=$HOME ${B}", "1 A=[$HOME ${B}];"},
        {"A=http://h/p?x=1&y#frag", "1 A=[http://h/p?x=1&y#frag];"},
        {"A=\xff\xfe", "1 A=[\xff\xfe];"},
        /* single quotes */
        {"A='b # c \\n \"d\" $e'", "1 A=[b # c \\n \"d\" $e];"},
        {"A='  b  ' # comment", "1 A=[  b  ];"},
        {"A='b'# comment", "1 A=[b];"},
        {"A = 'b'\t", "1 A=[b];"},
        {"A='b'\r\nC=d", "1 A=[b];2 C=[d];"},
        /* double quotes */
        {"A=\"b # c\"", "1 A=[b # c];"},
        {"A=\"a\\nb\\tc\\rd\"", "1 A=[a\nb\tc\rd];"},
        {"A=\"\\\"q\\\" \\\\ \\$x\"", "1 A=[\"q\" \\ $x];"},
        {"A=\"C:\\dir\\'x\"", "1 A=[C:\\dir\\'x];"},
        {"A=\"it's\" # comment \"", "1 A=[it's];"},
        {"A=\"\\\\\"", "1 A=[\\];"},
        /* several lines */
        {"A='b\nc\n'\nD=e", "1 A=[b\nc\n];4 D=[e];"},
        {"A=\"b\r\nc\"\r\nD=e", "1 A=[b\nc];3 D=[e];"},
        {"A=\"b\\\nc\"", "1 A=[b\\\nc];"},
        {"A=\"x\n# no comment\nB=no entry\"", "1 A=[x\n# no comment\nB=no entry];"},
        /* JSON */
        {"M={\"a\": \"b\", \"c\": \"d\"}", "1 M=[{\"a\": \"b\", \"c\": \"d\"}];"},
        {"M={\"a\": \"b # c\"} # comment", "1 M=[{\"a\": \"b # c\"}];"},
        {"M= {\"a\": \"\\\" # b\"}\t#c\r\n", "1 M=[{\"a\": \"\\\" # b\"}];"},
        {"M={\"a\": \"b # c", "1 M=[{\"a\": \"b # c];"},
        {"M=[1, 2] # list", "1 M=[[1, 2]];"},
        {"M='{\"a\": \"b\"}'", "1 M=[{\"a\": \"b\"}];"},
        {"M=\"{\\\"a\\\": \\\"b\\\"}\"", "1 M=[{\"a\": \"b\"}];"},
        {"M='{\n  \"a\": \"b\"\n}'", "1 M=[{\n  \"a\": \"b\"\n}];"},
        /* the same name twice: the reader decides */
        {"A=1\nA=2", "1 A=[1];2 A=[2];"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct buf said;
        bool ok = parse(slice_from_text(cases[i][0]), &said);
        assert_string_equal(buf_text(&said), cases[i][1]);
        assert_true(ok);
        buf_free(&said);
    }
}

static void bad_files(void **state)
{
    (void)state;
    /* Each text, a phrase of the expected message with its line, and what is still read after it. */
    static const char *const cases[][3] = {
        {"A", "1 !there is no =", ""},
        {"export A\nB=1", "1 !there is no =", "2 B=[1];"},
        {"A b=c", "1 !there is no =", ""},
        {"=b", "1 !this is not NAME=value", ""},
        {"1A=b", "1 !this is not NAME=value", ""},
        {"-A=b", "1 !this is not NAME=value", ""},
        {"\n\n{}\nB=1", "3 !this is not NAME=value", "4 B=[1];"},
        {"A=b\n'C'=d\nE=f", "2 !this is not NAME=value", "3 E=[f];"},
        {"A='b", "1 !the quote that opens here is never closed", ""},
        {"A=\"b\\\"", "1 !the quote that opens here is never closed", ""},
        {"A=\"", "1 !the quote that opens here is never closed", ""},
        {"A='b\nC=d\nE='f\n", "3 !there is text after the closing quote", ""},
        {"A='b\nC=d\n", "1 !the quote that opens here is never closed", "2 C=[d];"},
        {"A='b\nC=\"d\n", "2 !the quote that opens here is never closed", ""},
        {"A='b'c", "1 !there is text after the closing quote", ""},
        {"M=\"{\"a\": \"b\"}\"\nC=d", "1 !there is text after the closing quote", "2 C=[d];"},
        {"A='x\ny' z\nB=1", "2 !there is text after the closing quote", "3 B=[1];"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct buf said;
        assert_false(parse(slice_from_text(cases[i][0]), &said));
        assert_non_null(strstr(buf_text(&said), cases[i][1]));
        assert_non_null(strstr(buf_text(&said), cases[i][2]));
        buf_free(&said);
    }
}

static void a_nul_byte_is_an_error(void **state)
{
    (void)state;
    static const struct slice cases[] = {
        SLICE_LITERAL("A=b\0c"), SLICE_LITERAL("A='b\0c'"), SLICE_LITERAL("A=\"\\\0\""),
        SLICE_LITERAL("A\0=b"),  SLICE_LITERAL("\0"),
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct buf said;
        assert_false(parse(cases[i], &said));
        assert_memory_equal(buf_text(&said), "1 !", 3);
        buf_free(&said);
    }
}

static void every_mistake_is_reported(void **state)
{
    (void)state;
    struct buf said;
    assert_false(parse(SLICE_LITERAL("one\nA=1\ntwo\n3=x\nB='y' z\nC=2\n"), &said));
    const char *text = buf_text(&said);
    static const char *const expected[] = {"1 !", "2 A=[1];", "3 !", "4 !", "5 !", "6 C=[2];"};
    for (size_t i = 0; i < TEST_COUNT(expected); i++) {
        text = strstr(text, expected[i]);
        assert_non_null(text);
    }
    buf_free(&said);
}

/* No message may quote the file: it holds secrets. */
static void messages_hold_no_text_of_the_file(void **state)
{
    (void)state;
    struct buf said;
    assert_false(parse(SLICE_LITERAL("hunter2\nhunter2 =\n=hunter2\nA='x'hunter2\nB=\"hunter2"), &said));
    assert_null(strstr(buf_text(&said), "hunter2;"));
    assert_null(strstr(buf_text(&said), "hunter2 "));
    buf_free(&said);
}

/* before, n times c, after; the caller frees ptr. */
static struct slice repeat(const char *before, char c, size_t n, const char *after)
{
    size_t len = strlen(before) + n + strlen(after);
    char *text = malloc(len + 1);
    assert_non_null(text);
    strcpy(text, before);
    memset(text + strlen(before), c, n);
    strcpy(text + strlen(before) + n, after);
    return slice_make(text, len);
}

static void assert_cap(const char *before, char c, size_t n, const char *after, bool ok)
{
    struct slice text = repeat(before, c, n, after);
    struct buf said;
    assert_int_equal(parse(text, &said), ok);
    if (ok)
        assert_null(strchr(buf_text(&said), '!'));
    buf_free(&said);
    free((void *)(uintptr_t)text.ptr);
}

static void caps_are_exact(void **state)
{
    (void)state;
    assert_cap("", 'N', DOTENV_NAME_MAX, "=x", true);
    assert_cap("", 'N', DOTENV_NAME_MAX + 1, "=x", false);
    assert_cap("A=", 'v', DOTENV_VALUE_MAX, "", true);
    assert_cap("A=", 'v', DOTENV_VALUE_MAX + 1, "", false);
    assert_cap("A='", 'v', DOTENV_VALUE_MAX, "'", true);
    assert_cap("A='", 'v', DOTENV_VALUE_MAX + 1, "'", false);
    assert_cap("A=\"", '\n', DOTENV_VALUE_MAX, "\"", true);
    assert_cap("A=\"", '\\', 2 * DOTENV_VALUE_MAX, "\"", true);
    assert_cap("A=\"", '\\', 2 * DOTENV_VALUE_MAX + 2, "\"", false);
    assert_cap("#", 'x', DOTENV_FILE_MAX - 1, "", true);
    assert_cap("#", 'x', DOTENV_FILE_MAX, "", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(a_nul_byte_is_an_error),
        cmocka_unit_test(every_mistake_is_reported),
        cmocka_unit_test(messages_hold_no_text_of_the_file),
        cmocka_unit_test(caps_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
