/* The method classifier: its loss, its gradient by the image, whom it may guide. */
#include "method/ddpm.h"
#include "nets.h"

enum { B = 3, SIDE = 4, C = 2, D = SIDE * SIDE * C, K = 3 };
static const pf_space images = {
    .kind = PF_LEVELS, .shape = {SIDE, SIDE, C}, .levels = 256, .classes = K};

/* One convolution over all of the image, of which silu is taken, so that second derivatives are there. */
static pf_node build(const void *opt, pf_graph *g, const pf_ports *offered)
{
    (void)opt;
    pf_conv_opt all = {.name = "all", .cout = 8, .kernel = SIDE, .stride = SIDE, .scale = 1.0};
    pf_node h = pf_silu(g, pf_conv(g, pf_offered(g, offered, "x"), &all));
    pf_node e = pf_linear(g, "time", pf_offered(g, offered, "cond"), 8, 0.01);
    return pf_linear(g, "out", pf_add_channel(g, h, e), offered->out.c, 1.0);
}

static const pf_opt no_options[] = {{0}};
static const pf_model_ops own = {
    .name = "own", .help = "of this test", .opts = no_options, .build = build};

static pf_method method_of(const char *name, const char *key, const char *value)
{
    pf_method m;
    must(pf_method_init(name, &m));
    must(pf_opt_set(m.ops->opts, "method", "steps", "50", &m.opt));
    must(pf_opt_set(m.ops->opts, "method", key, value, &m.opt));
    return m;
}

static pf_net *net_of(const pf_method *method, const pf_space *space)
{
    pf_net *n = NULL;
    const pf_model model = {.ops = &own};
    must(pf_net_create(&model, method, space, &n));
    return n;
}

typedef struct rig {
    pf_net *net;
    float *params;
    double x[B * D];
    uint64_t sample[B];
    int32_t label[B];
    pf_batch batch;
} rig;

static void rig_open(rig *r)
{
    pf_method m = method_of("classifier", "schedule", "cosine");
    r->net = net_of(&m, &images);
    r->params = random_params(r->net);
    must(pf_net_set_params(r->net, r->params));
    normals(1, B * D, r->x);
    for (int b = 0; b < B; b++) {
        r->sample[b] = 40 + (uint64_t)b;
        r->label[b] = b % K;
    }
    r->batch = (pf_batch){.space = &images,
                          .B = B,
                          .total = B,
                          .label = r->label,
                          .sample = r->sample,
                          .seed = 5};
}

static void rig_close(rig *r)
{
    pf_net_free(r->net);
    pf_free(r->params);
}

/* Equal outputs say nothing: log K.  The gradient is that of finite differences, and its sum over the classes 0. */
static void the_loss_is_the_cross_entropy(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    const pf_method_ops *o = r.net->method.ops;
    float out[B * K] = {0}, gout[B * K];
    double term[B], side[2][B], h = 1.0 / 1024;
    o->loss(r.net->self, &r.batch, NULL, out, 1.0, term, gout);
    for (int b = 0; b < B; b++) assert_near(term[b], log(K), 1e-12);
    for (int i = 0; i < B * K; i++) out[i] = (float)(i * 7 % 5) - 2.0f;
    o->loss(r.net->self, &r.batch, NULL, out, 0.5, term, gout);
    for (int b = 0; b < B; b++) {
        double sum = 0.0;
        for (int k = 0; k < K; k++) {
            float kept = out[b * K + k];
            for (int s = 0; s < 2; s++) {
                out[b * K + k] = kept + (float)(s ? h : -h);
                o->loss(r.net->self, &r.batch, NULL, out, 0.5, side[s], NULL);
            }
            out[b * K + k] = kept;
            /* h^2/6 of a third derivative below 1, and the rounding of gout */
            assert_near((double)gout[b * K + k], 0.5 * (side[1][b] - side[0][b]) / (2.0 * h),
                        1e-6);
            sum += (double)gout[b * K + k];
        }
        assert_near(sum, 0.0, 1e-7);
    }
    r.label[1] = -1; /* an image without a label teaches nothing */
    o->loss(r.net->self, &r.batch, NULL, out, 1.0, term, gout);
    assert_near(term[1], 0.0, 0.0);
    for (int k = 0; k < K; k++) assert_near((double)gout[K + k], 0.0, 0.0);
    rig_close(&r);
}

static void the_gradient_is_that_of_the_log_probability(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    pf_view_opt o = {.batch = B + 1};
    pf_classifier c;
    double g[B * D], log_p[2][B * K], h = 1.0 / 256;
    must(pf_net_classifier(r.net, &o, &c));
    assert_int_equal(c.classes, K);
    must(c.gradient(c.self, &r.batch, 17, r.x, g));
    must(c.log_p(c.self, &r.batch, 17, r.x, log_p[0]));
    for (int b = 0; b < B; b++) {
        double sum = 0.0;
        for (int k = 0; k < K; k++) sum += exp(log_p[0][b * K + k]);
        assert_near(sum, 1.0, 1e-12);
    }
    for (int b = 0; b < B; b++) {
        int j = b * D + 5 * b + 1, at = b * K + r.label[b];
        double kept = r.x[j];
        for (int s = 0; s < 2; s++) {
            r.x[j] = kept + (s ? h : -h);
            must(c.log_p(c.self, &r.batch, 17, r.x, log_p[s]));
        }
        r.x[j] = kept;
        /* float32 networks: 1e-7 of a log-probability over 2 h */
        assert_near(g[j], (log_p[1][at] - log_p[0][at]) / (2.0 * h), 2e-4 + 1e-3 * fabs(g[j]));
    }
    r.batch.label = NULL;
    assert_int_equal(c.gradient(c.self, &r.batch, 17, r.x, g), PF_EARG);
    assert_int_equal(c.log_p(c.self, &r.batch, 50, r.x, log_p[0]), PF_EARG);
    pf_classifier_free(&c);
    rig_close(&r);
}

/* A sample depends on neither the batch nor what else is in it. */
static void a_gradient_is_its_samples_own(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    pf_view_opt o = {.batch = B};
    pf_classifier c;
    double all[B * D], one[D];
    must(pf_net_classifier(r.net, &o, &c));
    must(c.gradient(c.self, &r.batch, 3, r.x, all));
    pf_batch last = r.batch;
    last.B = 1;
    last.label += 2;
    last.sample += 2;
    must(c.gradient(c.self, &last, 3, r.x + 2 * D, one));
    assert_memory_equal(one, all + 2 * D, sizeof one);
    pf_classifier_free(&c);
    rig_close(&r);
}

static void it_guides_models_of_its_own_noise_alone(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    const struct {
        const char *key, *value, *why;
    } other[] = {{"schedule", "cosine", NULL},
                 {"steps", "40", "another noise"},
                 {"schedule", "linear", "another noise"}};
    for (int i = 0; i < 3; i++) {
        pf_method m = method_of("ddpm", other[i].key, other[i].value);
        if (i == 1) must(pf_opt_set(m.ops->opts, "method", "schedule", "cosine", &m.opt));
        pf_net *n = NULL;
        pf_model unet = model("ddpmpp", "width=8;multipliers=1;blocks=1;attention=");
        must(pf_net_create(&unet, &m, &images, &n));
        pf_status st = pf_net_guides(r.net, n);
        assert_int_equal(st, other[i].why ? PF_EARG : PF_OK);
        if (other[i].why) assert_non_null(strstr(pf_error_message(), other[i].why));
        assert_int_equal(pf_net_guides(n, r.net), PF_EARG);
        pf_net_free(n);
    }
    rig_close(&r);
}

static void data_without_classes_are_refused(void **state)
{
    (void)state;
    pf_space none = images;
    pf_method m = method_of("classifier", "schedule", "linear");
    const pf_model model = {.ops = &own};
    pf_net *n = NULL;
    for (int classes = 0; classes < 2; classes++) {
        none.classes = classes;
        assert_int_equal(pf_net_create(&model, &m, &none, &n), PF_EARG);
        assert_non_null(strstr(pf_error_message(), "method classifier"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_is_the_cross_entropy),
        cmocka_unit_test(the_gradient_is_that_of_the_log_probability),
        cmocka_unit_test(a_gradient_is_its_samples_own),
        cmocka_unit_test(it_guides_models_of_its_own_noise_alone),
        cmocka_unit_test(data_without_classes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
