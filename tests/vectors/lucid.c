/* lucid: schedules, objectives, weights, steps and whole chains of denoising-diffusion-pytorch. */
#include "gauss.h"
#include "gauss_job.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The clip of its weights, the weight and the floor of its learned variance, and the floor of its log variances. */
#define GAMMA     5.0
#define VB_WEIGHT 0.001
#define FLOOR     1e-15

static const char *const objectives[] = {"pred_noise", "pred_x0", "pred_mean", "pred_v", NULL};

typedef struct lucid {
    gauss_job j; /* its chain is that of one schedule at a time */
    gauss_affine net;
    const vectors_array *z, *t, *top, *noise;
    double *x0;    /* [B,D] */
    double *table; /* [T] */
    double eta;
} lucid;

/* linear, cosine, sigmoid, sigmoid_START_END_tauTAU; 0: none of them. */
static int schedule_of(const char *name, pf_betas *to)
{
    double *number[] = {&to->start, &to->end};
    int n = 0;
    *to = (pf_betas){.schedule = PF_SCHEDULE_SIGMOID, .start = -3.0, .end = 3.0, .tau = 1.0};
    if (!strcmp(name, "linear")) to->schedule = PF_SCHEDULE_LINEAR_SCALED;
    else if (!strcmp(name, "cosine")) to->schedule = PF_SCHEDULE_COSINE;
    else if (strncmp(name, "sigmoid", 7)) return 0;
    else
        for (const char *p = name + 7; p && *p; p = strchr(p + 1, '_')) {
            if (!strncmp(p, "_tau", 4)) to->tau = strtod(p + 4, NULL);
            else if (n < 2) *number[n++] = strtod(p + 1, NULL);
        }
    return 1;
}

/* schedule/<name>/<T>. */
static PF_MUST_USE pf_status check_schedule(vectors *v, const vectors_array *want)
{
    char name[VECTORS_NAME_MAX];
    pf_betas o;
    if (sscanf(want->name, "schedule/%255[^/]/", name) != 1 || !schedule_of(name, &o))
        return PF_OK;
    double *beta = pf_zalloc(want->size * sizeof *beta);
    PF_REQUIRE(beta, PF_EMEM, "no memory for %zu betas", want->size);
    pf_status st = pf_gauss_betas(&o, (int)want->size, beta);
    if (!st) vectors_hold(v, gauss_tolerance, beta, want->size, "%s", want->name);
    pf_free(beta);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status check_log_snr(vectors *v)
{
    const vectors_array *t = vectors_find(v, "log_snr/t");
    double *got = t ? pf_zalloc(2 * t->size * sizeof *got) : NULL;
    PF_REQUIRE(got || !t, PF_EMEM, "no memory for a table");
    for (size_t i = 0; t && i < t->size; i++) {
        got[i] = pf_log_snr_linear(t->v[i]);
        got[t->size + i] = pf_log_snr_cosine(t->v[i]);
    }
    if (t) vectors_hold(v, gauss_tolerance, got, t->size, "log_snr/linear");
    if (t) vectors_hold(v, gauss_tolerance, got + t->size, t->size, "log_snr/cosine");
    pf_free(got);
    return PF_OK;
}

/* ---- one index ---- */

static pf_gauss_opt option_of(int predicts, int clipped)
{
    return (pf_gauss_opt){.predicts = (pf_predicts)predicts,
                          .variance = PF_VARIANCE_FIXED_SMALL,
                          .decoder = {PF_CDF_TANH, 256, FLOOR},
                          .weight = clipped ? PF_WEIGHT_MIN_SNR : PF_WEIGHT_SNR,
                          .gamma = GAMMA,
                          .vb_weight = VB_WEIGHT,
                          .floor_log_variance = 1};
}

/* Sample b at its index: x_i into ROW_OUT, the model, the noise of the predicted data into ROW_GRAD, the loss. */
static void fill_sample(lucid *l, const pf_gauss_opt *o, int clip, int b)
{
    gauss_job *j = &l->j;
    size_t D = j->D, at = (size_t)b * D;
    const pf_gauss_at a = pf_gauss_index(j->g, o, (int)l->t->v[b]);
    const pf_gauss_model m = gauss_job_model(j, at);
    const pf_gauss_seen s = {l->x0 + at, j->row[ROW_OUT] + at, l->z->v + at};
    pf_gauss_sums sums;
    pf_gauss_noised(&a, D, s.x0, s.z, j->row[ROW_OUT] + at);
    const pf_gauss_net net = gauss_affine_at(j, &l->net, o->variance, a.i, s.xi);
    pf_gauss_predict(&a, clip, D, s.xi, &net, &m);
    pf_gauss_noise_of(&a, D, s.xi, m.x0, j->row[ROW_GRAD] + at);
    j->sum[SUM_LOSS][b] = pf_gauss_loss(&a, D, &s, &net, NULL, &sums) / ((double)D * a.unit);
    j->sum[SUM_KL][b] = a.variance;
    j->sum[SUM_TERM][b] = a.log_variance;
    for (size_t e = 0; e < D; e++)
        j->row[ROW_VARIANCE][at + e] = a.root * s.z[e] - a.std * s.x0[e];
}

static void hold_samples(lucid *l, const char *group, int predicts, int clipped)
{
    gauss_job *j = &l->j;
    const pf_gauss_opt o = option_of(predicts, clipped);
    for (int clip = 0; clip < 2; clip++) {
        for (int b = 0; b < j->B; b++) fill_sample(l, &o, clip, b);
        gauss_job_hold_rows(j, ROW_DATA, group, clip ? "clipped_pred_x_start" : "pred_x_start");
        gauss_job_hold_rows(j, ROW_GRAD, group, clip ? "clipped_pred_noise" : "pred_noise");
    }
    gauss_job_hold_rows(j, ROW_MEAN, group, "mean");
    gauss_job_hold_rows(j, ROW_VARIANCE, group, "v_target");
    gauss_job_hold_sums(j, SUM_LOSS, group, "loss");
    gauss_job_hold_sums(j, SUM_KL, group, "variance");
    gauss_job_hold_sums(j, SUM_TERM, group, "log_variance");
    for (int i = 0; i < j->g->T; i++) l->table[i] = pf_gauss_index(j->g, &o, i).squares;
    vectors_hold(j->v, gauss_tolerance, l->table, (size_t)j->g->T, "%s/loss_weight", group);
}

/* ---- chains ---- */

/* From x_T down the part's steps, predictions cut; ends on [0, 1]. */
static void hold_chain(lucid *l, const gauss_part *p, const char *group, int predicts, int ddim)
{
    gauss_job *j = &l->j;
    const pf_gauss_opt o = option_of(predicts, 0);
    double *x = j->row[ROW_OUT];
    size_t D = j->D, n = (size_t)j->B * D;
    memcpy(x, l->top->v, n * sizeof *x);
    for (int i = p->g->T - 1; i >= 0; i--) {
        const pf_gauss_at a = pf_gauss_index(p->g, &o, i);
        const double *z = l->noise->v + (size_t)p->map[i] * n;
        for (size_t at = 0; at < n; at += D) {
            const pf_gauss_model m = gauss_job_model(j, 0);
            const pf_gauss_move rows = {x + at, z + at, x + at};
            const pf_gauss_net net = gauss_affine_at(j, &l->net, o.variance, p->map[i], x + at);
            pf_gauss_predict(&a, 1, D, x + at, &net, &m);
            if (ddim) pf_gauss_ddim(&a, l->eta, D, m.x0, &rows);
            else pf_gauss_step(&a, D, &m, z + at, x + at);
        }
    }
    for (size_t e = 0; e < n; e++) x[e] = 0.5 * (x[e] + 1.0);
    gauss_job_hold_rows(j, ROW_OUT, group,
                        ddim ? "ddim_unnormalised" : "ancestral_unnormalised");
}

/* Times from T-1 down to -1. */
static void hold_times(vectors *v, const gauss_part *p, const char *schedule)
{
    size_t n = (size_t)p->g->T + 1;
    double *t = pf_zalloc(n * sizeof *t);
    for (size_t k = 0; t && k < n - 1; k++) t[k] = p->map[n - 2 - k];
    if (t) t[n - 1] = -1.0;
    if (t) vectors_hold(v, 0.5, t, n, "%s/ddim_times", schedule);
    pf_free(t);
}

/* ---- a schedule ---- */

static void hold_learned(lucid *l, const char *schedule)
{
    pf_gauss_opt o = option_of(PF_PREDICTS_NOISE, 0);
    o.variance = PF_VARIANCE_LEARNED_RANGE;
    if (!l->net.V) return;
    for (int b = 0; b < l->j.B; b++) fill_sample(l, &o, 0, b);
    gauss_job_hold_sums(&l->j, SUM_LOSS, schedule, "learned_variance_loss");
}

static PF_MUST_USE pf_status hold_schedule(lucid *l, const char *schedule)
{
    char group[VECTORS_NAME_MAX + 32], text[32];
    vectors *v = l->j.v;
    gauss_part all = {0}, some = {0};
    const vectors_array *times = vectors_find(v, "%s/ddim_times", schedule);
    snprintf(text, sizeof text, "even%zu", times ? times->size - 1 : 2);
    pf_status st = gauss_part_of(l->j.g, "", &all);
    if (!st) st = gauss_part_of(l->j.g, text, &some);
    if (!st) {
        hold_times(v, &some, schedule);
        hold_learned(l, schedule);
    }
    for (int k = 0; !st && k < 8; k++) {
        int predicts = k / 2, clipped = k % 2;
        snprintf(group, sizeof group, "%s/%s/minsnr%d", schedule, objectives[predicts],
                 clipped);
        if (!vectors_wants(v, group)) continue;
        hold_samples(l, group, predicts, clipped);
        if (!l->top || !l->noise) continue;
        hold_chain(l, &all, group, predicts, 0);
        if (times) hold_chain(l, &some, group, predicts, 1);
    }
    gauss_part_drop(&all);
    gauss_part_drop(&some);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status check_chain(lucid *l, const char *schedule, const pf_betas *o)
{
    int T = (int)l->net.A->size;
    PF_TRY(pf_gauss_betas(o, T, l->table));
    PF_TRY(pf_gauss_create(T, l->table, &l->j.g));
    pf_status st = gauss_job_has(&l->j, l->t) && gauss_affine_find(&l->j, "net", 0, &l->net)
                       ? hold_schedule(l, schedule)
                       : pf_raise(PF_EFORMAT, PF_WHERE,
                                  "%s: indices or network that do not "
                                  "fit together",
                                  l->j.v->path);
    pf_gauss_free(l->j.g);
    l->j.g = NULL;
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* The rows that all schedules share. */
static PF_MUST_USE pf_status prepare(lucid *l, vectors *v, const vectors_array *x01)
{
    char *says = vectors_attr(v, "x_T/ddim"), *eta = says ? strstr(says, "eta ") : NULL;
    l->eta = eta ? strtod(eta + 4, NULL) : 0.4;
    pf_free(says);
    PF_TRY(gauss_job_rows(&l->j, v, x01));
    PF_REQUIRE(l->z->size == x01->size && l->net.A->size >= 2 &&
                   (!l->top || l->top->size == x01->size) &&
                   (!l->noise || l->noise->size == l->net.A->size * x01->size),
               PF_EFORMAT, "%s: rows or network that do not fit together", v->path);
    l->x0 = pf_zalloc((x01->size + l->net.A->size) * sizeof *l->x0);
    PF_REQUIRE(l->x0, PF_EMEM, "no memory for rows of %zu", x01->size);
    l->table = l->x0 + x01->size;
    for (size_t e = 0; e < x01->size; e++) l->x0[e] = 2.0 * x01->v[e] - 1.0;
    return PF_OK;
}

/* Every first component that is a schedule's name, once. */
static PF_MUST_USE pf_status check_chains(lucid *l, vectors *v)
{
    char name[VECTORS_NAME_MAX], before[VECTORS_NAME_MAX] = "";
    pf_betas o;
    for (int k = 0; k < v->n; k++) {
        if (sscanf(v->all[k].name, "%255[^/]/", name) != 1 || !strcmp(name, before) ||
            !schedule_of(name, &o))
            continue;
        strcpy(before, name);
        PF_TRY(check_chain(l, name, &o));
    }
    return PF_OK;
}

static pf_status check_lucid(vectors *v)
{
    const vectors_array *x01 = vectors_find(v, "x_start_01");
    lucid l = {.z = vectors_find(v, "noise"),
               .t = vectors_find(v, "t"),
               .top = vectors_find(v, "x_T"),
               .noise = vectors_find(v, "chain_noise"),
               .net.A = vectors_find(v, "net/A")};
    PF_TRY(check_log_snr(v));
    for (int k = 0; k < v->n; k++) PF_TRY(check_schedule(v, &v->all[k]));
    if (!x01 || !l.z || !l.t || !l.net.A) return PF_OK; /* tables alone */
    pf_status st = prepare(&l, v, x01);
    if (!st) st = check_chains(&l, v);
    gauss_job_drop(&l.j);
    pf_free(l.x0);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_lucid = {.stem = "lucid",
                                    .inputs = (const char *const[]){"chain_noise", "log_snr/t",
                                                                    "net", "noise", "t", "x_T",
                                                                    "x_start_01", NULL},
                                    .check = check_lucid};
