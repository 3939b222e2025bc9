/* One direction of a layer of an LSTM over the L positions of each sample:
 *
 *   (i, f, g, o) = W x_l + b + U h + d,   c' = s(f) c + s(i) tanh(g),   h' = s(o) tanh(c'),   y_l = h'
 *
 * s the logistic function; where the padding is below 0, c and h stay and y_l = 0.  Backward, with C and H the gradients
 * of the state after position l, H += gout_l:
 *
 *   C += H s(o) (1 - tanh(c')^2)
 *   do = H tanh(c') s(o)(1 - s(o)),  df = C c s(f)(1 - s(f)),  di = C tanh(g) s(i)(1 - s(i)),
 *   dg = C s(i) (1 - tanh(g)^2),     C = C s(f),               H = U' (di, df, dg, do)
 *
 * Saved: c and h before each position and after the last.  Sums of a position are in double; those of parameters, too.
 * Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000. */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

typedef struct lstm {
    size_t L, in, h;
} lstm;

static lstm shape_of(const pf_site *s)
{
    return (lstm){(size_t)s->out.h * (size_t)s->out.w, (size_t)s->in[0].c, (size_t)s->out.c};
}

/* c [h] and h [h] of L + 1 moments of each sample. */
size_t pf_ref_lstm_saved(const pf_site *s, void *ctx)
{
    lstm v = shape_of(s);
    return (size_t)s->B * (v.L + 1) * 2 * v.h;
}

/* In doubles: gates [4h], their slopes [4h], C and H [h]; sums of all parameters. */
static size_t doubles(const pf_site *s)
{
    return 10 * (size_t)s->out.c + s->param_size[0] + s->param_size[1] + s->param_size[2];
}

size_t pf_ref_lstm_scratch(const pf_site *s, void *ctx)
{
    return 2 * doubles(s);
}

/* Position of the k-th step, and whether it is there. */
static size_t place(const pf_site *s, const lstm *v, size_t k)
{
    return s->attr.reverse ? v->L - 1 - k : k;
}

static int there(const pf_call *c, const lstm *v, size_t b, size_t l)
{
    int32_t label = 0;
    if (c->site->n_in > 1) memcpy(&label, c->in[1] + b * v->L + l, sizeof label);
    return label >= 0;
}

static double logistic(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* gates [4h] of x and h, after their functions */
static void gates(const pf_call *c, const lstm *v, const float *x, const float *h, double *a)
{
    for (size_t k = 0; k < 4 * v->h; k++) {
        const float *w = c->param[0] + k * v->in, *u = c->param[1] + k * v->h;
        double sum = (double)c->param[2][k] + (double)c->param[3][k];
        for (size_t i = 0; i < v->in; i++) sum += (double)w[i] * (double)x[i];
        for (size_t i = 0; i < v->h; i++) sum += (double)u[i] * (double)h[i];
        a[k] = k / v->h == 2 ? tanh(sum) : logistic(sum);
    }
}

pf_status pf_ref_lstm(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    lstm v = shape_of(s);
    double *a = (double *)c->scratch;
    for (size_t b = 0; b < (size_t)s->B; b++) {
        float *state = c->saved + b * (v.L + 1) * 2 * v.h;
        memset(state, 0, 2 * v.h * sizeof *state);
        for (size_t k = 0; k < v.L; k++, state += 2 * v.h) {
            size_t l = b * v.L + place(s, &v, k);
            float *next = state + 2 * v.h, *y = c->out + l * v.h;
            memcpy(next, state, 2 * v.h * sizeof *next);
            memset(y, 0, v.h * sizeof *y);
            if (!there(c, &v, b, l - b * v.L)) continue;
            gates(c, &v, c->in[0] + l * v.in, state + v.h, a);
            for (size_t j = 0; j < v.h; j++) {
                double cell = a[v.h + j] * (double)state[j] + a[j] * a[2 * v.h + j];
                next[j] = (float)cell;
                y[j] = next[v.h + j] = (float)(a[3 * v.h + j] * tanh(cell));
            }
        }
    }
    return PF_OK;
}

typedef struct work {
    double *a, *da, *C, *H; /* gates, their slopes, gradients of the state */
    double *dw, *du, *db;   /* sums */
} work;

static work work_of(const pf_site *s, float *scratch)
{
    size_t h = (size_t)s->out.c;
    double *d = (double *)scratch;
    work w = {d, d + 4 * h, d + 8 * h, d + 9 * h, d + 10 * h, NULL, NULL};
    w.du = w.dw + s->param_size[0];
    w.db = w.du + s->param_size[1];
    return w;
}

/* The slopes of the gates; C of the state before. */
static void cell_back(const lstm *v, const work *w, const float *state)
{
    size_t h = v->h;
    for (size_t j = 0; j < h; j++) {
        double i = w->a[j], f = w->a[h + j], g = w->a[2 * h + j], o = w->a[3 * h + j];
        double t = tanh(f * (double)state[j] + i * g),
               C = w->C[j] + w->H[j] * o * (1.0 - t * t);
        w->da[j] = C * g * i * (1.0 - i);
        w->da[h + j] = C * (double)state[j] * f * (1.0 - f);
        w->da[2 * h + j] = C * i * (1.0 - g * g);
        w->da[3 * h + j] = w->H[j] * t * o * (1.0 - o);
        w->C[j] = C * f;
    }
}

/* Sums of the parameters and H of the state before; dx NULL: not wanted */
static void maps_back(const pf_call *c, const lstm *v, const work *w, const float *x,
                      const float *h, float *dx)
{
    memset(w->H, 0, v->h * sizeof *w->H);
    for (size_t k = 0; k < 4 * v->h; k++) {
        double g = w->da[k];
        const float *u = c->param[1] + k * v->h;
        w->db[k] += g;
        for (size_t i = 0; i < v->in; i++) w->dw[k * v->in + i] += g * (double)x[i];
        for (size_t i = 0; i < v->h; i++) {
            w->du[k * v->h + i] += g * (double)h[i];
            w->H[i] += g * (double)u[i];
        }
    }
    for (size_t i = 0; dx && i < v->in; i++) {
        double sum = 0.0;
        for (size_t k = 0; k < 4 * v->h; k++)
            sum += w->da[k] * (double)c->param[0][k * v->in + i];
        dx[i] = (float)sum;
    }
}

static void sample_back(const pf_call *c, const lstm *v, const work *w, size_t b)
{
    memset(w->C, 0, 2 * v->h * sizeof *w->C); /* and H */
    for (size_t k = v->L; k-- > 0;) {
        size_t l = b * v->L + place(c->site, v, k);
        const float *state = c->saved + (b * (v->L + 1) + k) * 2 * v->h,
                    *x = c->in[0] + l * v->in;
        float *dx = c->gin[0] ? c->gin[0] + l * v->in : NULL;
        if (dx) memset(dx, 0, v->in * sizeof *dx);
        if (!there(c, v, b, l - b * v->L)) continue;
        for (size_t j = 0; j < v->h; j++) w->H[j] += (double)c->gout[l * v->h + j];
        gates(c, v, x, state + v->h, w->a);
        cell_back(v, w, state);
        maps_back(c, v, w, x, state + v->h, dx);
    }
}

static void write(const double *sum, size_t n, float *to)
{
    for (size_t i = 0; to && i < n; i++) to[i] = (float)sum[i];
}

pf_status pf_ref_lstm_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    lstm v = shape_of(s);
    work w = work_of(s, c->scratch);
    memset(w.dw, 0, (doubles(s) - 10 * v.h) * sizeof *w.dw);
    for (size_t b = 0; b < (size_t)s->B; b++) sample_back(c, &v, &w, b);
    write(w.dw, s->param_size[0], c->gparam[0]);
    write(w.du, s->param_size[1], c->gparam[1]);
    write(w.db, s->param_size[2], c->gparam[2]);
    write(w.db, s->param_size[3], c->gparam[3]);
    return PF_OK;
}
