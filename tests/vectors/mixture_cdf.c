/* argmax: the layer of mixtures of logistics, group mixture_cdf: values, gradients of sum(out probe) + sum(ldj), and the
 * inverse, which has to come back to z. */
#include "mixture_cdf.h"

#include <probflow/memory.h>
#include <probflow/mixture_cdf.h>

#include <math.h>
#include <string.h>

/* Theirs takes 1 - F as a difference and sums in another order: 1e-14 where F is above 1e-2, as here. */
static const double tolerance = 1e-10;
/* Of z, which the slope of y carries back. */
static const double inverse_tolerance = 1e-12;

typedef struct job {
    vectors *v;
    const vectors_array *z, *net, *probe, *f, *fm;
    int c, M, n; /* numbers a position, logistics, 2+3M */
    /* as the arrays of these names */
    double *shift, *s, *logits, *means, *scales, *out, *ldj, *gz, *gnet, *gf, *gfm;
    double *slopes; /* [M] */
} job;

static PF_MUST_USE pf_status find(job *j)
{
    vectors *v = j->v;
    j->z = vectors_find(v, "mixture_cdf/z");
    j->net = vectors_find(v, "mixture_cdf/network");
    j->probe = vectors_find(v, "mixture_cdf/probe");
    j->f = vectors_find(v, "mixture_cdf/scaling_factor");
    j->fm = vectors_find(v, "mixture_cdf/mixture_scaling_factor");
    PF_REQUIRE(j->z && j->net && j->probe && j->f && j->fm && j->z->rank == 3 && j->f->size &&
                   j->fm->size % j->f->size == 0 && j->probe->size == j->z->size &&
                   j->z->size % j->f->size == 0,
               PF_EFORMAT, "%s: mixture_cdf lacks an array", v->path);
    j->c = (int)j->f->size;
    j->M = (int)(j->fm->size / j->f->size);
    j->n = 2 + 3 * j->M;
    PF_REQUIRE(j->M <= PF_MIXTURE_CDF_MAX && j->net->size == j->z->size * (size_t)j->n,
               PF_EFORMAT, "%s: mixture_cdf/network has another size", v->path);
    return PF_OK;
}

static PF_MUST_USE pf_status allocate(job *j)
{
    size_t z = j->z->size, M = (size_t)j->M;
    double **part[] = {&j->shift,  &j->s,    &j->out, &j->gz,  &j->logits, &j->means,
                       &j->scales, &j->gnet, &j->gf,  &j->gfm, &j->ldj,    &j->slopes};
    size_t size[] = {z,          z,           z, z, z * M, z * M, z * M, j->net->size,
                     j->f->size, j->fm->size, z, M};
    size_t all = 0, at = 0;
    for (int i = 0; i < 12; i++) all += size[i];
    double *block = pf_zalloc(all * sizeof *block);
    PF_REQUIRE(block, PF_EMEM, "no memory for %zu numbers", all);
    for (int i = 0; i < 12; i++, at += size[i - 1]) *part[i] = block + at;
    return PF_OK;
}

static pf_mixture_cdf map_of(const job *j, size_t i)
{
    size_t channel = i % (size_t)j->c;
    return (pf_mixture_cdf){j->M, j->net->v + i * (size_t)j->n, j->f->v[channel],
                            j->fm->v + channel * (size_t)j->M};
}

/* What the layer reads of the network's output for number i. */
static void split(job *j, size_t i)
{
    size_t M = (size_t)j->M;
    pf_mixture_cdf m = map_of(j, i);
    j->shift[i] = m.param[0];
    j->s[i] = pf_mixture_cdf_scale(m.param[1], m.f);
    memcpy(j->logits + i * M, m.param + 2, M * sizeof(double));
    memcpy(j->means + i * M, m.param + 2 + M, M * sizeof(double));
    for (size_t k = 0; k < M; k++)
        j->scales[i * M + k] = pf_mixture_cdf_scale(m.param[2 + 2 * M + k], m.fm[k]);
}

/* The error of the inverse at number i. */
static double apply(job *j, size_t i)
{
    size_t channel = i % (size_t)j->c, M = (size_t)j->M, B = (size_t)j->z->dim[0];
    pf_mixture_cdf m = map_of(j, i);
    pf_mixture_slopes to = {.param = j->gnet + i * (size_t)j->n, .fm = j->slopes};
    double ldj, z = j->z->v[i];
    j->out[i] = pf_mixture_cdf_at(&m, z, &ldj);
    j->ldj[i / (j->z->size / B)] += ldj;
    pf_mixture_cdf_back(&m, z, j->probe->v[i], 1.0, &to);
    j->gz[i] = to.z;
    j->gf[channel] += to.f;
    for (size_t k = 0; k < M; k++) j->gfm[channel * M + k] += to.fm[k];
    return fabs(pf_mixture_cdf_inverse(&m, j->out[i]) - z) / fmax(1.0, fabs(z));
}

pf_status vectors_check_mixture_cdf(vectors *v)
{
    job j = {.v = v};
    double error = 0.0;
    PF_TRY(find(&j));
    PF_TRY(allocate(&j));
    for (size_t i = 0; i < j.z->size; i++) {
        split(&j, i);
        error = fmax(error, apply(&j, i));
    }
    size_t z = j.z->size, zM = z * (size_t)j.M;
    vectors_hold(v, tolerance, j.shift, z, "mixture_cdf/shift");
    vectors_hold(v, tolerance, j.s, z, "mixture_cdf/log_scale");
    vectors_hold(v, tolerance, j.logits, zM, "mixture_cdf/mixture_logits");
    vectors_hold(v, tolerance, j.means, zM, "mixture_cdf/mixture_means");
    vectors_hold(v, tolerance, j.scales, zM, "mixture_cdf/mixture_log_scales");
    vectors_hold(v, tolerance, j.out, z, "mixture_cdf/out");
    vectors_hold(v, tolerance, j.ldj, (size_t)j.z->dim[0], "mixture_cdf/ldj");
    vectors_hold(v, tolerance, j.gz, z, "mixture_cdf/grad_z");
    vectors_hold(v, tolerance, j.gnet, j.net->size, "mixture_cdf/grad_network");
    vectors_hold(v, tolerance, j.gf, j.f->size, "mixture_cdf/grad_scaling_factor");
    vectors_hold(v, tolerance, j.gfm, j.fm->size, "mixture_cdf/grad_mixture_scaling_factor");
    vectors_error(v, error, inverse_tolerance, "mixture_cdf/inverse_error");
    pf_free(j.shift);
    return PF_OK;
}
