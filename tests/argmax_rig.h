/* For tests of argmax flows: small networks of them, their terms and their samples. */
#ifndef PROBFLOW_TESTS_ARGMAX_RIG_H
#define PROBFLOW_TESTS_ARGMAX_RIG_H

#include "method/argmax.h"

#include "categories.h"

/* An autoregressive model: each position sees the two before it. */
static inline pf_node before_build(const void *opt, pf_graph *g, const pf_ports *offered)
{
    (void)opt;
    return pf_conv(g, pf_offered(g, offered, "x"),
                   &(pf_conv_opt){.name = "taps",
                                  .cout = offered->out.c,
                                  .kernel = 3,
                                  .stride = 1,
                                  .pad_lo = 2,
                                  .scale = 1.0,
                                  .init = PF_INIT_FAN_IN});
}

static inline int before_causal(const void *opt)
{
    (void)opt;
    return 1;
}

static const pf_opt before_opts[] = {{0}};
static const pf_model_ops before = {.name = "before",
                                    .help = "",
                                    .opts = before_opts,
                                    .build = before_build,
                                    .causal = before_causal};

static inline pf_space row_of(int length, int symbols)
{
    return (pf_space){.kind = PF_TOKENS, .shape = {1, length, 1}, .levels = symbols};
}

typedef struct flow {
    pf_space space;
    pf_net *net;
    float *params;
    pf_chain chain;
} flow;

static inline float *view_of(const flow *f, const char *name, size_t *size)
{
    for (int i = 0; i < f->net->n_views; i++)
        if (strstr(f->net->views[i].name, name)) {
            if (size) *size = f->net->views[i].size;
            return f->params + f->net->views[i].offset;
        }
    fail_msg("there is no view %s", name);
    return NULL;
}

/* Nothing of position l itself reaches its output. */
static inline void cut_taps(const flow *f)
{
    for (int i = 0; i < f->net->n_views; i++) {
        const pf_param *v = &f->net->views[i];
        if (!strstr(v->name, "taps.weight")) continue;
        for (size_t j = 2; j < v->size; j += 3) f->params[v->offset + j] = 0.0f;
    }
}

static inline void flow_reopen(flow *f, int batch)
{
    const pf_view_opt view = {.batch = batch};
    pf_chain_free(&f->chain);
    must(pf_net_set_params(f->net, f->params));
    must(pf_net_chain(f->net, &view, &f->chain));
}

/* Kinds of flows: with bit 0 couplings, else autoregressive; with bit 1 by LSTMs, else by a perceptron, by `before`. */
enum { COUPLES = 1, RECURRENT = 2, KINDS = 4 };

static inline pf_model flow_model(int kind)
{
    if (kind & RECURRENT)
        return model("lstm", kind & COUPLES ? "variant=coupling;width=8;depth=1"
                                            : "variant=features;width=8;depth=1");
    return kind & COUPLES ? model("mlp", "width=8;depth=1;embed=8")
                          : (pf_model){.ops = &before};
}

static inline void flow_open(flow *f, int kind, const char *settings, pf_space space, int batch)
{
    char all[512];
    snprintf(all, sizeof all,
             "mixtures=2;context=4;context_width=8;encoder=perceptron;flow=%s%s%s",
             kind & COUPLES ? "coupling" : "autoregressive", *settings ? ";" : "", settings);
    pf_method m = categories_method("argmax", all);
    pf_model net = flow_model(kind);
    *f = (flow){.space = space};
    must(pf_net_create(&net, &m, &f->space, &f->net));
    f->params = random_params(f->net);
    for (int i = 0; i < f->net->n_views; i++) {
        const pf_param *v = &f->net->views[i];
        pf_draw d = {.seed = 12, .stream = PF_STREAM_TEST, .sample = (uint64_t)i};
        for (size_t j = 0; j < v->size && strstr(v->name, "nn."); j++)
            f->params[v->offset + j] = (float)(pf_draw_uniform_f64(&d, j) - 0.5);
        /* away from 0, where the bound of a scale has a kink */
        for (size_t j = 0; j < v->size && strstr(v->name, "scaling_factor"); j++)
            f->params[v->offset + j] = j % 2 ? 0.3f : -0.2f;
    }
    cut_taps(f);
    flow_reopen(f, batch);
}

static inline void flow_close(flow *f)
{
    pf_chain_free(&f->chain);
    pf_net_free(f->net);
    pf_free(f->params);
}

/* The encoder draws u as mean 0 and this deviation, whatever the symbol. */
static inline void flow_encode_by(flow *f, double std, int batch)
{
    size_t n = 0, bits = 0;
    float *w = view_of(f, "base_dist.net.weight", &n);
    memset(w, 0, n * sizeof *w);
    w = view_of(f, "base_dist.net.bias", &bits);
    for (size_t i = 0; i < bits; i++) w[i] = i < bits / 2 ? 0.0f : (float)log(std);
    flow_reopen(f, batch);
}

/* Minus the bound of rows x [B,D] of symbols, all of the sample numbers first, first + 1 .. */
static inline void flow_terms(const flow *f, int B, const float *x, uint64_t first,
                              uint32_t draw, double *nats)
{
    uint64_t sample[64];
    int i[64] = {0};
    assert_true(B <= 64);
    for (int s = 0; s < B; s++) sample[s] = first + (uint64_t)s;
    const pf_batch b = {.space = &f->space,
                        .B = B,
                        .total = B,
                        .x = x,
                        .sample = sample,
                        .seed = 2,
                        .step = draw,
                        .eval = 1};
    must(f->chain.term(f->chain.self, &b, i, nats));
}

/* States x [B,state] of samples first, first + 1 .., drawn in one batch, and their numbers before (NULL: not wanted). */
static inline pf_status flow_samples(const flow *f, int B, uint64_t first, double *base,
                                     double *x)
{
    uint64_t sample[64];
    const pf_move how = {.kind = PF_MOVE_ANCESTRAL};
    assert_true(B <= 64);
    for (int s = 0; s < B; s++) sample[s] = first + (uint64_t)s;
    const pf_batch b = {
        .space = &f->space, .B = B, .total = B, .sample = sample, .seed = 4, .eval = 1};
    PF_TRY(f->chain.prior(f->chain.self, &b, x));
    if (base) memcpy(base, x, (size_t)B * f->chain.state * sizeof *base);
    PF_TRY(f->chain.step(f->chain.self, &b, &how, 1, x, NULL));
    return PF_OK;
}

/* The network's output [1,D,columns] for a row and its noise. */
static inline void flow_outputs(const flow *f, const int32_t *tokens, const float *noise,
                                float *out)
{
    const pf_plan_opt o = {.batch = 1};
    pf_plan *plan;
    pf_run run = {0};
    float zero = 0.0f;
    pf_run_set(&run, f->net->graph, "tokens", tokens);
    pf_run_set(&run, f->net->graph, "noise", noise);
    pf_run_set(&run, f->net->graph, "cond", &zero);
    must(pf_plan_create(f->net->graph, &o, &plan));
    must(pf_plan_set_params(plan, f->params));
    must(pf_plan_forward(plan, &run, out));
    pf_plan_free(plan);
}

#endif
