/* The method ddpm: what it draws, what it shows a network, its losses. */
#include "ddpm_rig.h"

static void a_network_sees_the_noised_data_and_where_it_is(void **state)
{
    (void)state;
    void *self = open_with(NULL, 0);
    rig *r = new_rig();
    pf_ports in;
    int hit[B] = {0};
    pf_method_ddpm.ports(self, &in);
    assert_int_equal(in.n, 4);
    assert_string_equal(in.port[1].name, "cond");
    assert_true(in.port[0].shape.w == W && in.out.c == C);
    assert_true(pf_method_ddpm.scratch(self) * B == sizeof r->scratch);
    pf_method_ddpm.see(self, &r->batch, r->scratch, r->in);
    for (int b = 0; b < B; b++) {
        const float *z = noise(r, b);
        double m = (double)r->mean[b], s = (double)r->sigma[b] * m;
        hit[(int)(r->cond[b] * B / 40.0f)]++;
        assert_near(m * m + s * s, 1.0, 1e-6);
        for (int j = 0; j < D; j++)
            assert_near((double)r->seen[b * D + j],
                        m * (double)r->x[b * D + j] + s * (double)z[j], 1e-6);
    }
    /* one shifted grid: two neighbours at most meet in one of B parts */
    for (int b = 0; b < B; b++) assert_true(hit[b] <= 2);
    pf_method_ddpm.close(self);
    pf_free(r);
}

static void draws_do_not_depend_on_how_a_batch_is_cut(void **state)
{
    (void)state;
    void *self = open_with(NULL, 0);
    for (int eval = 0; eval < 2; eval++) {
        rig *whole = new_rig(), *part = new_rig();
        whole->batch.eval = part->batch.eval = eval;
        pf_method_ddpm.see(self, &whole->batch, whole->scratch, whole->in);
        part->batch.B = 2;
        part->batch.first = 3;
        part->batch.x = whole->x + 3 * D;
        part->batch.sample = whole->sample + 3;
        part->in[2] = part->in[3] = NULL;
        pf_method_ddpm.see(self, &part->batch, part->scratch, part->in);
        assert_memory_equal(part->seen, whole->seen + 3 * D, 2 * D * sizeof(float));
        assert_memory_equal(part->cond, whole->cond + 3, 2 * sizeof(float));
        part->batch.step++;
        memcpy(part->gout, part->seen, sizeof part->gout);
        pf_method_ddpm.see(self, &part->batch, part->scratch, part->in);
        int same = !memcmp(part->gout, part->seen, 2 * D * sizeof(float));
        assert_int_equal(same, eval); /* evaluation never moves */
        pf_free(whole);
        pf_free(part);
    }
    pf_method_ddpm.close(self);
}

/* Half of what is seen for the mean, and a variance of either sign behind each pixel's channels. */
static void answer(rig *r, int learns)
{
    for (int j = 0; j < B * D; j++) {
        float *to = r->net + (j / C * (C << learns) + j % C);
        to[0] = 0.5f * r->seen[j];
        if (learns) to[C] = (float)(j % 5) - 3.0f;
    }
}

/* Of every loss, with respect to the mean and to the variance of some entries; where the loss is simple the mean
 * gets that of the squares alone. */
static void gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    static const char *const predicts[] = {"noise", "data", "mean", "v"},
                             *const losses[] = {"simple", "rescaled_simple", "kl",
                                                "rescaled_kl"},
                             *const variances[] = {"fixed_small", "learned", "learned_range"};
    for (int c = 0; c < 48; c++) {
        int learns = c / 16 > 0, squares = c / 4 % 4 < 2;
        const char *const more[] = {"predicts", predicts[c % 4], "loss",     losses[c / 4 % 4],
                                    "cdf",      "exact",         "variance", variances[c / 16]};
        const char *const plain[] = {"predicts", predicts[c % 4], "loss", "simple"};
        void *self = open_with(more, 8), *simple = open_with(plain, 4);
        rig *r = new_rig();
        pf_method_ddpm.see(self, &r->batch, r->scratch, r->in);
        answer(r, learns);
        pf_method_ddpm.loss(self, &r->batch, r->scratch, r->net, 3.0, r->term, r->gout);
        for (int k = 0; k < B << learns; k++) {
            int b = k % B, j = b * D + 31 * b, to = j / C * (C << learns) + j % C, mean = k < B;
            double side[2], h = 1.0 / 4096, kept = (double)r->net[mean ? to : to + C];
            if (learns && squares && mean) continue; /* held fixed in the bound: below */
            for (int e = 0; e < 2; e++) {
                r->net[mean ? to : to + C] = (float)(kept + (e ? h : -h));
                pf_method_ddpm.loss(self, &r->batch, r->scratch, r->net, 3.0, r->term, NULL);
                side[e] = r->term[b];
            }
            r->net[mean ? to : to + C] = (float)kept;
            double want = 3.0 * (side[1] - side[0]) / (2.0 * h);
            assert_near((double)r->gout[mean ? to : to + C], want, 1e-4 * fabs(want) + 1e-6);
        }
        rig *s = new_rig();
        pf_method_ddpm.see(simple, &s->batch, s->scratch, s->in);
        answer(s, 0);
        pf_method_ddpm.loss(simple, &s->batch, s->scratch, s->net, 3.0, s->term, s->gout);
        for (int j = 0; squares && j < B * D; j++)
            assert_near((double)r->gout[j / C * (C << learns) + j % C], (double)s->gout[j],
                        0.0);
        pf_method_ddpm.close(self);
        pf_method_ddpm.close(simple);
        pf_free(r);
        pf_free(s);
    }
}

static void a_learned_variance_doubles_the_channels_asked_for(void **state)
{
    (void)state;
    const char *const more[] = {"variance", "learned_range"};
    void *self = open_with(more, 2), *plain = open_with(NULL, 0);
    pf_ports in;
    pf_method_ddpm.ports(self, &in);
    assert_true(in.out.c == 2 * C && in.out.h == H && in.port[0].shape.c == C);
    assert_int_equal(pf_method_ddpm.scratch(self), pf_method_ddpm.scratch(plain));
    pf_method_ddpm.close(self);
    pf_method_ddpm.close(plain);
}

/* The network is told 1000 i/T of the chain that was trained. */
static void a_network_is_told_rescaled_numbers(void **state)
{
    (void)state;
    const char *const more[] = {"rescale_timesteps", "true"};
    const pf_ddpm_opt opt = options(more, 2);
    void *self = open_with(more, 2), *plain = open_with(NULL, 0);
    rig *r = new_rig(), *p = new_rig();
    pf_ddpm *part;
    pf_method_ddpm.see(self, &r->batch, r->scratch, r->in);
    pf_method_ddpm.see(plain, &p->batch, p->scratch, p->in);
    for (int b = 0; b < B; b++) assert_near((double)r->cond[b], 25.0 * (double)p->cond[b], 0.0);
    assert_memory_equal(r->seen, p->seen, sizeof r->seen);
    must(pf_ddpm_open(&opt, &images, "ddim10", &part));
    pf_ddpm_show(part, B, alike(3), r->xi, r->in);
    assert_near((double)r->cond[0], 25.0 * 12, 0.0); /* every fourth step */
    pf_ddpm_close(part);
    pf_method_ddpm.close(self);
    pf_method_ddpm.close(plain);
    pf_free(r);
    pf_free(p);
}

static void the_true_noise_costs_nothing(void **state)
{
    (void)state;
    void *self = open_with(NULL, 0);
    rig *r = new_rig();
    pf_method_ddpm.see(self, &r->batch, r->scratch, r->in);
    for (int b = 0; b < B; b++) memcpy(r->net + b * D, noise(r, b), D * sizeof *r->net);
    pf_method_ddpm.loss(self, &r->batch, r->scratch, r->net, 1.0, r->term, r->gout);
    for (int b = 0; b < B; b++) assert_near(r->term[b], 0.0, 0.0);
    pf_method_ddpm.close(self);
    pf_free(r);
}

/* A trained network may be looked at with the other fixed variance; one that learned it has it. */
static void what_a_network_learned_is_not_free(void **state)
{
    (void)state;
    static const char *const sets[] = {"variance=fixed_small",
                                       "variance=fixed_large",
                                       "variance=learned_range",
                                       "variance=learned",
                                       "clip=false",
                                       "cdf=exact",
                                       "loss=kl",
                                       "steps=7",
                                       "no=1",
                                       "variances=fixed_small"};
    for (int learned = 0; learned < 2; learned++) {
        pf_method m;
        must(pf_method_init("ddpm", &m));
        must(pf_opt_set(m.ops->opts, "method", "variance",
                        learned ? "learned_range" : "fixed_large", &m.opt));
        for (int i = 0; i < 10; i++)
            assert_int_equal(pf_method_is_free(&m, sets[i]),
                             i < 2 ? !learned : i == 4 || i == 5);
    }
}

static void given_indices_are_taken_and_their_weights_go_into_the_gradient(void **state)
{
    (void)state;
    const char *const more[] = {"times", "second_moment"};
    const int32_t index[B] = {0, 39, 7, 7, 20, 1};
    const double weight[B] = {0.25, 4.0, 1.0, 2.0, 0.5, 8.0}; /* exact in floats */
    double plain[B];
    void *self = open_with(more, 2), *uniform = open_with(NULL, 0);
    rig *r = new_rig(), *w = new_rig();
    assert_int_equal(pf_method_ddpm.times(self), 40);
    assert_int_equal(pf_method_ddpm.times(uniform), 0);
    r->batch.index = w->batch.index = index;
    pf_method_ddpm.see(self, &r->batch, r->scratch, r->in);
    for (int b = 0; b < B; b++) assert_true(r->cond[b] == (float)index[b]);
    for (int i = 0; i < B * D; i++) r->net[i] = 0.5f * r->seen[i];
    pf_method_ddpm.loss(self, &r->batch, r->scratch, r->net, 3.0, plain, r->gout);
    w->batch.weight = weight;
    pf_method_ddpm.loss(self, &w->batch, r->scratch, r->net, 3.0, w->term, w->gout);
    assert_memory_equal(plain, w->term, sizeof plain);
    for (int i = 0; i < B * D; i++)
        assert_true(w->gout[i] == (float)weight[i / D] * r->gout[i]);
    pf_method_ddpm.close(self);
    pf_method_ddpm.close(uniform);
    pf_free(r);
    pf_free(w);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    unsigned char opt[256];
    void *self = NULL;
    const pf_opt *o = pf_method_ddpm.opts;
    pf_space real = images;
    real.kind = PF_REAL;
    real.levels = 0;
    pf_opt_defaults(o, opt);
    assert_int_equal(pf_method_ddpm.open(opt, &real, &self), PF_EARG);
    must(pf_opt_set(o, "ddpm", "schedule", "jsd", opt));
    assert_int_equal(pf_method_ddpm.open(opt, &images, &self), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "predicts data, mean or v"));
    must(pf_opt_set(o, "ddpm", "predicts", "data", opt));
    must(pf_method_ddpm.open(opt, &images, &self));
    pf_method_ddpm.close(self);
    self = NULL;
    must(pf_opt_set(o, "ddpm", "schedule", "linear", opt));
    must(pf_opt_set(o, "ddpm", "beta_end", "1", opt));
    assert_int_equal(pf_method_ddpm.open(opt, &images, &self), PF_EARG);
    assert_int_not_equal(pf_opt_set(o, "ddpm", "steps", "1", opt), PF_OK);
    must(pf_opt_set(o, "ddpm", "beta_end", "0.02", opt));
    static const char *const not_weighed[][3] = {
        {"loss", "kl", "none of"},
        {"loss", "rescaled_kl", "none of"},
        {"predicts", "mean", "for predicted noise, data and v"}};
    for (int k = 0; k < 3; k++) {
        const char *const more[] = {"weight", "min_snr", not_weighed[k][0], not_weighed[k][1]};
        const pf_ddpm_opt weighed = options(more, 4);
        assert_int_equal(pf_method_ddpm.open(&weighed, &images, &self), PF_EARG);
        assert_non_null(strstr(pf_error_message(), not_weighed[k][2]));
    }
    for (int n = 1; n <= 7; n++) { /* no memory, wherever it is asked for */
        pf_alloc_fail_at(n);
        assert_int_equal(pf_method_ddpm.open(opt, &images, &self), PF_EMEM);
    }
    pf_alloc_fail_at(0);
    assert_null(self);
    pf_method_ddpm.close(NULL);
    const pf_ddpm_opt good = options(NULL, 0);
    pf_ddpm *m = NULL;
    assert_int_equal(pf_ddpm_open(&good, &images, "41", &m), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "section 1 has 40 steps, of which 41"));
    assert_null(m);
}

/* Of an image and a channel one draw, N(0, 1), beside the noise that there is without. */
static void an_option_that_cannot_act_is_refused(void **state)
{
    (void)state;
    /* key, value, where it does not act, where it does */
    static const char *const cases[][6] = {
        {"vb_weight", "2", "variance", "fixed_small", "variance", "learned_range"},
        {"vb_weight", "2", "loss", "kl", "loss", "rescaled_simple"},
        {"min_snr_gamma", "2", "weight", "snr", "weight", "min_snr"},
        {"beta_end", "0.03", "schedule", "cosine", "schedule", "const"},
        {"schedule_tau", "2", "schedule", "linear", "schedule", "sigmoid"},
        {"decoder_floor", "1e-9", "cdf", "exact", "cdf", "tanh"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pf_method m;
        must(pf_method_init("ddpm", &m));
        must(pf_method_acts(&m));
        must(pf_opt_set(m.ops->opts, "method", "variance", "learned", &m.opt));
        must(pf_opt_set(m.ops->opts, "method", cases[k][0], cases[k][1], &m.opt));
        must(pf_opt_set(m.ops->opts, "method", cases[k][2], cases[k][3], &m.opt));
        assert_int_equal(pf_method_acts(&m), PF_EARG);
        assert_non_null(strstr(pf_error_message(), cases[k][0]));
        assert_non_null(strstr(pf_error_message(), cases[k][3]));
        must(pf_opt_set(m.ops->opts, "method", cases[k][4], cases[k][5], &m.opt));
        must(pf_method_acts(&m));
    }
    for (int i = 0; pf_methods[i]; i++) { /* every table names options that are there */
        const pf_method_ops *ops = pf_methods[i];
        for (const pf_acts *a = ops->acts; a && a->key; a++) {
            const pf_opt by = pf_opt_find(ops->opts, a->other);
            assert_true(!pf_opt_find(ops->opts, a->key).name || by.kind == PF_ENUM);
            char words[128], *rest, *word;
            snprintf(words, sizeof words, "%s", a->values);
            for (word = strtok_r(words, "|", &rest); word && by.name;
                 word = strtok_r(NULL, "|", &rest)) {
                int known = 0;
                for (int w = 0; by.words[w]; w++) known |= !strcmp(by.words[w], word);
                assert_true(known);
            }
        }
    }
}

static void offset_noise_is_one_draw_an_image_and_channel(void **state)
{
    (void)state;
    const char *const more[] = {"offset_noise", "0.5"};
    void *self = open_with(more, 2), *plain = open_with(NULL, 0);
    rig *r = new_rig(), *p = new_rig();
    double squares = 0.0, across = 0.0;
    enum { ROUNDS = 300, DRAWS = ROUNDS * B * C };
    for (int k = 0; k < ROUNDS; k++) {
        for (int b = 0; b < B; b++) r->sample[b] = p->sample[b] = (uint64_t)(k * B + b);
        pf_method_ddpm.see(self, &r->batch, r->scratch, r->in);
        pf_method_ddpm.see(plain, &p->batch, p->scratch, p->in);
        for (int b = 0; b < B; b++) {
            double e[C];
            for (int c = 0; c < C; c++)
                e[c] = ((double)noise(r, b)[c] - (double)noise(p, b)[c]) / 0.5;
            for (int j = 0; j < D; j++)
                assert_near((double)noise(r, b)[j], (double)noise(p, b)[j] + 0.5 * e[j % C],
                            1e-6);
            for (int c = 0; c < C; c++) squares += e[c] * e[c] / DRAWS;
            for (int c = 0; c < C; c++) across += e[c] * e[(c + 1) % C] / DRAWS;
        }
    }
    assert_near(squares, 1.0, 6.0 * sqrt(2.0 / DRAWS));
    assert_near(across, 0.0, 6.0 / sqrt(DRAWS));
    pf_method_ddpm.close(self);
    pf_method_ddpm.close(plain);
    pf_free(r);
    pf_free(p);
}

static void half_of_the_samples_are_told_their_first_prediction(void **state)
{
    (void)state;
    const char *const more[] = {"predicts", "v", "self_condition", "true"};
    const char *const without[] = {"predicts", "v"};
    void *self = open_with(more, 4), *plain = open_with(without, 2);
    rig *r = new_rig(), *p = new_rig();
    pf_ports in;
    int twice = 0;
    enum { ROUNDS = 100 };
    pf_method_ddpm.ports(self, &in);
    assert_true(in.port[0].shape.c == 2 * C && in.out.c == C);
    assert_true(pf_method_ddpm.looks_twice(self) && !pf_method_ddpm.looks_twice(plain));
    assert_int_equal(pf_method_ddpm.scratch(self), pf_method_ddpm.scratch(plain));
    for (int k = 0; k < ROUNDS; k++) {
        for (int b = 0; b < B; b++) r->sample[b] = p->sample[b] = (uint64_t)(k * B + b);
        pf_method_ddpm.see(self, &r->batch, r->scratch, r->in);
        pf_method_ddpm.see(plain, &p->batch, p->scratch, p->in);
        for (int i = 0; i < B * D; i++) {
            assert_true(told(r, i / D, i % D, 1) == p->seen[i]);
            assert_true(told(r, i / D, i % D, 0) == 0.0f);
            r->net[i] = (float)(i % 11) - 5.0f;
        }
        pf_method_ddpm.again(self, &r->batch, r->scratch, r->net, r->in);
        for (int b = 0; b < B; b++) {
            int tells = told(r, b, 0, 0) != 0.0f;
            double m = (double)r->mean[b], s = sqrt(1.0 - m * m);
            twice += tells;
            for (int j = 0; j < D; j++) {
                double x = (double)p->seen[b * D + j], v = (double)r->net[b * D + j];
                assert_true(told(r, b, j, 1) == p->seen[b * D + j]);
                assert_near((double)told(r, b, j, 0), tells ? m * x - s * v : 0.0, 2e-5);
            }
        }
    }
    assert_true(fabs(twice - 0.5 * ROUNDS * B) < 5.0 * sqrt(0.25 * ROUNDS * B));
    pf_method_ddpm.close(self);
    pf_method_ddpm.close(plain);
    pf_free(r);
    pf_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_sees_the_noised_data_and_where_it_is),
        cmocka_unit_test(draws_do_not_depend_on_how_a_batch_is_cut),
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(a_learned_variance_doubles_the_channels_asked_for),
        cmocka_unit_test(a_network_is_told_rescaled_numbers),
        cmocka_unit_test(the_true_noise_costs_nothing),
        cmocka_unit_test(what_a_network_learned_is_not_free),
        cmocka_unit_test(given_indices_are_taken_and_their_weights_go_into_the_gradient),
        cmocka_unit_test(offset_noise_is_one_draw_an_image_and_channel),
        cmocka_unit_test(half_of_the_samples_are_told_their_first_prediction),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(an_option_that_cannot_act_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
