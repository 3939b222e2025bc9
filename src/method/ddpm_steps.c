/* The chain of DDPM at one index: what is seen, the term of the bound, the step; see ddpm.h. */
#include "method/ddpm.h"

#include <probflow/random.h>

#include <math.h>

int pf_ddpm_next(const pf_ddpm *m, int B, pf_ddpm_piece *p)
{
    p->at += p->n;
    p->from += p->n;
    if (p->at == m->D) {
        p->s++;
        p->at = 0;
    }
    p->n = m->D - p->at < PF_DDPM_PIECE ? m->D - p->at : PF_DDPM_PIECE;
    return p->s < B;
}

void pf_ddpm_widen(size_t n, const float *from, double *to)
{
    for (size_t j = 0; j < n; j++) to[j] = (double)from[j];
}

static void draw_normals(const pf_draw *d, const pf_ddpm_piece *p, double *z)
{
    float narrow[PF_DDPM_PIECE];
    pf_draw_normal(d, p->at, p->n, narrow);
    pf_ddpm_widen(p->n, narrow, z);
}

void pf_ddpm_on_grid(const pf_ddpm *m, size_t n, const float *from, double *to)
{
    double top = m->space.levels - 1;
    for (size_t j = 0; j < n; j++)
        to[j] = 2.0 * nearbyint(0.5 * ((double)from[j] + 1.0) * top) / top - 1.0;
}

void pf_ddpm_show_index(const pf_ddpm *m, int s, int i, void *const *in)
{
    const pf_gauss_at *a = &m->at[i];
    if (in[PF_DDPM_COND]) ((float *)in[PF_DDPM_COND])[s] = (float)i;
    if (in[PF_DDPM_SIGMA]) ((float *)in[PF_DDPM_SIGMA])[s] = (float)(a->std / a->root);
    if (in[PF_DDPM_MEAN]) ((float *)in[PF_DDPM_MEAN])[s] = (float)a->root;
}

int pf_ddpm_steps(const void *self)
{
    return ((const pf_ddpm *)self)->opt.steps;
}

void pf_ddpm_noised(const void *self, const pf_batch *b, const int *i, double *xi)
{
    const pf_ddpm *m = self;
    double x0[PF_DDPM_PIECE], z[PF_DDPM_PIECE];
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        uint32_t number = b->step * (uint32_t)m->opt.steps + (uint32_t)i[p.s];
        pf_draw draw = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[p.s], number};
        draw_normals(&draw, &p, z);
        pf_ddpm_on_grid(m, p.n, b->x + p.from, x0);
        pf_gauss_noised(&m->at[i[p.s]], p.n, x0, z, xi + p.from);
    }
}

void pf_ddpm_show(const void *self, int B, const int *i, const double *xi, void *const *in)
{
    const pf_ddpm *m = self;
    float *x = in[PF_DDPM_X];
    for (size_t j = 0; x && j < (size_t)B * m->D; j++) x[j] = (float)xi[j];
    for (int s = 0; s < B; s++) pf_ddpm_show_index(m, s, i[s], in);
}

void pf_ddpm_term(const void *self, const pf_batch *b, const int *i, const double *xi,
                  const float *net, double *nats)
{
    const pf_ddpm *m = self;
    double x0[PF_DDPM_PIECE], out[PF_DDPM_PIECE], data[PF_DDPM_PIECE], mean[PF_DDPM_PIECE];
    for (int s = 0; s < b->B; s++) nats[s] = 0.0;
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        const pf_gauss_at *a = &m->at[i[p.s]];
        pf_ddpm_on_grid(m, p.n, b->x + p.from, x0);
        pf_ddpm_widen(p.n, net + p.from, out);
        pf_gauss_predict(a, m->opt.clip, p.n, xi + p.from, out, data, mean);
        nats[p.s] += pf_gauss_term(a, &m->decoder, p.n, x0, xi + p.from, mean, NULL);
    }
}

void pf_ddpm_prior(const void *self, const pf_batch *b, double *nats)
{
    const pf_ddpm *m = self;
    double x0[PF_DDPM_PIECE];
    for (int s = 0; s < b->B; s++) nats[s] = 0.0;
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        pf_ddpm_on_grid(m, p.n, b->x + p.from, x0);
        nats[p.s] += pf_gauss_prior(m->gauss, p.n, x0);
    }
}

void pf_ddpm_start(const void *self, const pf_batch *b, double *x)
{
    const pf_ddpm *m = self;
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        pf_draw draw = {b->seed, PF_STREAM_PRIOR, b->sample[p.s], 0};
        draw_normals(&draw, &p, x + p.from);
    }
}

void pf_ddpm_step(const void *self, const pf_batch *b, int i, const float *net, double *x,
                  double *x0)
{
    const pf_ddpm *m = self;
    const pf_gauss_at *a = &m->at[i];
    double z[PF_DDPM_PIECE], out[PF_DDPM_PIECE], data[PF_DDPM_PIECE], mean[PF_DDPM_PIECE];
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        pf_draw draw = {b->seed, PF_STREAM_SAMPLE, b->sample[p.s], (uint32_t)i};
        draw_normals(&draw, &p, z);
        pf_ddpm_widen(p.n, net + p.from, out);
        pf_gauss_predict(a, m->opt.clip, p.n, x + p.from, out, data, mean);
        pf_gauss_step(a, p.n, mean, z, x + p.from);
        for (size_t j = 0; x0 && j < p.n; j++) x0[p.from + j] = data[j];
    }
}
