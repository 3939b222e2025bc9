/* Recurrent networks: published options and names, what they see, padding. */
#include <probflow/plan.h>
#include <probflow/published.h>

#include "nets.h"

#include <math.h>
#include <string.h>

static const char json[] =
    "{\"network\": \"argmax_flows.model.CategoricalNF.networks.autoregressive_layers."
    "AutoregressiveLSTMModel\", \"c_in\": 3, \"c_out\": 24, \"num_mixtures\": %d, "
    "\"hidden_size\": 40, \"max_seq_len\": 7, \"num_layers\": 2, \"dp_rate\": 0.1, "
    "\"input_dp_rate\": 0.25, \"direction\": %d}";

static pf_status read(int mixtures, int direction, pf_published *p)
{
    char text[1024];
    snprintf(text, sizeof text, json, mixtures, direction);
    p->shape = (pf_shape){0, 0, 0};
    return pf_published_options(text, p);
}

static void recurrent_networks_are_read_from_their_arguments(void **state)
{
    (void)state;
    pf_published p = {0};
    pf_model want = model(
        "lstm", "variant=features;width=40;depth=2;dropout=0.1;input_dropout=0.25;places=7");
    assert_int_equal(read(2, 0, &p), PF_OK);
    assert_memory_equal(&p.model, &want, sizeof want);
    assert_true(pf_shape_same(p.shape, (pf_shape){1, 7, 3}));
    assert_true(pf_shape_same(p.out, (pf_shape){1, 7, 24}));
    assert_true(!p.symbols && !p.steps);
    assert_int_equal(read(3, 0, &p), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "c_out is 24"));
    assert_int_equal(read(2, 1, &p), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "direction"));
}

static pf_status read_flow(const char *which, const char *more, pf_published *p)
{
    char text[1024];
    snprintf(
        text, sizeof text,
        "{\"network\": \"argmax_flows.model.%s\", \"data_shape\": [1, 9], \"num_classes\": 27, "
        "\"num_steps\": 2, \"context_size\": 12, \"lstm_size\": 32, \"lstm_layers\": 1, %s}",
        which, more);
    *p = (pf_published){0};
    return pf_published_options(text, p);
}

static void flows_are_read_from_their_arguments(void **state)
{
    (void)state;
    static const char ar[] = "ar.flow.ArgmaxARFlow",
                      coupling[] = "coupling.flow.ArgmaxCouplingFlow";
    pf_published p;
    pf_model want =
        model("lstm", "variant=features;width=32;depth=1;input_dropout=0.25;places=9");
    assert_int_equal(
        read_flow(ar,
                  "\"encoder_steps\": 0, \"encoder_bins\": null, \"context_lstm_size\": 20, "
                  "\"context_lstm_layers\": 2, \"input_dp_rate\": 0.25",
                  &p),
        PF_OK);
    assert_memory_equal(&p.model, &want, sizeof want);
    assert_true(p.symbols == 27 && pf_shape_same(p.shape, (pf_shape){1, 1, 9}));
    const pf_published_flow flow = {
        .steps = 2, .mixtures = 27, .turns = 1, .context = 12, .layers = 2, .width = 20};
    assert_memory_equal(&p.flow, &flow, sizeof flow);
    assert_int_equal(
        read_flow(coupling,
                  "\"encoder_steps\": 0, \"context_ff_size\": 20, \"num_mixtures\": 8, "
                  "\"perm_channel\": \"conv\", \"perm_length\": \"none\"",
                  &p),
        PF_OK);
    pf_published_flow couples = {.steps = 2,
                                 .couples = 1,
                                 .mixtures = 8,
                                 .mixes = 1,
                                 .context = 12,
                                 .layers = 1,
                                 .width = 20};
    assert_memory_equal(&p.flow, &couples, sizeof couples);
    static const char steps[] =
        "\"context_ff_size\": 20, \"num_mixtures\": 8, \"actnorm\": true, "
        "\"perm_channel\": \"shuffle\", \"perm_length\": \"none\", "
        "\"encoder_steps\": 3";
    char own[512];
    snprintf(own, sizeof own, "%s, \"encoder_bins\": null, \"encoder_ff_size\": 40", steps);
    assert_int_equal(read_flow(coupling, own, &p), PF_OK);
    couples.mixes = 2;
    couples.norms = 1;
    couples.encoder_steps = 3;
    couples.encoder_width = 40;
    assert_memory_equal(&p.flow, &couples, sizeof couples);
    assert_int_equal(read_flow(coupling, steps, &p), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "encoder_ff_size"));
    snprintf(own, sizeof own, "%s, \"encoder_bins\": 5, \"encoder_ff_size\": 40", steps);
    assert_int_equal(read_flow(coupling, own, &p), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "net.encoder_bins is 5"));
    /* what they have and we do not is refused by its name */
    static const char *const no[] = {"\"encoder_steps\": 2", "\"base_dist\": \"gumbel\""};
    static const char *const named[] = {"encoder_steps", "base_dist"};
    for (int i = 0; i < 2; i++) {
        char more[256];
        snprintf(more, sizeof more, "\"context_lstm_size\": 20, %s%s",
                 i ? "\"encoder_steps\": 0, " : "", no[i]);
        assert_int_equal(read_flow(ar, more, &p), PF_EARG);
        assert_non_null(strstr(pf_error_message(), named[i]));
    }
    assert_int_equal(read_flow(ar, "\"context_lstm_size\": 20", &p), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "encoder_steps"));
}

enum { L = 5, C = 3, PER = 4, OUT = C * PER };

static pf_graph *features(const char *settings)
{
    pf_model m = model("lstm", settings);
    pf_ports o = {.n = 1, .out = {1, L, OUT}};
    o.port[0] = (pf_port){.name = "x", .shape = {1, L, C}};
    pf_graph *g = NULL;
    assert_int_equal(pf_graph_create(&g), PF_OK);
    assert_int_equal(pf_graph_finish(g, m.ops->build(&m.opt, g, &o)), PF_OK);
    return g;
}

static const char small[] = "variant=features;width=16;depth=2";

/* Of published names and shapes those that follow from a formula. */
static void features_have_published_names_and_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int rows, columns;
    } want[] = {{"lstm_model.time_concat.time_embed_layer.weight", 2, 2 * L},
                {"lstm_model.input_embed.0.weight", 8, C},
                {"lstm_model.input_embed.2.weight", 6, 8},
                {"lstm_model.lstm_module.weight_ih_l0", 64, 8},
                {"lstm_model.lstm_module.weight_hh_l1", 64, 16},
                {"lstm_model.lstm_module.weight_ih_l1", 64, 16},
                {"lstm_model.net.1.weight", 8, 16},
                {"lstm_model.out_layer.in_to_features.weight", 2 * 2, 3 * 2},
                {"lstm_model.out_layer.features_to_hidden.weight", 4 * C, 8 + 2 * 2},
                {"lstm_model.out_layer.hidden_to_out.weight", OUT, 4 * C}};
    pf_graph *g = features(small);
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        int found = 0;
        for (int i = 0; i < pf_graph_param_count(g); i++) {
            const pf_param *p = &pf_graph_params(g)[i];
            if (strcmp(p->name, want[k].name)) continue;
            found = p->dim[0] == want[k].rows && p->dim[1] == want[k].columns;
        }
        if (!found) fail_msg("%s", want[k].name);
    }
    assert_int_equal(pf_graph_param_count(g), 2 * 4 + 2 * 4 + 2 * 3);
    pf_graph_free(g);
}

/* Slopes of number o of channel c at position l by all of x. */
static void slopes(pf_plan *p, const float *x, int l, int c, float gin[L * C], float *out)
{
    float gout[L * OUT] = {0}, *to[PF_PORTS_MAX] = {gin};
    pf_run r = {.in = {x}};
    for (int k = 0; k < PER; k++) gout[l * OUT + c * PER + k] = 1.0f + 0.3f * (float)k;
    assert_int_equal(pf_plan_forward(p, &r, out), PF_OK);
    assert_int_equal(pf_plan_backward(p, gout, NULL, to), PF_OK);
}

static void a_channel_sees_what_lies_before_it(void **state)
{
    (void)state;
    pf_graph *g = features(small);
    pf_plan *p = NULL;
    pf_plan_opt o = {.batch = 1, .want_in = 1};
    float *params = pf_zalloc(pf_graph_param_floats(g) * sizeof *params);
    float x[L * C], gin[L * C], out[L * OUT];
    assert_non_null(params);
    pf_graph_init_params(g, 5, params);
    for (int i = 0; i < L * C; i++) x[i] = 0.4f * (float)(i * 7 % 11 - 5);
    assert_int_equal(pf_plan_create(g, &o, &p), PF_OK);
    assert_int_equal(pf_plan_set_params(p, params), PF_OK);
    for (int l = 0; l < L; l++)
        for (int c = 0; c < C; c++) {
            slopes(p, x, l, c, gin, out);
            for (int i = 0; i < L * C; i++) {
                int before = i / C < l || (i / C == l && i % C < c);
                if ((gin[i] != 0.0f) != before)
                    fail_msg("%d,%d by %d,%d: %g", l, c, i / C, i % C, (double)gin[i]);
            }
        }
    pf_plan_free(p);
    pf_free(params);
    pf_graph_free(g);
}

enum { K = 5, LONG = 12, SHORT = 8 };
static const char both[] = "width=16;depth=2";

static pf_net *open_net(int length)
{
    pf_model m = model("lstm", both);
    pf_space row = {.kind = PF_TOKENS, .shape = {1, 1, length}, .levels = K};
    pf_method by;
    pf_net *n = NULL;
    assert_int_equal(pf_method_init("multinomial", &by), PF_OK);
    assert_int_equal(pf_net_create(&m, &by, &row, &n), PF_OK);
    return n;
}

static void logits(const pf_net *n, const float *params, const int32_t *tokens, float cond,
                   float *out)
{
    pf_plan *plan = NULL;
    pf_run r = {0};
    pf_plan_opt o = {.batch = 1};
    assert_int_equal(pf_plan_create(n->graph, &o, &plan), PF_OK);
    assert_int_equal(pf_plan_set_params(plan, params), PF_OK);
    pf_run_set(&r, n->graph, "tokens", tokens);
    pf_run_set(&r, n->graph, "cond", &cond);
    assert_int_equal(pf_plan_forward(plan, &r, out), PF_OK);
    pf_plan_free(plan);
}

/* Positions behind which there is nothing have the logits of a row that ends there. */
static void a_row_that_ends_early_is_a_shorter_row(void **state)
{
    (void)state;
    const int32_t tokens[LONG] = {0, 3, 1, 4, 2, 2, 0, 1, -1, -1, -1, -1};
    pf_net *a = open_net(LONG), *b = open_net(SHORT);
    float *p = random_params(a), out[LONG * K], want[SHORT * K], most = 0.0f;
    assert_true(a->floats == b->floats);
    logits(a, p, tokens, 3.0f, out);
    logits(b, p, tokens, 3.0f, want);
    for (int i = 0; i < SHORT * K; i++) most = fmaxf(most, fabsf(want[i]));
    assert_true(most > 1e-4f);
    for (int i = 0; i < SHORT * K; i++) assert_float_equal(out[i], want[i], 2e-6f * most);
    pf_free(p);
    pf_net_free(a);
    pf_net_free(b);
}

static int differ(const float *a, const float *b, int position)
{
    return memcmp(a + position * K, b + position * K, K * sizeof *a) != 0;
}

static void both_ends_and_the_noise_are_seen_everywhere(void **state)
{
    (void)state;
    int32_t tokens[SHORT] = {0, 3, 1, 4, 2, 2, 0, 1};
    pf_net *n = open_net(SHORT);
    float *p = random_params(n), out[SHORT * K], other[SHORT * K];
    logits(n, p, tokens, 3.0f, out);
    for (int what = 0; what < 3; what++) {
        int at = what == 0 ? 0 : SHORT - 1;
        int32_t old = tokens[at];
        if (what < 2) tokens[at] = (old + 1) % K;
        logits(n, p, tokens, what == 2 ? 5.0f : 3.0f, other);
        tokens[at] = old;
        for (int l = 0; l < SHORT; l++) assert_true(differ(out, other, l));
    }
    pf_free(p);
    pf_net_free(n);
}

static void refused(const char *settings, pf_shape x, int out, const char *why)
{
    pf_model m = model("lstm", settings);
    pf_ports o = {.n = 3, .out = {x.h, x.w, out}};
    pf_graph *g = NULL;
    o.port[0] = (pf_port){.name = "x", .shape = x};
    o.port[1] = (pf_port){"tokens", x, 1, K};
    o.port[2] = (pf_port){.name = "cond", .shape = {1, 1, 1}};
    assert_int_equal(pf_graph_create(&g), PF_OK);
    assert_int_not_equal(pf_graph_finish(g, m.ops->build(&m.opt, g, &o)), PF_OK);
    if (!strstr(pf_error_message(), why)) fail_msg("%s", pf_error_message());
    pf_graph_free(g);
}

static void recurrent_networks_say_what_does_not_fit(void **state)
{
    (void)state;
    refused(both, (pf_shape){4, 4, 3}, 15, "images of one channel");
    refused("width=17", (pf_shape){1, 9, 1}, K, "even");
    refused(small, (pf_shape){1, 9, 1}, 8, "at least 2 channels");
    refused(small, (pf_shape){1, 9, 3}, 8, "not 8 to 3");
    refused("variant=features;width=16;places=8", (pf_shape){1, 9, 2}, 8,
            "9 positions, want at most 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_networks_are_read_from_their_arguments),
        cmocka_unit_test(flows_are_read_from_their_arguments),
        cmocka_unit_test(features_have_published_names_and_shapes),
        cmocka_unit_test(a_channel_sees_what_lies_before_it),
        cmocka_unit_test(a_row_that_ends_early_is_a_shorter_row),
        cmocka_unit_test(both_ends_and_the_noise_are_seen_everywhere),
        cmocka_unit_test(recurrent_networks_say_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
