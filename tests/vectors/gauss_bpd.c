/* gauss_bpd: the bound of whole and respaced chains, term by term. */
#include "gauss.h"
#include "gauss_job.h"

#include "method/ddpm.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

/* One bound: its group's parts, the chain, and what is computed. */
typedef struct bound {
    char group[VECTORS_NAME_MAX], spec[VECTORS_NAME_MAX]; /* spec "": all steps */
    int rescale;                                          /* -1: not said */
    int p, v, clip;
    gauss_affine net;
    gauss_part part;
    double *term, *data_error, *noise_error; /* [B,T] */
} bound;

/* Cuts the last component of a path off, and returns it. */
static const char *last_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash) return path;
    *slash = 0;
    return slash + 1;
}

/* full/<mean>/<variance>/clip<0|1> or respaced/<spec>/rescale<0|1>/<mean>/<variance>/clip<0|1>; 1 when it is. */
static int parse(const vectors_array *a, bound *o)
{
    char path[VECTORS_NAME_MAX];
    *o = (bound){.rescale = -1};
    if (!vectors_group_of(a, "vb", o->group, sizeof o->group)) return 0;
    strcpy(path, o->group);
    const char *clip = last_of(path);
    o->clip = !strcmp(clip, "clip1");
    if (!o->clip && strcmp(clip, "clip0")) return 0;
    o->v = gauss_word(gauss_variances, last_of(path));
    o->p = gauss_word(gauss_means, last_of(path));
    if (strcmp(path, "full")) {
        const char *rescale = last_of(path);
        o->rescale = !strcmp(rescale, "rescale1");
        if (strncmp(path, "respaced/", 9)) return 0;
        strcpy(o->spec, path + 9);
    }
    return o->v >= 0 && o->p >= 0;
}

static void bound_row(gauss_job *j, const bound *o, const double *x0, const double *z, int i,
                      size_t to)
{
    size_t D = j->D;
    double *xi = j->row[ROW_VARIANCE], *noise = j->row[ROW_GRAD];
    const pf_gauss_model m = gauss_job_model(j, 0);
    pf_gauss_at a = gauss_index_of(o->part.g, (pf_predicts)o->p, (pf_variance)o->v, i);
    pf_gauss_noised(&a, D, x0, z, xi);
    const pf_gauss_net net = gauss_affine_at(j, &o->net, a.opt.variance, o->part.map[i], xi);
    pf_gauss_predict(&a, o->clip, D, xi, &net, &m);
    pf_gauss_noise_of(&a, D, xi, m.x0, noise);
    o->term[to] = pf_gauss_term(&a, D, x0, xi, &m, NULL) / ((double)D * M_LN2);
    for (size_t e = 0; e < D; e++) {
        o->data_error[to] += (m.x0[e] - x0[e]) * (m.x0[e] - x0[e]) / (double)D;
        o->noise_error[to] += (noise[e] - z[e]) * (noise[e] - z[e]) / (double)D;
    }
}

/* What the network is told. */
static void hold_chain(gauss_job *j, const bound *o)
{
    const pf_gauss *g = o->part.g;
    const pf_ddpm m = {.opt = {.steps = j->g->T, .rescale_timesteps = o->rescale > 0},
                       .number = o->part.map};
    double *told = pf_zalloc((size_t)g->T * sizeof *told);
    for (int i = 0; told && i < g->T; i++) told[i] = pf_ddpm_told(&m, i);
    gauss_part_hold_map(j->v, &o->part, o->group);
    vectors_hold(j->v, gauss_tolerance, g->beta, (size_t)g->T, "%s/betas", o->group);
    if (told)
        vectors_hold(j->v, gauss_tolerance, told, (size_t)g->T, "%s/t_seen_by_network",
                     o->group);
    pf_free(told);
}

static PF_MUST_USE pf_status hold_bound(gauss_job *j, bound *o, const vectors_array *data,
                                        const vectors_array *noise)
{
    size_t T = (size_t)o->part.g->T, B = (size_t)j->B, n = B * T;
    double *block = pf_zalloc(3 * n * sizeof *block);
    PF_REQUIRE(block, PF_EMEM, "no memory for %zu terms", n);
    o->term = block;
    o->data_error = block + n;
    o->noise_error = block + 2 * n;
    for (size_t b = 0; b < B; b++) {
        const double *x0 = data->v + b * j->D;
        double prior = pf_gauss_prior(o->part.g, j->D, x0);
        j->sum[SUM_KL][b] = j->sum[SUM_LOSS][b] = prior / ((double)j->D * M_LN2);
        for (size_t i = 0; i < T; i++) {
            bound_row(j, o, x0, noise->v + (i * B + b) * j->D, (int)i, b * T + i);
            j->sum[SUM_LOSS][b] += o->term[b * T + i];
        }
    }
    hold_chain(j, o);
    vectors_hold(j->v, gauss_tolerance, o->term, n, "%s/vb", o->group);
    vectors_hold(j->v, gauss_tolerance, o->data_error, n, "%s/xstart_mse", o->group);
    vectors_hold(j->v, gauss_tolerance, o->noise_error, n, "%s/mse", o->group);
    gauss_job_hold_sums(j, SUM_KL, o->group, "prior_bpd");
    gauss_job_hold_sums(j, SUM_LOSS, o->group, "total_bpd");
    pf_free(block);
    return PF_OK;
}

/* Networks are named after what they predict; the plain one serves where there is no other. */
static int find_net(const gauss_job *j, bound *o)
{
    const pf_variance v = (pf_variance)o->v;
    return (o->p == PF_PREDICTS_DATA && gauss_affine_find(j, "net_x0", v, &o->net)) ||
           gauss_affine_find(j, "net", v, &o->net);
}

static pf_status check_bpd(vectors *v)
{
    bound o;
    gauss_job j = {0};
    const vectors_array *x0 = vectors_find(v, "x_start"), *z = vectors_find(v, "noise");
    pf_status st = gauss_job_prepare(&j, v, x0);
    if (!st && !(z && z->size >= x0->size * (size_t)j.g->T))
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s lacks an input", v->path);
    for (int k = 0; !st && k < v->n; k++) {
        if (!parse(&v->all[k], &o) || !find_net(&j, &o)) continue;
        st = gauss_part_of(j.g, o.spec, &o.part);
        if (!st) st = hold_bound(&j, &o, x0, z);
        gauss_part_drop(&o.part);
    }
    gauss_job_drop(&j);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_gauss_bpd = {
    .stem = "gauss_bpd",
    .inputs = (const char *const[]){"betas", "net", "net_x0", "noise", "x_start", NULL},
    .check = check_bpd};
