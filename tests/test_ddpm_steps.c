/* The method ddpm: its bound, its samples, and the parts of its chain. */
#include "ddpm_rig.h"

/* With the truth predicted, all is lost in the prior and in the width of the decoder. */
static void a_network_that_knows_the_data_has_a_bound_of_prior_and_decoder(void **state)
{
    (void)state;
    const char *const more[] = {"predicts", "data", "variance", "fixed_small", "cdf", "exact"};
    void *self = open_with(more, 6);
    rig *r = new_rig();
    int T = ((const pf_ddpm *)self)->T;
    assert_int_equal(T, 40);
    for (int i = 0; i < T; i++) {
        pf_ddpm_noised(self, &r->batch, alike(i), r->xi);
        pf_ddpm_show(self, B, alike(i), r->xi, r->in);
        assert_near((double)r->cond[B - 1], i, 0.0);
        assert_near((double)r->seen[D], r->xi[D], 1e-6);
        pf_ddpm_term(self, &r->batch, alike(i), r->xi, r->x, r->term);
        for (int b = 0; b < B; b++) {
            /* x is a float, 6e-8 from its level; the first steps' variances are 1e-3 */
            if (i) assert_near(r->term[b], 0.0, 1e-9);
            else assert_true(r->term[b] > 0.0 && r->term[b] < D * log(256.0));
        }
    }
    pf_ddpm_prior(self, &r->batch, r->term);
    for (int b = 0; b < B; b++) assert_true(r->term[b] > 0.0 && r->term[b] < D * 1e-3);
    pf_method_ddpm.close(self);
    pf_free(r);
}

static void the_noise_of_the_bound_is_one_draw_an_image_and_index(void **state)
{
    (void)state;
    void *self = open_with(NULL, 0);
    rig *all = new_rig(), *one = new_rig();
    pf_ddpm_noised(self, &all->batch, alike(7), all->xi);
    one->batch.B = 1;
    one->batch.first = 77;
    one->batch.x = all->x + 4 * D;
    one->batch.sample = all->sample + 4;
    pf_ddpm_noised(self, &one->batch, alike(7), one->xi);
    assert_memory_equal(one->xi, all->xi + 4 * D, D * sizeof *one->xi);
    pf_ddpm_noised(self, &one->batch, alike(8), one->xi);
    assert_memory_not_equal(one->xi, all->xi + 4 * D, D * sizeof *one->xi);
    one->batch.step = all->batch.step + 1; /* another draw */
    pf_ddpm_noised(self, &one->batch, alike(7), one->xi);
    assert_memory_not_equal(one->xi, all->xi + 4 * D, D * sizeof *one->xi);
    pf_method_ddpm.close(self);
    pf_free(all);
    pf_free(one);
}

/* Steps that are kept have the noise, the marginal and the number they had. */
static void a_respaced_chain_sees_what_the_whole_one_does(void **state)
{
    (void)state;
    const pf_ddpm_opt opt = options(NULL, 0);
    pf_ddpm *whole, *part;
    rig *r = new_rig(), *p = new_rig();
    must(pf_ddpm_open(&opt, &images, "", &whole));
    must(pf_ddpm_open(&opt, &images, "3,5", &part));
    assert_true(whole->T == 40 && part->T == 8);
    for (int i = 0; i < part->T; i++) {
        pf_ddpm_noised(whole, &r->batch, alike(part->number[i]), r->xi);
        pf_ddpm_noised(part, &p->batch, alike(i), p->xi);
        for (int j = 0; j < B * D; j++) assert_near(p->xi[j], r->xi[j], 1e-14);
        pf_ddpm_show(part, B, alike(i), p->xi, p->in);
        assert_near((double)p->cond[0], part->number[i], 0.0);
    }
    pf_ddpm_prior(whole, &r->batch, r->term);
    pf_ddpm_prior(part, &p->batch, p->term);
    assert_near(p->term[0], r->term[0], 1e-12); /* its last step is the last one */
    pf_ddpm_close(whole);
    pf_ddpm_close(part);
    pf_free(r);
    pf_free(p);
}

/* Ancestral, DDIM with and without noise, respaced or not. */
static void samples_of_a_network_that_knows_the_data_are_the_data(void **state)
{
    (void)state;
    const char *const more[] = {"predicts", "data"};
    const pf_ddpm_opt opt = options(more, 2);
    const pf_move how[] = {{.kind = PF_MOVE_ANCESTRAL},
                           {.kind = PF_MOVE_DDIM, .eta = 0.0},
                           {.kind = PF_MOVE_DDIM, .eta = 1.0}};
    for (int c = 0; c < 6; c++) {
        pf_ddpm *m;
        rig *r = new_rig();
        double *x0 = pf_zalloc(B * D * sizeof *x0), moment = 0.0;
        must(pf_ddpm_open(&opt, &images, c / 3 ? "7" : "", &m));
        pf_ddpm_start(m, &r->batch, r->xi);
        for (int j = 0; j < B * D; j++) moment += r->xi[j] * r->xi[j] / (B * D);
        assert_near(moment, 1.0, 0.2); /* 6 standard deviations of the mean of 1680 squares */
        for (int i = m->T - 1; i >= 0; i--) {
            const pf_ddpm_here here = {i, &how[c % 3], r->x, NULL};
            pf_ddpm_step(m, &r->batch, &here, r->xi, x0);
            assert_near(x0[D + 1], (double)r->x[D + 1], 0.0);
        }
        for (int j = 0; j < B * D; j++) assert_near(r->xi[j], (double)r->x[j], 1e-7);
        pf_ddpm_close(m);
        pf_free(r);
        pf_free(x0);
    }
}

/* From the data upwards; what comes out leads down to the data again.  The answer of the network is cut nowhere. */
static void encoding_is_undone_by_steps_without_noise(void **state)
{
    (void)state;
    const pf_ddpm_opt opt = options(NULL, 0);
    const pf_move up = {.kind = PF_MOVE_ENCODE}, down = {.kind = PF_MOVE_DDIM};
    pf_ddpm *m;
    rig *r = new_rig();
    must(pf_ddpm_open(&opt, &images, "", &m));
    m->clip = 0;
    for (int j = 0; j < B * D; j++) r->xi[j] = (double)r->x[j];
    for (int j = 0; j < B * D; j++) r->net[j] = (float)(j % 7 - 3); /* one noise at all steps */
    for (int i = 0; i < m->T - 1; i++) {
        const pf_ddpm_here here = {i, &up, r->net, NULL};
        pf_ddpm_step(m, &r->batch, &here, r->xi, NULL);
    }
    for (int i = m->T - 1; i > 0; i--) {
        const pf_ddpm_here here = {i, &down, r->net, NULL};
        pf_ddpm_step(m, &r->batch, &here, r->xi, NULL);
    }
    for (int j = 0; j < B * D; j++) assert_near(r->xi[j], (double)r->x[j], 1e-12);
    pf_ddpm_close(m);
    pf_free(r);
}

/* A gradient moves the mean of an ancestral step by the variance, and the data's prediction of the others. */
static void a_gradient_guides_each_kind_of_step(void **state)
{
    (void)state;
    const pf_ddpm_opt opt = options(NULL, 0);
    const pf_move how[] = {{.kind = PF_MOVE_ANCESTRAL}, {.kind = PF_MOVE_DDIM, .eta = 0.5}};
    pf_ddpm *m;
    must(pf_ddpm_open(&opt, &images, "", &m));
    m->clip = 0;
    double *g = pf_zalloc(4 * B * D * sizeof *g), *x[2] = {g + B * D, g + 2 * B * D};
    double *x0 = g + 3 * B * D;
    for (int j = 0; j < B * D; j++) g[j] = 0.3 * (j % 3);
    for (int c = 0; c < 2; c++) {
        rig *r = new_rig();
        const pf_gauss_at *a = &m->at[20];
        for (int k = 0; k < 2; k++) {
            const pf_ddpm_here here = {20, &how[c], r->net, k ? g : NULL};
            for (int j = 0; j < B * D; j++) x[k][j] = (double)r->x[j];
            pf_ddpm_step(m, &r->batch, &here, x[k], x0);
        }
        for (int j = 0; j < B * D; j++) {
            double gain = a->std * a->std / a->root * g[j]; /* of the data */
            double data = (double)r->x[j] / a->root;        /* the network says 0 */
            assert_near(x0[j], c ? data + gain : data, 1e-12 * fmax(1.0, fabs(data)));
            if (!c) assert_near(x[1][j] - x[0][j], m->gauss->beta[20] * g[j], 1e-13);
            if (!c) continue;
            double left = sqrt(1.0 - a->before - 0.25 * m->gauss->variance[20]);
            assert_near(x[1][j] - x[0][j], sqrt(a->before) * gain - left * a->std * g[j],
                        1e-12);
        }
        pf_free(r);
    }
    pf_ddpm_close(m);
    pf_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_that_knows_the_data_has_a_bound_of_prior_and_decoder),
        cmocka_unit_test(the_noise_of_the_bound_is_one_draw_an_image_and_index),
        cmocka_unit_test(a_respaced_chain_sees_what_the_whole_one_does),
        cmocka_unit_test(encoding_is_undone_by_steps_without_noise),
        cmocka_unit_test(a_gradient_guides_each_kind_of_step),
        cmocka_unit_test(samples_of_a_network_that_knows_the_data_are_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
