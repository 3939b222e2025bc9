/* Normals in their eigenbasis.  With C = V' diag(w) V (rows of V are eigenvectors) one matrix
 * product to the basis, a division and one product back serve the score, its Jacobian products
 * and the density at every noise level:
 *
 *     (m^2 C + s^2 I)^-1 = V' diag(1 / (m^2 w + s^2)) V
 *
 * The sample covariance is summed about the sample mean, so that it does not cancel. */
#include "model/normal.h"

#include <math.h>
#include <probflow/linalg.h>
#include <probflow/memory.h>
#include <stdio.h>

enum { BLOCK = 512 }; /* rows of data a matrix product takes in */

pf_marginal pf_marginal_at(const pf_sde *sde, double t)
{
    pf_marginal m = {1.0, 0.0};
    if (sde) pf_sde_marginal(sde, t, &m.scale, &m.std);
    return m;
}

void pf_normal_rows_free(pf_normal_rows *b)
{
    pf_free(b->y);
    pf_free(b->work);
    pf_free(b->at);
    *b = (pf_normal_rows){0};
}

pf_status pf_normal_rows_reserve(pf_normal_rows *b, int rows, int D)
{
    size_t n = (size_t)rows * D;
    if (rows <= b->rows) return PF_OK;
    pf_normal_rows_free(b);
    b->y = pf_zalloc(n * sizeof *b->y);
    b->work = pf_zalloc(n * sizeof *b->work);
    b->at = pf_zalloc((size_t)rows * sizeof *b->at);
    PF_REQUIRE(b->y && b->work && b->at, PF_EMEM, "no memory for %d rows of %d", rows, D);
    b->rows = rows;
    return PF_OK;
}

pf_param pf_analytic_view(const char *name, int d0, int d1, int d2, size_t *offset)
{
    pf_param p = {.dim = {d0, d1, d2}, .offset = *offset, .init = PF_INIT_CONST};
    snprintf(p.name, sizeof p.name, "%s", name);
    p.rank = d2 ? 3 : d1 ? 2 : 1;
    p.size = (size_t)d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1);
    *offset += p.size;
    return p;
}

static PF_MUST_USE pf_status factorise(pf_normal *n, const char *name)
{
    PF_TRY(pf_linalg_eigh(n->D, n->basis, n->var));
    double most = n->var[n->D - 1];
    PF_REQUIRE(n->var[0] >= -1e-6 * fabs(most), PF_ENUMERIC,
               "%s is no covariance: its smallest eigenvalue is %g, its largest %g", name,
               n->var[0], most);
    for (int i = 0; i < n->D; i++) n->var[i] = fmax(n->var[i], 0.0);
    return PF_OK;
}

pf_status pf_normal_init(pf_normal *n, int D, const float *mean, const float *cov,
                         const char *name)
{
    size_t d = (size_t)D;
    *n = (pf_normal){.D = D};
    n->mean = pf_zalloc(d * sizeof *n->mean);
    n->var = pf_zalloc(d * sizeof *n->var);
    n->basis = pf_zalloc(d * d * sizeof *n->basis);
    PF_REQUIRE(n->mean && n->var && n->basis, PF_EMEM, "no memory for a %d by %d covariance", D,
               D);
    for (size_t i = 0; i < d; i++) n->mean[i] = mean[i];
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            n->basis[i * d + j] = 0.5 * ((double)cov[i * d + j] + (double)cov[j * d + i]);
    return factorise(n, name);
}

void pf_normal_free(pf_normal *n)
{
    pf_free(n->mean);
    pf_free(n->var);
    pf_free(n->basis);
    *n = (pf_normal){0};
}

void pf_normal_pull(const pf_normal *n, int rows, const pf_marginal *at, double *y,
                    double *work, double *log_n)
{
    int D = n->D;
    pf_gemm to = {.tb = 1, .m = rows, .n = D, .k = D, .alpha = 1.0};
    pf_gemm back = {.m = rows, .n = D, .k = D, .alpha = 1.0};

    pf_linalg_gemm(&to, y, n->basis, work);
    for (int r = 0; r < rows; r++) {
        double *p = work + (size_t)r * D, m2 = at[r].scale * at[r].scale;
        double s2 = at[r].std * at[r].std, quad = 0.0, logdet = 0.0;
        for (int i = 0; i < D; i++) {
            double v = m2 * n->var[i] + s2, q = p[i] / v;
            quad += p[i] * q;
            p[i] = -q;
            if (log_n) logdet += log(v);
        }
        if (log_n) log_n[r] = -0.5 * (quad + logdet + D * log(2.0 * M_PI));
    }
    pf_linalg_gemm(&back, work, n->basis, y);
}

static PF_MUST_USE pf_status sum_moments(const pf_sample_source *src, double *x, double *mean,
                                         double *cov)
{
    size_t D = (size_t)src->dim;
    for (int64_t at = 0; at < src->n; at += BLOCK) {
        int64_t n = at + BLOCK < src->n ? BLOCK : src->n - at;
        PF_TRY(src->read(src->self, at, n, x));
        for (size_t i = 0; i < (size_t)n * D; i++) mean[i % D] += x[i] / (double)src->n;
    }
    for (int64_t at = 0; at < src->n; at += BLOCK) {
        int64_t n = at + BLOCK < src->n ? BLOCK : src->n - at;
        PF_TRY(src->read(src->self, at, n, x));
        for (size_t i = 0; i < (size_t)n * D; i++) x[i] -= mean[i % D];
        pf_gemm g = {.ta = 1,
                     .m = src->dim,
                     .n = src->dim,
                     .k = (int)n,
                     .alpha = 1.0 / (double)src->n,
                     .beta = 1.0};
        pf_linalg_gemm(&g, x, x, cov);
    }
    return PF_OK;
}

pf_status pf_source_moments(const pf_sample_source *src, double *mean, double *cov)
{
    size_t D = (size_t)src->dim;
    PF_REQUIRE(src->n > 0, PF_EARG, "no samples to fit");
    double *x = pf_zalloc(BLOCK * D * sizeof *x);
    PF_REQUIRE(x, PF_EMEM, "no memory for %d samples", BLOCK);
    for (size_t i = 0; i < D; i++) mean[i] = 0.0;
    for (size_t i = 0; i < D * D; i++) cov[i] = 0.0;
    pf_status st = sum_moments(src, x, mean, cov);
    pf_free(x);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
