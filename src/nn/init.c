/* Initial parameters and operation counts.
 *
 *   fan average: U(-b, b), b = sqrt(3 scale / ((fan_in + fan_out) / 2))
 *
 * the variance scaling of the published networks; a scale of 0 stands for 1e-10 there, which
 * makes the last layer of each residual branch nearly, not exactly, zero.
 *
 *   fan in:      U(-b, b), b = scale / sqrt(fan_in)
 *
 * what torch.nn gives the weights and biases of its linear maps and convolutions.
 * Source: Song et al. 2021, appendix H (initialisation of DDPM++). */
#include <probflow/graph.h>
#include <probflow/plan.h>
#include <probflow/random.h>

#include "nn/graph_impl.h"

#include <math.h>
#include <string.h>

static double fan_average(const pf_param *v)
{
    double scale = v->scale > 0.0 ? v->scale : 1e-10;
    return sqrt(3.0 * scale / (0.5 * ((double)v->fan_in + (double)v->fan_out)));
}

static double fan_in(const pf_param *v)
{
    return v->scale / sqrt((double)v->fan_in);
}

static void fill_uniform(const pf_draw *d, const pf_param *v, double bound, float *out)
{
    pf_draw_uniform(d, 0, v->size, out);
    for (size_t i = 0; i < v->size; i++) out[i] = (float)((2.0 * out[i] - 1.0) * bound);
}

static void fill_normal(const pf_draw *d, const pf_param *v, double mean, float *out)
{
    pf_draw_normal(d, 0, v->size, out);
    for (size_t i = 0; i < v->size; i++) out[i] = (float)(mean + out[i] * v->scale);
}

/* gamma, alpha and beta of each row */
static void fill_gains(const pf_draw *d, const pf_param *v, float *out)
{
    size_t row = (size_t)v->dim[v->rank - 1];
    fill_normal(d, v, 1.0, out);
    for (size_t i = 0; i < v->size; i++)
        if (i % row >= row / 3 * 2) out[i] = 0.0f;
}

/* Normal rows, each without what lies along the rows before it, of length 1.  Twice, so that rounding leaves nothing. */
static void fill_rotation(const pf_draw *d, const pf_param *v, float *out)
{
    size_t n = (size_t)v->dim[0];
    fill_normal(d, v, 0.0, out);
    for (size_t k = 0; k < 2 * n * n; k++) {
        size_t i = k / (2 * n), j = k % n; /* row i against row j */
        double along = 0.0, length = 0.0;
        for (size_t l = 0; l < n; l++) {
            along += (double)out[i * n + l] * out[j * n + l];
            length += (double)out[i * n + l] * out[i * n + l];
        }
        for (size_t l = 0; j < i && l < n; l++) out[i * n + l] -= (float)along * out[j * n + l];
        for (size_t l = 0; j == i && l < n; l++)
            out[i * n + l] = (float)(out[i * n + l] / sqrt(length));
    }
}

/* Each place with one of those before it. */
static void fill_permutation(const pf_draw *d, const pf_param *v, float *out)
{
    for (size_t i = 0; i < v->size; i++) {
        size_t j = (size_t)(pf_draw_uniform_f64(d, i) * (double)(i + 1));
        out[i] = out[j];
        out[j] = (float)i;
    }
}

void pf_graph_init_params(const pf_graph *g, uint64_t seed, float *params)
{
    memset(params, 0, g->floats * sizeof *params); /* the padding stays 0 for good */
    for (int k = 0; k < g->n_param; k++) {
        const pf_param *v = &g->param[k];
        pf_draw d = {.seed = seed, .stream = PF_STREAM_INIT, .sample = (uint64_t)k, .step = 0};
        float *out = params + v->offset;
        if (v->init == PF_INIT_FAN_AVG) fill_uniform(&d, v, fan_average(v), out);
        else if (v->init == PF_INIT_FAN_IN) fill_uniform(&d, v, fan_in(v), out);
        else if (v->init == PF_INIT_NORMAL) fill_normal(&d, v, 0.0, out);
        else if (v->init == PF_INIT_NEAR_ONE) fill_normal(&d, v, 1.0, out);
        else if (v->init == PF_INIT_GAINS) fill_gains(&d, v, out);
        else if (v->init == PF_INIT_ROTATION) fill_rotation(&d, v, out);
        else if (v->init == PF_INIT_PERMUTATION) fill_permutation(&d, v, out);
        else
            for (size_t i = 0; i < v->size; i++) out[i] = (float)v->scale;
    }
}

/* By a query: its window and the two beside it, else all. */
static double keys_seen(const pf_gnode *n)
{
    double all = (double)n->shape.h * n->shape.w, window = 3.0 * n->attr.window;
    return n->attr.mask == PF_MASK_WINDOW && window < all ? window : all;
}

double pf_graph_node_flops(const pf_graph *g, const pf_gnode *n)
{
    double pixels = (double)n->shape.h * n->shape.w;
    if (n->op == PF_OP_CONV || n->op == PF_OP_LINEAR || n->op == PF_OP_MASKED_LINEAR)
        return 2.0 * pixels * (double)g->param[n->param[0]].size;
    if (n->op == PF_OP_LSTM)
        return 2.0 * pixels * (double)(g->param[n->param[0]].size + g->param[n->param[1]].size);
    if (n->op == PF_OP_ATTENTION) return 4.0 * pixels * keys_seen(n) * n->shape.c;
    if (n->op == PF_OP_LINEAR_ATTENTION)
        return 4.0 * pixels * n->shape.c * (n->shape.c / n->attr.heads);
    return 0.0;
}

double pf_graph_flops(const pf_graph *g)
{
    double sum = 0.0;
    for (int i = 0; i < g->n_node; i++) sum += pf_graph_node_flops(g, &g->node[i]);
    return sum;
}
