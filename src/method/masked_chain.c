/* The chain of a trained network of method masked; see masked.h.
 *
 * A state has symbols 0 .. K, K the mask, and -1 where a row is padding.  Masks of term i are f(seed, EVAL_NOISE, image,
 * draw (steps + 1) + i), elements 0 .. D-1, and the time in its part of the integral is element D.  Step i draws from f(seed,
 * SAMPLE, sample, i - 1): K + 1 elements an entry, then one more each of sampler mean. */
#include "method/masked.h"
#include "method/pass.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

typedef struct chain {
    pf_pass pass;
    const pf_masked *m;
    int32_t *x0, *x;           /* [batch,D] each: data, what is shown */
    pf_masked_at *at;          /* [batch] */
    double *log_p, *log_w, *u; /* [K+1] each */
    int known;                 /* rows of x that the network's output is of; 0: it is of none */
    int64_t calls;
} chain;

static pf_cat_row logits(const chain *c, int s, size_t j)
{
    size_t at = ((size_t)s * c->m->cat.D + j) * (size_t)c->m->columns;
    return (pf_cat_row){c->pass.out + at, NULL};
}

static PF_MUST_USE pf_status call(chain *c, const pf_batch *b)
{
    c->known = 0;
    c->calls++;
    PF_TRY(pf_pass_run(&c->pass, b));
    return PF_OK;
}

/* ---- terms ---- */

static int is_part(const chain *c, int i)
{
    return i > 0 && i <= c->m->opt.steps;
}

/* Does term i look at the network? */
static int looks(const chain *c, int i)
{
    return is_part(c, i) || (i == 0 && c->m->opt.predicts == PF_MASKED_D3PM);
}

/* What the network is shown of sample s for term i: masks at a time of its part, or the datum. */
static void show(chain *c, const pf_batch *b, int s, int i)
{
    const pf_masked *m = c->m;
    size_t at = (size_t)s * m->cat.D;
    int S = m->opt.steps;
    const pf_draw d = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[s],
                       b->step * (uint32_t)(S + 1) + (uint32_t)i};
    memcpy(c->x + at, c->x0 + at, m->cat.D * sizeof *c->x);
    c->at[s] = (pf_masked_at){0};
    if (is_part(c, i)) {
        double u = (i - 1 + pf_draw_uniform_f64(&d, m->cat.D)) / S;
        c->at[s] = m->opt.time == PF_MASKED_FINITE
                       ? pf_masked_at_step(m, i)
                       : pf_masked_at_time(m, m->t0 + (1.0 - m->t0) * u);
        pf_masked_mask(m, &c->at[s], &d, c->x0 + at, c->x + at);
    }
    pf_cat_show(&m->cat, m->cat.K + 1, (size_t)s, c->x + at, c->at[s].cond, c->pass.in);
}

static double nats_of(const chain *c, int s, int i)
{
    const pf_masked *m = c->m;
    const pf_cat_slope none = {NULL, NULL};
    double sum = 0.0, end = i == 0 ? m->first : i > m->opt.steps ? m->prior : 0.0;
    for (size_t j = 0; j < m->cat.D; j++) {
        size_t at = (size_t)s * m->cat.D + j;
        if (c->x0[at] < 0) continue;
        sum += end;
        if (i == 0 && looks(c, i))
            sum += pf_masked_again(m, c->x0[at], logits(c, s, j), 0.0, none);
        else if (is_part(c, i) && c->x[at] == m->cat.K)
            sum += pf_masked_entry(m, &c->at[s], c->x0[at], logits(c, s, j), 0.0, none) /
                   m->opt.steps;
    }
    return sum;
}

static pf_status term(void *self, const pf_batch *b, const int *i, double *nats)
{
    chain *c = self;
    int network = 0;
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (int s = 0; s < b->B; s++) {
        pf_cat_take(&c->m->cat, b, s, c->x0 + (size_t)s * c->m->cat.D);
        if (!looks(c, i[s])) continue;
        show(c, b, s, i[s]);
        network = 1;
    }
    if (network) PF_TRY(call(c, b));
    for (int s = 0; s < b->B; s++) nats[s] = nats_of(c, s, i[s]);
    return PF_OK;
}

/* ---- sampling ---- */

static pf_status prior(void *self, const pf_batch *b, double *x)
{
    chain *c = self;
    const pf_masked *m = c->m;
    /* what the prior gives to symbols, and to the mask */
    double alpha = m->prior / log(m->cat.K);
    PF_TRY(pf_pass_fits(&c->pass, b));
    c->known = 0;
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_PRIOR, b->sample[s], 0};
        for (size_t j = 0; j < m->cat.D; j++) {
            double u = pf_draw_uniform_f64(&d, j);
            x[(size_t)s * m->cat.D + j] =
                u < alpha ? pf_cat_even(m->cat.K, u / alpha) : m->cat.K;
        }
    }
    return PF_OK;
}

static PF_MUST_USE pf_status check(const chain *c, const pf_move *how)
{
    PF_TRY(pf_pass_moves(&c->pass, how, 1));
    PF_REQUIRE(c->m->opt.predicts != PF_MASKED_SEDD || c->m->opt.sampler == PF_MASKED_ANALYTIC,
               PF_EARG, "method.predicts=sedd is sampled by method.sampler=analytic");
    return PF_OK;
}

/* Takes a state; 1: some mask is left and the network's output is of other rows. */
static int take(chain *c, int B, const double *x)
{
    const pf_masked *m = c->m;
    int changed = c->known != B || m->opt.cond != PF_MASKED_TOLD_NOTHING, masks = 0;
    for (size_t j = 0; j < (size_t)B * m->cat.D; j++) {
        changed |= c->x[j] != (int32_t)x[j];
        c->x[j] = (int32_t)x[j];
        masks |= c->x[j] == m->cat.K;
    }
    if (changed) c->known = 0;
    return changed && masks;
}

static PF_MUST_USE pf_status look(chain *c, const pf_batch *b, double t)
{
    const pf_masked *m = c->m;
    const pf_masked_at a = pf_masked_at_time(m, t);
    for (int s = 0; s < b->B; s++)
        pf_cat_show(&m->cat, m->cat.K + 1, (size_t)s, c->x + (size_t)s * m->cat.D, a.cond,
                    c->pass.in);
    PF_TRY(call(c, b));
    c->known = b->B;
    return PF_OK;
}

/* What the masked entry j of sample s is at s_time, from t. */
static int moved(chain *c, const pf_draw *d, int s, size_t j, double t, double s_time)
{
    const pf_masked *m = c->m;
    size_t V = (size_t)m->cat.K + 1;
    pf_masked_say(m, pf_masked_sigma(&m->noise, t), m->cat.K, logits(c, s, j), c->log_p);
    pf_cat_uniform(d, j * V, V, c->u);
    if (m->opt.sampler == PF_MASKED_MEAN) {
        double u;
        pf_cat_uniform(d, m->cat.D * V + j, 1, &u);
        return u < pf_masked_shown(m, t, s_time) ? pf_cat_draw(m->cat.K, c->log_p, c->u)
                                                 : m->cat.K;
    }
    pf_masked_move(m, t, s_time, c->log_p, c->log_w);
    return pf_cat_draw((int)V, c->log_w, c->u);
}

/* What a mask that is left at the end becomes. */
static int last(chain *c, const pf_draw *d, int s, size_t j)
{
    const pf_masked *m = c->m;
    size_t K = (size_t)m->cat.K;
    pf_cat_uniform(d, j * K, K, c->u);
    if (m->opt.bound == PF_MASKED_EXACT) return pf_cat_even(m->cat.K, c->u[0]);
    if (m->opt.sampler != PF_MASKED_ANALYTIC)
        return pf_cat_likeliest(m->cat.K, logits(c, s, j));
    pf_masked_say(m, pf_masked_sigma(&m->noise, pf_masked_grid_time(m, 0)), m->cat.K,
                  logits(c, s, j), c->log_p);
    return pf_cat_draw(m->cat.K, c->log_p, c->u);
}

static pf_status step(void *self, const pf_batch *b, const pf_move *how, int i, double *x,
                      double *x0)
{
    chain *c = self;
    const pf_masked *m = c->m;
    double t = pf_masked_grid_time(m, i > 1 ? i - 1 : 0),
           end = i > 1 ? pf_masked_grid_time(m, i - 2) : 0.0;
    PF_TRY(check(c, how));
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (size_t j = 0; j < (size_t)b->B * m->cat.D; j++)
        pf_cat_set_known(&m->cat, how, (int)(j / m->cat.D), j % m->cat.D, x + j, NULL);
    int needed = take(c, b->B, x) && (i > 1 || m->opt.bound == PF_MASKED_PUBLISHED);
    if (needed) PF_TRY(look(c, b, t));
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_SAMPLE, b->sample[s], (uint32_t)(i - 1)};
        for (size_t j = 0, at = (size_t)s * m->cat.D; j < m->cat.D; j++, at++) {
            int masked = c->x[at] == m->cat.K;
            if (masked) x[at] = i > 1 ? moved(c, &d, s, j, t, end) : last(c, &d, s, j);
            if (x0)
                x0[at] = masked && i > 1 ? pf_cat_likeliest(m->cat.K, logits(c, s, j)) : x[at];
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
    pf_free(c->at);
    pf_free(c->log_p);
    pf_free(c);
}

static PF_MUST_USE pf_status create(chain *c, const pf_net *n, const pf_view_opt *o)
{
    PF_TRY(pf_pass_takes(n, o));
    c->m = n->self;
    size_t all = (size_t)o->batch * c->m->cat.D, V = (size_t)c->m->cat.K + 1;
    c->x0 = pf_zalloc(2 * all * sizeof *c->x0);
    c->at = pf_zalloc((size_t)o->batch * sizeof *c->at);
    c->log_p = pf_zalloc(3 * V * sizeof *c->log_p);
    PF_REQUIRE(c->x0 && c->at && c->log_p, PF_EMEM, "no memory for a chain of %d samples",
               o->batch);
    c->x = c->x0 + all;
    c->log_w = c->log_p + V;
    c->u = c->log_w + V;
    PF_TRY(pf_pass_create(&c->pass, n, o, 0, o->with ? &((const chain *)o->with)->pass : NULL));
    return PF_OK;
}

pf_status pf_masked_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out)
{
    chain *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for a chain");
    pf_status st = create(c, n, o);
    if (st) {
        release(c);
        return pf_trail(st, PF_WHERE);
    }
    int steps = c->m->opt.steps + 1;
    *out = (pf_chain){.self = c,
                      .dim = (int)c->m->cat.D,
                      .steps = steps,
                      .whole = steps,
                      .batch = o->batch,
                      .state = c->m->cat.D,
                      .multiplies = 1,
                      .calls = &c->calls,
                      .term = term,
                      .prior = prior,
                      .step = step,
                      .datum = datum,
                      .free = release};
    return PF_OK;
}
