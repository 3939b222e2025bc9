/* A network that is told its own prediction of the data: its bound and its samples, against passes made by hand. */
#include "nets.h"

#include "method/ddpm.h"

#include <math.h>
#include <string.h>

enum { D = 6, T = 12, B = 4 };

static const pf_space space = {.kind = PF_LEVELS, .shape = {1, 2, 3}, .levels = 16};
static unsigned char pixels[B * D];
static uint64_t numbers[B] = {3, 8, 9, 40};
static pf_net *net;
static float *params;

static void open_net(const char *predicts)
{
    const char *const set[][2] = {
        {"steps", "12"},        {"beta_start", "0.01"},        {"beta_end", "0.3"},
        {"predicts", predicts}, {"variance", "learned_range"}, {"self_condition", "true"}};
    pf_model m = model("unet", "width=32;multipliers=1;blocks=1;attention=;dropout=0.5");
    pf_method method;
    must(pf_method_init("ddpm", &method));
    for (int i = 0; i < 6; i++)
        must(pf_opt_set(method.ops->opts, "method", set[i][0], set[i][1], &method.opt));
    must(pf_net_create(&m, &method, &space, &net));
    params = random_params(net);
    must(pf_net_set_params(net, params));
    for (int i = 0; i < B * D; i++) pixels[i] = (unsigned char)(i * 7 % 16);
}

static void close_net(void)
{
    pf_net_free(net);
    pf_free(params);
}

static pf_batch batch_of(int from, int n)
{
    return (pf_batch){.space = &space,
                      .B = n,
                      .first = from,
                      .total = B,
                      .k = pixels + from * D,
                      .sample = numbers + from,
                      .seed = 5,
                      .eval = 1};
}

static pf_chain chain_of(int batch)
{
    const pf_view_opt how = {.batch = batch};
    pf_chain c = {0};
    must(pf_net_chain(net, &how, &c));
    return c;
}

/* A plan of one sample, and one pass of it: x [2D] is what is told, then x_i, pixel by pixel. */
typedef struct hand {
    pf_plan *plan;
    pf_inputs inputs;
    pf_run run;
    void *in[PF_PORTS_MAX];
} hand;

static hand new_hand(void)
{
    hand h = {0};
    const pf_plan_opt o = {.batch = 1};
    must(pf_plan_create(net->graph, &o, &h.plan));
    must(pf_plan_set_params(h.plan, params));
    must(pf_inputs_create(net, 1, &h.inputs));
    pf_inputs_run(&h.inputs, &h.run);
    pf_net_ports(net, &h.inputs, h.in);
    return h;
}

static void drop_hand(hand *h)
{
    pf_plan_free(h->plan);
    pf_inputs_free(&h->inputs);
}

static void pass(hand *h, int i, const double *xi, const double *told, float *out)
{
    const pf_ddpm *m = net->self;
    float *x = h->in[PF_TOLD_X];
    pf_ddpm_show(m, 1, &i, xi, h->in);
    for (int j = 0; j < D; j++) {
        assert_true(x[j / 3 * 6 + 3 + j % 3] == (float)xi[j] && x[j / 3 * 6 + j % 3] == 0.0f);
        x[j / 3 * 6 + j % 3] = (float)told[j];
    }
    must(pf_plan_forward(h->plan, &h->run, out));
}

/* The predicted data, by the formula of each prediction. */
static void predict(const pf_ddpm *m, int i, const double *xi, const float *out, double *x0)
{
    double root = sqrt(m->gauss->abar[i]), std = sqrt(m->gauss->noise[i]);
    for (int j = 0; j < D; j++) {
        double y =
            (double)out[j / 3 * 6 + j % 3]; /* 3 channels of the mean, then 3 of the variance */
        double p = m->opt.predicts == PF_PREDICTS_V ? root * xi[j] - std * y
                                                    : (xi[j] - std * y) / root;
        x0[j] = fmin(fmax(p, -1.0), 1.0);
    }
}

static void the_bound_is_that_of_two_passes_on_any_batch(void **state)
{
    (void)state;
    const double nothing[D] = {0};
    for (int k = 0; k < 2; k++) {
        open_net(k ? "v" : "noise");
        const pf_ddpm *m = net->self;
        pf_chain all = chain_of(B), one = chain_of(1);
        assert_int_equal(all.passes, 2);
        hand h = new_hand();
        for (int i = 0; i <= T; i++) {
            int at[B] = {i, i, i, i}, moved = 0;
            double nats[B], alone, want, xi[D], x0[D], once;
            float x[D], out[2 * D];
            const pf_batch b = batch_of(0, B);
            must(all.term(all.self, &b, at, nats));
            for (int s = 0; s < B; s++) {
                pf_batch single = batch_of(s, 1);
                must(one.term(one.self, &single, at, &alone));
                assert_memory_equal(&alone, &nats[s], sizeof alone);
                if (i == T) continue;
                pf_to_model_f32(&space, PF_GRID_PUBLISHED, D, pixels + s * D, NULL, x);
                single.x = x;
                pf_ddpm_noised(m, &single, &i, xi);
                pass(&h, i, xi, nothing, out);
                pf_ddpm_term(m, &single, &i, xi, out, &once);
                predict(m, i, xi, out, x0);
                pass(&h, i, xi, x0, out);
                pf_ddpm_term(m, &single, &i, xi, out, &want);
                assert_near(nats[s], want,
                            1e-5 * fmax(1.0, fabs(want))); /* x0 rounds to floats */
                moved += fabs(once - want) > 1e-3 * fabs(want);
            }
            if (i < T) assert_true(moved > 0);
        }
        drop_hand(&h);
        pf_chain_free(&all);
        pf_chain_free(&one);
        close_net();
    }
}

/* Down from x_T: nothing is told at first, then the prediction of the step before; and so again in a second walk, after a
 * term, and with or without what is expected on the way. */
static void a_sample_is_told_the_prediction_of_the_step_before(void **state)
{
    (void)state;
    const pf_move how[] = {{.kind = PF_MOVE_ANCESTRAL}, {.kind = PF_MOVE_DDIM, .eta = 0.5}};
    for (int k = 0; k < 2; k++) {
        open_net(k ? "v" : "noise");
        const pf_ddpm *m = net->self;
        pf_chain all = chain_of(B);
        hand h = new_hand();
        const pf_batch b = batch_of(1, 3), first = batch_of(1, 1);
        double x[3][3 * D], y[D], x0[3 * D], told[D] = {0}, nats[B];
        float out[2 * D];
        int none[B] = {0};
        for (int walk = 0; walk < 3; walk++) {
            must(all.prior(all.self, &b, x[walk]));
            for (int i = T; i > 0; i--)
                must(all.step(all.self, &b, &how[k], i, x[walk], walk ? x0 : NULL));
            if (walk == 1) must(all.term(all.self, &b, none, nats));
        }
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        assert_memory_equal(x[0], x[2], sizeof x[0]);
        pf_ddpm_start(m, &first, y);
        for (int i = T - 1; i >= 0; i--) {
            const pf_ddpm_here here = {i, &how[k], out, NULL};
            pass(&h, i, y, told, out);
            predict(m, i, y, out, told);
            pf_ddpm_step(m, &first, &here, y, NULL);
        }
        for (int j = 0; j < D; j++) assert_near(x[0][j], y[j], 1e-4);
        drop_hand(&h);
        pf_chain_free(&all);
        close_net();
    }
}

/* Of training: what it says first reaches the second pass, of half of the samples. */
static void a_network_that_looks_twice_is_told_what_it_said(void **state)
{
    (void)state;
    enum { MANY = 64 };
    static float data[MANY * D], out[MANY * 2 * D], before[MANY * 2 * D],
        scratch[MANY * (D + 2)];
    static uint64_t sample[MANY];
    const pf_plan_opt o = {.batch = MANY};
    pf_inputs inputs;
    pf_plan *plan;
    pf_run run = {0};
    void *in[PF_PORTS_MAX];
    int twice = 0;
    open_net("noise");
    assert_true(pf_net_looks_twice(net));
    must(pf_inputs_create(net, MANY, &inputs));
    must(pf_plan_create(net->graph, &o, &plan));
    must(pf_plan_set_params(plan, params));
    pf_inputs_run(&inputs, &run);
    pf_net_ports(net, &inputs, in);
    for (int s = 0; s < MANY; s++) sample[s] = (uint64_t)s;
    const pf_batch b = {
        .space = &space, .B = MANY, .total = MANY, .x = data, .sample = sample, .seed = 2};
    pf_net_see(net, &b, scratch, &inputs);
    memcpy(before, in[PF_TOLD_X], sizeof before);
    must(pf_plan_forward(plan, &run, out));
    pf_net_again(net, &b, scratch, out, &inputs);
    for (int s = 0; s < MANY; s++)
        twice += memcmp(before + s * 2 * D, (float *)in[PF_TOLD_X] + s * 2 * D,
                        2 * D * sizeof *before) != 0;
    assert_true(twice > 12 && twice < 52); /* 32 of 64, 5 standard deviations */
    pf_plan_free(plan);
    pf_inputs_free(&inputs);
    close_net();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_is_that_of_two_passes_on_any_batch),
        cmocka_unit_test(a_sample_is_told_the_prediction_of_the_step_before),
        cmocka_unit_test(a_network_that_looks_twice_is_told_what_it_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
