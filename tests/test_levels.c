/* The noise expected in x from the frequencies of the levels, against its definition and, in float,
 * against the plain kernel. */
#include "kernel_rig.h"

#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

enum { LEVELS = 256, N = 61 };

/* Frequencies as those of scanned digits: most entries black, some white, few of each grey. */
static void frequencies(float *w)
{
    double sum = 0.0;
    for (int k = 0; k < LEVELS; k++) {
        w[k] = k == 0 ? 0.8f : k > 251 ? 0.02f : 4e-4f * (1.5f + sinf(0.9f * (float)k));
        sum += w[k];
    }
    for (int k = 0; k < LEVELS; k++) w[k] = (float)(w[k] / sum);
}

/* One sample of N entries under noise v, mean factor m. */
static void open_entries(rig *r, const pf_row *row, float v, float m)
{
    pf_site s = {.op = PF_OP_LEVELS, .name = "case", .B = 1, .n_in = 3, .n_param = 1};
    s.in[0] = s.out = shape(1, N, 1);
    s.in[1] = s.in[2] = shape(1, 1, 1);
    s.attr.levels = LEVELS;
    s.param_size[0] = LEVELS;
    s.want_dx[0] = 1;
    rig_open(r, &s);
    r->row = row;
    pf_free(r->saved);
    pf_free(r->scratch);
    r->saved = floats(row->saved(&s, NULL));
    r->scratch = floats(row->scratch ? row->scratch(&s, NULL) : 0);
    frequencies(r->param[0]);
    r->in[1][0] = v;
    r->in[2][0] = m;
    /* from 4 deviations outside to 4 outside, the finest steps near black */
    for (int i = 0; i < N; i++) {
        double q = (double)i / (N - 1),
               u = i < 20 ? -1.0 + v * (0.5 * i - 4.0) : -1.0 - 4.0 * v + q * (2.0 + 8.0 * v);
        r->in[0][i] = (float)(m * u);
    }
}

/* E[z | x] by the midpoint rule over d, as the header says it. */
static double expected(const float *w, double u, double v)
{
    enum { POINTS = 400 };
    double sum = 0.0, all = 0.0, bin = 2.0 / LEVELS;
    double nearest = fmin(fmax(u, -1.0), 1.0),
           top = 0.5 * (u - nearest) * (u - nearest) / v / v;
    for (int k = 0; k < LEVELS; k++)
        for (int i = 0; i < POINTS; i++) {
            double z = (u + 1.0 - bin * (k + (i + 0.5) / POINTS)) / v;
            double g = w[k] * exp(top - 0.5 * z * z);
            sum += g * z;
            all += g;
        }
    return sum / all;
}

/* From bins far wider than the noise to noise far wider than the data.  The midpoint rule errs by
 * (bin / 400 v)^2 / 24 of a term, 2e-5 at the smallest v; narrow bins by 1e-5. */
static void levels_are_the_noise_expected_given_x(void **state)
{
    (void)state;
    for (double v = 1e-3; v < 200.0; v *= 3.0) {
        rig r;
        float m = (float)(1.0 / sqrt(1.0 + v * v));
        open_entries(&r, pf_ref_rows[PF_OP_LEVELS], (float)v, m);
        forward(&r);
        for (int i = 0; i < N; i++) {
            double want = expected(r.param[0], r.in[0][i] / (double)m, r.in[1][0]);
            if (fabs(r.out[i] - want) > 1e-4 * (1.0 + fabs(want)))
                fail_msg("noise %g, entry %d: %g, not %g", v, i, r.out[i], want);
        }
        rig_close(&r);
    }
}

/* In float a distance from an edge carries 6e-8 / v deviations, and p loses some more digits
 * where a rare level lies beside a frequent one. */
static void the_float_kernel_agrees_with_the_plain_one(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_LEVELS};
    const pf_row *fast = pf_kernel_row("fast", &s);
    assert_ptr_not_equal(fast, pf_ref_rows[PF_OP_LEVELS]);
    for (double v = 1e-3; v < 200.0; v *= 1.7) {
        rig a, b;
        float m = (float)(1.0 / sqrt(1.0 + v * v));
        double within = 3e-5 + 3e-7 / v;
        open_entries(&a, fast, (float)v, m);
        open_entries(&b, pf_ref_rows[PF_OP_LEVELS], (float)v, m);
        forward(&a);
        forward(&b);
        backward(&a, 1);
        backward(&b, 1);
        for (int i = 0; i < N; i++) {
            double y = b.out[i], slope = b.gin[0][i] * v * m; /* of one deviation */
            if (fabs(a.out[i] - y) > within * (1.0 + fabs(y)))
                fail_msg("noise %g, entry %d: %g, not %g", v, i, a.out[i], y);
            if (fabs(a.gin[0][i] * v * m - slope) > 10.0 * within * (1.0 + fabs(slope)))
                fail_msg("noise %g, entry %d: slope %g, not %g", v, i, a.gin[0][i],
                         b.gin[0][i]);
        }
        rig_close(&a);
        rig_close(&b);
    }
}

/* A value no data can explain gets a finite answer: the distance from the nearest. */
static void far_outside_the_data_the_answer_is_the_distance(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_LEVELS};
    const pf_row *rows[] = {pf_kernel_row("fast", &s), pf_ref_rows[PF_OP_LEVELS]};
    for (int k = 0; k < 2; k++)
        for (float v = 1e-3f; v < 1.0f; v *= 10.0f) {
            rig r;
            open_entries(&r, rows[k], v, 1.0f);
            for (int i = 0; i < N; i++) r.in[0][i] = -1.0f - v * (float)(20 + 10 * i);
            forward(&r);
            backward(&r, 1);
            /* less the mean depth, 1/z, and what makes a bin a Gaussian; so its slope is 1/v within 1/z^2 */
            for (int i = 0; i < N; i++) {
                double z = 20 + 10 * i, bin = 2.0 / LEVELS / v;
                double narrow = v * LEVELS < 8.0 ? 0.0 : bin * bin / 12.0;
                double slope = r.gin[0][i] / r.gout[i] * v;
                if (!(fabs(r.out[i] + z) < 0.06 + bin + z * narrow) ||
                    !(fabs(slope - 1.0) < 0.004 + narrow))
                    fail_msg("row %d, noise %g: %g at %g, slope %g", k, v, r.out[i], z, slope);
            }
            rig_close(&r);
        }
}

/* E[z | u] of points and its derivative, as sums over all of them: on_grid [LEVELS]. */
static double expected_of_points(const float *w, const double *on_grid, double u, double v,
                                 double *slope)
{
    double most = -INFINITY, all = 0.0, one = 0.0, two = 0.0;
    for (int k = 0; k < LEVELS; k++)
        most = fmax(most, log(w[k]) - 0.5 * pow((u - on_grid[k]) / v, 2));
    for (int k = 0; k < LEVELS; k++) {
        double z = (u - on_grid[k]) / v, g = exp(log(w[k]) - 0.5 * z * z - most);
        all += g;
        one += g * z;
        two += g * z * z;
    }
    *slope = (1.0 - two / all + one / all * (one / all)) / v;
    return one / all;
}

/* Noise v of entries of m = 1, from 4 deviations outside, so that no digit of u is lost to a quotient. */
static void open_points(rig *r, const pf_row *row, int grid, float v)
{
    open_entries(r, row, v, 1.0f);
    r->site.attr.grid = grid;
}

/* From noise far below the distance of the points to noise far above the data.  In float u itself has 6e-8, of
 * which an answer differs by as much as its slope says. */
static void points_are_the_noise_expected_given_x(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_LEVELS};
    const pf_row *rows[] = {pf_ref_rows[PF_OP_LEVELS], pf_kernel_row("fast", &s)};
    uint8_t k[LEVELS];
    double on_grid[LEVELS], slope;
    pf_space space = {.kind = PF_LEVELS, .levels = LEVELS};
    for (int i = 0; i < LEVELS; i++) k[i] = (uint8_t)i;
    for (int c = 0; c < 4; c++) {
        int grid = c / 2 ? PF_GRID_CENTRES : PF_GRID_PUBLISHED, fast = c % 2;
        pf_to_model(&space, grid, LEVELS, k, NULL, on_grid);
        for (double v = 1e-4; v < 200.0; v *= 1.9) {
            rig r;
            open_points(&r, rows[fast], grid, (float)v);
            forward(&r);
            backward(&r, 1);
            for (int i = 0; i < N; i++) {
                double u = r.in[0][i],
                       y = expected_of_points(r.param[0], on_grid, u, (float)v, &slope);
                double within =
                    fast ? 3e-5 * (1 + fabs(y)) + 3e-7 * fabs(slope) : 1e-6 * (1 + fabs(y));
                if (!(fabs(r.out[i] - y) <= within))
                    fail_msg("grid %d, fast %d, noise %g, entry %d: %g, not %g", grid, fast, v,
                             i, r.out[i], y);
                double got = r.gin[0][i] / r.gout[i], about = (fabs(slope) + 1 / v);
                if (!(fabs(got - slope) <= (fast ? 3e-7 / v + 1e-4 : 1e-5) * 50 * about))
                    fail_msg("grid %d, fast %d, noise %g, entry %d: slope %g, not %g", grid,
                             fast, v, i, got, slope);
            }
            rig_close(&r);
        }
    }
}

/* The derivative is that of the answer, by central differences of the plain kernel. */
static void the_slope_of_points_is_that_of_the_answer(void **state)
{
    (void)state;
    pf_attr a = {.levels = LEVELS, .grid = PF_GRID_CENTRES};
    float w[LEVELS];
    frequencies(w);
    for (double v = 1e-3; v < 10.0; v *= 3.0)
        for (double u = -1.01; u < 1.02; u += 0.0137) {
            double h = 1e-4 * v;
            double up = pf_ref_levels_at(w, &a, u + h, v).y,
                   down = pf_ref_levels_at(w, &a, u - h, v).y;
            double slope = pf_ref_levels_at(w, &a, u, v).slope, found = (up - down) / (2 * h);
            if (!(fabs(found - slope) <= 1e-4 * (fabs(slope) + 1 / v)))
                fail_msg("noise %g at %g: slope %g, by differences %g", v, u, slope, found);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_the_noise_expected_given_x),
        cmocka_unit_test(the_slope_of_points_is_that_of_the_answer),
        cmocka_unit_test(levels_are_the_noise_expected_given_x),
        cmocka_unit_test(the_float_kernel_agrees_with_the_plain_one),
        cmocka_unit_test(far_outside_the_data_the_answer_is_the_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
