/* D3PM: posteriors, the model's step and terms of one entry; see d3pm.h.
 *
 * With w_k = sum_j p_j C[j,k] + e, c_k = Q[k,x_i] + e, Z = sum w_k c_k, u_k what the posterior is up to its sum U,
 *
 *     KL = sum_k u_k (log u_k - log w_k c_k)/U + log Z - log U,     dKL/dw_k = c_k/Z - u_k/(U w_k)
 *
 * The same with u a one-hot is L_0 by the posterior.  C = C_(i-1) takes the derivative back to p, and p to the logits.
 * Rows wider than a piece, which are of closed forms, are gone through piece by piece. */
#include "method/d3pm.h"

#include <math.h>
#include <string.h>

static const double smallest = 1e-300;

typedef struct piece {
    double p[PF_D3PM_WIDE], w[PF_D3PM_WIDE], c[PF_D3PM_WIDE], u[PF_D3PM_WIDE];
} piece;

typedef struct asked {
    const pf_d3pm_model *m;
    int i, xt, x; /* x below 0: no posterior */
    pf_cat_row z;
    double sum; /* of exp(z), its logarithm */
} asked;

static pf_d3pm_part part_from(const pf_d3pm_model *m, int from)
{
    int n = m->kernel->is.V - from;
    return (pf_d3pm_part){from, n < PF_D3PM_WIDE ? n : PF_D3PM_WIDE};
}

/* Below which a chance of p changes no digit of w. */
static double least_of(const pf_d3pm_model *m)
{
    return 1e-14 * m->floor;
}

static void fill_posterior(const asked *a, pf_d3pm_part part, double *u, const double *column)
{
    const pf_d3pm_model *m = a->m;
    pf_d3pm_row(m->kernel, a->i - 1, a->x, part, u);
    for (int j = 0; j < part.n && a->i; j++)
        u[j] = (u[j] + m->floor_q) * (column[j] + m->floor_q);
}

static void fill(const asked *a, pf_d3pm_part part, piece *r)
{
    const pf_d3pm_model *m = a->m;
    double e = fmax(m->floor, smallest);
    for (int j = 0; j < part.n; j++) {
        int k = part.from + j;
        r->p[j] = k < m->columns ? exp(pf_cat_logit(a->z, (size_t)k) - a->sum) : 0.0;
    }
    pf_d3pm_mix(m->kernel, a->i - 1, r->p, least_of(m), part, r->w);
    pf_d3pm_column(m->kernel, a->i, a->xt, part, r->c);
    if (a->x >= 0) fill_posterior(a, part, r->u, r->c);
    for (int j = 0; j < part.n; j++) {
        r->w[j] += e;
        r->c[j] += m->floor;
        if (!a->i && part.from + j >= m->K) r->c[j] = 0.0; /* no datum is the mask */
    }
}

static asked ask(const pf_d3pm_model *m, int i, int xt, int x, pf_cat_row z)
{
    return (asked){m, i, xt, x, z, pf_cat_log_sum(m->columns, z)};
}

/* ---- distributions ---- */

void pf_d3pm_posterior(const pf_d3pm_model *m, int i, const int32_t xt_and_x[2], double *log_q)
{
    const asked a = {.m = m, .i = i, .xt = xt_and_x[0], .x = xt_and_x[1]};
    double c[PF_D3PM_WIDE];
    for (int from = 0; from < m->kernel->is.V; from += PF_D3PM_WIDE) {
        pf_d3pm_part part = part_from(m, from);
        pf_d3pm_column(m->kernel, i, a.xt, part, c);
        fill_posterior(&a, part, log_q + from, c);
        for (int j = from; j < from + part.n; j++)
            log_q[j] = log(i ? log_q[j] : log_q[j] + m->floor_q);
    }
}

void pf_d3pm_reverse(const pf_d3pm_model *m, int i, int xt, pf_cat_row z, double *log_p)
{
    const asked a = ask(m, i, xt, -1, z);
    int V = m->kernel->is.V;
    piece r;
    int itself = m->before || (!i && !m->first_by_posterior), n = i ? m->columns : m->K;
    for (int k = 0; itself && k < V; k++)
        log_p[k] = k < n ? pf_cat_logit(z, (size_t)k) : -INFINITY;
    if (itself) return;
    for (int from = 0; from < V; from += PF_D3PM_WIDE) {
        pf_d3pm_part part = part_from(m, from);
        fill(&a, part, &r);
        for (int j = 0; j < part.n; j++) log_p[from + j] = log(r.w[j]) + log(r.c[j]);
    }
}

/* ---- terms ---- */

typedef struct sums {
    double Z, U, logs;
} sums;

static void add_up(int n, const piece *r, sums *s)
{
    for (int j = 0; j < n; j++) {
        s->Z += r->w[j] * r->c[j];
        s->U += r->u[j];
        if (r->u[j] > 0.0) s->logs += r->u[j] * (log(r->u[j]) - log(r->w[j]) - log(r->c[j]));
    }
}

/* t [n] = dL/dp up to one number of all; returns sum_j p_j t_j of the part. */
static double slopes(const asked *a, const sums *s, pf_d3pm_part part, const piece *r,
                     double *t)
{
    double by_w[PF_D3PM_WIDE], mean = 0.0;
    by_w[0] = 0.0; /* a part has one symbol at least */
    for (int j = 0; j < part.n; j++) by_w[j] = r->c[j] / s->Z - r->u[j] / (s->U * r->w[j]);
    pf_d3pm_back(a->m->kernel, a->i - 1, r->p, least_of(a->m), by_w, part, t);
    for (int j = 0; j < part.n; j++) mean += r->p[j] * t[j];
    return mean;
}

/* The gradient; r holds the row where it is one piece. */
static void put_slopes(const asked *a, const sums *s, piece *r, double scale, pf_cat_slope g)
{
    const pf_d3pm_model *m = a->m;
    int V = m->kernel->is.V, whole = V <= PF_D3PM_WIDE;
    double t[PF_D3PM_WIDE], mean = 0.0;
    for (int from = 0; from < V; from += PF_D3PM_WIDE) {
        pf_d3pm_part part = part_from(m, from);
        if (!whole) fill(a, part, r);
        mean += slopes(a, s, part, r, t);
    }
    for (int from = 0; from < m->columns; from += PF_D3PM_WIDE) {
        pf_d3pm_part part = part_from(m, from);
        if (!whole) {
            fill(a, part, r);
            slopes(a, s, part, r, t);
        }
        for (int j = 0, k = from; j < part.n && k < m->columns; j++, k++)
            pf_cat_put(g, (size_t)k,
                       scale * (r->p[j] * (t[j] - mean) + m->hybrid * (r->p[j] - (k == a->x))));
    }
}

/* KL to the softmax itself. */
static pf_d3pm_cost term_before(const asked *a, double scale, pf_cat_slope g)
{
    const pf_d3pm_model *m = a->m;
    double u[PF_D3PM_WIDE], c[PF_D3PM_WIDE], U = 0.0, logs = 0.0;
    for (int pass = 0; pass < 1 + pf_cat_wants(g); pass++)
        for (int from = 0; from < m->kernel->is.V; from += PF_D3PM_WIDE) {
            pf_d3pm_part part = part_from(m, from);
            pf_d3pm_column(m->kernel, a->i, a->xt, part, c);
            fill_posterior(a, part, u, c);
            for (int j = 0; j < part.n; j++) {
                double log_p = pf_cat_logit(a->z, (size_t)(from + j)) - a->sum;
                if (pass) pf_cat_put(g, (size_t)(from + j), scale * (exp(log_p) - u[j] / U));
                else if (u[j] > 0.0) logs += u[j] * (log(u[j]) - log_p);
                if (!pass) U += u[j];
            }
        }
    return (pf_d3pm_cost){logs / U - log(U), a->sum - pf_cat_logit(a->z, (size_t)a->x)};
}

/* L_0 of the softmax of the symbols that data have. */
static pf_d3pm_cost first_by_logits(const pf_d3pm_model *m, int x, pf_cat_row z, double scale,
                                    pf_cat_slope g)
{
    double nats = pf_cat_cross_entropy(m->K, z, x,
                                       scale * (m->columns > m->K ? 1.0 : 1.0 + m->hybrid), g);
    double cross = nats;
    if (m->columns > m->K) { /* the mask's logit stands in the cross entropy alone */
        double sum = pf_cat_log_sum(m->columns, z), of_data = pf_cat_log_sum(m->K, z);
        cross = sum - pf_cat_logit(z, (size_t)x);
        for (int k = 0; pf_cat_wants(g) && k < m->columns; k++) {
            double logit = pf_cat_logit(z, (size_t)k);
            double own = k < m->K ? exp(logit - of_data) - (k == x) : 0.0;
            pf_cat_put(g, (size_t)k, scale * (own + m->hybrid * (exp(logit - sum) - (k == x))));
        }
    }
    return (pf_d3pm_cost){nats, cross};
}

pf_d3pm_cost pf_d3pm_term(const pf_d3pm_model *m, int i, const int32_t xt_and_x[2],
                          pf_cat_row z, double scale, pf_cat_slope g)
{
    if (!i && !m->first_by_posterior) return first_by_logits(m, xt_and_x[1], z, scale, g);
    const asked a = ask(m, i, xt_and_x[0], xt_and_x[1], z);
    if (m->before) return term_before(&a, scale, g);
    sums s = {0};
    piece r;
    for (int from = 0; from < m->kernel->is.V; from += PF_D3PM_WIDE) {
        pf_d3pm_part part = part_from(m, from);
        fill(&a, part, &r);
        add_up(part.n, &r, &s);
    }
    if (pf_cat_wants(g)) put_slopes(&a, &s, &r, scale, g);
    return (pf_d3pm_cost){s.logs / s.U + log(s.Z) - log(s.U),
                          a.sum - pf_cat_logit(z, (size_t)a.x)};
}

double pf_d3pm_prior(const pf_d3pm_model *m, int x)
{
    const pf_d3pm_kernel *k = m->kernel;
    double r[PF_D3PM_WIDE], e = m->floor_q, sum = 0.0;
    for (int from = 0; from < k->is.V; from += PF_D3PM_WIDE) {
        pf_d3pm_part part = part_from(m, from);
        pf_d3pm_row(k, k->is.T - 1, x, part, r);
        for (int j = 0; j < part.n; j++) {
            double pi =
                k->is.kind == PF_D3PM_ABSORBING ? from + j == k->is.mask : 1.0 / k->is.V;
            if (r[j] > 0.0) sum += r[j] * (log(r[j] + e) - log(pi + e));
        }
    }
    return sum;
}
