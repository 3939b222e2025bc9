/* Random numbers: the published vectors, independence of the cut, moments and bijections. */
#include <probflow/random.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { N = 100003 };
static float values[N];

static pf_draw test_draw(uint64_t sample, uint32_t step)
{
    return (pf_draw){.seed = 0x123456789abcdef0ull,
                     .stream = PF_STREAM_TEST,
                     .sample = sample,
                     .step = step};
}

static void philox_gives_the_published_vectors(void **state)
{
    (void)state;
    /* kat_vectors of the authors' Random123 distribution, philox4x32 10. */
    static const uint32_t row[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        pf_philox4x32(row[i], row[i] + 4, out);
        assert_memory_equal(out, row[i] + 6, sizeof out);
    }
}

static void draws_are_the_documented_counter(void **state)
{
    (void)state;
    pf_draw d = test_draw(0xabcdef0123456ull, 77);
    uint32_t bits[5000], out[4];
    pf_draw_bits(&d, 0, 5000, bits);
    uint32_t key[2] = {0x9abcdef0, 0x12345678};
    for (uint32_t e = 0; e < 5000; e += 4) {
        uint32_t c[4] = {e / 4, 77, 0xf0123456, 0xabcde << 8 | PF_STREAM_TEST};
        pf_philox4x32(c, key, out);
        assert_memory_equal(out, bits + e, sizeof out);
    }
}

static void draws_do_not_depend_on_how_they_are_cut(void **state)
{
    (void)state;
    enum { LEN = 2000 };
    static const size_t cut[] = {0, 1, 2, 5, 255, 256, 257, 300, 511, 1024, 1777, LEN};
    void (*draws[])(const pf_draw *, size_t, size_t,
                    float *) = {pf_draw_uniform, pf_draw_normal, pf_draw_rademacher};
    pf_draw d = test_draw(5, 3);
    for (int k = 0; k < 3; k++) {
        float whole[LEN], parts[LEN];
        draws[k](&d, 0, LEN, whole);
        for (size_t i = 0; i + 1 < sizeof cut / sizeof *cut; i++)
            draws[k](&d, cut[i], cut[i + 1] - cut[i], parts + cut[i]);
        assert_memory_equal(whole, parts, sizeof whole);
    }
}

static void normals_have_the_moments_of_a_normal(void **state)
{
    (void)state;
    pf_draw d = test_draw(1, 0);
    pf_draw_normal(&d, 0, N, values);
    double m[5] = {0};
    for (int i = 0; i < N; i++) {
        double z = values[i];
        m[1] += z / N;
        m[2] += z * z / N;
        m[3] += z * z * z / N;
        m[4] += z * z * z * z / N;
    }
    /* Five standard errors of each sample moment: variances 1, 2, 15, 96 over N. */
    assert_true(fabs(m[1]) < 5 * sqrt(1.0 / N));
    assert_true(fabs(m[2] - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(m[3]) < 5 * sqrt(15.0 / N));
    assert_true(fabs(m[4] - 3) < 5 * sqrt(96.0 / N));
}

static void normals_are_box_muller_of_the_bits(void **state)
{
    (void)state;
    pf_draw d = test_draw(2, 9);
    uint32_t bits[4096];
    pf_draw_bits(&d, 0, 4096, bits);
    pf_draw_normal(&d, 0, 4096, values);
    for (int i = 0; i < 4096; i += 2) {
        double r = sqrt(-2 * log((bits[i] + 0.5) * 0x1p-32));
        double a = 2 * M_PI * bits[i + 1] * 0x1p-32;
        /* Near u = 1 the float u has spacing 2^-24, which moves r^2 by at most 2^-23. */
        double tol = 4e-7 * (1 + r) + 1.3e-7 / (r + 1e-3);
        assert_true(fabs(values[i] - r * cos(a)) < tol);
        assert_true(fabs(values[i + 1] - r * sin(a)) < tol);
    }
}

static void uniforms_stay_inside_the_half_open_interval(void **state)
{
    (void)state;
    pf_draw d = test_draw(3, 0);
    pf_draw_uniform(&d, 0, N, values);
    double mean = 0;
    for (int i = 0; i < N; i++) {
        assert_true(values[i] >= 0 && values[i] < 1);
        mean += (double)values[i] / N;
    }
    assert_true(fabs(mean - 0.5) < 5 * sqrt(1.0 / 12 / N)); /* five standard errors */
    mean = 0;
    for (size_t i = 0; i < N; i++) {
        double u = pf_draw_uniform_f64(&d, i);
        assert_true(u >= 0 && u < 1);
        mean += u / N;
    }
    assert_true(fabs(mean - 0.5) < 5 * sqrt(1.0 / 12 / N));
}

static void rademacher_draws_are_signs_in_balance(void **state)
{
    (void)state;
    pf_draw d = test_draw(4, 0);
    pf_draw_rademacher(&d, 0, N, values);
    double sum = 0;
    for (int i = 0; i < N; i++) {
        assert_true(values[i] == 1.0f || values[i] == -1.0f);
        sum += (double)values[i];
    }
    assert_true(fabs(sum) < 5 * sqrt(N)); /* five standard errors */
}

static void streams_samples_steps_and_seeds_differ(void **state)
{
    (void)state;
    pf_draw d = test_draw(8, 8), e[4] = {d, d, d, d};
    e[0].seed++;
    e[1].stream = PF_STREAM_NOISE;
    e[2].sample += (uint64_t)1 << 40;
    e[3].step++;
    uint32_t a[64], b[64];
    pf_draw_bits(&d, 0, 64, a);
    for (int i = 0; i < 4; i++) {
        pf_draw_bits(&e[i], 0, 64, b);
        assert_memory_not_equal(a, b, sizeof a);
    }
}

static void permutation_is_a_bijection_of_every_size(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 3000; n = n * 2 + 1) {
        unsigned char seen[4096] = {0};
        pf_draw d = test_draw(0, (uint32_t)n);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t j = pf_draw_permute(&d, n, i);
            assert_true(j < n);
            assert_int_equal(seen[j]++, 0);
        }
    }
}

static void permutation_changes_with_the_epoch(void **state)
{
    (void)state;
    enum { SIZE = 1000 };
    pf_draw a = test_draw(0, 1), b = test_draw(0, 2);
    int same = 0, fixed = 0;
    for (uint64_t i = 0; i < SIZE; i++) {
        same += pf_draw_permute(&a, SIZE, i) == pf_draw_permute(&b, SIZE, i);
        fixed += pf_draw_permute(&a, SIZE, i) == i;
    }
    /* Both counts are Poisson(1) for random permutations: above 10 has probability 1e-8. */
    assert_true(same <= 10);
    assert_true(fixed <= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_vectors),
        cmocka_unit_test(draws_are_the_documented_counter),
        cmocka_unit_test(draws_do_not_depend_on_how_they_are_cut),
        cmocka_unit_test(normals_have_the_moments_of_a_normal),
        cmocka_unit_test(normals_are_box_muller_of_the_bits),
        cmocka_unit_test(uniforms_stay_inside_the_half_open_interval),
        cmocka_unit_test(rademacher_draws_are_signs_in_balance),
        cmocka_unit_test(streams_samples_steps_and_seeds_differ),
        cmocka_unit_test(permutation_is_a_bijection_of_every_size),
        cmocka_unit_test(permutation_changes_with_the_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
