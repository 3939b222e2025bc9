/* Networks of categories: published names and options of transformers, padding, where they begin; perceptrons and U-nets that
 * read one-hots. */
#include <probflow/plan.h>
#include <probflow/published.h>

#include "nets.h"

#include <math.h>
#include <string.h>

static const char multinomial_json[] =
    "{\"network\": \"multinomial_diffusion.text_diffusion.layers.transformer."
    "LinearAttentionTransformerEmbedding\", \"input_dim\": 5, \"output_dim\": 5, \"dim\": 16, "
    "\"depth\": 2, \"n_blocks\": 2, \"max_seq_len\": 12, \"num_timesteps\": 20, \"heads\": 4, "
    "\"dim_head\": null, \"n_local_attn_heads\": 2, \"local_attn_window_size\": 4, "
    "\"pkm_layers\": [], \"linformer_settings\": null%s}";
static const char dit_json[] = "{\"network\": \"mdlm.models.dit.DIT\", \"vocab_size\": 7, "
                               "\"hidden_size\": 32, \"n_heads\": "
                               "4, \"cond_dim\": 16, \"n_blocks\": 2, \"length\": 6%s}";

static pf_status read(const char *json, const char *more, pf_published *p)
{
    char text[1024];
    snprintf(text, sizeof text, json, more);
    p->shape = (pf_shape){0, 0, 0};
    return pf_published_options(text, p);
}

static pf_net *open_net(const pf_model *m, const char *method, const pf_space *space)
{
    pf_method by;
    pf_net *n = NULL;
    assert_int_equal(pf_method_init(method, &by), PF_OK);
    assert_int_equal(pf_net_create(m, &by, space, &n), PF_OK);
    return n;
}

static pf_space row(int L, int K)
{
    return (pf_space){.kind = PF_TOKENS, .shape = {1, 1, L}, .levels = K};
}

static void transformers_are_read_from_their_arguments(void **state)
{
    (void)state;
    pf_published p = {0};
    pf_model want =
        model("transformer", "variant=multinomial;width=16;depth=2;blocks=2;heads=4;"
                             "local_heads=2;window=4;rezero=false");
    assert_int_equal(read(multinomial_json, "", &p), PF_OK);
    assert_memory_equal(&p.model, &want, sizeof want);
    assert_true(p.symbols == 5 && p.steps == 20 && !p.mask && p.shape.c == 12);
    assert_true(pf_shape_same(p.out, (pf_shape){1, 12, 5}));
    want = model("transformer", "variant=dit;width=32;depth=2;heads=4;cond_width=16");
    assert_int_equal(
        read(dit_json, ", \"time_conditioning\": true, \"name\": \"small\", \"type\": \"ddit\"",
             &p),
        PF_OK);
    assert_memory_equal(&p.model, &want, sizeof want);
    assert_true(p.symbols == 6 && p.mask && p.told && !p.steps && p.shape.c == 6);
    assert_true(pf_shape_same(p.out, (pf_shape){1, 6, 7}));

    assert_int_equal(read(multinomial_json, ", \"causal\": true", &p), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "causal"));
    assert_int_equal(read(multinomial_json, ", \"layers\": 3", &p), PF_EARG);
    assert_int_equal(read(dit_json, ", \"tie_word_embeddings\": true", &p), PF_EARG);
    assert_int_equal(
        pf_published_options("{\"network\": \"mdlm.models.dit.DIT\", \"hidden_size\": 32}", &p),
        PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "vocab_size"));
}

/* A state dictionary: the network's parameters behind a prefix and one stray tensor. */
static pf_named dictionary(const pf_net *n, const char *prefix, const char *stray,
                           pf_param *views)
{
    for (int i = 0; i < n->n_views; i++) {
        int own = !strcmp(n->views[i].name, "rezero.alpha");
        views[i] = n->views[i];
        snprintf(views[i].name, sizeof views[i].name, "%.24s%.70s",
                 own ? "_denoise_fn." : prefix, n->views[i].name);
    }
    views[n->n_views] = (pf_param){.rank = 1, .dim = {1}, .size = 1};
    snprintf(views[n->n_views].name, sizeof views->name, "%s", stray);
    return (pf_named){.origin = "test", .n = n->n_views + 1, .views = views};
}

static void published_transformers_are_matched(void **state)
{
    (void)state;
    static const struct {
        const char *json, *method, *prefix, *buffer;
    } files[] = {{multinomial_json, "multinomial", "_denoise_fn.transformer.", "Lt_history"},
                 {dit_json, "masked", "backbone.", "backbone.rotary_emb.inv_freq"}};
    for (int f = 0; f < 2; f++) {
        pf_published p = {0};
        pf_param views[128];
        assert_int_equal(read(files[f].json, "", &p), PF_OK);
        if (!f)
            assert_int_equal(
                pf_opt_set(p.model.ops->opts, "model", "rezero", "true", &p.model.opt), PF_OK);
        pf_space space = row(p.shape.c, p.symbols);
        pf_net *n = open_net(&p.model, files[f].method, &space);
        assert_true(n->n_views < 128);
        float *params = random_params(n), *got = pf_zalloc(n->floats * sizeof *got);
        assert_non_null(got);
        pf_named from = dictionary(n, files[f].prefix, files[f].buffer, views);
        from.flat = params;
        assert_int_equal(pf_match_params(n->n_views, n->views, &from, got), PF_OK);
        for (int i = 0; i < n->n_views; i++)
            assert_memory_equal(got + n->views[i].offset, params + n->views[i].offset,
                                n->views[i].size * sizeof *got);
        pf_model whole = p.model;
        assert_int_equal(read(files[f].json, "", &p), PF_OK);
        assert_int_equal(pf_published_seen(&p, &from), PF_OK);
        assert_memory_equal(&p.model, &whole, sizeof whole);
        from = dictionary(n, files[f].prefix, "elsewhere", views);
        from.flat = params;
        assert_int_equal(pf_match_params(n->n_views, n->views, &from, got), PF_EFORMAT);
        pf_free(params);
        pf_free(got);
        pf_net_free(n);
    }
}

/* out [entries of the output] of one row of tokens, told cond. */
static void forward(const pf_net *n, const float *params, const int32_t *tokens, float cond,
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

static const char small_dit[] = "width=16;depth=2;heads=2;cond_width=8";
static const char small_multinomial[] =
    "variant=multinomial;width=16;depth=2;blocks=2;heads=4;local_heads=2;window=4";

enum { K = 5, LONG = 12, SHORT = 8 };

/* Positions of a row behind which there is nothing have the logits of a row that ends there. */
static void padding_is_as_if_it_were_not_there(void **state)
{
    (void)state;
    const char *settings[] = {small_dit, small_multinomial};
    const int32_t tokens[LONG] = {0, 3, 1, 4, 2, 2, 0, 1, -1, -1, -1, -1};
    for (int v = 0; v < 2; v++) {
        pf_model m = model("transformer", settings[v]);
        pf_space longer = row(LONG, K), shorter = row(SHORT, K);
        pf_net *a = open_net(&m, "multinomial", &longer);
        pf_net *b = open_net(&m, "multinomial", &shorter);
        float *p = random_params(a), *q = pf_zalloc(b->floats * sizeof *q);
        float out[LONG * K], want[SHORT * K], most = 0.0f;
        assert_non_null(q);
        for (int i = 0; i < b->n_views; i++) /* a table of positions begins alike */
            memcpy(q + b->views[i].offset, p + a->views[i].offset,
                   b->views[i].size * sizeof *q);
        forward(a, p, tokens, 3.0f, out);
        forward(b, q, tokens, 3.0f, want);
        for (int i = 0; i < SHORT * K; i++) most = fmaxf(most, fabsf(want[i]));
        assert_true(most > 1e-4f);
        for (int i = 0; i < SHORT * K; i++)
            assert_float_equal(out[i], want[i], 2e-6f * (1.0f + most));
        pf_free(p);
        pf_free(q);
        pf_net_free(a);
        pf_net_free(b);
    }
}

/* As published: nothing is known at first, all symbols are equally likely. */
static void transformers_begin_even(void **state)
{
    (void)state;
    const char *settings[] = {small_dit, small_multinomial};
    const int32_t tokens[SHORT] = {0, 3, 1, 4, 2, 2, 0, 1};
    for (int v = 0; v < 2; v++) {
        pf_model m = model("transformer", settings[v]);
        pf_space space = row(SHORT, K);
        pf_net *n = open_net(&m, "masked", &space);
        float *p = pf_zalloc(n->floats * sizeof *p), out[SHORT * K];
        assert_non_null(p);
        pf_graph_init_params(n->graph, 3, p);
        forward(n, p, tokens, 0.5f, out);
        for (int i = 0; i < SHORT * K; i++) assert_float_equal(out[i], 0.0f, 0.0f);
        pf_free(p);
        pf_net_free(n);
    }
}

static void refused(const char *settings, pf_shape shape, const char *why)
{
    pf_method by;
    pf_net *n = NULL;
    pf_model m = model("transformer", settings);
    pf_space s = {.kind = PF_LEVELS, .shape = shape, .levels = 4};
    assert_int_equal(pf_method_init("masked", &by), PF_OK);
    assert_int_not_equal(pf_net_create(&m, &by, &s, &n), PF_OK);
    if (!strstr(pf_error_message(), why)) fail_msg("%s", pf_error_message());
}

static void transformers_say_what_does_not_fit(void **state)
{
    (void)state;
    pf_shape gray = {4, 4, 1};
    refused("", (pf_shape){4, 4, 3}, "images of one channel");
    refused("width=15", gray, "even");
    refused("width=16;heads=3", gray, "does not split");
    refused("variant=multinomial;width=16;heads=4;local_heads=5", gray, "model.local_heads");
    pf_model m = model("transformer", small_dit);
    pf_space s = {.kind = PF_LEVELS, .shape = gray, .levels = 4};
    pf_net *n = open_net(&m, "masked", &s);
    assert_true(pf_shape_same(n->offered.out, (pf_shape){4, 4, 4}));
    pf_net_free(n);
}

/* What another network sees of categories: one-hots, in the shape of the data. */
static void other_networks_read_one_hots(void **state)
{
    (void)state;
    const pf_space text = row(6, K),
                   image = {.kind = PF_LEVELS, .shape = {8, 8, 2}, .levels = 3};
    const struct {
        const char *name, *settings;
        const pf_space *space;
        pf_shape x, out;
    } nets[] = {{"mlp", "width=8;depth=1;embed=8", &text, {1, 6, K + 1}, {1, 6, K}},
                {"mlp", "width=8;depth=1;embed=8", &image, {8, 8, 8}, {8, 8, 6}},
                {"ddpmpp",
                 "width=8;multipliers=1,2;blocks=1;attention=4",
                 &image,
                 {8, 8, 8},
                 {8, 8, 6}}};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        pf_model m = model(nets[i].name, nets[i].settings);
        pf_net *n = open_net(&m, "masked", nets[i].space);
        int x = pf_graph_port(n->graph, "x");
        assert_true(x >= 0 && pf_graph_port(n->graph, "tokens") < 0);
        assert_true(pf_shape_same(pf_graph_port_at(n->graph, x)->shape, nets[i].x));
        assert_true(pf_shape_same(n->offered.out, nets[i].out));
        pf_net_free(n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transformers_are_read_from_their_arguments),
        cmocka_unit_test(published_transformers_are_matched),
        cmocka_unit_test(padding_is_as_if_it_were_not_there),
        cmocka_unit_test(transformers_begin_even),
        cmocka_unit_test(transformers_say_what_does_not_fit),
        cmocka_unit_test(other_networks_read_one_hots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
