/* Multinomial diffusion: what is drawn, shown and lost in training; see multinomial.h.
 *
 *     loss = (T L_i + prior)/(n log 2),     n the entries that are no padding
 *
 * which is minus the bound in bits an entry, i uniform on 0 .. T-1 or by the decaying law of times.h.
 *
 * Source: Hoogeboom et al. 2021, section 4, and their published code. */
#include "method/multinomial.h"
#include "method/time.h"

#include <probflow/memory.h>

#include <math.h>

enum { TIMES_UNIFORM, TIMES_SECOND_MOMENT };

static const char *const predictions[] = {"data", "before", NULL};
static const char *const times_words[] = {"uniform", "second_moment", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(pf_multi_opt, steps, PF_INT, 1000, 2, 1e6, "length T of the chain"),
    PF_OPT_ENUM(pf_multi_opt, predicts, PF_MULTI_DATA, predictions, "logits: data, of the datum, put in place of it in the posterior (published as x0); before, of the step before (direct)"),
    PF_OPT_ENUM(pf_multi_opt, times, TIMES_UNIFORM, times_words, "indices in training: uniform; second_moment, more often where losses are large, each loss then weighted to the same mean, as published"),
    { 0 }
};
/* clang-format on */

/* What see keeps of a sample for loss. */
typedef struct seen {
    int32_t i, n; /* index, entries that are no padding */
    int32_t x[];  /* [2,D] the datum, and what became of it */
} seen;

static void close_all(void *self)
{
    pf_multi *m = self;
    if (!m) return;
    pf_free(m->at);
    pf_free(m);
}

static PF_MUST_USE pf_status open_into(pf_multi *m, const pf_space *space)
{
    PF_TRY(pf_cat_open(space, "multinomial", &m->cat));
    m->T = m->opt.steps;
    m->bytes = sizeof(seen) + 2 * m->cat.D * sizeof(int32_t);
    m->at = pf_zalloc((size_t)m->T * sizeof *m->at);
    PF_REQUIRE(m->at, PF_EMEM, "no memory for %d steps", m->T);
    pf_multi_table(m->T, m->cat.K, m->at);
    return PF_OK;
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    pf_multi *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for the method multinomial");
    m->opt = *(const pf_multi_opt *)opt;
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
    const pf_multi *m = self;
    *offered = pf_cat_ports(&m->cat, m->cat.K, m->cat.K);
}

static size_t scratch_bytes(const void *self)
{
    return ((const pf_multi *)self)->bytes;
}

static int times(const void *self)
{
    const pf_multi *m = self;
    return m->opt.times == TIMES_SECOND_MOMENT ? m->T : 0;
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const pf_multi *m = self;
    double u0 = pf_time_shift(b);
    for (int s = 0; s < b->B; s++) {
        seen *r = (seen *)((char *)scratch + (size_t)s * m->bytes);
        const pf_draw d = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE,
                           b->sample[s], 0};
        r->i = pf_time_index(b, s, u0, m->T);
        r->n = pf_cat_take(&m->cat, b, s, r->x);
        pf_multi_noise(m, r->i, &d, r->x, r->x + m->cat.D);
        pf_cat_show(&m->cat, m->cat.K, (size_t)s, r->x + m->cat.D, pf_multi_cond(m, r->i), in);
    }
}

static void no_slope(pf_cat_slope g, int K)
{
    for (int k = 0; k < K; k++) pf_cat_put(g, (size_t)k, 0.0);
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_multi *m = self;
    size_t K = (size_t)m->cat.K;
    double prior = pf_multi_prior(&m->at[m->T - 1]);
    for (int s = 0; s < b->B; s++) {
        const seen *r = (const seen *)((const char *)scratch + (size_t)s * m->bytes);
        double reduce = r->n ? m->T / (r->n * M_LN2) : 0.0, sum = 0.0;
        double each = reduce * (b->weight ? scale * b->weight[s] : scale);
        for (size_t j = 0; j < m->cat.D; j++) {
            size_t at = ((size_t)s * m->cat.D + j) * K;
            const int32_t pair[2] = {r->x[m->cat.D + j], r->x[j]};
            pf_cat_slope g = {gout ? gout + at : NULL, NULL};
            if (pair[1] < 0) no_slope(g, m->cat.K);
            else
                sum += pf_multi_term((pf_multi_predicts)m->opt.predicts, &m->at[r->i], pair,
                                     (pf_cat_row){net + at, NULL}, each, g);
        }
        term[s] = r->n ? reduce * sum + prior / M_LN2 : 0.0;
    }
}

static const char *const free_keys[] = {"times", NULL};

const pf_method_ops pf_method_multinomial = {
    .name = "multinomial",
    .help = "multinomial diffusion of categories: tokens, or levels without their order "
            "(Hoogeboom et al. 2021)",
    .size = sizeof(pf_multi_opt),
    .opts = opts,
    .kinds = 1u << PF_TOKENS | 1u << PF_LEVELS,
    .grids = 1u << PF_GRID_PUBLISHED,
    .free_keys = free_keys,
    .open = open,
    .close = close_all,
    .ports = ports,
    .scratch = scratch_bytes,
    .see = see,
    .loss = loss,
    .times = times,
    .times_law = PF_TIMES_DECAYING,
    .chain = pf_multi_chain,
};
