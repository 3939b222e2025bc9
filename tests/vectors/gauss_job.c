/* Chains, rows and affine networks of the files about chains of Gaussians. */
#include "gauss_job.h"

#include <probflow/memory.h>

#include <string.h>

const double gauss_tolerance = 1e-10;
const char *const gauss_means[] = {"EPSILON", "START_X", "PREVIOUS_X", NULL};
const char *const gauss_variances[] = {"FIXED_SMALL", "FIXED_LARGE", "LEARNED", "LEARNED_RANGE",
                                       NULL};

int gauss_word(const char *const *words, const char *word)
{
    for (int i = 0; words[i]; i++)
        if (!strcmp(words[i], word)) return i;
    return -1;
}

pf_status gauss_job_rows(gauss_job *j, vectors *v, const vectors_array *x)
{
    PF_REQUIRE(x && x->rank > 1 && x->dim[0] > 0, PF_EFORMAT, "%s lacks an input", v->path);
    j->v = v;
    j->B = (int)x->dim[0];
    j->D = x->size / (size_t)j->B;
    j->C = (size_t)x->dim[x->rank - 1];
    double *block = pf_zalloc((ROWS * x->size + SUMS * (size_t)j->B) * sizeof *block);
    PF_REQUIRE(block, PF_EMEM, "no memory for rows of %zu", x->size);
    for (int i = 0; i < ROWS; i++) j->row[i] = block + (size_t)i * x->size;
    for (int i = 0; i < SUMS; i++) j->sum[i] = block + ROWS * x->size + i * j->B;
    return PF_OK;
}

pf_status gauss_job_prepare(gauss_job *j, vectors *v, const vectors_array *x)
{
    const vectors_array *beta = vectors_find(v, "betas");
    PF_REQUIRE(beta, PF_EFORMAT, "%s lacks an input", v->path);
    PF_TRY(gauss_job_rows(j, v, x));
    PF_TRY(pf_gauss_create((int)beta->size, beta->v, &j->g));
    return PF_OK;
}

void gauss_job_drop(gauss_job *j)
{
    pf_gauss_free(j->g);
    pf_free(j->row[0]);
}

int gauss_job_has(const gauss_job *j, const vectors_array *t)
{
    int good = t && t->size == (size_t)j->B;
    for (int b = 0; good && b < j->B; b++) good = t->v[b] >= 0 && t->v[b] < j->g->T;
    return good;
}

void gauss_job_hold_rows(gauss_job *j, int row, const char *group, const char *name)
{
    vectors_hold(j->v, gauss_tolerance, j->row[row], (size_t)j->B * j->D, "%s/%s", group, name);
}

void gauss_job_hold_sums(gauss_job *j, int sum, const char *group, const char *name)
{
    vectors_hold(j->v, gauss_tolerance, j->sum[sum], (size_t)j->B, "%s/%s", group, name);
}

pf_gauss_model gauss_job_model(const gauss_job *j, size_t at)
{
    return (pf_gauss_model){j->row[ROW_DATA] + at, j->row[ROW_MEAN] + at,
                            j->row[ROW_LOG_VARIANCE] + at};
}

pf_gauss_at gauss_index_of(const pf_gauss *g, pf_predicts p, pf_variance v, int i)
{
    const pf_gauss_opt o = {.predicts = p, .variance = v, .decoder = {PF_CDF_TANH, 256}};
    return pf_gauss_index(g, &o, i);
}

int gauss_affine_find(const gauss_job *j, const char *group, pf_variance v, gauss_affine *to)
{
    size_t T = (size_t)j->g->T;
    *to = (gauss_affine){.A = vectors_find(j->v, "%s/A", group),
                         .c = vectors_find(j->v, "%s/c", group),
                         .V = vectors_find(j->v, "%s/V", group),
                         .w = vectors_find(j->v, "%s/w", group)};
    int mean = to->A && to->c && to->A->size == T && to->c->size == T * j->D;
    int variance = to->V && to->V->size == T * j->D && (!to->w || to->w->size == 1);
    return mean && (variance || !pf_gauss_learns(v));
}

pf_gauss_net gauss_affine_at(gauss_job *j, const gauss_affine *f, pf_variance v, int i,
                             const double *x)
{
    int learns = pf_gauss_learns(v);
    double *mean = j->row[ROW_NET], *variance = j->row[ROW_NET_VARIANCE];
    for (size_t e = 0, at = (size_t)i * j->D; e < j->D; e++) {
        mean[e] = f->A->v[i] * x[e] + f->c->v[at + e];
        if (learns) variance[e] = f->V->v[at + e] + (f->w ? f->w->v[0] * x[e] : 0.0);
    }
    return (pf_gauss_net){mean, learns ? variance : NULL};
}

pf_status gauss_part_of(const pf_gauss *whole, const char *text, gauss_part *out)
{
    int n;
    *out = (gauss_part){.map = pf_zalloc((size_t)whole->T * sizeof *out->map)};
    PF_REQUIRE(out->map, PF_EMEM, "no memory for %d steps", whole->T);
    PF_TRY(pf_gauss_spacing(text, whole->T, out->map, &n));
    PF_TRY(pf_gauss_respace(whole, out->map, n, &out->g));
    return PF_OK;
}

void gauss_part_drop(gauss_part *p)
{
    pf_gauss_free(p->g);
    pf_free(p->map);
}

void gauss_part_hold_map(vectors *v, const gauss_part *p, const char *group)
{
    double *map = pf_zalloc((size_t)p->g->T * sizeof *map);
    for (int i = 0; map && i < p->g->T; i++) map[i] = p->map[i];
    if (map) vectors_hold(v, 0.5, map, (size_t)p->g->T, "%s/map", group);
    pf_free(map);
}
