/* Denoising diffusion probabilistic models.
 *
 *     x_i = sqrt(abar_i) x_0 + sqrt(1 - abar_i) z,     i uniform on 0 .. T-1
 *     simple   mean_D (net - target)^2
 *     kl       term i of the bound in bits a dimension, not times T, without clipping
 *
 * Indices are floor(T u), u the shifted grid of time.h.  A row is worked on in pieces that stay on the stack, so
 * nothing is allocated after open.
 *
 * Source: Ho et al. 2020 and its published code. */
#include "method/ddpm.h"

#include "method/gauss.h"
#include "method/time.h"

#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>

enum { LOSS_SIMPLE, LOSS_KL };

/* What see keeps of a sample for loss. */
typedef struct seen {
    int64_t index;
    float noise[]; /* [D] */
} seen;

static const char *const predictions[] = {"noise", "data", "mean", NULL};
static const char *const variances[] = {"fixed_small", "fixed_large", NULL};
static const char *const losses[] = {"simple", "kl", NULL};
static const char *const cdfs[] = {"tanh", "exact", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(pf_ddpm_opt, steps, PF_INT, 1000, 2, 1e6, "length T of the chain"),
    PF_OPT_ENUM(pf_ddpm_opt, schedule, PF_SCHEDULE_LINEAR, pf_schedule_words, "variances beta of the steps; jsd is 1/(T - i), const is beta_end"),
    PF_OPT(pf_ddpm_opt, beta_start, PF_F64, 1e-4, 0.0, 1.0, "first beta of linear, quad and warmup"),
    PF_OPT(pf_ddpm_opt, beta_end, PF_F64, 0.02, 0.0, 1.0, "last beta of linear, quad, const and warmup"),
    PF_OPT_ENUM(pf_ddpm_opt, predicts, PF_PREDICTS_NOISE, predictions, "what the network returns: the noise, the data, or the mean of the step before"),
    PF_OPT_ENUM(pf_ddpm_opt, variance, PF_VARIANCE_FIXED_LARGE, variances, "of the model's steps: fixed_small, the posterior's; fixed_large, beta"),
    PF_OPT_ENUM(pf_ddpm_opt, loss, LOSS_SIMPLE, losses, "simple: mean squared error; kl: a term of the bound, bits/dim"),
    PF_OPT(pf_ddpm_opt, clip, PF_BOOL, 1, 0, 1, "predictions of the data are cut to [-1, 1] in the bound and in samples"),
    PF_OPT_ENUM(pf_ddpm_opt, cdf, PF_CDF_TANH, cdfs, "of the decoder: tanh, as published; exact, the normal distribution"),
    { 0 }
};
/* clang-format on */

static void close_all(void *self)
{
    pf_ddpm *m = self;
    if (!m) return;
    pf_gauss_free(m->gauss);
    pf_free(m->at);
    pf_free(m);
}

static PF_MUST_USE pf_status make_tables(pf_ddpm *m)
{
    const pf_ddpm_opt *o = &m->opt;
    double *beta = pf_zalloc((size_t)o->steps * sizeof *beta);
    PF_REQUIRE(beta, PF_EMEM, "no memory for a schedule of %d steps", o->steps);
    pf_status st =
        pf_gauss_betas((pf_schedule)o->schedule, o->beta_start, o->beta_end, o->steps, beta);
    if (!st) st = pf_gauss_create(o->steps, beta, &m->gauss);
    pf_free(beta);
    if (st) return pf_trail(st, PF_WHERE);
    m->at = pf_zalloc((size_t)o->steps * sizeof *m->at);
    PF_REQUIRE(m->at, PF_EMEM, "no memory for a chain of %d steps", o->steps);
    for (int i = 0; i < o->steps; i++)
        m->at[i] =
            pf_gauss_index(m->gauss, (pf_predicts)o->predicts, (pf_variance)o->variance, i);
    return PF_OK;
}

static PF_MUST_USE pf_status check(const pf_ddpm_opt *o, const pf_space *s)
{
    PF_REQUIRE(s->kind == PF_LEVELS && s->levels >= 2, PF_EARG,
               "ddpm is a method for images of levels; its decoder needs their grid");
    PF_REQUIRE(o->schedule != PF_SCHEDULE_JSD || o->predicts != PF_PREDICTS_NOISE, PF_EARG,
               "the schedule jsd ends in pure noise, from which predicted noise gives no data; "
               "want predicts data or mean");
    return PF_OK;
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    PF_TRY(check(opt, space));
    pf_ddpm *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for the method ddpm");
    m->opt = *(const pf_ddpm_opt *)opt;
    m->space = *space;
    m->decoder = (pf_decoder){(pf_cdf)m->opt.cdf, space->levels};
    m->D = (size_t)space->shape.h * (size_t)space->shape.w * (size_t)space->shape.c;
    m->bytes = sizeof(seen) + (m->D * sizeof(float) + 7) / 8 * 8;
    pf_status st = make_tables(m);
    if (st) {
        close_all(m);
        return pf_trail(st, PF_WHERE);
    }
    *self = m;
    return PF_OK;
}

static void ports(const void *self, pf_ports *offered)
{
    const pf_ddpm *m = self;
    const pf_shape one = {1, 1, 1};
    *offered = (pf_ports){.n = PF_DDPM_PORTS,
                          .port = {[PF_DDPM_X] = {"x", m->space.shape, 0},
                                   [PF_DDPM_COND] = {"cond", one, 0},
                                   [PF_DDPM_SIGMA] = {"sigma", one, 0},
                                   [PF_DDPM_MEAN] = {"mean", one, 0}},
                          .out = m->space.shape};
}

static size_t scratch_bytes(const void *self)
{
    return ((const pf_ddpm *)self)->bytes;
}

static int time_of(const pf_ddpm *m, const pf_batch *b, int s, double u0)
{
    int i = (int)(pf_time_share(u0, b->first + s, b->total) * m->opt.steps);
    return i < m->opt.steps ? i : m->opt.steps - 1;
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const pf_ddpm *m = self;
    double u0 = pf_time_shift(b);
    for (int s = 0; s < b->B; s++) {
        seen *r = (seen *)((char *)scratch + (size_t)s * m->bytes);
        float *x = in[PF_DDPM_X];
        pf_draw noise = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE,
                         b->sample[s], 0};
        r->index = time_of(m, b, s, u0);
        pf_draw_normal(&noise, 0, m->D, r->noise);
        const pf_gauss_at *a = &m->at[r->index];
        for (size_t j = 0, at = (size_t)s * m->D; x && j < m->D; j++)
            x[at + j] = (float)(a->root * (double)b->x[at + j] + a->std * (double)r->noise[j]);
        pf_ddpm_show_index(m, s, (int)r->index, in);
    }
}

/* One piece of a sample's loss, before it is reduced; d [n] its derivative. */
static double piece_loss(const pf_ddpm *m, const seen *r, const pf_ddpm_piece *p,
                         const float *x, const float *net, double *d)
{
    const pf_gauss_at *a = &m->at[r->index];
    double x0[PF_DDPM_PIECE], z[PF_DDPM_PIECE], xi[PF_DDPM_PIECE], out[PF_DDPM_PIECE],
        data[PF_DDPM_PIECE], mean[PF_DDPM_PIECE];
    pf_ddpm_on_grid(m, p->n, x + p->from, x0);
    pf_ddpm_widen(p->n, r->noise + p->at, z);
    pf_ddpm_widen(p->n, net + p->from, out);
    pf_gauss_noised(a, p->n, x0, z, xi);
    if (m->opt.loss == LOSS_SIMPLE) return pf_gauss_squares(a, p->n, x0, xi, z, out, d);
    pf_gauss_predict(a, 0, p->n, xi, out, data, mean);
    double sum = pf_gauss_term(a, &m->decoder, p->n, x0, xi, mean, d);
    for (size_t j = 0; j < p->n; j++) d[j] *= a->slope;
    return sum;
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_ddpm *m = self;
    double d[PF_DDPM_PIECE],
        reduce = 1.0 / ((double)m->D * (m->opt.loss == LOSS_KL ? M_LN2 : 1.0));
    for (int s = 0; s < b->B; s++) term[s] = 0.0;
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        const seen *r = (const seen *)((const char *)scratch + (size_t)p.s * m->bytes);
        term[p.s] += reduce * piece_loss(m, r, &p, b->x, net, d);
        for (size_t j = 0; gout && j < p.n; j++)
            gout[p.from + j] = (float)(scale * reduce * d[j]);
    }
}

/* How a trained network is evaluated; what it predicts, and of which chain, stays. */
static const char *const free_keys[] = {"variance", "clip", "cdf", NULL};

const pf_method_ops pf_method_ddpm = {
    .name = "ddpm",
    .help = "denoising diffusion: a chain of Gaussian steps (Ho et al. 2020)",
    .size = sizeof(pf_ddpm_opt),
    .opts = opts,
    .kinds = 1u << PF_LEVELS,
    .grids = 1u << PF_GRID_PUBLISHED,
    .free_keys = free_keys,
    .open = open,
    .close = close_all,
    .ports = ports,
    .scratch = scratch_bytes,
    .see = see,
    .loss = loss,
    .chain = pf_ddpm_chain,
};
