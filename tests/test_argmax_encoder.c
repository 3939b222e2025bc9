/* Laws of the flow of an argmax flow's encoder. */
#include "argmax_rig.h"

enum { LENGTH = 3, BITS = 2, SYMBOLS = 4, CONTEXT = 4, WIDTH = 5 };

/* A linear map of the network, or what is under a mask of it. */
typedef struct layer {
    const float *w, *b;
    int in, out;
} layer;

static layer layer_of(const flow *f, const char *name, int in, int out)
{
    char full[128];
    layer l = {.in = in, .out = out};
    size_t n = 0;
    snprintf(full, sizeof full, "%s.weight", name);
    l.w = view_of(f, full, &n);
    assert_int_equal(n, in * out);
    snprintf(full, sizeof full, "%s.bias", name);
    l.b = view_of(f, full, &n);
    assert_int_equal(n, out);
    return l;
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
}

static double elu(double x)
{
    return x > 0.0 ? x : expm1(x);
}

/* Output o of a layer as published: its mask is a lower triangle of the bits, again and again, without its diagonal where
 * it is strict, and 1 from column `open` on. */
static double masked(const layer *l, const double *x, int o, int strict, int open)
{
    double sum = (double)l->b[o];
    for (int i = 0; i < l->in; i++) {
        int from = i % BITS, to = o % BITS;
        if (i >= open || from < to || (from == to && !strict))
            sum += (double)l->w[o * l->in + i] * x[i];
    }
    return sum;
}

/* One published step of a position: u, and the sum of its log scales. */
static double published_step(const flow *f, const double *context, double *u)
{
    const layer emb = layer_of(f, "transforms.0.ar_net.emb", 3 * BITS, WIDTH),
                cat = layer_of(f, "transforms.0.ar_net.cat", WIDTH + CONTEXT, WIDTH),
                out = layer_of(f, "transforms.0.ar_net.out", WIDTH, 2 * BITS);
    double x[3 * BITS], h[WIDTH + CONTEXT], g[WIDTH], volume = 0.0;
    for (int b = 0; b < BITS; b++) {
        x[b] = u[b];
        x[BITS + b] = elu(u[b]);
        x[2 * BITS + b] = elu(-u[b]);
    }
    for (int o = 0; o < WIDTH; o++) h[o] = gelu(masked(&emb, x, o, 1, emb.in));
    for (int i = 0; i < CONTEXT; i++) h[WIDTH + i] = context[i];
    for (int o = 0; o < WIDTH; o++) g[o] = gelu(masked(&cat, h, o, 0, WIDTH));
    for (int b = 0; b < BITS; b++) {
        double s = 2.0 * tanh(masked(&out, g, b, 0, out.in) / 2.0);
        u[b] = masked(&out, g, BITS + b, 0, out.in) + exp(s) * u[b];
        volume += s;
    }
    return volume;
}

static void an_encoder_step_is_the_published_map(void **state)
{
    (void)state;
    flow f;
    int32_t tokens[LENGTH] = {2, 0, 3};
    const float noise[LENGTH * BITS] = {0.3f, -1.2f, 0.8f, 0.1f, -0.5f, 1.7f};
    float out[LENGTH * 64];
    double context[CONTEXT];
    flow_open(&f, COUPLES, "encoder_steps=1;encoder_width=5", row_of(LENGTH, SYMBOLS), 1);
    /* the context is the same at all positions, and the normal numbers are the noise */
    size_t n = 0;
    float *w = view_of(&f, "context_init.5.weight", &n);
    memset(w, 0, n * sizeof *w);
    flow_encode_by(&f, 1.0, 1);
    const float *bias = view_of(&f, "context_init.5.bias", &n);
    assert_int_equal(n, CONTEXT);
    for (int i = 0; i < CONTEXT; i++) context[i] = (double)bias[i];
    flow_outputs(&f, tokens, noise, out);
    int columns = ((const pf_argmax *)f.net->self)->columns;
    for (int l = 0; l < LENGTH; l++) {
        double u[BITS], log_q = 0.0, cell = 0.0;
        for (int b = 0; b < BITS; b++) {
            u[b] = (double)noise[l * BITS + b];
            log_q -= 0.5 * u[b] * u[b] + 0.5 * log(2.0 * M_PI);
        }
        double volume = published_step(&f, context, u);
        for (int b = 0; b < BITS; b++) cell += pf_log_sigmoid(u[b]);
        /* floats of numbers near 1 */
        assert_near(out[l * columns], log_q, 1e-5);
        assert_near(out[l * columns + 2], volume, 1e-5);
        assert_near(out[l * columns + 3], cell, 1e-5);
        assert_true(fabs(volume) > 1e-3);
    }
    flow_close(&f);
}

/* The values of all views of `from` to those of these names. */
static void share(const flow *from, const flow *to)
{
    for (int i = 0; i < to->net->n_views; i++)
        for (int j = 0; j < from->net->n_views; j++) {
            const pf_param *t = &to->net->views[i], *v = &from->net->views[j];
            if (strcmp(t->name, v->name)) continue;
            assert_int_equal(t->size, v->size);
            memcpy(to->params + t->offset, from->params + v->offset, v->size * sizeof(float));
        }
}

/* One step without weights is the identity. */
static void steps_that_change_nothing_leave_the_bound(void **state)
{
    (void)state;
    const float x[LENGTH] = {3, 0, 1};
    for (int kind = 0; kind < KINDS; kind++) {
        flow plain, more;
        double want, got;
        flow_open(&plain, kind, "steps=2;encoder=lstm", row_of(LENGTH, SYMBOLS), 1);
        flow_open(&more, kind, "steps=2;encoder=lstm;encoder_steps=1;encoder_width=5",
                  row_of(LENGTH, SYMBOLS), 1);
        share(&plain, &more);
        flow_reopen(&more, 1);
        flow_terms(&plain, 1, x, 5, 0, &want);
        flow_terms(&more, 1, x, 5, 0, &got);
        assert_true(fabs(got - want) > 1e-3); /* it does something */
        for (int i = 0; i < more.net->n_views; i++) {
            const pf_param *v = &more.net->views[i];
            if (!strstr(v->name, "ar_net.out")) continue;
            memset(more.params + v->offset, 0, v->size * sizeof(float));
        }
        flow_reopen(&more, 1);
        flow_terms(&more, 1, x, 5, 0, &got);
        /* u is a float on its way */
        assert_near(got, want, 1e-5 * fabs(want));
        flow_close(&plain);
        flow_close(&more);
    }
}

/* What a file says of an order is held against its channels before anything is put there. */
static void an_order_that_is_none_is_refused(void **state)
{
    (void)state;
    const float bad[] = {-1.0f, 7.0f, 1e9f, 0.0f}; /* the last one: channel 0 twice */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        flow f;
        size_t n;
        flow_open(&f, 0, "steps=2;channels=shuffle", row_of(LENGTH, SYMBOLS), 1);
        float *order = view_of(&f, "permutation", &n);
        assert_int_equal(n, BITS);
        order[0] = 0.0f;
        order[1] = bad[i];
        flow_reopen(&f, 1);
        double x[LENGTH * BITS];
        assert_int_equal(flow_samples(&f, 1, 3, NULL, x), PF_EFORMAT);
        assert_non_null(strstr(pf_error_message(), "permutation is no order of 2 channels"));
        flow_close(&f);
    }
}

static void a_width_without_steps_is_refused(void **state)
{
    (void)state;
    const pf_space space = row_of(4, 3);
    pf_model net = model("mlp", "");
    pf_method m = categories_method("argmax", "flow=coupling;encoder_width=64");
    pf_net *n = NULL;
    assert_int_equal(pf_net_create(&net, &m, &space, &n), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "method.encoder_steps is 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_encoder_step_is_the_published_map),
        cmocka_unit_test(steps_that_change_nothing_leave_the_bound),
        cmocka_unit_test(an_order_that_is_none_is_refused),
        cmocka_unit_test(a_width_without_steps_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
