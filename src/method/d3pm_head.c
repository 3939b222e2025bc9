/* D3PM: what a network returns made logits, what it is shown, and noise; see d3pm.h.
 *
 * With d = a_k - b_k = w/s, S(a) - S(b) = S(a) S(-b) (1 - exp(-d)), without cancellation, so
 *
 *     z_k = log S(a_k) + log(y_k + e),   y_k = S(-b_k) (1 - exp(-d)) */
#include "method/d3pm.h"

#include <math.h>

/* log S(a) */
static double log_logistic(double a)
{
    return a < 0.0 ? a - log1p(exp(a)) : -log1p(exp(-a));
}

static double logistic(double a)
{
    return a < 0.0 ? exp(a) / (1.0 + exp(a)) : 1.0 / (1.0 + exp(-a));
}

typedef struct bins {
    double mean, sharp, width, apart; /* m, 1/s, w, d */
} bins;

/* A scale beyond exp(-100) and exp(100) is read as these, whose numbers are finite. */
static bins bins_of(int K, double x, const double hl[2])
{
    double sharp = exp(fmin(fmax(2.0 - hl[1], -100.0), 100.0));
    bins b = {.mean = tanh(hl[0] + x), .sharp = sharp, .width = 2.0 / (K - 1)};
    b.apart = b.width * b.sharp;
    return b;
}

/* The upper end of bin k; the lower one is `apart` less. */
static double upper(const bins *b, int k)
{
    return ((k + 0.5) * b->width - 1.0 - b->mean) * b->sharp;
}

void pf_d3pm_logistic(int K, double floor, double x, const double hl[2], double *z)
{
    const bins b = bins_of(K, x, hl);
    double share = -expm1(-b.apart), log_share = log(share);
    for (int k = 0; k < K; k++) {
        double a = upper(&b, k), below = a - b.apart;
        z[k] = log_logistic(a) + (floor > 0.0 ? log(logistic(-below) * share + floor)
                                              : log_logistic(-below) + log_share);
    }
}

void pf_d3pm_logistic_back(int K, double floor, double x, const double hl[2], const double *gz,
                           double ghl[2])
{
    const bins b = bins_of(K, x, hl);
    double share = -expm1(-b.apart), by_mean = 0.0, by_scale = 0.0;
    for (int k = 0; k < K; k++) {
        double a = upper(&b, k), below = a - b.apart, up = logistic(-a), low = logistic(below);
        double y = logistic(-below) * share, part = floor > 0.0 ? y / (y + floor) : 1.0;
        /* along a, below and d; d log y/dd = exp(-d)/(1 - exp(-d)) */
        double by_d = part * b.apart / expm1(b.apart); /* times d */
        by_mean += gz[k] * b.sharp * (part * low - up);
        by_scale += gz[k] * (part * low * below - up * a - by_d);
    }
    ghl[0] = by_mean * (1.0 - b.mean * b.mean);
    ghl[1] = by_scale;
}

/* ---- the network's output ---- */

/* Where a symbol lies in what the network is shown. */
static double place(const pf_d3pm *m, int k)
{
    return k < m->cat.K ? pf_cat_place(&m->cat, k) : 0.0;
}

/* Where h of entry j is; l is c numbers later. */
static size_t pair_at(const pf_d3pm *m, size_t j)
{
    size_t c = (size_t)m->cat.space.shape.c;
    return j / c * 2 * c + j % c;
}

static int is_plain(const pf_d3pm *m)
{
    return m->opt.head == PF_D3PM_LOGITS && !m->residual;
}

static void pair_of(const pf_d3pm *m, const float *net, size_t j, double hl[2])
{
    size_t at = pair_at(m, j);
    hl[0] = (double)net[at];
    hl[1] = (double)net[at + (size_t)m->cat.space.shape.c];
}

pf_cat_row pf_d3pm_read(const pf_d3pm *m, const float *net, size_t j, int xt, double *z)
{
    size_t columns = (size_t)m->model.columns;
    const float *row = net + j * columns;
    if (is_plain(m)) return (pf_cat_row){.f = row};
    if (m->opt.head == PF_D3PM_LOGISTIC) {
        double hl[2];
        pair_of(m, net, j, hl);
        pf_d3pm_logistic(m->cat.K, m->opt.floor, place(m, xt), hl, z);
    } else
        for (size_t k = 0; k < columns; k++) z[k] = (double)row[k] + (k == (size_t)xt);
    return (pf_cat_row){.d = z};
}

pf_d3pm_cost pf_d3pm_entry(const pf_d3pm *m, int i, size_t j, const int32_t xt_and_x[2],
                           const float *net, double scale, float *gout)
{
    double z[PF_D3PM_WIDE], gz[PF_D3PM_WIDE], hl[2], ghl[2];
    size_t columns = (size_t)m->model.columns, c = (size_t)m->cat.space.shape.c;
    int plain = is_plain(m);
    pf_cat_row row = pf_d3pm_read(m, net, j, xt_and_x[0], z);
    pf_cat_slope g = {plain && gout ? gout + j * columns : NULL, !plain && gout ? gz : NULL};
    pf_d3pm_cost cost = pf_d3pm_term(&m->model, i, xt_and_x, row, scale, g);
    if (plain || !gout) return cost;
    if (m->opt.head == PF_D3PM_LOGISTIC) {
        pair_of(m, net, j, hl);
        pf_d3pm_logistic_back(m->cat.K, m->opt.floor, place(m, xt_and_x[0]), hl, gz, ghl);
        gout[pair_at(m, j)] = (float)ghl[0];
        gout[pair_at(m, j) + c] = (float)ghl[1];
    } else
        for (size_t k = 0; k < columns; k++) gout[j * columns + k] = (float)gz[k];
    return cost;
}

/* ---- what the network is shown ---- */

void pf_d3pm_show(const pf_d3pm *m, size_t row, const int32_t *k, int i, void *const *in)
{
    int image = m->cat.space.kind == PF_LEVELS;
    void *const ports[PF_CAT_PORTS] = {[PF_CAT_TOKENS] = in[PF_CAT_TOKENS],
                                       [PF_CAT_X] = image ? NULL : in[PF_CAT_X],
                                       [PF_CAT_COND] = in[PF_CAT_COND]};
    float *x = image ? in[PF_CAT_X] : NULL;
    pf_cat_show(&m->cat, m->V, row, k, pf_d3pm_cond(m, i), ports);
    for (size_t j = 0; x && j < m->cat.D; j++) x[row * m->cat.D + j] = (float)place(m, k[j]);
}

void pf_d3pm_noise(const pf_d3pm *m, int i, const pf_draw *d, const int32_t *x, int32_t *xt)
{
    enum { PIECE = 64 };
    double u[PIECE];
    for (size_t from = 0; from < m->cat.D; from += PIECE) {
        size_t n = m->cat.D - from < PIECE ? m->cat.D - from : PIECE;
        pf_cat_uniform(d, from, n, u);
        for (size_t j = from; j < from + n; j++)
            xt[j] = x[j] < 0 ? x[j] : pf_d3pm_noised(&m->kernel, i, x[j], u[j - from]);
    }
}
