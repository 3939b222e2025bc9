/* The chain of a trained network of method multinomial: terms of its bound and its steps.
 *
 * A state is a datum of categories, -1 where a row is padding.  Noise of term i is f(seed, EVAL_NOISE, image,
 * draw T + i), that of step i f(seed, SAMPLE, sample, i - 1). */
#include "method/multinomial.h"
#include "method/pass.h"

#include <probflow/memory.h>

#include <math.h>

typedef struct chain {
    pf_pass pass;
    const pf_multi *m;
    int32_t *x0, *x;   /* [batch,D] each */
    int *n;            /* [batch] entries that are no padding */
    double *log_p, *u; /* [K] each */
} chain;

static pf_cat_row logits(const chain *c, int s, size_t j)
{
    const pf_multi *m = c->m;
    size_t at = ((size_t)s * m->cat.D + j) * (size_t)m->cat.K;
    return (pf_cat_row){c->pass.out + at, NULL};
}

static double nats_of(const chain *c, int s, int i)
{
    const pf_multi *m = c->m;
    double sum = 0.0;
    for (size_t j = 0; j < m->cat.D; j++) {
        size_t at = (size_t)s * m->cat.D + j;
        const int32_t pair[2] = {c->x[at], c->x0[at]};
        if (pair[1] >= 0)
            sum += pf_multi_term((pf_multi_predicts)m->opt.predicts, &m->at[i], pair,
                                 logits(c, s, j), 0.0, (pf_cat_slope){NULL, NULL});
    }
    return sum;
}

static pf_status term(void *self, const pf_batch *b, const int *i, double *nats)
{
    chain *c = self;
    const pf_multi *m = c->m;
    int network = 0;
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (int s = 0; s < b->B; s++) {
        size_t at = (size_t)s * m->cat.D;
        c->n[s] = pf_cat_take(&m->cat, b, s, c->x0 + at);
        if (i[s] == m->T) continue;
        uint32_t step = b->step * (uint32_t)m->T + (uint32_t)i[s];
        const pf_draw d = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[s], step};
        pf_multi_noise(m, i[s], &d, c->x0 + at, c->x + at);
        pf_cat_show(&m->cat, m->cat.K, (size_t)s, c->x + at, pf_multi_cond(m, i[s]),
                    c->pass.in);
        network = 1;
    }
    if (network) PF_TRY(pf_pass_run(&c->pass, b));
    for (int s = 0; s < b->B; s++)
        nats[s] =
            i[s] == m->T ? c->n[s] * pf_multi_prior(&m->at[m->T - 1]) : nats_of(c, s, i[s]);
    return PF_OK;
}

static pf_status prior(void *self, const pf_batch *b, double *x)
{
    chain *c = self;
    size_t D = c->m->cat.D;
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_PRIOR, b->sample[s], 0};
        for (size_t j = 0; j < D; j++)
            x[(size_t)s * D + j] = pf_cat_even(c->m->cat.K, pf_draw_uniform_f64(&d, j));
    }
    return PF_OK;
}

/* Entry j of sample s from x_i to x_(i-1). */
static void move(chain *c, const pf_draw *d, int s, size_t j, int i, double *x, double *x0)
{
    const pf_multi *m = c->m;
    size_t K = (size_t)m->cat.K;
    pf_cat_row z = logits(c, s, j);
    if (*x < 0.0) {
        if (x0) *x0 = *x;
        return;
    }
    pf_multi_reverse((pf_multi_predicts)m->opt.predicts, &m->at[i - 1], (int)*x, z, c->log_p);
    pf_cat_uniform(d, j * K, K, c->u);
    *x = pf_cat_draw(m->cat.K, c->log_p, c->u);
    if (x0) *x0 = i > 1 ? pf_cat_likeliest(m->cat.K, z) : *x; /* the end itself */
}

static pf_status step(void *self, const pf_batch *b, const pf_move *how, int i, double *x,
                      double *x0)
{
    chain *c = self;
    const pf_multi *m = c->m;
    size_t D = m->cat.D;
    PF_TRY(pf_pass_moves(&c->pass, how, 1));
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (size_t j = 0; j < (size_t)b->B * D; j++) c->x[j] = (int32_t)x[j];
    for (int s = 0; s < b->B; s++)
        pf_cat_show(&m->cat, m->cat.K, (size_t)s, c->x + (size_t)s * D, pf_multi_cond(m, i - 1),
                    c->pass.in);
    PF_TRY(pf_pass_run(&c->pass, b));
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_SAMPLE, b->sample[s], (uint32_t)(i - 1)};
        for (size_t j = 0, at = (size_t)s * D; j < D; j++, at++) {
            move(c, &d, s, j, i, x + at, x0 ? x0 + at : NULL);
            pf_cat_set_known(&m->cat, how, s, j, x + at, x0 ? x0 + at : NULL);
        }
    }
    return PF_OK;
}

static pf_status datum(void *self, int B, const double *x, double *out)
{
    pf_cat_datum(&((chain *)self)->m->cat, B, x, out);
    return PF_OK;
}

static void release(void *self)
{
    chain *c = self;
    if (!c) return;
    pf_pass_free(&c->pass);
    pf_free(c->x0);
    pf_free(c->n);
    pf_free(c->log_p);
    pf_free(c);
}

static PF_MUST_USE pf_status create(chain *c, const pf_net *n, const pf_view_opt *o)
{
    PF_TRY(pf_pass_takes(n, o));
    c->m = n->self;
    size_t all = (size_t)o->batch * c->m->cat.D, K = (size_t)c->m->cat.K;
    c->x0 = pf_zalloc(2 * all * sizeof *c->x0);
    c->n = pf_zalloc((size_t)o->batch * sizeof *c->n);
    c->log_p = pf_zalloc(2 * K * sizeof *c->log_p);
    PF_REQUIRE(c->x0 && c->n && c->log_p, PF_EMEM, "no memory for a chain of %d samples",
               o->batch);
    c->x = c->x0 + all;
    c->u = c->log_p + K;
    PF_TRY(pf_pass_create(&c->pass, n, o, 0, o->with ? &((const chain *)o->with)->pass : NULL));
    return PF_OK;
}

pf_status pf_multi_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out)
{
    chain *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for a chain");
    pf_status st = create(c, n, o);
    if (st) {
        release(c);
        return pf_trail(st, PF_WHERE);
    }
    *out = (pf_chain){.self = c,
                      .dim = (int)c->m->cat.D,
                      .steps = c->m->T,
                      .whole = c->m->T,
                      .batch = o->batch,
                      .state = c->m->cat.D,
                      .multiplies = 1,
                      .term = term,
                      .prior = prior,
                      .step = step,
                      .datum = datum,
                      .free = release};
    return PF_OK;
}
