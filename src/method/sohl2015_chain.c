/* The chain of a trained network of method sohl2015: terms of its bound and its steps.
 *
 * A state is a y, of unit variance.  A chain counts from the data, x_0 .. x_T; the index of sohl2015.h is one less.
 * Levels have one place in their bins a draw, f(seed, EVAL_DEQUANT, image, draw), and x_i of the bound one noise an
 * index, f(seed, EVAL_NOISE, image, draw T + i).  The decoder is of the datum in model scale, of levels of their bins:
 *
 *     -log p(k | x_0) <= -log p(y | x_0) + D log scale + D log(L/2)
 *
 * Samples take the last step too, and its noise with it: the published sampler ends one step before, in x_0's noisy
 * neighbour.  At each step the model's Gaussian is multiplied with N(x; known, known_std^2) where something is known:
 * inpainting with none of a deviation, denoising with that of the noise. */
#include "method/pass.h"
#include "method/sohl2015.h"

#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>
#include <string.h>

typedef struct chain {
    pf_pass pass;
    const pf_sohl *m;
    double *y, *xi; /* [batch,D] */
    float *narrow;  /* [D] of a draw */
    int *number;    /* [batch] of what the network is shown */
} chain;

static double unit_nats(const pf_sohl *m)
{
    double levels = m->space.kind == PF_LEVELS ? log(0.5 * m->space.levels) : 0.0;
    return (double)m->D * (levels + log(m->opt.scale));
}

/* y [B,D] of the samples. */
static void place(chain *c, const pf_batch *b)
{
    const pf_sohl *m = c->m;
    double width = 2.0 / (m->space.levels * m->opt.scale);
    for (int s = 0; s < b->B; s++) {
        size_t at = (size_t)s * m->D;
        double *y = c->y + at;
        const pf_draw u = {b->seed, PF_STREAM_EVAL_DEQUANT, b->sample[s], b->step};
        if (b->k) {
            pf_to_model(&m->space, PF_GRID_CENTRES, m->D, (const uint8_t *)b->k + at, NULL, y);
            pf_draw_uniform(&u, 0, m->D, c->narrow);
        } else
            for (size_t j = 0; j < m->D; j++) y[j] = (double)b->x[at + j];
        for (size_t j = 0; j < m->D; j++) y[j] = pf_sohl_unit(m, y[j]);
        for (size_t j = 0; b->k && j < m->D; j++)
            y[j] = pf_sohl_spread(y[j], width, (double)c->narrow[j]);
    }
}

/* The network at c->xi and c->number. */
static PF_MUST_USE pf_status evaluate(chain *c, const pf_batch *b)
{
    float *x = c->pass.in[PF_TOLD_X];
    for (size_t j = 0; x && j < (size_t)b->B * c->m->D; j++) x[j] = (float)c->xi[j];
    for (int s = 0; s < b->B; s++) pf_sohl_show_index(c->m, s, c->number[s], c->pass.in);
    PF_TRY(pf_pass_run(&c->pass, b));
    return PF_OK;
}

static void noise(chain *c, const pf_batch *b, int s)
{
    const pf_sohl *m = c->m;
    size_t at = (size_t)s * m->D;
    uint32_t step = b->step * (uint32_t)m->t->T + (uint32_t)c->number[s];
    const pf_draw draw = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[s], step};
    const pf_gauss_at *a = &m->t->at[c->number[s]].gauss;
    pf_draw_normal(&draw, 0, m->D, c->narrow);
    for (size_t j = 0; j < m->D; j++)
        c->xi[at + j] = a->root * c->y[at + j] + a->std * (double)c->narrow[j];
}

/* KL at c->number of sample s. */
static double kl(const chain *c, int s)
{
    const pf_sohl *m = c->m;
    const pf_sohl_at *a = &m->t->at[c->number[s]];
    pf_sohl_model q;
    const pf_gauss_model model = {NULL, q.mean, q.log_variance};
    double sum = 0.0;
    for (size_t j = 0, n; j < m->D; j += n) {
        size_t at = (size_t)s * m->D + j;
        n = m->D - j < PF_SOHL_PIECE ? m->D - j : PF_SOHL_PIECE;
        pf_sohl_predict(a, n, c->xi + at, c->pass.out + at * 2 * (size_t)a->n, &q);
        sum += pf_gauss_kl(&a->gauss, n, c->y + at, c->xi + at, &model, NULL);
    }
    return sum;
}

/* The decoder and the prior of a datum, in closed form. */
static double end(const pf_sohl *m, const double *y, int decoder)
{
    const pf_gauss *g = m->t->gauss;
    double b0 = g->beta[0], sum = 0.0;
    if (m->opt.bound == PF_SOHL_AS_PUBLISHED) {
        double each = decoder ? log(2.0 * M_PI * M_E * b0) : -log(g->noise[g->T - 1]);
        return 0.5 * (double)m->D * each + (decoder ? unit_nats(m) : 0.0);
    }
    if (!decoder) return pf_gauss_prior(g, m->D, y);
    for (size_t j = 0; j < m->D; j++)
        sum += 0.5 * (log(2.0 * M_PI * b0) + 1.0 - b0 + b0 * y[j] * y[j]);
    return sum + unit_nats(m);
}

static pf_status term(void *self, const pf_batch *b, const int *i, double *nats)
{
    chain *c = self;
    int T = c->m->t->T, network = 0;
    PF_TRY(pf_pass_fits(&c->pass, b));
    place(c, b);
    for (int s = 0; s < b->B; s++) {
        int inner = i[s] > 0 && i[s] < T;
        c->number[s] = inner ? i[s] : 1;
        network |= inner;
    }
    for (int s = 0; network && s < b->B; s++) noise(c, b, s);
    if (network) PF_TRY(evaluate(c, b));
    for (int s = 0; s < b->B; s++)
        nats[s] =
            i[s] > 0 && i[s] < T ? kl(c, s) : end(c->m, c->y + (size_t)s * c->m->D, i[s] == 0);
    return PF_OK;
}

static pf_status prior(void *self, const pf_batch *b, double *x)
{
    chain *c = self;
    size_t D = c->m->D;
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_PRIOR, b->sample[s], 0};
        pf_draw_normal(&d, 0, D, c->narrow);
        for (size_t j = 0; j < D; j++) x[(size_t)s * D + j] = (double)c->narrow[j];
    }
    return PF_OK;
}

/* Entries j .. j+n-1 of sample s. */
typedef struct piece {
    const pf_sohl_at *a;
    int s;
    size_t j, n;
} piece;

/* What is known of entry j of sample s counts too. */
static void multiply(const pf_sohl *m, const pf_move *how, int s, size_t j, double *mean,
                     double *variance)
{
    if (!how->known || (how->mask && !how->mask[j])) return;
    pf_sohl_multiply(pf_sohl_unit(m, how->known[(size_t)s * m->D + j]),
                     how->known_std / m->opt.scale, mean, variance);
}

/* The state x moves on by the model q and the noise c->narrow; x0 (NULL: unwanted) is what it is expected to end as. */
static void move(const chain *c, const pf_move *how, const piece *p, const pf_sohl_model *q,
                 double *x, double *x0)
{
    size_t at = (size_t)p->s * c->m->D + p->j;
    for (size_t j = 0; j < p->n; j++) {
        double mean = q->mean[j], variance = exp(q->log_variance[j]);
        multiply(c->m, how, p->s, p->j + j, &mean, &variance);
        double expected = (mean - p->a->gauss.c2 * x[at + j]) / p->a->gauss.c1;
        x[at + j] = mean + sqrt(variance) * (double)c->narrow[p->j + j];
        if (x0) x0[at + j] = p->a->gauss.i ? expected : x[at + j]; /* the end itself */
    }
}

static pf_status step(void *self, const pf_batch *b, const pf_move *how, int i, double *x,
                      double *x0)
{
    chain *c = self;
    const pf_sohl *m = c->m;
    piece p = {.a = &m->t->at[i - 1]};
    pf_sohl_model q;
    PF_TRY(pf_pass_moves(&c->pass, how, 0));
    PF_TRY(pf_pass_fits(&c->pass, b));
    memcpy(c->xi, x, (size_t)b->B * m->D * sizeof *x);
    for (int s = 0; s < b->B; s++) c->number[s] = i - 1;
    if (i > 1) PF_TRY(evaluate(c, b)); /* the last step is nobody's to learn */
    for (p.s = 0; p.s < b->B; p.s++) {
        const pf_draw d = {b->seed, PF_STREAM_SAMPLE, b->sample[p.s], (uint32_t)(i - 1)};
        pf_draw_normal(&d, 0, m->D, c->narrow);
        for (p.j = 0; p.j < m->D; p.j += p.n) {
            size_t at = (size_t)p.s * m->D + p.j;
            p.n = m->D - p.j < PF_SOHL_PIECE ? m->D - p.j : PF_SOHL_PIECE;
            pf_sohl_predict(p.a, p.n, c->xi + at, c->pass.out + at * 2 * (size_t)p.a->n, &q);
            move(c, how, &p, &q, x, x0);
        }
    }
    return PF_OK;
}

static pf_status datum(void *self, int B, const double *x, double *out)
{
    const pf_sohl *m = ((chain *)self)->m;
    for (size_t j = 0; j < (size_t)B * m->D; j++) out[j] = m->opt.shift + m->opt.scale * x[j];
    return PF_OK;
}

static void release(void *self)
{
    chain *c = self;
    if (!c) return;
    pf_pass_free(&c->pass);
    pf_free(c->y);
    pf_free(c->narrow);
    pf_free(c->number);
    pf_free(c);
}

static PF_MUST_USE pf_status create(chain *c, const pf_net *n, const pf_view_opt *o)
{
    size_t B = (size_t)o->batch, D;
    PF_TRY(pf_pass_takes(n, o));
    c->m = n->self;
    D = c->m->D;
    c->y = pf_zalloc(2 * B * D * sizeof *c->y);
    c->narrow = pf_zalloc(D * sizeof *c->narrow);
    c->number = pf_zalloc(B * sizeof *c->number);
    PF_REQUIRE(c->y && c->narrow && c->number, PF_EMEM, "no memory for a chain of %d samples",
               o->batch);
    c->xi = c->y + B * D;
    PF_TRY(pf_pass_create(&c->pass, n, o, 0, o->with ? &((const chain *)o->with)->pass : NULL));
    return PF_OK;
}

pf_status pf_sohl_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out)
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
                      .steps = c->m->t->T,
                      .whole = c->m->t->T,
                      .batch = o->batch,
                      .state = c->m->D,
                      .multiplies = 1,
                      .unit = unit_nats(c->m),
                      .null = 0.5 * (double)c->m->D * log(2.0 * M_PI * M_E),
                      .term = term,
                      .prior = prior,
                      .step = step,
                      .datum = datum,
                      .free = release};
    return PF_OK;
}
