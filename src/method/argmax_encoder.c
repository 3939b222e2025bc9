/* The graph of an argmax flow's encoder, and of what stands between two steps of a flow; names of parameters are the published
 * ones.
 *
 *     tokens -> context -> mean, log std -+
 *     noise ------------------------------+-> u -> step 0 -> ( between -> step k ) x (encoder_steps - 1) -> v
 *     step     u_b <- shift_b + exp(s_b) u_b,  s_b = 2 tanh(raw_b/2), both made of the entry's context and of its bits before b
 *     between  act_norm -> turn -> mix or shuffle, each where it is asked for
 *
 * Without steps u and v are one operator.  Contexts stay where they are while rows turn, as published.
 * Source  Hoogeboom et al. 2021, section 4; published code (model/coupling/flow.py, cond_ar_affine.py). */
#include "method/argmax.h"

#include <probflow/memory.h>

/* ---- between two steps ---- */

void pf_argmax_take(pf_argmax_way *w, pf_node y, int volumes)
{
    int n = w->a->B;
    pf_node more = pf_pick(w->g, y, n, 1, volumes);
    w->v = pf_pick(w->g, y, 0, 1, n);
    w->volumes = w->volumes.id < 0 ? more : pf_concat(w->g, w->volumes, more);
}

void pf_argmax_between(pf_argmax_way *w, int number)
{
    const pf_argmax_opt *o = &w->a->opt;
    pf_graph *g = w->g;
    const char *name = pf_namef(g, "transforms.%d", number - 1);
    if (o->actnorm) {
        const char *norm = pf_namef(g, "transforms.%d", number - pf_argmax_stride(w->a) + 1);
        pf_argmax_take(w, pf_act_norm(g, norm, w->v), 1);
    }
    w->v = pf_turn(g, w->v, w->tokens, o->turn ? PF_WAY_BACK : PF_WAY_ON);
    if (o->channels == PF_ARGMAX_CHANNELS_MIX)
        pf_argmax_take(w, pf_invertible(g, name, w->v), 1);
    if (o->channels == PF_ARGMAX_CHANNELS_SHUFFLE) w->v = pf_shuffle(g, name, w->v);
}

/* ---- what the encoder knows of an entry ---- */

static pf_node map(pf_graph *g, const char *name, pf_node x, int cout, int axes)
{
    return pf_linear_with(
        g, x,
        &(pf_linear_opt){
            .name = name, .cout = cout, .axes = axes, .scale = 1.0, .init = PF_INIT_FAN_IN});
}

static pf_node by_perceptron(const pf_argmax *a, pf_graph *g, pf_node tokens)
{
    const pf_argmax_opt *o = &a->opt;
    pf_node h = pf_embed(g, "context_init.1", tokens, a->cat.K, o->context_width);
    for (int i = 0; i < o->context_layers; i++) {
        if (o->context_dropout > 0.0) h = pf_dropout(g, h, o->context_dropout);
        h = map(g, pf_namef(g, "context_init.%d", 3 + 3 * i), h, o->context_width, 0);
        h = pf_gelu(g, h, PF_GELU_ERF);
    }
    return map(g, pf_namef(g, "context_init.%d", 2 + 3 * o->context_layers), h, o->context, 0);
}

static pf_node by_lstm(const pf_argmax *a, pf_graph *g, pf_node tokens)
{
    const pf_argmax_opt *o = &a->opt;
    pf_lstm_opt l = {.name = "context_init.3", .hidden = o->context_width, .padding = tokens};
    pf_node h = pf_embed(g, "context_init.1", tokens, a->cat.K, o->context_width);
    for (int i = 0; i < o->context_layers; i++) {
        pf_node way[2];
        l.layer = i;
        for (int back = 0; back < 2; back++) {
            l.reverse = back;
            way[back] = pf_lstm(g, h, &l);
        }
        h = pf_concat(g, way[0], way[1]);
    }
    return map(g, "context_init.4", h, o->context, 0);
}

/* ---- its flow ---- */

/* A map whose channels are of the bits in turn, and see those up to their own, or before it (strict); what x has behind its
 * first `by_bits` channels all see. */
static pf_node masked(const pf_argmax_way *w, const char *name, pf_node x, int cout,
                      int by_bits, int strict)
{
    int cin = pf_graph_shape(w->g, x).c, *d = pf_zalloc((size_t)(cin + cout) * sizeof *d);
    if (!d) return pf_graph_fail(w->g, PF_EMEM, "no memory for %d degrees", cin + cout);
    for (int i = 0; i < cin; i++) d[i] = i < by_bits ? i % w->a->B + strict : 0;
    for (int i = 0; i < cout; i++) d[cin + i] = i % w->a->B;
    pf_node y =
        pf_masked_linear(w->g, x, &(pf_masked_map_opt){name, cout, d, d + cin, .same = 0});
    pf_free(d);
    return y;
}

static void encoder_step(pf_argmax_way *w, pf_node context, int number)
{
    pf_graph *g = w->g;
    int B = w->a->B, width = w->a->opt.encoder_width;
    const char *net = pf_namef(g, "transforms.%d.ar_net", number);
    pf_node x = w->v, back = pf_elu(g, pf_affine(g, x, -1.0, 0.0));
    pf_node h = pf_concat(g, pf_concat(g, x, pf_elu(g, x)), back);
    h = pf_gelu(g, masked(w, pf_namef(g, "%s.emb", net), h, width, 3 * B, 1), PF_GELU_ERF);
    h = masked(w, pf_namef(g, "%s.cat", net), pf_concat(g, h, context), width, width, 0);
    h = masked(w, pf_namef(g, "%s.out", net), pf_gelu(g, h, PF_GELU_ERF), 2 * B, width, 0);
    pf_argmax_take(w, pf_bounded_map(g, x, h), 1);
}

pf_node pf_argmax_encoder(pf_argmax_way *w, pf_node noise)
{
    const pf_argmax *a = w->a;
    pf_graph *g = w->g;
    int steps = a->opt.encoder_steps;
    pf_graph_prefix(g, "transforms.0.encoder.noise_dist.");
    pf_node context = a->opt.encoder == PF_ARGMAX_LSTM ? by_lstm(a, g, w->tokens)
                                                       : by_perceptron(a, g, w->tokens);
    pf_node params = map(g, "base_dist.net", context, 2 * a->B, 1);
    pf_node y =
        steps ? pf_draw_normals(g, params, noise) : pf_bit_cells(g, params, noise, w->tokens);
    pf_node log_q = pf_pick(g, y, a->B, 1, 1);
    w->v = pf_pick(g, y, 0, 1, a->B);
    for (int k = 0; k < steps; k++) {
        int number = k * pf_argmax_stride(a);
        if (k) pf_argmax_between(w, number);
        encoder_step(w, context, number);
    }
    pf_graph_prefix(g, "");
    if (steps) pf_argmax_take(w, pf_cells_of(g, w->v, w->tokens), 1);
    return log_q;
}
