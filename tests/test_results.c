/* Results of bpd: a finished group is never lost, and never believed when it is damaged. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include "ledger_rows.h"
#include "scratch.h"

static pf_status put_rows(pf_results *r, int64_t g, const row *rows, int n)
{
    pf_ledger l = ledger_of_rows(rows, n);
    pf_status st = pf_results_put(r, g, l.cell, n);
    free(l.cell);
    return st;
}

/* *rows: to be freed. */
static pf_status get_rows(pf_results *r, row **rows, int64_t *n)
{
    pf_ledger l = {0};
    PF_TRY(pf_results_rows(r, &l));
    *n = l.rows;
    *rows = malloc((size_t)(l.rows + 1) * sizeof **rows);
    memset(*rows, 0, (size_t)(l.rows + 1) * sizeof **rows);
    for (int64_t i = 0; i < l.rows; i++) (*rows)[i] = row_of_cells(l.cell + i * l.n);
    pf_free(l.cell);
    return PF_OK;
}

static row ledger_row(int64_t image, int draw)
{
    double v = (double)image + 0.25 * draw;
    return (row){.image = image,
                 .draw = draw,
                 .label = (int32_t)(image % 10),
                 .prior = v,
                 .integral = v + 1,
                 .dequantisation = 0,
                 .offset = 7,
                 .nll = 3 + v,
                 .bound = NAN,
                 .probe_variance = NAN,
                 .solver_error = 1e-9,
                 .steps = 10,
                 .evaluations = 100 + image};
}

static void put_group(pf_results *r, int64_t g)
{
    row rows[6];
    int n = 0, B = g == 3 ? 1 : 3; /* 10 images in groups of 3 */
    for (int d = 0; d < 2; d++)
        for (int b = 0; b < B; b++) rows[n++] = ledger_row(g * 3 + b, d);
    assert_int_equal(put_rows(r, g, rows, n), PF_OK);
}

static const pf_results_info result_info = {.images = 10,
                                            .draws = 2,
                                            .group = 3,
                                            .config = "seed: 1\nrtol: 1e-5\n",
                                            .columns = ROW_CELLS,
                                            .column = row_columns};

static void expect_rows(pf_results *r, const int *groups, int n_groups)
{
    row *rows = NULL;
    int64_t n = 0, k = 0;
    assert_int_equal(get_rows(r, &rows, &n), PF_OK);
    for (int i = 0; i < n_groups; i++)
        for (int b = 0; b < (groups[i] == 3 ? 1 : 3); b++)
            for (int d = 0; d < 2; d++, k++) {
                row want = ledger_row(groups[i] * 3 + b, d);
                assert_true(k < n);
                assert_memory_equal(&rows[k], &want, sizeof want);
            }
    assert_int_equal(n, k);
    free(rows);
}

static void results_resume_and_come_back_in_image_order(void **state)
{
    (void)state;
    pf_results *r = NULL;
    unlink(in_dir("r.h5"));
    assert_int_equal(pf_results_open(in_dir("r.h5"), &result_info, &r), PF_OK);
    for (int g = 0; g < 4; g++) assert_false(pf_results_done(r, g));
    put_group(r, 3);
    put_group(r, 1);
    assert_true(pf_results_done(r, 3) && pf_results_done(r, 1) && !pf_results_done(r, 0));
    row one = ledger_row(0, 0);
    assert_int_equal(put_rows(r, 0, &one, 1), PF_EARG);
    assert_int_equal(pf_results_close(r), PF_OK);

    assert_int_equal(pf_results_open(in_dir("r.h5"), &result_info, &r), PF_OK);
    assert_true(pf_results_done(r, 3) && pf_results_done(r, 1) && !pf_results_done(r, 0));
    expect_rows(r, (int[]){1, 3}, 2);
    put_group(r, 0);
    put_group(r, 2);
    expect_rows(r, (int[]){0, 1, 2, 3}, 4);
    pf_summary s = {.images = 10,
                    .rows = 20,
                    .n = 3,
                    .figure = {{"nll", 3.25}, {"nll_se", 0.01}, {"bound", NAN}}};
    assert_int_equal(pf_results_summary(r, &s), PF_OK);
    expect_rows(r, (int[]){0, 1, 2, 3}, 4);
    assert_int_equal(pf_results_close(r), PF_OK);
    char *text = NULL;
    assert_int_equal(pf_store_read_attr(in_dir("r.h5"), "nll", &text), PF_OK);
    assert_true(strtod(text, NULL) == 3.25);
    pf_free(text);
    assert_int_equal(pf_results_open(in_dir("r.h5"), &result_info, &r), PF_OK);
    expect_rows(r, (int[]){0, 1, 2, 3}, 4);
    assert_int_equal(pf_results_close(r), PF_OK);
}

static void results_of_another_configuration_are_refused(void **state)
{
    (void)state;
    pf_results *r = NULL;
    pf_results_info other = result_info;
    unlink(in_dir("r.h5"));
    assert_int_equal(pf_results_open(in_dir("r.h5"), &result_info, &r), PF_OK);
    assert_int_equal(pf_results_close(r), PF_OK);
    other.config = "seed: 1\nrtol: 1e-6\n";
    assert_int_equal(pf_results_open(in_dir("r.h5"), &other, &r), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "rtol: 1e-5"));
    assert_non_null(strstr(pf_error_message(), "rtol: 1e-6"));
    other = result_info;
    other.images = 11;
    assert_int_equal(pf_results_open(in_dir("r.h5"), &other, &r), PF_EARG);
}

/* The same first columns, then others: neither file is taken for the other's, and a figure is named. */
static void results_of_other_columns_are_refused(void **state)
{
    (void)state;
    static const pf_ledger_column other[5] = {
        {"image", "", PF_CELL_I64, PF_ROLE_KEY, NULL},
        {"draw", "", PF_CELL_I32, PF_ROLE_KEY, NULL},
        {"label", "", PF_CELL_I32, PF_ROLE_LABEL, NULL},
        {"decoder", "bits/dim", PF_CELL_F64, PF_ROLE_PART, NULL},
        {"vlb", "bits/dim", PF_CELL_F64, PF_ROLE_TOTAL, NULL}};
    pf_results_info info = result_info;
    pf_results *r = NULL;
    pf_ledger l = {0};
    info.columns = 5;
    info.column = other;
    unlink(in_dir("o.h5"));
    must(pf_results_open(in_dir("o.h5"), &info, &r));
    double cells[30];
    for (int i = 0; i < 30; i++)
        cells[i] = i % 5 == 0 ? i / 5 % 3 : i % 5 == 1 ? i / 15 : i % 5 == 2 ? -1 : 0.1 * i;
    must(pf_results_put(r, 0, cells, 6));
    must(pf_results_rows(r, &l));
    assert_true(l.rows == 6 && l.n == 5 && l.column == other);
    assert_true(l.cell[5 + 1] == 1.0 && l.cell[5 + 4] == cells[15 + 4]); /* image 0, draw 1 */
    pf_free(l.cell);
    pf_summary s = {.images = 3,
                    .rows = 6,
                    .n = 3,
                    .listed = 1,
                    .figure = {{"vlb", 1.5}, {"vlb_se", 0.25}, {"decoder", 0.125}}};
    must(pf_results_summary(r, &s));
    must(pf_results_close(r));
    FILE *f = fopen(in_dir("info.txt"), "w");
    must(pf_store_info(in_dir("o.h5"), f));
    fclose(f);
    size_t bytes = 0;
    char *page = (char *)slurp(in_dir("info.txt"), &bytes);
    const char *const lines[] = {"vlb              1.5000 +- 0.2500 bits/dim over 3 images",
                                 "decoder          0.125"};
    for (int i = 0; i < 2; i++)
        assert_non_null(memmem(page, bytes, lines[i], strlen(lines[i])));
    free(page);
    assert_int_equal(pf_results_open(in_dir("o.h5"), &result_info, &r), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "another estimand: it has a column 'decoder'"));
    unlink(in_dir("r.h5"));
    must(pf_results_open(in_dir("r.h5"), &result_info, &r));
    must(pf_results_close(r));
    assert_int_equal(pf_results_open(in_dir("r.h5"), &info, &r), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "it has a column 'prior'"));
}

/* A ledger of five columns, the last of them young or, with four, not there yet. */
static void put_and_see(const char *name, int columns, pf_status (*before)(pf_results *))
{
    static const pf_ledger_column all[5] = {{"image", "", PF_CELL_I64, PF_ROLE_KEY, NULL},
                                            {"draw", "", PF_CELL_I32, PF_ROLE_KEY, NULL},
                                            {"label", "", PF_CELL_I32, PF_ROLE_LABEL, NULL},
                                            {"vlb", "", PF_CELL_F64, PF_ROLE_TOTAL, NULL},
                                            {"band", "", PF_CELL_F64, PF_ROLE_PART, NULL, 1}};
    const pf_results_info info = {.images = 4,
                                  .draws = 1,
                                  .group = 1,
                                  .config = "a: 1\n",
                                  .columns = columns,
                                  .column = all};
    pf_results *r = NULL;
    must(pf_results_open(in_dir(name), &info, &r));
    must(before(r));
    pf_ledger l = {0};
    must(pf_results_rows(r, &l));
    for (int64_t i = 0; i < l.rows; i++) {
        const double *c = l.cell + i * l.n;
        assert_true(c[0] == (double)i && c[3] == 0.1 * (double)i);
    }
    pf_free(l.cell);
    must(pf_results_summary(r, &(pf_summary){.images = 4, .rows = 4, .listed = 1}));
    must(pf_results_close(r));
}

static pf_status put_row(pf_results *r, int64_t i)
{
    const double row[5] = {(double)i, 0, -1, 0.1 * (double)i, 0.7};
    PF_TRY(pf_results_put(r, i, row, 1));
    return PF_OK;
}

static pf_status put_halves(pf_results *r)
{
    PF_TRY(put_row(r, 0));
    PF_TRY(put_row(r, 1));
    return PF_OK;
}

static pf_status put_rest(pf_results *r)
{
    assert_true(pf_results_done(r, 1) && !pf_results_done(r, 2));
    PF_TRY(put_row(r, 2));
    PF_TRY(put_row(r, 3));
    return PF_OK;
}

static pf_status adopt_old(pf_results *r)
{
    pf_ledger l = {0};
    int64_t n;
    PF_TRY(pf_results_adopt(r, in_dir("old.h5"), &n));
    assert_int_equal(n, 2);
    PF_TRY(put_rest(r));
    PF_TRY(pf_results_rows(r, &l));
    for (int i = 0; i < 4; i++)
        assert_true(i < 2 ? isnan(l.cell[i * 5 + 4]) : l.cell[i * 5 + 4] == 0.7);
    pf_free(l.cell);
    return PF_OK;
}

static pf_status adopt_new(pf_results *r)
{
    int64_t n;
    PF_TRY(pf_results_adopt(r, in_dir("new.h5"), &n));
    assert_int_equal(n, 2);
    return PF_OK;
}

static pf_status check_nan(pf_results *r)
{
    pf_ledger l = {0};
    PF_TRY(pf_results_rows(r, &l));
    assert_true(l.n == 5 && l.rows == 4);
    for (int i = 0; i < 4; i++) assert_true(isnan(l.cell[i * 5 + 4]));
    pf_free(l.cell);
    return PF_OK;
}

static void files_from_before_a_column_go_on_without_it(void **state)
{
    (void)state;
    int same = 0;
    FILE *f = fopen("/dev/null", "w");
    static const char *const names[] = {"old.h5", "new.h5", "went.h5", "whole.h5"};
    for (int i = 0; i < 4; i++) unlink(in_dir(names[i]));
    put_and_see("old.h5", 4, put_halves);
    put_and_see("new.h5", 5, adopt_old); /* old rows in a file of now */
    put_and_see("whole.h5", 4, put_halves);
    put_and_see("whole.h5", 4, put_rest);
    put_and_see("old.h5", 5, put_rest); /* an old file goes on */
    put_and_see("old.h5", 5, check_nan);
    must(pf_store_compare(in_dir("old.h5"), in_dir("whole.h5"), f, &same));
    assert_true(same); /* as it would have become in its time */
    put_and_see("went.h5", 4, put_halves);
    put_and_see("went.h5", 5, adopt_new); /* what it has no column for is left */
    must(pf_store_compare(in_dir("went.h5"), in_dir("whole.h5"), f, &same));
    assert_true(same);
    fclose(f);
}

static void finished_groups_are_adopted_from_other_files_bit_by_bit(void **state)
{
    (void)state;
    static const int mine[] = {1, 2}, theirs[] = {0, 1};
    pf_results *whole = NULL, *r = NULL;
    int64_t n = 0;
    int same = 0;
    must(pf_results_open(in_dir("p0"), &result_info, &whole));
    for (int g = 0; g < 4; g++) put_group(whole, g);
    must(pf_results_close(whole));
    must(pf_results_open(in_dir("p1"), &result_info, &r));
    for (int i = 0; i < 2; i++) put_group(r, theirs[i]);
    must(pf_results_close(r));
    size_t bytes = 0, still = 0;
    unsigned char *before = slurp(in_dir("p1"), &bytes);

    must(pf_results_open(in_dir("p2"), &result_info, &r));
    for (int i = 0; i < 2; i++) put_group(r, mine[i]);
    must(pf_results_adopt(r, in_dir("p1"), &n));
    assert_int_equal(n, 1);
    expect_rows(r, (int[]){0, 1, 2}, 3);
    must(pf_results_adopt(r, in_dir("p0"), &n));
    assert_int_equal(n, 1);
    must(pf_results_adopt(r, in_dir("p2"), &n)); /* itself */
    assert_int_equal(n, 0);
    must(pf_results_close(r));
    FILE *f = fopen(in_dir("same.txt"), "w");
    must(pf_store_compare(in_dir("p0"), in_dir("p2"), f, &same));
    fclose(f);
    assert_true(same);
    unsigned char *after = slurp(in_dir("p1"), &still);
    assert_true(bytes == still && !memcmp(before, after, bytes)); /* only read */
    free(before);
    free(after);
}

static void groups_of_another_definition_or_damaged_ones_are_not_adopted(void **state)
{
    (void)state;
    pf_results *r = NULL;
    pf_results_info other = result_info;
    int64_t n = 0;
    must(pf_results_open(in_dir("q0"), &result_info, &r));
    put_group(r, 0);
    put_group(r, 3);
    must(pf_results_close(r));
    other.config = "seed: 1\nrtol: 1e-6\n";
    must(pf_results_open(in_dir("q1"), &other, &r));
    assert_int_equal(pf_results_adopt(r, in_dir("q0"), &n), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "q0"));
    assert_non_null(strstr(pf_error_message(), "rtol: 1e-5"));
    assert_non_null(strstr(pf_error_message(), "rtol: 1e-6"));
    assert_int_equal(pf_results_adopt(r, in_dir("nowhere"), &n), PF_EIO);
    must(pf_results_close(r));

    size_t bytes = 0;
    unsigned char *b = slurp(in_dir("q0"), &bytes);
    for (size_t i = 0; i + 8 <= bytes; i += 8) { /* one value of group 0 */
        double v;
        memcpy(&v, b + i, sizeof v);
        if (v == 4.25) b[i] ^= 1; /* nll of image 1, draw 1, and others equal to it */
    }
    spill(in_dir("q0"), b, bytes);
    free(b);
    unlink(in_dir("q1"));
    must(pf_results_open(in_dir("q1"), &result_info, &r));
    must(pf_results_adopt(r, in_dir("q0"), &n));
    assert_int_equal(n, 1);
    expect_rows(r, (int[]){3}, 1);
    must(pf_results_close(r));
}

static void killed_results_writer_loses_no_finished_group(void **state)
{
    (void)state;
    for (int k = 0; k < 20; k++) {
        int p[2];
        assert_int_equal(pipe(p), 0);
        unlink(in_dir("kill.h5"));
        pid_t pid = fork();
        if (pid == 0) {
            pf_results *r = NULL;
            pf_results_info info = result_info;
            info.images = 3000;
            if (pf_results_open(in_dir("kill.h5"), &info, &r)) _exit(1);
            for (int64_t g = 0; g < 1000; g++) {
                row rows[6];
                for (int i = 0; i < 6; i++) rows[i] = ledger_row(g * 3 + i % 3, i / 3);
                if (put_rows(r, g, rows, 6)) _exit(2);
                (void)!write(p[1], &g, sizeof g);
            }
            _exit(0);
        }
        int64_t done = -1, g = 0;
        close(p[1]);
        assert_int_equal(read(p[0], &g, sizeof g), sizeof g);
        done = g;
        usleep((useconds_t)(k * 700));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(p[0], &g, sizeof g) == sizeof g) done = g;
        close(p[0]);
        pf_results *r = NULL;
        pf_results_info info = result_info;
        info.images = 3000;
        assert_int_equal(pf_results_open(in_dir("kill.h5"), &info, &r), PF_OK);
        row *rows = NULL;
        int64_t n = 0;
        for (g = 0; g <= done; g++) assert_true(pf_results_done(r, g));
        assert_int_equal(get_rows(r, &rows, &n), PF_OK);
        for (int64_t i = 0; i < n; i++) {
            row want = ledger_row(i / 2, (int)(i % 2));
            assert_memory_equal(&rows[i], &want, sizeof want);
        }
        free(rows);
        assert_int_equal(pf_results_close(r), PF_OK);
    }
}

static void damaged_results_are_computed_again_or_refused(void **state)
{
    (void)state;
    size_t n = 0;
    pf_results *r = NULL;
    unlink(in_dir("r.h5"));
    assert_int_equal(pf_results_open(in_dir("r.h5"), &result_info, &r), PF_OK);
    for (int g = 0; g < 4; g++) put_group(r, g);
    assert_int_equal(pf_results_close(r), PF_OK);
    unsigned char *b = slurp(in_dir("r.h5"), &n);
    for (size_t i = 0; i < n; i += 5) {
        b[i] ^= 0x42;
        spill(in_dir("f.h5"), b, n);
        b[i] ^= 0x42;
        if (pf_results_open(in_dir("f.h5"), &result_info, &r)) continue;
        int groups[4], k = 0;
        for (int g = 0; g < 4; g++)
            if (pf_results_done(r, g)) groups[k++] = g;
        expect_rows(r, groups, k);
        assert_int_equal(pf_results_close(r), PF_OK);
    }
    for (size_t keep = 48; keep < n; keep += 211) {
        spill(in_dir("f.h5"), b, keep);
        assert_int_equal(pf_results_open(in_dir("f.h5"), &result_info, &r), PF_EIO);
    }
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_resume_and_come_back_in_image_order),
        cmocka_unit_test(results_of_another_configuration_are_refused),
        cmocka_unit_test(results_of_other_columns_are_refused),
        cmocka_unit_test(files_from_before_a_column_go_on_without_it),
        cmocka_unit_test(finished_groups_are_adopted_from_other_files_bit_by_bit),
        cmocka_unit_test(groups_of_another_definition_or_damaged_ones_are_not_adopted),
        cmocka_unit_test(killed_results_writer_loses_no_finished_group),
        cmocka_unit_test(damaged_results_are_computed_again_or_refused),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
