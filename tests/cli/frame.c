/* frame.c - what the subcommands share: options, messages, nearest names, tables. */
#include "command.h"

#include "cli/private.h"
#include "cli/problem.h"

#include <math.h>

/* One call of a made-up subcommand, with what it printed. */
typedef struct call {
    cli c;
    char *out, *err;
    size_t out_size, err_size;
    bool flag;
    const char *text;
    cli_texts texts;
    int64_t n, any;
    double x;
    int choice;
    bool go_on;
    int code;
} call;

static void parse(call *t, int argc, const char *const *argv) {
    *t = (call){.c = {.name = "try", .summary = "tries", .argc = argc, .argv = argv},
                .n = 7,
                .x = .5,
                .choice = 2};
    t->c.out = open_memstream(&t->out, &t->out_size);
    t->c.err = open_memstream(&t->err, &t->err_size);
    const cli_option inner[] = {
        {"real", 'x', CLI_REAL, &t->x, .value = "X", .help = "a real", .low = 0, .high = 1},
        {.kind = CLI_END}};
    const cli_option options[] = {
        {"flag", 'f', CLI_FLAG, &t->flag, .help = "a flag"},
        {"text", 0, CLI_TEXT, &t->text, .value = "TEXT", .help = "a text"},
        {"also", 0, CLI_TEXTS, &t->texts, .value = "TEXT", .help = "texts"},
        {"count", 'n', CLI_INT, &t->n, .value = "N", .help = "a count", .low = 1, .high = 100},
        {"any", 0, CLI_INT, &t->any, .value = "N", .help = "any integer"},
        {"oracle", 0, CLI_CHOICE, &t->choice, .help = "which", .choices = "fp64|certified|mpfr"},
        {.kind = CLI_GROUP, .group = inner, .help = "More:"},
        {.kind = CLI_END}};
    const cli_help help = {.operands = "FILE...", .notes = "Notes.\n", .least = 1, .most = 2};
    t->go_on = cli_parse(&t->c, &help, options, &t->code);
    (void)fflush(t->c.out);
    (void)fflush(t->c.err);
}

static void drop(call *t) {
    cli_free_texts(&t->c);
    (void)fclose(t->c.out);
    (void)fclose(t->c.err);
    free(t->out);
    free(t->err);
}

#define PARSE(t, ...) parse(t, ARGUMENTS(__VA_ARGS__))

static void test_options_reach_their_targets(void **state) {
    (void)state;
    const int64_t live = gka_alloc_live();
    call t;
    PARSE(&t, "try", "-f", "--text", "b", "a.st", "--also=1", "--also=2", "-n", "3",
          "--any=-9223372036854775808", "--oracle=certified", "--real=.25", "--", "--b.st");
    assert_true(t.go_on && t.flag);
    assert_string_equal(t.text, "b");
    assert_int_equal(t.texts.count, 2);
    assert_string_equal(t.texts.text[0], "1");
    assert_string_equal(t.texts.text[1], "2");
    assert_int_equal(t.n, 3);
    assert_true(t.any == INT64_MIN);
    assert_int_equal(t.choice, 1);
    assert_true(bits_of(t.x) == bits_of(.25));
    assert_int_equal(t.c.operand_count, 2);
    assert_string_equal(t.c.operands[0], "a.st");
    assert_string_equal(t.c.operands[1], "--b.st");
    assert_int_equal(t.err_size, 0);
    drop(&t);
    assert_int_equal(gka_alloc_live(), live);
}

static void test_defaults_stay(void **state) {
    (void)state;
    call t;
    PARSE(&t, "try", "a");
    assert_true(t.go_on && !t.flag && t.text == NULL && t.texts.count == 0);
    assert_int_equal(t.n, 7);
    assert_int_equal(t.choice, 2);
    drop(&t);
}

/* Each bad line: one argument and the one line it must give. */
static void test_bad_lines(void **state) {
    (void)state;
    static const struct {
        const char *argument, *line;
    } bad[] = {
        {"--fleg", "gka try: no option '--fleg' (did you mean '--flag'?)\n"},
        {"--zzzzzz", "gka try: no option '--zzzzzz'; `gka try --help` lists the options\n"},
        {"-z", "gka try: no option '-z'; `gka try --help` lists the options\n"},
        {"--flag=1", "gka try: --flag takes no value\n"},
        {"--count", "gka try: --count: expected a value\n"},
        {"--count=x", "gka try: --count=x: expected an integer from 1 to 100\n"},
        {"--count=0", "gka try: --count=0: expected an integer from 1 to 100\n"},
        {"--count=3.5", "gka try: --count=3.5: expected an integer from 1 to 100\n"},
        {"--count=", "gka try: --count=: expected an integer from 1 to 100\n"},
        {"--count=99999999999999999999",
         "gka try: --count=99999999999999999999: expected an integer from 1 to 100\n"},
        {"--any=9223372036854775808", "gka try: --any=9223372036854775808: expected an integer\n"},
        {"--any=1e3", "gka try: --any=1e3: expected an integer\n"},
        {"--real=nan", "gka try: --real=nan: expected a number from 0 to 1\n"},
        {"--real=1e999", "gka try: --real=1e999: expected a number from 0 to 1\n"},
        {"--real=2", "gka try: --real=2: expected a number from 0 to 1\n"},
        {"--oracle=fp46", "gka try: --oracle=fp46: expected one of fp64|certified|mpfr (did you "
                          "mean 'fp64'?)\n"},
        {"--oracle=fp", "gka try: --oracle=fp: expected one of fp64|certified|mpfr\n"},
        {"--text=\n", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        call t;
        PARSE(&t, "try", "a", bad[i].argument);
        if (bad[i].line != NULL) {
            assert_string_equal(t.err, bad[i].line);
            assert_false(t.go_on);
            assert_int_equal(t.code, 2);
        } else {
            assert_true(t.go_on);
        }
        assert_int_equal(t.out_size, 0);
        drop(&t);
    }
}

static void test_operand_counts(void **state) {
    (void)state;
    call t;
    PARSE(&t, "try");
    assert_string_equal(t.err, "gka try: expected FILE...; `gka try --help` says more\n");
    assert_int_equal(t.code, 2);
    drop(&t);
    PARSE(&t, "try", "a", "b", "c");
    assert_string_equal(t.err,
                        "gka try: 'c' is one operand too many; `gka try --help` says more\n");
    assert_int_equal(t.code, 2);
    drop(&t);
}

static void test_help(void **state) {
    (void)state;
    call t;
    PARSE(&t, "try", "--help");
    assert_false(t.go_on);
    assert_int_equal(t.code, 0);
    assert_int_equal(t.err_size, 0);
    assert_string_equal(t.out, "gka try - tries\n"
                               "\n"
                               "Usage: gka try [OPTION...] FILE...\n"
                               "  -h, --help                           print this text\n"
                               "  -f, --flag                           a flag\n"
                               "      --text=TEXT                      a text\n"
                               "      --also=TEXT                      texts\n"
                               "  -n, --count=N                        a count\n"
                               "      --any=N                          any integer\n"
                               "      --oracle=fp64|certified|mpfr     which\n"
                               "\n"
                               "More:\n"
                               "  -x, --real=X                         a real\n"
                               "\n"
                               "Notes.\n");
    drop(&t);
}

static gka_status parse_once(void *context) {
    (void)context;
    call t;
    PARSE(&t, "try", "--text=a", "--also=1", "--also=2", "b", "c");
    if (!t.go_on) {
        assert_int_equal(t.code, 3);
        assert_string_equal(t.err, "gka try: out of memory\n");
    }
    drop(&t);
    return t.go_on ? GKA_OK : GKA_OUT_OF_MEMORY;
}

static void test_parse_survives_failing_allocations(void **state) {
    (void)state;
    assert_true(allocations_fail(parse_once, NULL) >= 8);
}

static void test_nearest(void **state) {
    (void)state;
    static const char *const names[] = {"verify", "formats", "solve"};
    static const struct {
        const char *word, *hint;
    } cases[] = {{"verfy", " (did you mean 'verify'?)"},
                 {"evrify", " (did you mean 'verify'?)"},
                 {"format", " (did you mean 'formats'?)"},
                 {"sovel", " (did you mean 'solve'?)"},
                 {"xyz", ""},
                 {"", ""},
                 {"verifyverify", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cli_nearest nearest = cli_nearest_to(cases[i].word);
        for (size_t j = 0; j < sizeof names / sizeof *names; j++)
            cli_nearest_try(&nearest, names[j]);
        char hint[96];
        assert_string_equal(cli_nearest_hint(&nearest, hint), cases[i].hint);
    }
}

static void test_table(void **state) {
    (void)state;
    static const char *const headings[] = {"<name", "error", "<rule"};
    const int64_t live = gka_alloc_live();
    for (int64_t n = 0, asked = 1; n <= asked; n++) {
        char *text = NULL;
        size_t size;
        FILE *const out = open_memstream(&text, &size);
        cli_table table;
        gka_alloc_fail_at(n < asked ? n : -1, false);
        cli_table_start(&table, headings, 3);
        const double numbers[] = {0.00255, 0, NAN, -INFINITY, -1e300};
        for (int i = 0; i < 5; i++) {
            cli_cell(&table, "row%d", i);
            cli_cell_real(&table, numbers[i]);
            cli_cell(&table, "r");
        }
        const gka_status status = cli_table_print(&table, out);
        const int64_t allocations = gka_alloc_fail_at(-1, false);
        (void)fclose(out);
        assert_int_equal(gka_alloc_live(), live);
        assert_int_equal(status, n < asked ? GKA_OUT_OF_MEMORY : GKA_OK);
        assert_string_equal(text, n < asked ? ""
                                            : "name       error  rule\n"
                                              "row0    2.55e-03  r\n"
                                              "row1           0  r\n"
                                              "row2         NaN  r\n"
                                              "row3        -Inf  r\n"
                                              "row4  -1.00e+300  r\n");
        free(text);
        if (n == 0)
            asked = 17; /* 15 cells, their array, the widths */
        else if (n == asked)
            assert_int_equal(allocations, asked);
    }
}

/* ---- the problem options ------------------------------------------------------------------- */

/* The problem of one command line; false: code and text of the failure. */
static bool open_problem(cli_problem *p, int *code, char text[512], int argc,
                         const char *const *argv) {
    char *err_text = NULL;
    size_t size;
    cli c = {.name = "try", .summary = "tries", .argc = argc, .argv = argv};
    c.out = c.err = open_memstream(&err_text, &size);
    cli_json_start();
    cli_problem_start(p);
    const cli_help help = {.operands = "[FILE]", .least = 0, .most = 1};
    const cli_option options[] = {{.kind = CLI_GROUP, .group = p->options, .help = "Problem:"},
                                  {.kind = CLI_END}};
    if (cli_parse(&c, &help, options, code))
        *code = cli_problem_open(&c, p, c.operand_count > 0 ? c.operands[0] : NULL);
    (void)fclose(c.err);
    (void)snprintf(text, 512, "%s", err_text);
    free(err_text);
    cli_free_texts(&c);
    return *code == 0;
}

#define OPEN(p, code, text, ...) open_problem(p, code, text, ARGUMENTS(__VA_ARGS__))

#define D64 GKA_TEST_DATA "/h100/d64.safetensors"

static void test_problem_made_up(void **state) {
    (void)state;
    const int64_t live = gka_alloc_live();
    cli_problem p;
    int code;
    char text[512];
    assert_true(OPEN(&p, &code, text, "try", "--problem=repeat", "--gate=none", "--T=5", "--H=4",
                     "--G=2", "--D=3", "--V=2", "--dtype=F32", "--ridge=.5", "--iters=7",
                     "--chunk=2", "--seed=9", "--h0"));
    const gka_problem *const q = &p.problem;
    assert_true(q->B == 1 && q->T == 5 && q->H == 4 && q->G == 2 && q->D == 3 && q->V == 2);
    assert_true(bits_of(q->ridge_ratio) == bits_of(.5) && q->num_iter == 7 && q->chunk_size == 2);
    assert_true(q->g.data == NULL && q->h0.data != NULL && q->alpha.data != NULL &&
                q->dx.data != NULL && q->q.dtype == GKA_F32);
    cli_problem_close(&p);
    assert_true(OPEN(&p, &code, text, "try", "--plain", "--T=2", "--V=0"));
    assert_true(q->alpha.data == NULL && q->g.data == NULL && q->v.data == NULL && q->D == 128 &&
                q->q.dtype == GKA_BF16 && q->num_iter == 30);
    cli_problem_close(&p);
    assert_int_equal(gka_alloc_live(), live);
}

/* Each word of a choice is the library's name of the enum value it stands for. */
static void test_problem_choices(void **state) {
    (void)state;
    cli_problem p;
    cli_problem_start(&p);
    char words[128], *rest = NULL;
    (void)snprintf(words, sizeof words, "%s", p.options[0].choices);
    int i = 0;
    for (char *w = strtok_r(words, "|", &rest); w != NULL; w = strtok_r(NULL, "|", &rest))
        assert_int_equal(gka_keys_find(w), i++);
    assert_null(gka_keys_name((gka_keys)i));
    (void)snprintf(words, sizeof words, "%s", p.options[1].choices);
    i = 0;
    for (char *w = strtok_r(words, "|", &rest); w != NULL; w = strtok_r(NULL, "|", &rest))
        assert_int_equal(gka_gate_find(w), i++);
    assert_null(gka_gate_name((gka_gate)i));
    (void)snprintf(words, sizeof words, "%s", p.options[8].choices);
    i = 0;
    for (char *w = strtok_r(words, "|", &rest); w != NULL; w = strtok_r(NULL, "|", &rest))
        assert_string_equal(gka_dtype_name((gka_dtype)i++), w);
    assert_null(gka_format_of_dtype((gka_dtype)i));
}

static void test_problem_of_a_file(void **state) {
    (void)state;
    const int64_t live = gka_alloc_live();
    cli_problem p;
    int code;
    char text[512];
    assert_true(OPEN(&p, &code, text, "try", D64, "--chunk=16"));
    assert_true(p.problem.D == 64 && p.problem.chunk_size == 16 && p.problem.num_iter == 30);
    assert_true(bits_of(p.problem.ridge_ratio) == bits_of(.02));
    cli_problem_close(&p);
    static const struct {
        const char *argument, *line;
    } bad[] = {
        {"--T=5", "gka try: --T is for a problem that is made up, not for the file " D64 "\n"},
        {"--h0", "gka try: --h0 is for a problem that is made up, not for the file " D64 "\n"},
        {"--ridge=-1", "gka try: --ridge=-1: expected a number, at least 0\n"},
        {"--problem=repaet",
         "gka try: --problem=repaet: expected one of "
         "iid|powerlaw|lowrank|repeat|recall|mean|convsilu|aligned (did you mean 'repeat'?)\n"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(OPEN(&p, &code, text, "try", D64, bad[i].argument));
        assert_int_equal(code, 2);
        assert_string_equal(text, bad[i].line);
    }
    assert_false(OPEN(&p, &code, text, "try", "--H=3", "--G=2"));
    assert_int_equal(code, 2);
    assert_int_equal(gka_alloc_live(), live);
}

static gka_status open_once(void *operand) {
    cli_problem p;
    int code;
    char text[512];
    if (!OPEN(&p, &code, text, "try", operand))
        return code == 3 ? GKA_OUT_OF_MEMORY : GKA_BAD_ARGUMENT;
    cli_problem_close(&p);
    return code == 0 ? GKA_OK : GKA_BAD_ARGUMENT;
}

static void test_problem_survives_failing_allocations(void **state) {
    (void)state;
    char file[] = D64, generated[] = "--T=4";
    (void)allocations_fail(open_once, file);
    (void)allocations_fail(open_once, generated);
}

/* The command itself, without a subcommand. */
static void test_command(void **state) {
    (void)state;
    static const struct {
        const char *argument, *line;
        int code;
    } cases[] = {
        {NULL, "gka: no command given; `gka --help` lists the commands\n", 2},
        {"--version", "", 0},
        {"--help", "", 0},
        {"-h", "", 0},
        {"--verbose", "gka: no option '--verbose' before a command; `gka --help` lists both\n", 2},
        {"qqqqqqq", "gka: no command 'qqqqqqq'; `gka --help` lists the commands\n", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const argv[] = {"gka", cases[i].argument};
        result r = run(cases[i].argument == NULL ? 1 : 2, argv);
        assert_int_equal(r.code, cases[i].code);
        assert_string_equal(r.err, cases[i].line);
        assert_true((r.out_size > 0) == (cases[i].code == 0));
        end(&r);
    }
}

/* A device on which every write fails. */
static void test_full_disk(void **state) {
    (void)state;
    FILE *const out = fopen("/dev/full", "w");
    if (out == NULL)
        skip();
    char *text = NULL;
    size_t size;
    FILE *const err = open_memstream(&text, &size);
    const char *const argv[] = {"gka", "--help"};
    assert_int_equal(gka_command(2, argv, out, err), 2);
    (void)fclose(out);
    (void)fclose(err);
    assert_string_equal(text, "gka: cannot write to standard output: No space left on device\n");
    free(text);
}

/* Every option that names a file is known as one, so that none is written over what is read. */
static void look_at_options(cli *c, const cli_help *help) {
    (void)help;
    for (size_t i = 0; i < c->option_count; i++) {
        const cli_option *const option = c->options[i];
        const char *const value = option->value == NULL ? "" : option->value;
        if (strcmp(value, "OUT") == 0 && option->kind != CLI_OUT)
            fail_msg("gka %s --%s=OUT is no CLI_OUT", c->name, option->name);
        if (strcmp(value, "FILE") == 0 && option->kind != CLI_OUT && option->kind != CLI_IN)
            fail_msg("gka %s --%s=FILE is neither CLI_IN nor CLI_OUT", c->name, option->name);
    }
}

static void test_files_are_known(void **state) {
    (void)state;
    cli c = {.out = stdout, .err = stderr};
    assert_int_equal(cli_describe_all(&c, look_at_options), CLI_GOOD);
}

/* In a program whose setlocale has set a decimal comma. */
static void test_decimal_point(void **state) {
    (void)state;
    FILE *const source = fopen("comma.txt", "w");
    assert_non_null(source);
    fputs("LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \"\"\ngrouping -1\nEND LC_NUMERIC\n",
          source);
    fclose(source);
    char here[4096], text[16];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(setenv("LOCPATH", here, 1), 0);
    result point = RUN("gka", "formats");
    if (system("localedef -c -i ./comma.txt -f ANSI_X3.4-1968 ./comma >/dev/null 2>&1") < 0 ||
        setlocale(LC_NUMERIC, "comma") == NULL) {
        end(&point);
        print_message("skipped: localedef made no locale\n");
        skip();
    }
    result comma = RUN("gka", "formats");
    assert_string_equal(comma.out, point.out);
    assert_non_null(strchr(comma.out, '.'));
    (void)snprintf(text, sizeof text, "%g", 0.5);
    assert_string_equal(text, "0,5"); /* the caller's locale is as it was */
    setlocale(LC_ALL, "C");
    end(&comma);
    end(&point);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_reach_their_targets),
        cmocka_unit_test(test_defaults_stay),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_operand_counts),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_parse_survives_failing_allocations),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_problem_made_up),
        cmocka_unit_test(test_problem_choices),
        cmocka_unit_test(test_problem_of_a_file),
        cmocka_unit_test(test_problem_survives_failing_allocations),
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_files_are_known),
        cmocka_unit_test(test_decimal_point),
    };
    return cmocka_run_group_tests_name("cli frame", tests, NULL, NULL);
}
