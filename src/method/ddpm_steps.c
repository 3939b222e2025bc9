/* The chain of DDPM at one index: what is seen, the term of the bound, the step; see ddpm.h. */
#include "method/ddpm.h"

#include <probflow/random.h>

#include <math.h>
#include <string.h>

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

/* Where entry `at` of a datum has its mean in the network's output; its variance is one datum's channels on. */
static size_t place(const pf_ddpm *m, size_t at)
{
    size_t c = (size_t)m->space.shape.c;
    return m->out == m->D ? at : at / c * 2 * c + at % c;
}

pf_gauss_net pf_ddpm_take(const pf_ddpm *m, const pf_ddpm_piece *p, const float *net,
                          pf_ddpm_rows *to)
{
    const float *row = net + (size_t)p->s * m->out;
    size_t c = (size_t)m->space.shape.c;
    int learns = m->out != m->D;
    for (size_t j = 0; j < p->n; j++) {
        size_t k = place(m, p->at + j);
        to->mean[j] = (double)row[k];
        if (learns) to->variance[j] = (double)row[k + c];
    }
    return (pf_gauss_net){to->mean, learns ? to->variance : NULL};
}

void pf_ddpm_put(const pf_ddpm *m, const pf_ddpm_piece *p, double scale,
                 const pf_ddpm_rows *from, float *net)
{
    float *row = net + (size_t)p->s * m->out;
    size_t c = (size_t)m->space.shape.c;
    for (size_t j = 0; j < p->n; j++) {
        size_t k = place(m, p->at + j);
        row[k] = (float)(scale * from->mean[j]);
        if (m->out != m->D) row[k + c] = (float)(scale * from->variance[j]);
    }
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

double pf_ddpm_told(const pf_ddpm *m, int i)
{
    return m->number[i] * (m->opt.rescale_timesteps ? 1000.0 / m->opt.steps : 1.0);
}

void pf_ddpm_show_index(const pf_ddpm *m, int s, int i, void *const *in)
{
    const pf_gauss_at *a = &m->at[i];
    pf_told_noise(in, (size_t)s, pf_ddpm_told(m, i), a->std / a->root, a->root);
}

size_t pf_ddpm_seen_at(const pf_ddpm *m, size_t at)
{
    size_t c = (size_t)m->space.shape.c;
    return m->in == m->D ? at : at / c * 2 * c + c + at % c;
}

void pf_ddpm_tell(const pf_ddpm *m, const pf_ddpm_piece *p, const double *x0, void *const *in)
{
    float *x = in[PF_TOLD_X];
    size_t c = (size_t)m->space.shape.c, first = (size_t)p->s * m->in;
    if (!x || m->in == m->D) return;
    for (size_t j = 0; j < p->n; j++)
        x[first + pf_ddpm_seen_at(m, p->at + j) - c] = (float)x0[j];
}

void pf_ddpm_noised(const pf_ddpm *m, const pf_batch *b, const int *i, double *xi)
{
    double x0[PF_DDPM_PIECE], z[PF_DDPM_PIECE];
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        uint32_t number = b->step * (uint32_t)m->opt.steps + (uint32_t)m->number[i[p.s]];
        pf_draw draw = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[p.s], number};
        draw_normals(&draw, &p, z);
        pf_ddpm_on_grid(m, p.n, b->x + p.from, x0);
        pf_gauss_noised(&m->at[i[p.s]], p.n, x0, z, xi + p.from);
    }
}

void pf_ddpm_show(const pf_ddpm *m, int B, const int *i, const double *xi, void *const *in)
{
    float *x = in[PF_TOLD_X];
    if (x && m->in != m->D) memset(x, 0, (size_t)B * m->in * sizeof *x);
    for (int s = 0; s < B; s++) {
        const double *row = xi + (size_t)s * m->D;
        for (size_t j = 0; x && j < m->D; j++)
            x[(size_t)s * m->in + pf_ddpm_seen_at(m, j)] = (float)row[j];
        pf_ddpm_show_index(m, s, i[s], in);
    }
}

void pf_ddpm_predict(const pf_ddpm *m, int B, const int *i, const double *xi, const float *net,
                     double *x0)
{
    pf_ddpm_rows out;
    pf_ddpm_model q;
    const pf_gauss_model model = {q.x0, q.mean, q.log_variance};
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, B, &p);) {
        const pf_gauss_net given = pf_ddpm_take(m, &p, net, &out);
        pf_gauss_predict(&m->at[i[p.s]], m->clip, p.n, xi + p.from, &given, &model);
        memcpy(x0 + p.from, q.x0, p.n * sizeof *x0);
    }
}

void pf_ddpm_term(const pf_ddpm *m, const pf_batch *b, const int *i, const double *xi,
                  const float *net, double *nats)
{
    double x0[PF_DDPM_PIECE];
    pf_ddpm_rows out;
    pf_ddpm_model q;
    const pf_gauss_model model = {q.x0, q.mean, q.log_variance};
    for (int s = 0; s < b->B; s++) nats[s] = 0.0;
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        const pf_gauss_at *a = &m->at[i[p.s]];
        pf_ddpm_on_grid(m, p.n, b->x + p.from, x0);
        const pf_gauss_net given = pf_ddpm_take(m, &p, net, &out);
        pf_gauss_predict(a, m->clip, p.n, xi + p.from, &given, &model);
        nats[p.s] += pf_gauss_term(a, p.n, x0, xi + p.from, &model, NULL);
    }
}

void pf_ddpm_prior(const pf_ddpm *m, const pf_batch *b, double *nats)
{
    double x0[PF_DDPM_PIECE];
    for (int s = 0; s < b->B; s++) nats[s] = 0.0;
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        pf_ddpm_on_grid(m, p.n, b->x + p.from, x0);
        nats[p.s] += pf_gauss_prior(m->gauss, p.n, x0);
    }
}

void pf_ddpm_start(const pf_ddpm *m, const pf_batch *b, double *x)
{
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        pf_draw draw = {b->seed, PF_STREAM_PRIOR, b->sample[p.s], 0};
        draw_normals(&draw, &p, x + p.from);
    }
}

/* x [n] at `at` moves as `how` says, with the model of it. */
static void move(const pf_gauss_at *a, const pf_move *how, size_t n, const pf_gauss_model *q,
                 const pf_gauss_move *m)
{
    switch (how->kind) {
    case PF_MOVE_ANCESTRAL:
        pf_gauss_step(a, n, q, m->z, m->x);
        break;
    case PF_MOVE_DDIM:
        pf_gauss_ddim(a, how->eta, n, q->x0, m);
        break;
    case PF_MOVE_ENCODE:
        pf_gauss_encode(a, n, q->x0, m);
        break;
    }
}

void pf_ddpm_step(const pf_ddpm *m, const pf_batch *b, const pf_ddpm_here *at, double *x,
                  double *x0)
{
    const pf_gauss_at *a = &m->at[at->i];
    double z[PF_DDPM_PIECE];
    pf_ddpm_rows out;
    pf_ddpm_model q;
    const pf_gauss_model model = {q.x0, q.mean, q.log_variance};
    for (pf_ddpm_piece p = {0}; pf_ddpm_next(m, b->B, &p);) {
        pf_draw draw = {b->seed, PF_STREAM_SAMPLE, b->sample[p.s], (uint32_t)at->i};
        double *here = x + p.from;
        const pf_gauss_move rows = {here, z, here};
        draw_normals(&draw, &p, z);
        const pf_gauss_net given = pf_ddpm_take(m, &p, at->net, &out);
        pf_gauss_predict(a, m->clip, p.n, here, &given, &model);
        if (at->g && at->how->kind == PF_MOVE_ANCESTRAL)
            pf_gauss_guide_mean(a, p.n, at->g + p.from, &model);
        else if (at->g) pf_gauss_guide_noise(a, p.n, here, at->g + p.from, &model);
        for (size_t j = 0; x0 && j < p.n; j++) x0[p.from + j] = q.x0[j];
        move(a, at->how, p.n, &model, &rows);
    }
}
