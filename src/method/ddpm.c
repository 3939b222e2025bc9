/* Denoising diffusion probabilistic models.
 *
 *     x_i = sqrt(abar_i) x_0 + sqrt(1 - abar_i) z,     i uniform on 0 .. T-1
 *     vb                term i of the bound in bits a dimension, not times T, without clipping
 *     simple            mean_D (net - target)^2; where the variance is learned + vb, in which the mean is held fixed
 *     rescaled_simple   the same with vb T/1000
 *     kl, rescaled_kl   vb, T vb
 *
 * Squares are weighed as gauss.h says.  With offset noise z is z + strength e, e ~ N(0, 1) one draw an image and channel.
 * With self_condition half of the samples (one coin each; published: one a batch) are told what a first pass
 * predicts of x_0, not cut; the others zeros.
 *
 * Indices are floor(T u), u the shifted grid of time.h, or those of the batch, with their weights.  A row is worked
 * on in pieces that stay on the stack, so nothing is allocated after open.
 *
 * Source: Ho et al. 2020, Nichol and Dhariwal 2021, and their published code; Hang et al. 2023 (weights), Chen, Zhang
 * and Hinton 2023 (self-conditioning), as denoising-diffusion-pytorch has them, and its offset noise. */
#include "method/ddpm.h"

#include "method/gauss.h"
#include "method/time.h"

#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>
#include <string.h>

enum { TIMES_UNIFORM, TIMES_SECOND_MOMENT };

static const char *const predictions[] = {"noise", "data", "mean", "v", NULL};
static const char *const variances[] = {"fixed_small", "fixed_large", "learned",
                                        "learned_range", NULL};
static const char *const losses[] = {"simple", "kl", "rescaled_simple", "rescaled_kl", NULL};
static const char *const times_words[] = {"uniform", "second_moment", NULL};
static const char *const weights[] = {"none", "snr", "min_snr", NULL};
static const char *const clips[] = {"neighbour", "floor", NULL};
static const char *const cdfs[] = {"tanh", "exact", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(pf_ddpm_opt, steps, PF_INT, 1000, 2, 1e6, "length T of the chain"),
    PF_OPT_ENUM(pf_ddpm_opt, schedule, PF_SCHEDULE_LINEAR, pf_schedule_words, "variances beta of the steps; jsd is 1/(T - i), const is beta_end, linear_scaled is 0.1/T to 20/T, sigmoid that of schedule_start to schedule_end"),
    PF_OPT(pf_ddpm_opt, beta_start, PF_F64, 1e-4, 0.0, 1.0, "first beta of linear, quad and warmup"),
    PF_OPT(pf_ddpm_opt, beta_end, PF_F64, 0.02, 0.0, 1.0, "last beta of linear, quad, const and warmup"),
    PF_OPT_ENUM(pf_ddpm_opt, predicts, PF_PREDICTS_NOISE, predictions, "what the network returns: the noise, the data, the mean of the step before, or v = sqrt(abar) noise - sqrt(1 - abar) data"),
    PF_OPT_ENUM(pf_ddpm_opt, variance, PF_VARIANCE_FIXED_LARGE, variances, "of the model's steps: fixed_small, the posterior's; fixed_large, beta; learned, the network's; learned_range, between the fixed two"),
    PF_OPT_ENUM(pf_ddpm_opt, loss, PF_LOSS_SIMPLE, losses, "simple: mean squared error, of a learned variance the bound too; kl: a term of the bound, bits/dim; rescaled: the bound times T/1000 and T"),
    PF_OPT(pf_ddpm_opt, clip, PF_BOOL, 1, 0, 1, "predictions of the data are cut to [-1, 1] in the bound and in samples, where these do not say"),
    PF_OPT_ENUM(pf_ddpm_opt, cdf, PF_CDF_TANH, cdfs, "of the decoder: tanh, as published; exact, the normal distribution"),
    PF_OPT_QUIET(pf_ddpm_opt, rescale_timesteps, PF_BOOL, 0, 0, 1, "the network is told 1000 i/T in place of i"),
    PF_OPT_ENUM_QUIET(pf_ddpm_opt, times, TIMES_UNIFORM, times_words, "indices in training: uniform; second_moment, more often where losses are large, each loss then weighted to the same mean"),
    PF_OPT_QUIET(pf_ddpm_opt, schedule_start, PF_F64, -3.0, -1e3, 1e3, "where the sigmoid begins"),
    PF_OPT_QUIET(pf_ddpm_opt, schedule_end, PF_F64, 3.0, -1e3, 1e3, "where the sigmoid ends"),
    PF_OPT_QUIET(pf_ddpm_opt, schedule_tau, PF_F64, 1.0, 1e-3, 1e3, "how slowly the sigmoid rises"),
    PF_OPT_ENUM_QUIET(pf_ddpm_opt, weight, PF_WEIGHT_NONE, weights, "of the squares, with s = abar/(1 - abar): snr, s of the data, s/(s + 1) of v, 1 of the noise; min_snr, the same with s cut at min_snr_gamma above the line, so /s of the noise"),
    PF_OPT_QUIET(pf_ddpm_opt, min_snr_gamma, PF_F64, 5.0, 1e-6, 1e6, "where min_snr cuts"),
    PF_OPT_QUIET(pf_ddpm_opt, vb_weight, PF_F64, 1.0, 1e-9, 1e9, "of a learned variance: further factor of the bound in the losses simple and rescaled_simple"),
    PF_OPT_QUIET(pf_ddpm_opt, self_condition, PF_BOOL, 0, 0, 1, "the network reads twice the channels, a prediction of the data before x: in half of the training its own, in the bound that of a first pass, in samples that of the step before"),
    PF_OPT_QUIET(pf_ddpm_opt, offset_noise, PF_F64, 0.0, 0.0, 1e3, "in training each image and channel has a further draw N(0, 1) in all of its pixels' noise, times this"),
    PF_OPT_ENUM_QUIET(pf_ddpm_opt, log_variance_clip, 0, clips, "of the posterior at the first index, where it is 0: neighbour, that of the next; floor, ln 1e-20"),
    PF_OPT_QUIET(pf_ddpm_opt, decoder_floor, PF_F64, 1e-12, 1e-300, 0.1, "smallest probability of a level with the cdf tanh"),
    { 0 }
};
/* clang-format on */

static void close_all(void *self)
{
    pf_ddpm_close(self);
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    pf_ddpm *m;
    PF_TRY(pf_ddpm_open(opt, space, "", &m));
    *self = m;
    return PF_OK;
}

static void ports(const void *self, pf_ports *offered)
{
    const pf_ddpm *m = self;
    pf_shape x = m->space.shape, out = x;
    x.c <<= m->opt.self_condition;
    out.c <<= pf_gauss_learns((pf_variance)m->opt.variance);
    *offered = pf_told_ports(x, out);
}

static size_t scratch_bytes(const void *self)
{
    return ((const pf_ddpm *)self)->bytes;
}

static int times(const void *self)
{
    const pf_ddpm *m = self;
    return m->opt.times == TIMES_SECOND_MOMENT ? m->opt.steps : 0;
}

/* The noise of a sample, and whether the network is told its first prediction. */
static void draw_sample(const pf_ddpm *m, const pf_batch *b, int s, pf_ddpm_seen *r)
{
    pf_draw noise = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE, b->sample[s],
                     0};
    pf_draw coin = {b->seed, PF_STREAM_COIN, b->sample[s], (uint32_t)b->eval};
    pf_draw offset = {b->seed, PF_STREAM_OFFSET, b->sample[s], (uint32_t)b->eval};
    size_t C = (size_t)m->space.shape.c;
    float e;
    pf_draw_normal(&noise, 0, m->D, r->noise);
    r->twice = m->opt.self_condition && pf_draw_uniform_f64(&coin, 0) < 0.5;
    for (size_t c = 0; m->opt.offset_noise > 0.0 && c < C; c++) {
        pf_draw_normal(&offset, c, 1, &e);
        for (size_t j = c; j < m->D; j += C)
            r->noise[j] += (float)(m->opt.offset_noise * (double)e);
    }
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const pf_ddpm *m = self;
    double u0 = pf_time_shift(b);
    float *x = in[PF_TOLD_X];
    if (x && m->opt.self_condition) memset(x, 0, (size_t)b->B * m->in * sizeof *x);
    for (int s = 0; s < b->B; s++) {
        pf_ddpm_seen *r = (pf_ddpm_seen *)((char *)scratch + (size_t)s * m->bytes);
        const float *x0 = b->x + (size_t)s * m->D;
        r->index = pf_time_index(b, s, u0, m->T);
        draw_sample(m, b, s, r);
        const pf_gauss_at *a = &m->at[r->index];
        for (size_t j = 0; x && j < m->D; j++)
            x[(size_t)s * m->in + pf_ddpm_seen_at(m, j)] =
                (float)(a->root * (double)x0[j] + a->std * (double)r->noise[j]);
        pf_ddpm_show_index(m, s, r->index, in);
    }
}

/* A piece of a sample as see made it. */
typedef struct drawn {
    double x0[PF_DDPM_PIECE], z[PF_DDPM_PIECE], xi[PF_DDPM_PIECE];
} drawn;

static void draw_again(const pf_ddpm *m, const pf_batch *b, const pf_ddpm_seen *r,
                       const pf_ddpm_piece *p, drawn *to)
{
    pf_ddpm_on_grid(m, p->n, b->x + p->from, to->x0);
    pf_ddpm_widen(p->n, r->noise + p->at, to->z);
    pf_gauss_noised(&m->at[r->index], p->n, to->x0, to->z, to->xi);
}

static int looks_twice(const void *self)
{
    return ((const pf_ddpm *)self)->opt.self_condition;
}

static void again(const void *self, const pf_batch *b, void *scratch, const float *net,
                  void *const *in)
{
    const pf_ddpm *m = self;
    drawn d;
    pf_ddpm_rows out;
    pf_ddpm_model q;
    const pf_gauss_model model = {q.x0, q.mean, q.log_variance};
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        const pf_ddpm_seen *r =
            (const pf_ddpm_seen *)((const char *)scratch + (size_t)p.s * m->bytes);
        if (!r->twice) continue;
        draw_again(m, b, r, &p, &d);
        const pf_gauss_net given = pf_ddpm_take(m, &p, net, &out);
        pf_gauss_predict(&m->at[r->index], 0, p.n, d.xi, &given, &model);
        pf_ddpm_tell(m, &p, q.x0, in);
    }
}

/* One piece of a sample's loss, before it is reduced; d its derivatives. */
static double piece_loss(const pf_ddpm *m, const pf_batch *b, const pf_ddpm_seen *r,
                         const pf_ddpm_piece *p, const float *net, pf_ddpm_rows *d)
{
    const pf_gauss_at *a = &m->at[r->index];
    drawn row;
    const pf_gauss_seen s = {row.x0, row.xi, row.z};
    const pf_gauss_slope slope = {d->mean, d->variance};
    pf_gauss_sums sums;
    pf_ddpm_rows out;
    draw_again(m, b, r, p, &row);
    const pf_gauss_net given = pf_ddpm_take(m, p, net, &out);
    return pf_gauss_loss(a, p->n, &s, &given, &slope, &sums);
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_ddpm *m = self;
    double reduce = 1.0 / ((double)m->D * m->at[0].unit);
    pf_ddpm_rows d;
    for (int s = 0; s < b->B; s++) term[s] = 0.0;
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        const pf_ddpm_seen *r =
            (const pf_ddpm_seen *)((const char *)scratch + (size_t)p.s * m->bytes);
        term[p.s] += reduce * piece_loss(m, b, r, &p, net, &d);
        double each = b->weight ? scale * b->weight[p.s] : scale;
        if (gout) pf_ddpm_put(m, &p, each * reduce, &d, gout);
    }
}

/* How a trained network is evaluated, and how training draws; what it predicts, and of which chain, stays. */
const pf_acts pf_ddpm_acts[] = {{"beta_start", "schedule", "linear|quad|warmup10|warmup50"},
                                {"beta_end", "schedule", "linear|quad|const|warmup10|warmup50"},
                                {"schedule_start", "schedule", "sigmoid"},
                                {"schedule_end", "schedule", "sigmoid"},
                                {"schedule_tau", "schedule", "sigmoid"},
                                {"min_snr_gamma", "weight", "min_snr"},
                                {"vb_weight", "variance", "learned|learned_range"},
                                {"vb_weight", "loss", "simple|rescaled_simple"},
                                {"decoder_floor", "cdf", "tanh"},
                                {0}};

static const char *const free_keys[] = {"variance=fixed_small",
                                        "variance=fixed_large",
                                        "clip",
                                        "cdf",
                                        "decoder_floor",
                                        "times",
                                        NULL};

const pf_method_ops pf_method_ddpm = {
    .name = "ddpm",
    .help = "denoising diffusion: a chain of Gaussian steps (Ho et al. 2020; Nichol and "
            "Dhariwal 2021)",
    .size = sizeof(pf_ddpm_opt),
    .opts = opts,
    .kinds = 1u << PF_LEVELS,
    .grids = 1u << PF_GRID_PUBLISHED,
    .free_keys = free_keys,
    .acts = pf_ddpm_acts,
    .open = open,
    .close = close_all,
    .ports = ports,
    .scratch = scratch_bytes,
    .see = see,
    .loss = loss,
    .times = times,
    .looks_twice = looks_twice,
    .again = again,
    .chain = pf_ddpm_chain,
};
