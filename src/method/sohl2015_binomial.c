/* Binomial diffusion of Sohl-Dickstein et al. 2015: what is drawn, shown and lost in training; see sohl2015_binomial.h.
 *
 *     loss = ((T - 1) KL_t + D H_q(x_1 | x_0))/(D log 2),     t uniform on 2 .. T
 *
 * which is minus the bound in bits a dimension.
 *
 * Source: Sohl-Dickstein et al. 2015, section 2 and appendix B.2. */
#include "method/sohl2015_binomial.h"
#include "method/time.h"

#include <probflow/memory.h>

#include <math.h>

enum { TIMES_UNIFORM, TIMES_SECOND_MOMENT };

static const char *const predictions[] = {"before", "data", NULL};
static const char *const times_words[] = {"uniform", "second_moment", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(pf_bits_opt, steps, PF_INT, 1000, 2, 1e6, "length T of the chain"),
    PF_OPT_ENUM(pf_bits_opt, predicts, PF_BITS_BEFORE, predictions, "a logit of each bit: before, as published, of the step before; data, of the datum"),
    PF_OPT(pf_bits_opt, rate, PF_F64, 0.5, 1e-9, 1.0, "share of ones of the independent bits that K is compared with"),
    PF_OPT_ENUM(pf_bits_opt, times, TIMES_UNIFORM, times_words, "indices in training: uniform; second_moment, more often where losses are large, each loss then weighted to the same mean"),
    { 0 }
};
/* clang-format on */

/* What see keeps of a sample for loss. */
typedef struct seen {
    int64_t t;
    unsigned char x[]; /* [D] x_t */
} seen;

static void close_all(void *self)
{
    pf_free(self);
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    PF_REQUIRE(space->levels == 2, PF_EARG,
               "sohl2015_binomial is a method for bits, and these data have %d levels; arrays "
               "of booleans and density:heartbeat are bits",
               space->levels);
    pf_bits *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for the method sohl2015_binomial");
    m->opt = *(const pf_bits_opt *)opt;
    m->T = m->opt.steps;
    m->D = pf_shape_entries(space->shape);
    m->bytes = sizeof(seen) + (m->D + 7) / 8 * 8;
    m->shape = space->shape;
    *self = m;
    return PF_OK;
}

static void ports(const void *self, pf_ports *offered)
{
    const pf_bits *m = self;
    *offered = pf_told_ports(m->shape, m->shape);
}

static size_t scratch_bytes(const void *self)
{
    return ((const pf_bits *)self)->bytes;
}

static int times(const void *self)
{
    const pf_bits *m = self;
    return m->opt.times == TIMES_SECOND_MOMENT ? m->T - 1 : 0;
}

static int bit(const pf_batch *b, size_t at)
{
    return b->x[at] > 0.0f;
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const pf_bits *m = self;
    double u0 = pf_time_shift(b);
    for (int s = 0; s < b->B; s++) {
        seen *r = (seen *)((char *)scratch + (size_t)s * m->bytes);
        const pf_draw d = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE,
                           b->sample[s], 0};
        r->t = 2 + pf_time_index(b, s, u0, m->T - 1);
        for (size_t j = 0; j < m->D; j++) r->x[j] = (unsigned char)bit(b, (size_t)s * m->D + j);
        pf_bits_draw(m, (int)r->t, &d, r->x, r->x);
        pf_bits_show(m, s, (int)r->t, r->x, in);
    }
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_bits *m = self;
    double reduce = (m->T - 1) / ((double)m->D * M_LN2);
    for (int s = 0; s < b->B; s++) {
        const seen *r = (const seen *)((const char *)scratch + (size_t)s * m->bytes);
        double sum = 0.0, each = reduce * (b->weight ? scale * b->weight[s] : scale);
        for (size_t j = 0; j < m->D; j++) {
            size_t at = (size_t)s * m->D + j;
            const int bits[2] = {r->x[j], bit(b, at)};
            double slope;
            sum += pf_bits_kl((pf_bits_predicts)m->opt.predicts, m->T, (int)r->t, bits,
                              (double)net[at], &slope);
            if (gout) gout[at] = (float)(each * slope);
        }
        term[s] = reduce * sum + pf_bits_decoder(m->T) / M_LN2;
    }
}

static const char *const free_keys[] = {"rate", "times", NULL};

const pf_method_ops pf_method_sohl2015_binomial = {
    .name = "sohl2015_binomial",
    .help = "binomial diffusion of 2015, of bits (Sohl-Dickstein et al. 2015)",
    .size = sizeof(pf_bits_opt),
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
    .times = times,
    .chain = pf_bits_chain,
};
