/* Shards: a partition whose batches depend on nothing but seed, row and epoch. */
#include <probflow/data.h>
#include <probflow/log.h>
#include <math.h>
#include "scratch.h"

enum { ROWS = 103, D = 6 };
static uint8_t ramp[ROWS * D];

static pf_dataset *open_ramp(void)
{
    /* Row i is i + {0, 1, 2, 3, 4, 5}: a row tells its number, and a flip shows. */
    pf_dataset *d = NULL;
    pf_dataset_info info = {.name = "ramp",
                            .space = {.kind = PF_LEVELS, .shape = {1, D, 1}, .levels = 256}};
    for (int i = 0; i < ROWS * D; i++) ramp[i] = (uint8_t)(i / D + i % D);
    assert_int_equal(pf_dataset_write(in_dir("ramp.h5"), &info,
                                      &(pf_dataset_split){"train", ROWS, ramp, NULL}, 1),
                     PF_OK);
    assert_int_equal(pf_dataset_open(in_dir("ramp.h5"), "train", &d), PF_OK);
    return d;
}

static int row_of(const float *x)
{
    return (int)lround((x[0] + 1.0) * 127.5);
}

/* A level is where its grid puts it, in training and in evaluation. */
static void points_of_a_grid_carry_no_noise(void **state)
{
    (void)state;
    pf_dataset *d = open_ramp();
    for (int grid = PF_GRID_PUBLISHED; grid <= PF_GRID_CENTRES; grid++) {
        pf_data_opt opt = {.path = "", .grid = grid};
        pf_shard *sh = NULL;
        pf_draw draw = {1, PF_STREAM_EVAL_DEQUANT, 0, 0};
        uint8_t k[ROWS * D];
        float x[D];
        double all[ROWS * D];
        assert_int_equal(pf_dataset_images(d, 0, ROWS, k), PF_OK);
        assert_int_equal(pf_rows_read(d, grid, &draw, 0, ROWS, all), PF_OK);
        for (int i = 0; i < ROWS * D; i++)
            assert_true(all[i] == (grid == PF_GRID_CENTRES ? 2.0 / 256 * (k[i] + 0.5) - 1
                                                           : 2.0 / 255 * k[i] - 1));
        assert_int_equal(pf_shard_open(d, &opt, 0, 1, 42, &sh), PF_OK);
        pf_shard_batch(sh, 0, 1, x);
        uint8_t row;
        pf_from_model(&pf_dataset_about(d)->space, 1, &(double){x[0]}, &row);
        assert_in_range(row, 0, ROWS - 1);
        for (int i = 0; i < D; i++) assert_true(x[i] == (float)all[row * D + i]);
        pf_shard_free(sh);
    }
    pf_dataset_close(d);
}

/* Of the centres of the bins, and 1/12 of a bin squared. */
static void moments_are_those_of_dequantised_levels(void **state)
{
    (void)state;
    pf_dataset *d = open_ramp();
    pf_moments m;
    double mean = 0.0, square = 0.0, n = ROWS * D;
    assert_int_equal(pf_data_moments(d, &m), PF_OK);
    for (int i = 0; i < ROWS * D; i++) {
        double x = (ramp[i] + 0.5) / 128.0 - 1.0;
        mean += x / n;
        square += x * x / n;
    }
    assert_near(m.mean, mean, 1e-14);
    assert_near(m.std, sqrt(square - mean * mean + 1.0 / (128.0 * 128.0 * 12.0)), 1e-12);
    pf_dataset_close(d);
}

static void tokens_are_their_numbers_in_model_scale(void **state)
{
    (void)state;
    char path[512];
    const uint8_t t[6] = {0, 1, 2, 2, 1, 0};
    const int32_t length[2] = {3, 2};
    const double want[6] = {0, 1, 2, 2, 1, PF_NO_TOKEN};
    double x[6];
    float batch[6];
    pf_moments m;
    pf_dataset_info info = {.name = "text", .space = {PF_TOKENS, {1, 1, 3}, .levels = 3}};
    pf_dataset_split s = {.split = "train", .n = 2, .values = t, .lengths = length};
    snprintf(path, sizeof path, "%s/tokens.h5", scratch);
    assert_int_equal(pf_dataset_write(path, &info, &s, 1), PF_OK);
    pf_dataset *d = NULL;
    pf_shard *sh = NULL;
    pf_data_opt opt = {.path = "", .flip = 1};
    pf_draw draw = {1, PF_STREAM_DEQUANT, 0, 0};
    assert_int_equal(pf_dataset_open(path, "train", &d), PF_OK);
    for (int grid = 0; grid < 3; grid++) { /* no grid and no flip touches them */
        opt.grid = grid;
        assert_int_equal(pf_rows_read(d, grid, &draw, 0, 2, x), PF_OK);
        assert_memory_equal(x, want, sizeof x);
        assert_int_equal(pf_shard_open(d, &opt, 0, 1, 42, &sh), PF_OK);
        for (int step = 0; step < 8; step++) {
            pf_shard_batch(sh, step, 2, batch);
            int turned = batch[0] == 2.0f;
            for (int i = 0; i < 6; i++)
                assert_true(batch[i] == (float)want[(i + 3 * turned) % 6]);
        }
        assert_int_equal(pf_shard_count_levels(sh, 3, 3, (int64_t[9]){0}), PF_EARG);
        pf_shard_free(sh);
    }
    assert_int_equal(pf_data_moments(d, &m), PF_EARG);
    pf_dataset_close(d);
}

static void shards_of_a_dataset_partition_it_in_every_epoch(void **state)
{
    (void)state;
    pf_dataset *d = open_ramp();
    pf_data_opt opt = {.path = "", .grid = PF_GRID_PUBLISHED};
    for (int shards = 1; shards <= 8; shards *= 2) {
        int seen[3][ROWS] = {{0}};
        for (int s = 0; s < shards; s++) {
            pf_shard *sh = NULL;
            assert_int_equal(pf_shard_open(d, &opt, s, shards, 42, &sh), PF_OK);
            int64_t n = pf_shard_size(sh);
            for (int64_t p = 0; p < 3 * n; p++) {
                float x[D];
                pf_shard_batch(sh, p, 1, x);
                int row = row_of(x);
                assert_in_range(row, 0, ROWS - 1);
                seen[p / n][row]++;
            }
            pf_shard_free(sh);
        }
        for (int e = 0; e < 3; e++)
            for (int i = 0; i < ROWS; i++) assert_int_equal(seen[e][i], 1);
    }
    pf_shard *sh = NULL;
    opt.limit = 3;
    assert_int_equal(pf_shard_open(d, &opt, 0, 4, 42, &sh), PF_EARG);
    opt.limit = 10;
    assert_int_equal(pf_shard_open(d, &opt, 3, 4, 42, &sh), PF_OK);
    assert_int_equal(pf_shard_size(sh), 3);
    pf_shard_free(sh);
    pf_dataset_close(d);
}

static void batches_do_not_depend_on_how_they_are_cut(void **state)
{
    (void)state;
    pf_dataset *d = open_ramp();
    pf_data_opt opt = {.path = "", .grid = PF_GRID_DEQUANTISED, .flip = 1};
    pf_shard *sh = NULL;
    float whole[60 * D], part[5 * D];
    assert_int_equal(pf_shard_open(d, &opt, 1, 4, 7, &sh), PF_OK);
    for (int step = 0; step < 2; step++) {
        pf_shard_batch(sh, step, 60, whole);
        for (int k = 0; k < 12; k++) {
            pf_shard_batch(sh, step * 12 + k, 5, part);
            assert_memory_equal(part, whole + k * 5 * D, sizeof part);
        }
    }
    pf_shard_free(sh);
    pf_dataset_close(d);
}

static void epochs_and_seeds_change_the_order(void **state)
{
    (void)state;
    pf_dataset *d = open_ramp();
    pf_data_opt opt = {.path = ""};
    int order[3][ROWS];
    for (int k = 0; k < 3; k++) {
        pf_shard *sh = NULL;
        assert_int_equal(pf_shard_open(d, &opt, 0, 1, k < 2 ? 1 : 2, &sh), PF_OK);
        for (int i = 0; i < ROWS; i++) {
            float x[D];
            pf_shard_batch(sh, i + (k == 1) * ROWS, 1, x);
            order[k][i] = row_of(x);
        }
        pf_shard_free(sh);
    }
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < a; b++) {
            int same = 0;
            for (int i = 0; i < ROWS; i++) same += order[a][i] == order[b][i];
            /* Two random orders agree in one place on average; 10 has probability 1e-7. */
            assert_in_range(same, 0, 10);
        }
    pf_dataset_close(d);
}

static void dequantised_values_stay_in_their_bins_and_fill_them(void **state)
{
    (void)state;
    pf_dataset *d = open_ramp();
    pf_data_opt opt = {.path = "", .grid = PF_GRID_DEQUANTISED};
    pf_shard *sh = NULL;
    double sum = 0, square = 0;
    float first[D], x[D];
    assert_int_equal(pf_shard_open(d, &opt, 0, 1, 3, &sh), PF_OK);
    enum { EPOCHS = 40 };
    for (int64_t p = 0; p < EPOCHS * ROWS; p++) {
        pf_shard_batch(sh, p, 1, x);
        double k0 = floor((x[0] + 1.0) * 128);
        for (int i = 0; i < D; i++) {
            double u = (x[i] + 1.0) * 128 - (k0 + i);
            assert_true(u >= -1e-4 &&
                        u <= 1 + 1e-4); /* float has 24 bits for values up to 128 */
            sum += u;
            square += u * u;
        }
        if (p == 0) memcpy(first, x, sizeof x);
        else assert_memory_not_equal(first, x, sizeof x);
    }
    double n = EPOCHS * ROWS * D;
    /* Five standard errors of the mean and of the mean square of a uniform. */
    assert_true(fabs(sum / n - 0.5) < 5 * sqrt(1 / 12.0 / n));
    assert_true(fabs(square / n - 1 / 3.0) < 5 * sqrt(4 / 45.0 / n));
    pf_shard_free(sh);
    pf_dataset_close(d);
}

static void half_of_the_images_are_flipped(void **state)
{
    (void)state;
    pf_dataset *d = open_ramp();
    pf_data_opt opt = {.path = "", .flip = 1};
    pf_shard *sh = NULL;
    int flipped = 0, n = 0;
    assert_int_equal(pf_shard_open(d, &opt, 0, 1, 3, &sh), PF_OK);
    for (int64_t p = 0; p < 20 * ROWS; p++, n++) {
        float x[D];
        pf_shard_batch(sh, p, 1, x);
        int down = x[0] > x[1];
        for (int i = 0; i + 1 < D; i++) assert_true((x[i] > x[i + 1]) == down);
        flipped += down;
    }
    assert_true(abs(2 * flipped - n) < 5 * sqrt(n)); /* five standard errors */
    pf_shard_free(sh);
    pf_dataset_close(d);
}

static void continuous_rows_pass_unscaled(void **state)
{
    (void)state;
    double v[6] = {-3.5, 100, 0.25, 7, -1e3, 2};
    float x[2];
    pf_dataset *d = NULL;
    pf_shard *sh = NULL;
    pf_dataset_info info = {.name = "p", .space = {.kind = PF_REAL, .shape = {1, 1, 2}}};
    pf_data_opt opt = {.path = "", .grid = PF_GRID_DEQUANTISED, .flip = 1};
    assert_int_equal(
        pf_dataset_write(in_dir("p.h5"), &info, &(pf_dataset_split){"train", 3, v, NULL}, 1),
        PF_OK);
    assert_int_equal(pf_dataset_open(in_dir("p.h5"), "train", &d), PF_OK);
    assert_int_equal(pf_shard_open(d, &opt, 2, 3, 1, &sh), PF_OK);
    pf_shard_batch(sh, 0, 1, x);
    assert_true(x[0] == -1e3f && x[1] == 2);
    pf_shard_free(sh);
    pf_dataset_close(d);
}

static void counts_of_shards_add_up_to_those_of_the_data(void **state)
{
    (void)state;
    enum { PARTS = 32 };
    pf_dataset *d = open_ramp();
    pf_data_opt opt = {.path = "", .grid = PF_GRID_DEQUANTISED};
    int64_t count[PARTS] = {0}, want[PARTS] = {0};
    for (int i = 0; i < ROWS * D; i++) want[ramp[i] / (256 / PARTS)]++;
    for (int s = 0; s < 4; s++) {
        pf_shard *sh = NULL;
        assert_int_equal(pf_shard_open(d, &opt, s, 4, 42, &sh), PF_OK);
        assert_int_equal(pf_shard_count_levels(sh, 1, PARTS, count), PF_OK);
        assert_int_equal(pf_shard_count_levels(sh, 1, 3, count), PF_EARG);
        pf_shard_free(sh);
    }
    assert_memory_equal(count, want, sizeof count);
    pf_dataset_close(d);
}

static void labels_and_conditions_come_with_their_rows(void **state)
{
    (void)state;
    enum { B = 10 };
    int32_t label[ROWS], l[B];
    double condition[2 * ROWS];
    float x[B * D], c[B * 3];
    pf_dataset *d = NULL;
    pf_data_opt opt = {.path = "", .grid = PF_GRID_PUBLISHED};
    pf_dataset_info info = {
        .name = "ramp",
        .space = {.kind = PF_LEVELS, .shape = {1, D, 1}, .levels = 256, .conditions = 2}};
    for (int i = 0; i < ROWS * D; i++) ramp[i] = (uint8_t)(i / D + i % D);
    for (int i = 0; i < ROWS; i++) {
        label[i] = i % 7;
        condition[2 * i] = i;
        condition[2 * i + 1] = -0.5 * i;
    }
    pf_dataset_split split = {"train", ROWS, ramp, label, .conditions = condition};
    assert_int_equal(pf_dataset_write(in_dir("told.h5"), &info, &split, 1), PF_OK);
    assert_int_equal(pf_dataset_open(in_dir("told.h5"), "train", &d), PF_OK);
    for (int k = 0; k < 3; k++) {
        pf_shard *sh = NULL;
        assert_int_equal(pf_shard_open(d, &opt, k, 3, 42, &sh), PF_OK);
        assert_int_equal(pf_shard_keep(sh, d, 1, 1), PF_OK);
        for (int step = 0; step < 9; step++) {
            pf_shard_batch(sh, step, B, x);
            pf_shard_given(sh, step, B, l, c);
            for (int b = 0; b < B; b++) {
                int row = row_of(x + b * D);
                assert_int_equal(l[b], row % 7);
                assert_true(c[3 * b] == (float)row && c[3 * b + 1] == -0.5f * (float)row &&
                            c[3 * b + 2] == 1.0f);
            }
        }
        pf_shard_free(sh);
    }
    pf_dataset_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_of_a_dataset_partition_it_in_every_epoch),
        cmocka_unit_test(points_of_a_grid_carry_no_noise),
        cmocka_unit_test(labels_and_conditions_come_with_their_rows),
        cmocka_unit_test(moments_are_those_of_dequantised_levels),
        cmocka_unit_test(tokens_are_their_numbers_in_model_scale),
        cmocka_unit_test(batches_do_not_depend_on_how_they_are_cut),
        cmocka_unit_test(epochs_and_seeds_change_the_order),
        cmocka_unit_test(dequantised_values_stay_in_their_bins_and_fill_them),
        cmocka_unit_test(half_of_the_images_are_flipped),
        cmocka_unit_test(continuous_rows_pass_unscaled),
        cmocka_unit_test(counts_of_shards_add_up_to_those_of_the_data),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
