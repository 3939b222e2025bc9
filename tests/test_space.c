/* Spaces of data: where levels lie in model scale, that they come back, and what tells two spaces apart. */
#include <probflow/space.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* Numbers of 4 levels and of 256 are exact in binary; thirds are as the same quotient gives them. */
static void levels_lie_where_their_grid_says(void **state)
{
    (void)state;
    pf_space four = {.kind = PF_LEVELS, .shape = {1, 4, 1}, .levels = 4};
    uint8_t k[4] = {0, 1, 2, 3};
    float u[4] = {0.0f, 0.5f, 0.25f, 0.75f};
    double x[4], v[4] = {0.0, 1.5, 2.25, 3.75};
    const double dequantised[4] = {-1.0, -0.25, 0.125, 0.875},
                 centres[4] = {-0.75, -0.25, 0.25, 0.75},
                 published[4] = {-1.0, 2.0 / 3 - 1, 2.0 / 3 * 2 - 1, 1.0};
    pf_to_model(&four, PF_GRID_DEQUANTISED, 4, k, u, x);
    assert_memory_equal(x, dequantised, sizeof x);
    pf_to_model(&four, PF_GRID_CENTRES, 4, k, NULL, x);
    assert_memory_equal(x, centres, sizeof x);
    pf_to_model(&four, PF_GRID_PUBLISHED, 4, k, NULL, x);
    assert_memory_equal(x, published, sizeof x);
    pf_bins_to_model(&four, 4, v);
    assert_memory_equal(v, dequantised, sizeof v);

    /* as pixels of 8 bits: ends of the published grid, half a level inside for the centres */
    pf_space bytes = {.kind = PF_LEVELS, .shape = {1, 2, 1}, .levels = 256};
    uint8_t ends[2] = {0, 255};
    pf_to_model(&bytes, PF_GRID_CENTRES, 2, ends, NULL, x);
    assert_true(x[0] == -255.0 / 256 && x[1] == 255.0 / 256);
    pf_to_model(&bytes, PF_GRID_PUBLISHED, 2, ends, NULL, x);
    assert_true(x[0] == -1.0 && x[1] == 1.0);
}

static void floats_are_the_same_numbers_rounded(void **state)
{
    (void)state;
    enum { L = 200 };
    pf_space s = {.kind = PF_LEVELS, .shape = {1, L, 1}, .levels = L};
    uint8_t k[L];
    float u[L], f[L];
    double x[L];
    for (int grid = PF_GRID_DEQUANTISED; grid <= PF_GRID_CENTRES; grid++) {
        for (int i = 0; i < L; i++) k[i] = (uint8_t)i, u[i] = (float)((i * 37 % 64) / 64.0);
        pf_to_model(&s, grid, L, k, u, x);
        memcpy(f, u, sizeof f);
        pf_to_model_f32(&s, grid, L, k, f, f); /* in place */
        for (int i = 0; i < L; i++) assert_true(f[i] == (float)x[i]);
    }
}

/* Shares sum to 1, their slope is that of differences, and on average a level costs what the quadrature says. */
static void a_level_is_told_by_its_noisy_centre(void **state)
{
    (void)state;
    const double noises[] = {1e-3, 0.05, 0.3, 4.0};
    for (int i = 0; i < 4; i++)
        for (int L = 2; L < 40; L += 9)
            for (double x = -1.3; x < 1.4; x += 0.19) {
                double sum = 0.0, noise = noises[i];
                for (int k = 0; k < L; k++) {
                    double slope, h = 1e-5 * noise,
                                  lp = pf_level_decode(L, noise, x, k, &slope);
                    double rise = pf_level_decode(L, noise, x + h, k, NULL) -
                                  pf_level_decode(L, noise, x - h, k, NULL);
                    sum += exp(lp);
                    /* h^2, and the rounding of lp over h */
                    assert_true(fabs(rise / (2.0 * h) - slope) * noise <
                                1e-5 + 1e-10 * (1.0 + fabs(lp)));
                }
                assert_true(fabs(sum - 1.0) < 1e-13);
            }
    /* noise that drowns the levels: none of them is told from the others; next to none: all are */
    assert_true(fabs(pf_level_cost(16, 1e3, 5) - log(16.0)) < 1e-5);
    assert_true(pf_level_cost(16, 1e-3, 5) < 1e-12);
}

static void levels_come_back_from_every_grid(void **state)
{
    (void)state;
    uint8_t k[256], back[256];
    float u[256];
    double x[256];
    /* inside the bin: its lower edge itself may round down */
    for (int i = 0; i < 256; i++) k[i] = (uint8_t)i, u[i] = (float)(1 + i % 14) / 16;
    for (int L = 2; L <= 256; L++)
        for (int grid = PF_GRID_DEQUANTISED; grid <= PF_GRID_CENTRES; grid++) {
            pf_space s = {.kind = PF_LEVELS, .shape = {1, L, 1}, .levels = L};
            size_t n = (size_t)L;
            pf_to_model(&s, grid, n, k, u, x);
            pf_from_model(&s, n, x, back);
            assert_memory_equal(k, back, n);
        }
    pf_space s = {.kind = PF_LEVELS, .shape = {1, 2, 1}, .levels = 5};
    pf_from_model(&s, 2, (double[]){-7.0, 1e300}, back);
    assert_true(back[0] == 0 && back[1] == 4);
}

static void offsets_are_the_levels_in_a_unit_of_model_scale(void **state)
{
    (void)state;
    pf_space s = {.kind = PF_LEVELS, .shape = {2, 2, 1}, .levels = 256};
    assert_true(pf_space_offset(&s, 1.0) == 7.0);
    assert_true(pf_space_offset(&s, 0.5) == 8.0);
    s.levels = 2;
    assert_true(pf_space_offset(&s, 1.0) == 0.0);
    s.kind = PF_REAL;
    s.levels = 0;
    assert_true(pf_space_offset(&s, 1.0) == 0.0);
    assert_int_equal(pf_space_dim(&s), 4);
}

static void rows_of_tokens_end_where_they_end(void **state)
{
    (void)state;
    pf_space s = {.kind = PF_TOKENS, .shape = {1, 1, 4}, .levels = 27};
    assert_int_equal(pf_space_length(&s, (double[]){0, 26, 3, 1}), 4);
    assert_int_equal(pf_space_length(&s, (double[]){0, 26, PF_NO_TOKEN, PF_NO_TOKEN}), 2);
    s.kind = PF_REAL;
    assert_int_equal(pf_space_length(&s, (double[]){0, -1, -1, -1}), 4);
    const int levels[] = {2, 256, 257, 65536, 65537, 0}, bytes[] = {1, 1, 2, 2, 4, 4};
    for (int i = 0; i < 6; i++) assert_int_equal(pf_token_bytes(levels[i]), bytes[i]);
}

static void spaces_differ_in_what_the_clause_says(void **state)
{
    (void)state;
    char why[128] = "";
    pf_space a = {.kind = PF_LEVELS, .shape = {8, 8, 3}, .levels = 256}, b = a;
    b.conditions = 3; /* beside the datum */
    assert_true(pf_space_same(&a, &b, why, sizeof why));
    b.levels = 32;
    assert_false(pf_space_same(&a, &b, why, sizeof why));
    assert_string_equal(why, "256 levels, not 32");
    b.shape.c = 1;
    assert_false(pf_space_same(&a, &b, why, sizeof why));
    assert_string_equal(why, "8x8x3 values a row, not 8x8x1");
    b.kind = PF_TOKENS;
    assert_false(pf_space_same(&b, &a, why, sizeof why));
    assert_string_equal(why, "tokens, not levels");
    assert_false(pf_space_same(&a, &b, why, 5));
    assert_string_equal(why, "leve");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_lie_where_their_grid_says),
        cmocka_unit_test(floats_are_the_same_numbers_rounded),
        cmocka_unit_test(a_level_is_told_by_its_noisy_centre),
        cmocka_unit_test(levels_come_back_from_every_grid),
        cmocka_unit_test(offsets_are_the_levels_in_a_unit_of_model_scale),
        cmocka_unit_test(rows_of_tokens_end_where_they_end),
        cmocka_unit_test(spaces_differ_in_what_the_clause_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
