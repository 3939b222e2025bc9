/* Masked diffusion: what is drawn, shown and lost in training; see masked.h.
 *
 *     loss = (integrand at one time + first + prior)/(n log 2),     n the entries that are no padding
 *
 * which is minus the bound in bits an entry, or what was published in its place.  Times lie on one shifted grid over the
 * global batch, of whole numbers over its size: published code of MD4 steps by a floating fraction of 1, which makes
 * one time too many for batches of 49, 98, 103 and others. */
#include "method/masked.h"
#include "method/time.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

static const char *const schedules[] = {"linear",      "cosine",         "poly",
                                        "loglinear",   "mdlm_cosine",    "mdlm_cosinesqr",
                                        "mdlm_linear", "mdlm_geometric", NULL};
static const char *const time_words[] = {"continuous", "finite", NULL};
static const char *const estimators[] = {"md4", "mdlm", NULL};
static const char *const bounds[] = {"exact", "published", NULL};
static const char *const predictions[] = {"subs", "d3pm", "sedd", NULL};
static const char *const times_words[] = {"uniform", "importance", "change_of_variables", NULL};
static const char *const conds[] = {"none", "time", "sigma", NULL};
static const char *const samplers[] = {"ancestral",  "mean",     "ddpm",
                                       "ddpm_cache", "analytic", NULL};
static const char *const grids[] = {"uniform", "cosine", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(pf_masked_opt, steps, PF_INT, 1000, 1, 1e6, "steps of sampling, parts of the integral in evaluation, and T of finite time"),
    PF_OPT_ENUM(pf_masked_opt, schedule, PF_MASKED_LINEAR, schedules, "share of symbols that are kept: linear, cosine and poly, of MD4, fall from 1 - eps to eps; the others are MDLM's"),
    PF_OPT(pf_masked_opt, power, PF_F64, 2.0, 1e-3, 1e3, "of schedule poly, 1 - t^power"),
    PF_OPT(pf_masked_opt, eps, PF_F64, -1.0, -1.0, 0.25, "of the schedules, how near their ends come to 0 and 1; below 0: as published, 1e-4 of MD4 and 1e-3 of MDLM"),
    PF_OPT(pf_masked_opt, sigma_min, PF_F64, -1.0, -1.0, 1e3, "least noise of mdlm_linear and mdlm_geometric; below 0: as published, 1e-3 and 1e-4"),
    PF_OPT(pf_masked_opt, sigma_max, PF_F64, -1.0, -1.0, 1e3, "most noise of the same; below 0: as published, 7 and 20"),
    PF_OPT_ENUM(pf_masked_opt, time, PF_MASKED_CONTINUOUS, time_words, "continuous: an integral; finite: a chain of `steps`"),
    PF_OPT_ENUM(pf_masked_opt, estimator, PF_MASKED_MD4, estimators, "where the integral begins, and how finite time and steps are written: md4 or mdlm; the integrand is one and the same"),
    PF_OPT(pf_masked_opt, t_min, PF_F64, -1.0, -1.0, 0.5, "where the integral begins; below 0: as published, 0 of md4 and 1e-3 of mdlm"),
    PF_OPT_ENUM(pf_masked_opt, bound, PF_MASKED_EXACT, bounds, "ends of the bound: exact, the first step and the prior counted, which is a bound; published, as the estimator's code has it"),
    PF_OPT_ENUM(pf_masked_opt, predicts, PF_MASKED_SUBS, predictions, "subs: logits of the symbol behind a mask; d3pm: the mask among them (finite, mdlm); sedd: logarithms of ratios (mdlm)"),
    PF_OPT_QUIET(pf_masked_opt, mask_logit, PF_BOOL, 0, 0, 1, "the network returns a last logit for the mask, as MDLM's published ones do"),
    PF_OPT_ENUM(pf_masked_opt, times, PF_MASKED_UNIFORM, times_words, "times in training: uniform; importance, where the integrand is flat; change_of_variables, the same with the masks drawn by it (mdlm, loglinear or mdlm_linear)"),
    PF_OPT_ENUM(pf_masked_opt, cond, PF_MASKED_TOLD_NOTHING, conds, "what the network is told: none, the bound then does not depend on the schedule; time, 1000 t; sigma, -log of the share kept"),
    PF_OPT_ENUM(pf_masked_opt, sampler, PF_MASKED_ANCESTRAL, samplers, "steps of sampling: ancestral and mean (MD4, the symbol and whether it is shown drawn at once or apart); ddpm, ddpm_cache and analytic (MDLM)"),
    PF_OPT_ENUM(pf_masked_opt, grid, PF_MASKED_GRID_UNIFORM, grids, "times of sampling: uniform, or cosine, denser where all is masked"),
    { 0 }
};
/* clang-format on */

static const pf_acts acts[] = {{"power", "schedule", "poly"},
                               {"sigma_min", "schedule", "mdlm_linear|mdlm_geometric"},
                               {"sigma_max", "schedule", "mdlm_linear|mdlm_geometric"},
                               {"t_min", "time", "continuous"},
                               {0}};

/* What see keeps of a sample for loss. */
typedef struct seen {
    pf_masked_at at;
    int64_t n;   /* entries that are no padding */
    int32_t x[]; /* [2,D] the datum, and what is seen of it */
} seen;

static void close_all(void *self)
{
    pf_free(self);
}

/* Do the options go together? */
static PF_MUST_USE pf_status check(const pf_masked_opt *o)
{
    int mdlm = o->estimator == PF_MASKED_MDLM, finite = o->time == PF_MASKED_FINITE;
    PF_REQUIRE(o->predicts == PF_MASKED_SUBS || mdlm, PF_EARG,
               "method.predicts=%s belongs to method.estimator=mdlm", predictions[o->predicts]);
    PF_REQUIRE(o->predicts != PF_MASKED_D3PM || (finite && o->mask_logit), PF_EARG,
               "method.predicts=d3pm is of finite time with a logit for the mask; set "
               "method.time=finite and method.mask_logit=yes");
    PF_REQUIRE(o->predicts != PF_MASKED_SEDD || !finite, PF_EARG,
               "method.predicts=sedd is of continuous time");
    PF_REQUIRE(
        o->times == PF_MASKED_UNIFORM ||
            (mdlm && !finite && o->predicts == PF_MASKED_SUBS &&
             (o->schedule == PF_MASKED_LOGLINEAR || o->schedule == PF_MASKED_SIGMA_LINEAR)),
        PF_EARG,
        "method.times=%s is of estimator mdlm in continuous time with schedule loglinear or "
        "mdlm_linear",
        times_words[o->times]);
    return PF_OK;
}

/* What the ends cost; see masked.h. */
static void find_ends(pf_masked *m)
{
    int exact = m->opt.bound == PF_MASKED_EXACT, md4 = m->opt.estimator == PF_MASKED_MD4;
    double log_K = log(m->cat.K);
    if (!md4 && m->opt.time == PF_MASKED_FINITE) return;
    if (exact || md4) m->first = pf_masked_hidden(&m->noise, m->t0) * log_K;
    if (exact) m->prior = pf_masked_alpha(&m->noise, 1.0) * log_K;
}

static PF_MUST_USE pf_status open_into(pf_masked *m, const pf_space *space)
{
    const pf_masked_opt *o = &m->opt;
    const double sigma[2] = {o->sigma_min, o->sigma_max};
    PF_TRY(check(o));
    PF_TRY(pf_cat_open(space, "masked", &m->cat));
    m->noise = pf_masked_noise_of((pf_masked_schedule)o->schedule, o->eps, o->power, sigma);
    PF_REQUIRE(m->noise.least > 0.0 && m->noise.least < m->noise.most, PF_EARG,
               "method.sigma_min is %g and sigma_max %g, want 0 < sigma_min < sigma_max",
               m->noise.least, m->noise.most);
    m->t0 = o->t_min >= 0.0 ? o->t_min : o->estimator == PF_MASKED_MD4 ? 0.0 : 1e-3;
    if (o->time == PF_MASKED_FINITE && o->estimator == PF_MASKED_MD4) m->t0 = 0.0;
    m->columns = m->cat.K + (o->mask_logit ? 1 : 0);
    m->bytes = (sizeof(seen) + 2 * m->cat.D * sizeof(int32_t) + 7) / 8 * 8;
    if (o->times != PF_MASKED_UNIFORM) pf_masked_ends(&m->noise, m->f);
    find_ends(m);
    return PF_OK;
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    pf_masked *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for the method masked");
    m->opt = *(const pf_masked_opt *)opt;
    pf_status st = open_into(m, space);
    if (st) {
        close_all(m);
        return pf_trail(st, PF_WHERE);
    }
    *self = m;
    return PF_OK;
}

static void ports(const void *self, pf_ports *offered)
{
    const pf_masked *m = self;
    *offered = pf_cat_ports(&m->cat, m->cat.K + 1, m->columns);
}

static size_t scratch_bytes(const void *self)
{
    return ((const pf_masked *)self)->bytes;
}

/* Of d3pm the second row is of the datum itself. */
static int rows(const void *self)
{
    return ((const pf_masked *)self)->opt.predicts == PF_MASKED_D3PM ? 2 : 1;
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const pf_masked *m = self;
    double u0 = pf_time_shift(b);
    int V = m->cat.K + 1;
    for (int s = 0; s < b->B; s++) {
        seen *r = (seen *)((char *)scratch + (size_t)s * m->bytes);
        const pf_draw d = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE,
                           b->sample[s], 0};
        r->at = pf_masked_when(m, pf_time_share(u0, b->first + s, b->total));
        r->n = pf_cat_take(&m->cat, b, s, r->x);
        pf_masked_mask(m, &r->at, &d, r->x, r->x + m->cat.D);
        pf_cat_show(&m->cat, V, (size_t)s, r->x + m->cat.D, r->at.cond, in);
        if (rows(m) > 1) pf_cat_show(&m->cat, V, (size_t)(b->B + s), r->x, 0.0, in);
    }
}

/* Nats of one row's entries, which are shown z, with their gradients. */
static double row_loss(const pf_masked *m, const seen *r, int again, const float *net,
                       double each, float *gout)
{
    double sum = 0.0;
    for (size_t j = 0; j < m->cat.D; j++) {
        size_t at = j * (size_t)m->columns;
        int32_t x = r->x[j];
        pf_cat_row z = {net + at, NULL};
        pf_cat_slope g = {gout ? gout + at : NULL, NULL};
        if (x >= 0 && again) sum += pf_masked_again(m, x, z, each, g);
        else if (x >= 0 && r->x[m->cat.D + j] == m->cat.K)
            sum += pf_masked_entry(m, &r->at, x, z, each, g);
        else if (gout) memset(gout + at, 0, (size_t)m->columns * sizeof *gout);
    }
    return sum;
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_masked *m = self;
    size_t row = m->cat.D * (size_t)m->columns;
    for (int s = 0; s < b->B; s++) {
        const seen *r = (const seen *)((const char *)scratch + (size_t)s * m->bytes);
        double reduce = r->n ? 1.0 / ((double)r->n * M_LN2) : 0.0;
        double each = reduce * (b->weight ? scale * b->weight[s] : scale);
        double sum = (double)r->n * (m->first + m->prior);
        for (int k = 0; k < rows(m); k++) {
            size_t at = (size_t)(k * b->B + s) * row;
            sum += row_loss(m, r, k, net + at, each, gout ? gout + at : NULL);
        }
        term[s] = reduce * sum;
    }
}

/* How a trained network is evaluated and sampled, and how training draws; what it predicts and is told stays. */
static const char *const free_keys[] = {"steps",     "schedule",  "power", "eps",   "time",
                                        "estimator", "t_min",     "bound", "times", "sampler",
                                        "sigma_min", "sigma_max", "grid",  NULL};

const pf_method_ops pf_method_masked = {
    .name = "masked",
    .help = "masked diffusion of categories: tokens, or levels without their order (Shi et al. "
            "2024; Sahoo et al. 2024)",
    .size = sizeof(pf_masked_opt),
    .opts = opts,
    .kinds = 1u << PF_TOKENS | 1u << PF_LEVELS,
    .grids = 1u << PF_GRID_PUBLISHED,
    .free_keys = free_keys,
    .acts = acts,
    .open = open,
    .close = close_all,
    .ports = ports,
    .scratch = scratch_bytes,
    .rows = rows,
    .see = see,
    .loss = loss,
    .chain = pf_masked_chain,
};
