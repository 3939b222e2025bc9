/* The chain of a trained network of method sohl2015_binomial: terms of its bound and its steps.
 *
 * A state is a datum of bits, 0 and 1, and t is as in sohl2015_binomial.h.  Term i of the bound is KL_(i+1), with one
 * noise an index, f(seed, EVAL_NOISE, image, draw T + i).  Bits that are known are set after each step. */
#include "method/pass.h"
#include "method/sohl2015_binomial.h"

#include <probflow/memory.h>

#include <math.h>

typedef struct chain {
    pf_pass pass;
    const pf_bits *m;
    unsigned char *x0, *x; /* [batch,D], [batch,D] */
    float *u;              /* [D] */
} chain;

/* The data of a batch, as bits. */
static void place(chain *c, const pf_batch *b)
{
    size_t n = (size_t)b->B * c->m->D;
    const uint8_t *k = b->k;
    for (size_t j = 0; j < n; j++) c->x0[j] = (unsigned char)(k ? k[j] != 0 : b->x[j] > 0.0f);
}

/* KL of sample s at t. */
static double kl(const chain *c, int s, int t)
{
    const pf_bits *m = c->m;
    double sum = 0.0;
    for (size_t j = 0, at = (size_t)s * m->D; j < m->D; j++, at++) {
        const int bits[2] = {c->x[at], c->x0[at]};
        sum += pf_bits_kl((pf_bits_predicts)m->opt.predicts, m->T, t, bits,
                          (double)c->pass.out[at], NULL);
    }
    return sum;
}

static pf_status term(void *self, const pf_batch *b, const int *i, double *nats)
{
    chain *c = self;
    const pf_bits *m = c->m;
    int network = 0;
    PF_TRY(pf_pass_fits(&c->pass, b));
    place(c, b);
    for (int s = 0; s < b->B; s++) {
        int t = 1 + i[s];
        if (t == 1 || t > m->T) continue;
        size_t at = (size_t)s * m->D;
        uint32_t step = b->step * (uint32_t)m->T + (uint32_t)i[s];
        const pf_draw d = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[s], step};
        pf_bits_draw(m, t, &d, c->x0 + at, c->x + at);
        pf_bits_show(m, s, t, c->x + at, c->pass.in);
        network = 1;
    }
    if (network) PF_TRY(pf_pass_run(&c->pass, b));
    for (int s = 0; s < b->B; s++)
        nats[s] = i[s] == m->T ? 0.0
                  : i[s] == 0  ? (double)m->D * pf_bits_decoder(m->T)
                               : kl(c, s, 1 + i[s]);
    return PF_OK;
}

static pf_status prior(void *self, const pf_batch *b, double *x)
{
    chain *c = self;
    size_t D = c->m->D;
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_PRIOR, b->sample[s], 0};
        pf_draw_uniform(&d, 0, D, c->u);
        for (size_t j = 0; j < D; j++) x[(size_t)s * D + j] = c->u[j] < 0.5f;
    }
    return PF_OK;
}

/* 1, and the bit, where entry j of sample s is known. */
static int is_known(const pf_bits *m, const pf_move *how, int s, size_t j, int *bit)
{
    if (!how->known || (how->mask && !how->mask[j])) return 0;
    *bit = how->known[(size_t)s * m->D + j] > 0.0;
    return 1;
}

/* The chance that a bit of x_(t-1) is 1, and (NULL: unwanted) of x_0: `before` says it of both. */
static double chance(const chain *c, int t, size_t at, double *data)
{
    const pf_bits *m = c->m;
    double flips = 0.5 * pf_bits_beta(m->T, 1), logit = (double)c->pass.out[at];
    if (t == 1) return c->x[at] ? 1.0 - flips : flips;
    if (data) *data = 1.0 / (1.0 + exp(-logit));
    return pf_bits_reverse((pf_bits_predicts)m->opt.predicts, m->T, t, c->x[at], logit);
}

static pf_status step(void *self, const pf_batch *b, const pf_move *how, int i, double *x,
                      double *x0)
{
    chain *c = self;
    const pf_bits *m = c->m;
    size_t n = (size_t)b->B * m->D;
    PF_TRY(pf_pass_moves(&c->pass, how, 1));
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (size_t j = 0; j < n; j++) c->x[j] = x[j] > 0.5;
    for (int s = 0; s < b->B; s++) pf_bits_show(m, s, i, c->x + (size_t)s * m->D, c->pass.in);
    if (i > 1) PF_TRY(pf_pass_run(&c->pass, b)); /* the last step is nobody's to learn */
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_SAMPLE, b->sample[s], (uint32_t)(i - 1)};
        pf_draw_uniform(&d, 0, m->D, c->u);
        for (size_t j = 0, at = (size_t)s * m->D; j < m->D; j++, at++) {
            int bit;
            double expected = 0.0, p = chance(c, i, at, &expected);
            x[at] = (double)c->u[j] < p;
            if (is_known(m, how, s, j, &bit)) x[at] = expected = bit;
            if (x0) x0[at] = i > 1 ? expected : x[at]; /* the end itself */
        }
    }
    return PF_OK;
}

static pf_status datum(void *self, int B, const double *x, double *out)
{
    size_t n = (size_t)B * ((chain *)self)->m->D;
    for (size_t j = 0; j < n; j++) out[j] = 2.0 * x[j] - 1.0;
    return PF_OK;
}

static void release(void *self)
{
    chain *c = self;
    if (!c) return;
    pf_pass_free(&c->pass);
    pf_free(c->x0);
    pf_free(c->u);
    pf_free(c);
}

static PF_MUST_USE pf_status create(chain *c, const pf_net *n, const pf_view_opt *o)
{
    PF_TRY(pf_pass_takes(n, o));
    c->m = n->self;
    size_t all = (size_t)o->batch * c->m->D;
    c->x0 = pf_zalloc(2 * all);
    c->u = pf_zalloc(c->m->D * sizeof *c->u);
    PF_REQUIRE(c->x0 && c->u, PF_EMEM, "no memory for a chain of %d samples", o->batch);
    c->x = c->x0 + all;
    PF_TRY(pf_pass_create(&c->pass, n, o, 0, o->with ? &((const chain *)o->with)->pass : NULL));
    return PF_OK;
}

pf_status pf_bits_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out)
{
    chain *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for a chain");
    pf_status st = create(c, n, o);
    if (st) {
        release(c);
        return pf_trail(st, PF_WHERE);
    }
    *out = (pf_chain){.self = c,
                      .dim = (int)c->m->D,
                      .steps = c->m->T,
                      .whole = c->m->T,
                      .batch = o->batch,
                      .state = c->m->D,
                      .multiplies = 1,
                      .null = (double)c->m->D * pf_bits_entropy(c->m->opt.rate),
                      .term = term,
                      .prior = prior,
                      .step = step,
                      .datum = datum,
                      .free = release};
    return PF_OK;
}
