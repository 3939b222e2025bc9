/* Gaussian diffusion of Sohl-Dickstein et al. 2015: what is drawn, shown and lost in training; see sohl2015.h.
 *
 *     y = (x - shift)/scale,     x_i = sqrt(abar_i) y + sqrt(1 - abar_i) z,     i = 1 .. T-1
 *     loss = ((T - 1) KL_i + 1/2 log b_0 - 1/2 log(1 - abar_(T-1)))/log 2, a mean over the entries
 *
 * which is minus the published bound above its null, in bits a dimension.  Each sample has an index of its own, from
 * the shifted grid of time.h or the batch; the published code draws one a minibatch.
 *
 * Source: Sohl-Dickstein et al. 2015, section 2.3, and their published code. */
#include "method/sohl2015.h"
#include "method/time.h"

#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>

enum { TIMES_UNIFORM, TIMES_SECOND_MOMENT };

static const char *const schedules[] = {"published", "geometric", NULL};
static const char *const ends[] = {"exact", "published", NULL};
static const char *const times_words[] = {"uniform", "second_moment", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(pf_sohl_opt, steps, PF_INT, 1000, 2, 1e6, "length T of the chain"),
    PF_OPT_ENUM(pf_sohl_opt, schedule, PF_SOHL_PUBLISHED, schedules, "variances b of the steps: published, 1/T to 1/2 harmonically; geometric, from step1_beta to last_beta in equal ratios"),
    PF_OPT(pf_sohl_opt, step1_beta, PF_F64, 1e-3, 1e-12, 0.5, "added to the published first variance; geometric: the first"),
    PF_OPT(pf_sohl_opt, last_beta, PF_F64, 0.5, 1e-9, 0.999, "geometric: the last variance"),
    PF_OPT(pf_sohl_opt, bumps, PF_INT, 10, 2, PF_SOHL_BUMPS_MAX, "bumps in time whose coefficients the network returns"),
    PF_OPT(pf_sohl_opt, shift, PF_F64, 0.0, -1e6, 1e6, "mean of the data in model scale; probflow info --moments tells it"),
    PF_OPT(pf_sohl_opt, scale, PF_F64, 1.0, 1e-6, 1e6, "their standard deviation"),
    PF_OPT_ENUM(pf_sohl_opt, bound, PF_SOHL_EXACT, ends, "ends of the bound: exact, of each datum; published, of data of unit second moment"),
    PF_OPT_ENUM(pf_sohl_opt, times, TIMES_UNIFORM, times_words, "indices in training: uniform; second_moment, more often where losses are large, each loss then weighted to the same mean"),
    { 0 }
};
/* clang-format on */

/* What see keeps of a sample for loss. */
typedef struct seen {
    int64_t index;
    float noise[]; /* [D] */
} seen;

static void close_all(void *self)
{
    pf_sohl *m = self;
    if (!m) return;
    pf_sohl_free(m->t);
    pf_free(m);
}

static PF_MUST_USE pf_status make_tables(pf_sohl *m)
{
    const pf_sohl_opt *o = &m->opt;
    double *beta = pf_zalloc((size_t)o->steps * sizeof *beta);
    PF_REQUIRE(beta, PF_EMEM, "no memory for a schedule of %d steps", o->steps);
    pf_sohl_betas((pf_sohl_schedule)o->schedule, o->step1_beta, o->last_beta, o->steps, beta);
    pf_status st = pf_sohl_create(o->steps, beta, o->bumps, &m->t);
    pf_free(beta);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    pf_sohl *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for the method sohl2015");
    m->opt = *(const pf_sohl_opt *)opt;
    m->space = *space;
    m->D = pf_shape_entries(space->shape);
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
    const pf_sohl *m = self;
    pf_shape out = m->space.shape;
    out.c *= 2 * m->opt.bumps;
    *offered = pf_told_ports(m->space.shape, out);
}

static size_t scratch_bytes(const void *self)
{
    return ((const pf_sohl *)self)->bytes;
}

/* Index 0 has no term that learns. */
static int times(const void *self)
{
    const pf_sohl *m = self;
    return m->opt.times == TIMES_SECOND_MOMENT ? m->opt.steps - 1 : 0;
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const pf_sohl *m = self;
    double u0 = pf_time_shift(b);
    for (int s = 0; s < b->B; s++) {
        seen *r = (seen *)((char *)scratch + (size_t)s * m->bytes);
        float *x = in[PF_TOLD_X];
        pf_draw noise = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE,
                         b->sample[s], 0};
        r->index = 1 + pf_time_index(b, s, u0, m->t->T - 1);
        pf_draw_normal(&noise, 0, m->D, r->noise);
        const pf_gauss_at *a = &m->t->at[r->index].gauss;
        for (size_t j = 0, at = (size_t)s * m->D; x && j < m->D; j++)
            x[at + j] = (float)(a->root * pf_sohl_unit(m, (double)b->x[at + j]) +
                                a->std * (double)r->noise[j]);
        pf_sohl_show_index(m, s, (int)r->index, in);
    }
}

/* Derivatives of entry j with respect to its coefficients. */
static void put(const pf_sohl_at *a, double of_mean, double of_log_variance, float *gout)
{
    for (int k = 0; k < a->n; k++) {
        gout[k] = (float)(of_mean * a->add * a->phi[k]);
        gout[a->n + k] = (float)(of_log_variance * a->phi[k]);
    }
}

/* KL of n entries, net and gout (NULL: unwanted) at the first of them; each: what a derivative of it counts. */
static double piece(const pf_sohl *m, const pf_sohl_at *a, size_t n, const float *x,
                    const float *z, const float *net, double each, float *gout)
{
    double y[PF_SOHL_PIECE], xi[PF_SOHL_PIECE], noise[PF_SOHL_PIECE], d[2][PF_SOHL_PIECE];
    pf_sohl_model q;
    const pf_gauss_model model = {NULL, q.mean, q.log_variance};
    const pf_gauss_slope slope = {d[0], d[1]};
    for (size_t j = 0; j < n; j++) y[j] = pf_sohl_unit(m, (double)x[j]);
    for (size_t j = 0; j < n; j++) noise[j] = (double)z[j];
    pf_gauss_noised(&a->gauss, n, y, noise, xi);
    pf_sohl_predict(a, n, xi, net, &q);
    double sum = pf_gauss_kl(&a->gauss, n, y, xi, &model, gout ? &slope : NULL);
    for (size_t j = 0; gout && j < n; j++)
        put(a, each * d[0][j], each * d[1][j] * q.slope[j], gout + j * 2 * (size_t)a->n);
    return sum;
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_sohl *m = self;
    double factor = m->t->T - 1;
    size_t width = 2 * (size_t)m->opt.bumps;
    for (int s = 0; s < b->B; s++) {
        const seen *r = (const seen *)((const char *)scratch + (size_t)s * m->bytes);
        double sum = 0.0, each = (b->weight ? scale * b->weight[s] : scale) * factor /
                                 ((double)m->D * M_LN2);
        for (size_t j = 0, n; j < m->D; j += n) {
            size_t at = (size_t)s * m->D + j, out = at * width;
            n = m->D - j < PF_SOHL_PIECE ? m->D - j : PF_SOHL_PIECE;
            sum += piece(m, &m->t->at[r->index], n, b->x + at, r->noise + j, net + out, each,
                         gout ? gout + out : NULL);
        }
        term[s] = pf_sohl_bound(m->t, factor, sum / (double)m->D) / M_LN2;
    }
}

static const pf_acts acts[] = {{"last_beta", "schedule", "geometric"}, {0}};

static const char *const free_keys[] = {"bound", "times", NULL};

const pf_method_ops pf_method_sohl2015 = {
    .name = "sohl2015",
    .help = "Gaussian diffusion of 2015: a step's mean and variance from bumps in time "
            "(Sohl-Dickstein et al. 2015)",
    .size = sizeof(pf_sohl_opt),
    .opts = opts,
    .kinds = 1u << PF_LEVELS | 1u << PF_REAL,
    .grids = 1u << PF_GRID_DEQUANTISED,
    .free_keys = free_keys,
    .acts = acts,
    .open = open,
    .close = close_all,
    .ports = ports,
    .scratch = scratch_bytes,
    .see = see,
    .loss = loss,
    .times = times,
    .chain = pf_sohl_chain,
};
