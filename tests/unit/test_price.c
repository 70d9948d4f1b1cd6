/* PRICES from its text to the cost of a request; the search is compared with looking at every row. */
#include "test.h"

#include "sluice/price.h"

#include <stdio.h>
#include <stdlib.h>

enum { RANDOM_TABLES = 300, RANDOM_NAMES = 200, TEXT_SIZE = 512 * 1024 };

struct loaded {
    struct config config;
    struct config_report report;
    struct buf text; /* of the report */
    bool ok;
};

static void load(struct loaded *l, const char *prices)
{
    char *variable = malloc(TEXT_SIZE);
    snprintf(variable, TEXT_SIZE, "PRICES=%s", prices);
    const char *const environment[] = {"OPENAI_API_KEY=sk-up", "CLIENT_API_KEYS=one", variable, NULL};
    config_report_init(&l->report);
    buf_init(&l->text, 100000);
    l->ok = config_load(&l->config, &(struct config_input){.environment = environment, .env_file = ""}, &l->report);
    assert_true(config_report_write(&l->report, &l->text));
    free(variable);
}

static void unload(struct loaded *l)
{
    config_report_free(&l->report);
    config_free(&l->config);
    buf_free(&l->text);
}

static void load_good(struct loaded *l, const char *prices)
{
    load(l, prices);
    if (!l->ok)
        fail_msg("%s: %s", prices, buf_text(&l->text));
}

/* The input price of a model in millionths; -1: none. */
static int64_t input_of(const struct loaded *l, const char *model)
{
    const struct config_price *p = price_find(&l->config.prices, slice_from_text(model));
    return p ? p->input : -1;
}

static void whole_names_beat_beginnings_and_the_longest_counts(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        int64_t input;
    } cases[] = {
        {"gpt-4o", 1000000},           {"gpt-4o-2024-08-06", 2000000}, {"gpt-4o-mini", 3000000},
        {"gpt-4o-mini-2024", 3000000}, {"gpt-4o-mi", 2000000},         {"gpt-4oa", 2000000},
        {"gpt-4", -1},                 {"gpt-5", -1},                  {"", -1},
        {"GPT-4o", -1},                {"text-embedding-3-small", 4000000}, {"text-embedding-3-small-2", -1},
        {"gpt-4o-miniature", 3000000}, {"gpt-4o-minx", 2000000},       {"zzz", -1},
    };
    struct loaded l;
    load_good(&l, "{\"gpt-4o-mini*\": {\"input\": 3, \"output\": 0}, \"gpt-4o\": {\"input\": 1, \"output\": 0},"
                  "\"text-embedding-3-small\": {\"input\": 4, \"output\": 0}, \"gpt-4o*\": {\"input\": 2, \"output\": 0},"
                  "\"gpt-4o-min\": {\"input\": 9, \"output\": 0}}");
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        if (input_of(&l, cases[i].model) != cases[i].input)
            fail_msg("%s: %lld", cases[i].model, (long long)input_of(&l, cases[i].model));
    assert_null(price_find(&l.config.prices, SLICE_LITERAL("\0gpt-4o")));
    assert_non_null(price_find(&l.config.prices, SLICE_LITERAL("gpt-4o\0x")));
    unload(&l);
    load_good(&l, "{\"*\": {\"input\": 7, \"output\": 0}, \"a*\": {\"input\": 8, \"output\": 0}}");
    assert_int_equal(input_of(&l, "a"), 8000000);
    assert_int_equal(input_of(&l, "b"), 7000000);
    assert_int_equal(input_of(&l, ""), -1);
    unload(&l);
    load_good(&l, "");
    assert_int_equal(l.config.prices.count, 0);
    assert_int_equal(input_of(&l, "a"), -1);
    unload(&l);
}

static void random_name(char *to, size_t max)
{
    size_t len = (size_t)rand() % (max + 1);
    for (size_t i = 0; i < len; i++)
        to[i] = "abc"[rand() % 3];
    to[len] = '\0';
}

/* By looking at all of them. */
static const struct config_price *find_slowly(const struct config_prices *prices, const char *model)
{
    const struct config_price *best = NULL;
    for (size_t i = 0; i < prices->whole; i++)
        if (strcmp(prices->items[i].model, model) == 0)
            return &prices->items[i];
    for (size_t i = prices->whole; i < prices->count; i++) {
        size_t len = strlen(prices->items[i].model);
        if (strncmp(prices->items[i].model, model, len) == 0 && (!best || len > strlen(best->model)))
            best = &prices->items[i];
    }
    return *model ? best : NULL;
}

/* A legal table of names of few letters, so that many begin others; repeats are left out. */
static size_t random_table(struct buf *text)
{
    char seen[24][8];
    size_t count = 0;
    buf_clear(text);
    buf_append_char(text, '{');
    while (count < 24 && rand() % 16 != 0) {
        char name[8];
        size_t repeats = 0;
        random_name(name, 5);
        if (rand() % 3 != 0 || !*name)
            strcat(name, "*");
        for (size_t i = 0; i < count; i++)
            repeats += strcmp(seen[i], name) == 0;
        if (repeats > 0)
            continue;
        buf_printf(text, "%s\"%s\": {\"input\": %zu, \"output\": 1}", count > 0 ? "," : "", name, count);
        strcpy(seen[count++], name);
    }
    buf_append_char(text, '}');
    return count;
}

static void the_search_finds_what_looking_at_all_finds(void **state)
{
    (void)state;
    struct buf text;
    size_t found = 0;
    buf_init(&text, TEXT_SIZE);
    srand(20);
    for (int i = 0; i < RANDOM_TABLES; i++) {
        struct loaded l;
        size_t count = random_table(&text);
        load_good(&l, buf_text(&text));
        assert_int_equal(l.config.prices.count, count);
        for (int j = 0; j < RANDOM_NAMES; j++) {
            char model[8];
            random_name(model, 7);
            const struct config_price *p = price_find(&l.config.prices, slice_from_text(model));
            if (p != find_slowly(&l.config.prices, model))
                fail_msg("%s in %s: %s", model, buf_text(&text), p ? p->model : "none");
            found += p != NULL;
        }
        unload(&l);
    }
    assert_true(found > RANDOM_TABLES);
    buf_free(&text);
}

static void prices_are_exact(void **state)
{
    (void)state;
    struct loaded l;
    load_good(&l, "{\"a\": {\"input\": 0.000001, \"output\": 100000, \"cached_input\": 0}, \"b\": {\"output\": 0.1, \"input\": "
                  "2.50}, \"c\": {\"input\": 1e2, \"output\": 99999.999999}}");
    const struct config_price *p = l.config.prices.items;
    assert_int_equal(p[0].input, 1);
    assert_int_equal(p[0].cached_input, 0);
    assert_int_equal(p[0].output, CONFIG_PRICE_MAX);
    assert_int_equal(p[1].input, 2500000);
    assert_int_equal(p[1].cached_input, 2500000); /* as input */
    assert_int_equal(p[1].output, 100000);
    assert_int_equal(p[2].input, 100000000);
    assert_int_equal(p[2].output, INT64_C(99999999999));
    struct buf printed;
    buf_init(&printed, 100000);
    assert_true(config_print(&l.config, &printed));
    assert_non_null(strstr(buf_text(&printed),
                           "\nPRICES={\"a\": {\"input\": 0.000001, \"cached_input\": 0, \"output\": 100000}, "
                           "\"b\": {\"input\": 2.5, \"cached_input\": 2.5, \"output\": 0.1}, "
                           "\"c\": {\"input\": 100, \"cached_input\": 100, \"output\": 99999.999999}}\n"));
    buf_free(&printed);
    unload(&l);
}

static void a_cost_is_counted_in_nano_usd(void **state)
{
    (void)state;
    const struct config_price price = {"m", 2500000, 1250000, 10000000}; /* 2.50, 1.25 and 10 USD */
    const struct config_price least = {"m", 1, 1, 1}, most = {"m", CONFIG_PRICE_MAX, 0, CONFIG_PRICE_MAX};
    const struct {
        const struct config_price *price;
        struct usage usage;
        uint64_t nano_usd;
    } cases[] = {
        {&price, {.input_tokens = 1000000}, 2500000000},
        {&price, {.input_tokens = 1000000, .cached_tokens = 400000, .output_tokens = 100000}, UINT64_C(3000000000)},
        {&price, {.input_tokens = 1, .output_tokens = 1, .reasoning_tokens = 1}, 12500},
        {&price, {.input_tokens = 10, .cached_tokens = 99}, 12500},   /* no more than the input */
        {&price, {.input_tokens = 10, .cached_tokens = -99}, 25000},
        {&price, {.input_tokens = -10, .cached_tokens = 5, .output_tokens = -1}, 0},
        {&price, {.total_tokens = 500}, 0},
        {&least, {.input_tokens = 499}, 0},
        {&least, {.input_tokens = 500}, 1},                           /* to the nearest */
        {&least, {.input_tokens = 1499, .output_tokens = 1}, 2},
        {&least, {.input_tokens = INT64_MAX}, 9223372036854776},
        {&most, {.input_tokens = INT64_MAX}, UINT64_MAX / 1000 + 1},
        {&most, {.input_tokens = 180000000, .output_tokens = 180000000}, UINT64_MAX / 1000 + 1},
        {&most, {.input_tokens = 100000000}, 10000000 * UINT64_C(1000000000)},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        uint64_t cost = price_cost(cases[i].price, &cases[i].usage);
        if (cost != cases[i].nano_usd)
            fail_msg("case %zu: %llu", i, (unsigned long long)cost);
    }
}

static void mistakes_are_told(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{", "the value is not JSON"},
        {"[]", "the value is JSON, but not an object"},
        {"{\"m\": 5}", "the value of \"m\" is not an object"},
        {"{\"m\": {}}", "the prices of \"m\" have no \"input\""},
        {"{\"m\": {\"input\": 1}}", "the prices of \"m\" have no \"output\""},
        {"{\"m\": {\"input\": 1, \"output\": 1, \"per\": 3}}", "the prices of \"m\" have an unknown member"},
        {"{\"m*\": {\"input\": \"1\", \"output\": 1}}", "the input of \"m*\" is not a number"},
        {"{\"m\": {\"input\": -0.1, \"output\": 1}}", "the input of \"m\" is not from 0 to 100000"},
        {"{\"m\": {\"input\": 1, \"output\": 100000.000001}}", "the output of \"m\" is not from 0 to 100000"},
        {"{\"m\": {\"input\": 1, \"output\": 1e300}}", "the output of \"m\" is not from 0 to 100000"},
        {"{\"m\": {\"input\": 1, \"output\": 1e999}}", "a number is too large"},
        {"{\"m\": {\"input\": 1, \"output\": 1, \"cached_input\": 0.0000001}}",
         "the cached_input of \"m\" has more than six decimals"},
        {"{\"\": {\"input\": 1, \"output\": 1}}", "the name of model 1 is empty"},
        {"{\"a*b\": {\"input\": 1, \"output\": 1}}", "the name of model 1 has a * that is not at its end"},
        {"{\"a**\": {\"input\": 1, \"output\": 1}}", "the name of model 1 has a * that is not at its end"},
        {"{\"a b\": {\"input\": 1, \"output\": 1}}", "the name of model 1 has another character than letters"},
        {"{\"\xC3\xA9\": {\"input\": 1, \"output\": 1}}", "the name of model 1 has another character than letters"},
        {"{\"a\": {\"input\": 1, \"output\": 1}, \"a\": {\"input\": 1, \"output\": 1}}", "stands twice"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct loaded l;
        load(&l, cases[i][0]);
        const char *text = buf_text(&l.text);
        if (l.ok || !strstr(text, cases[i][1]) || !strstr(text, "error: PRICES: \"") || !strstr(text, "allowed: a JSON object"))
            fail_msg("%s: expected \"%s\" in:\n%s", cases[i][0], cases[i][1], text);
        unload(&l);
    }
}

/* count models of names of len letters. */
static void put_models(struct buf *text, int count, int len)
{
    buf_clear(text);
    for (int i = 0; i < count; i++)
        buf_printf(text, "%c\"%0*d*\": {\"input\": 1, \"output\": 99999.999999}", i > 0 ? ',' : '{', len, i);
    buf_append_char(text, '}');
}

static void caps_hold(void **state)
{
    (void)state;
    struct buf text, printed;
    struct loaded l;
    buf_init(&text, TEXT_SIZE);
    put_models(&text, CONFIG_PRICES_MAX + 1, 5);
    load(&l, buf_text(&text));
    assert_false(l.ok);
    assert_non_null(strstr(buf_text(&l.text), "there are 1025 models"));
    unload(&l);
    put_models(&text, 1, CONFIG_PRICE_MODEL_MAX + 1);
    load(&l, buf_text(&text));
    assert_false(l.ok);
    assert_non_null(strstr(buf_text(&l.text), "the name of model 1 is longer than 128 bytes"));
    unload(&l);
    put_models(&text, CONFIG_PRICES_MAX, CONFIG_PRICE_MODEL_MAX);
    load_good(&l, buf_text(&text));
    assert_int_equal(l.config.prices.count, CONFIG_PRICES_MAX);
    buf_init(&printed, 1024 * 1024); /* as the programme has it */
    assert_true(config_print(&l.config, &printed));
    buf_free(&printed);
    unload(&l);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_names_beat_beginnings_and_the_longest_counts),
        cmocka_unit_test(the_search_finds_what_looking_at_all_finds),
        cmocka_unit_test(prices_are_exact),
        cmocka_unit_test(a_cost_is_counted_in_nano_usd),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(caps_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
