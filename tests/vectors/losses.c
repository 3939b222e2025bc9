/* losses: marginals, losses, their gradients, predictions, importance laws and labels of score matching. */
#include "losses.h"

#include "method/dsm.h"
#include "method/gauss.h"
#include "method/ncsn.h"

#include <probflow/memory.h>
#include <probflow/times.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Float64 of one formula in another order; near t = 0 the likelihood weight g^2/std^2 multiplies what rounding leaves. */
static const double tolerance = 1e-10, steep = 1e-7;

pf_status vectors_sde(const vectors *v, const char *group, pf_sde *sde, int *found)
{
    const char *slash = strrchr(group, '/'), *name = slash ? slash + 1 : group;
    *found = 0;
    for (int i = 0; pf_sdes[i] && !*found; i++) *found = !strcmp(pf_sdes[i]->name, name);
    if (!*found) return PF_OK;
    PF_TRY(pf_sde_init(name, sde));
    for (const pf_opt *o = sde->ops->opts; o->name; o++) {
        double x = vectors_number(v, group, o->name);
        if (isfinite(x)) memcpy((char *)&sde->opt + o->offset, &x, sizeof x);
    }
    return PF_OK;
}

/* ---- one SDE ---- */

/* A batch of B samples of D entries in one group. */
typedef struct job {
    vectors *v;
    const char *group;
    pf_sde_method m;
    size_t B, D;
    const vectors_array *t, *x, *z;
    double *row; /* [B,D] */
    double *net; /* [B,D] */
    double *of;  /* [4,B] */
} job;

static void hold_marginals(job *j)
{
    double *mean = j->of, *std = mean + j->B, *f = std + j->B, *g2 = f + j->B;
    for (size_t b = 0; b < j->B; b++) {
        pf_sde_marginal(&j->m.sde, j->t->v[b], mean + b, std + b);
        pf_sde_coef(&j->m.sde, j->t->v[b], f + b, g2 + b);
        for (size_t i = b * j->D; i < (b + 1) * j->D; i++)
            j->row[i] = mean[b] * j->x->v[i] + std[b] * j->z->v[i];
    }
    vectors_hold(j->v, tolerance, mean, j->B, "%s/mean", j->group);
    vectors_hold(j->v, tolerance, std, j->B, "%s/std", j->group);
    vectors_hold(j->v, tolerance, f, j->B, "%s/drift", j->group);
    vectors_hold(j->v, tolerance, g2, j->B, "%s/g2", j->group);
    vectors_hold(j->v, tolerance, j->row, j->B * j->D, "%s/xt", j->group);
    for (size_t b = 0; b < j->B; b++) {
        f[b] = 2.0 * log(std[b] / mean[b]);
        g2[b] /= std[b] * std[b];
    }
    vectors_hold(j->v, tolerance, f, j->B, "%s/gamma", j->group);
    vectors_hold(j->v, tolerance, g2, j->B, "%s/dgamma_dt", j->group);
}

/* loss [B] and its gradient by net, of a prediction. */
static void find_loss(job *j, int predicts, const double *net, double *loss, double *grad)
{
    j->m.predicts = predicts;
    for (size_t b = 0; b < j->B; b++) {
        size_t from = b * j->D;
        double w = pf_dsm_weight(&j->m, j->t->v[b], (int)j->D), sum = 0.0;
        pf_dsm_at at = {.f = pf_sde_method_score(&j->m, j->t->v[b])};
        pf_sde_marginal(&j->m.sde, j->t->v[b], &at.mean, &at.std);
        pf_dsm_square(&at, j->D, j->x->v + from, j->z->v + from, net + from, 2.0 * w,
                      grad + from, &sum);
        loss[b] = w * sum;
    }
}

static double tolerance_of(const job *j, int weight)
{
    double least = 1.0;
    for (size_t b = 0; b < j->B; b++) least = fmin(least, j->t->v[b]);
    return weight == PF_WEIGHT_LIKELIHOOD && least < 1e-3 ? steep : tolerance;
}

/* The network is the score with ve and ve_linear, else the noise predicted. */
static void hold_losses(job *j)
{
    static const char *const weight[] = {"sigma2", "likelihood"};
    static const char *const reduce[] = {"mean", "half_sum"};
    const vectors_array *score = vectors_find(j->v, "%s/score", j->group);
    int direct = !strncmp(j->group, "ve", 2);
    if (!score) return;
    for (size_t i = 0; i < j->B * j->D; i++) {
        double mean, std;
        pf_sde_marginal(&j->m.sde, j->t->v[i / j->D], &mean, &std);
        j->net[i] = direct ? score->v[i] : -std * score->v[i];
    }
    for (int k = 0; k < 4; k++) {
        j->m.objective.weight = k / 2;
        j->m.objective.reduce = k % 2;
        j->m.objective.time = PF_TIME_UNIFORM;
        find_loss(j, direct ? PF_PREDICT_SCORE : PF_PREDICT_NOISE, j->net, j->of, j->row);
        double most = tolerance_of(j, k / 2);
        vectors_hold(j->v, most, j->of, j->B, "%s/loss/%s_%s", j->group, weight[k / 2],
                     reduce[k % 2]);
        vectors_hold(j->v, most, j->row, j->B * j->D, "%s/grad_net/%s_%s", j->group,
                     weight[k / 2], reduce[k % 2]);
    }
}

/* Each prediction's squared error and its weight make the same half of the likelihood's. */
static void hold_predictions(job *j)
{
    static const struct {
        const char *hat, *sum;
        int predicts;
    } all[] = {{"eps_hat", "eps", PF_PREDICT_NOISE},
               {"x0_hat", "x0", PF_PREDICT_DATA},
               {"v_hat", "v", PF_PREDICT_V}};
    const vectors_array *score = vectors_find(j->v, "%s/score", j->group);
    double *loss = j->of, *weight = loss + j->B, *sum = weight + j->B;
    for (int p = 0; score && p < 3; p++) {
        /* what the network would return to have this score: net = (score - a x_t)/c */
        j->m.predicts = all[p].predicts;
        for (size_t i = 0; i < j->B * j->D; i++) {
            double mean, std, t = j->t->v[i / j->D];
            pf_affine_score f = pf_sde_method_score(&j->m, t);
            pf_sde_marginal(&j->m.sde, t, &mean, &std);
            j->net[i] = (score->v[i] - f.a * (mean * j->x->v[i] + std * j->z->v[i])) / f.c;
            j->row[i] = mean * j->z->v[i] - std * j->x->v[i];
        }
        vectors_hold(j->v, tolerance, j->net, j->B * j->D, "%s/param/%s", j->group, all[p].hat);
        vectors_hold(j->v, tolerance, j->row, j->B * j->D, "%s/param/v_target", j->group);
        j->m.objective.weight = PF_WEIGHT_LIKELIHOOD;
        j->m.objective.reduce = PF_REDUCE_HALF_SUM;
        find_loss(j, all[p].predicts, j->net, loss, j->row);
        for (size_t b = 0; b < j->B; b++) {
            double mean, std, k;
            pf_sde_marginal(&j->m.sde, j->t->v[b], &mean, &std);
            k = std * pf_sde_method_score(&j->m, j->t->v[b]).c;
            weight[b] = pf_dsm_weight(&j->m, j->t->v[b], (int)j->D) * k * k;
            sum[b] = loss[b] / weight[b];
        }
        vectors_hold(j->v, tolerance, weight, j->B, "%s/param/weight_%s", j->group, all[p].sum);
        vectors_hold(j->v, tolerance, sum, j->B, "%s/param/sse_%s", j->group, all[p].sum);
    }
}

static PF_MUST_USE pf_status hold_importance(job *j)
{
    char group[VECTORS_NAME_MAX + 16];
    snprintf(group, sizeof group, "%s/importance", j->group);
    const vectors_array *u = vectors_find(j->v, "%s/u", group);
    const pf_sde *s = &j->m.sde;
    double t_min = vectors_number(j->v, group, "t_min");
    if (!u) return PF_OK;
    double *t = pf_zalloc(u->size * sizeof *t), all = s->ops->mass(&s->opt, t_min, 1.0);
    PF_REQUIRE(t, PF_EMEM, "no memory for times");
    PF_REQUIRE(fabs(all - vectors_number(j->v, group, "Z")) < tolerance * all, PF_EFORMAT,
               "%s: the mass of %s is %.12g", j->v->path, j->group, all);
    for (size_t i = 0; i < u->size; i++)
        t[i] = s->ops->mass_inverse(&s->opt, t_min, u->v[i] * all);
    vectors_hold(j->v, tolerance, t, u->size, "%s/t", group);
    pf_free(t);
    return PF_OK;
}

static PF_MUST_USE pf_status check_sde(vectors *v, const vectors_array *t)
{
    char group[VECTORS_NAME_MAX];
    int found;
    job j = {.v = v, .group = group, .t = t};
    snprintf(group, sizeof group, "%.*s", (int)(strlen(t->name) - 2), t->name);
    PF_TRY(vectors_sde(v, group, &j.m.sde, &found));
    if (!found) return PF_OK;
    j.x = vectors_find(v, "data");
    j.z = vectors_find(v, "z");
    PF_REQUIRE(j.x && j.z && j.x->size == j.z->size && j.x->size % t->size == 0, PF_EFORMAT,
               "%s lacks data or noise", v->path);
    j.B = t->size;
    j.D = j.x->size / j.B;
    j.row = pf_zalloc((2 * j.x->size + 4 * j.B) * sizeof *j.row);
    PF_REQUIRE(j.row, PF_EMEM, "no memory for a batch");
    j.net = j.row + j.x->size;
    j.of = j.net + j.x->size;
    pf_opt_defaults(pf_objective_opts, &j.m.objective);
    hold_marginals(&j);
    hold_losses(&j);
    hold_predictions(&j);
    pf_status st = hold_importance(&j);
    pf_free(j.row);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- in discrete time ---- */

/* The losses of B labels, mean and half sum, of |net - z|^2 or sigma^2 |score + z/sigma|^2. */
static void hold_discrete(vectors *v, const char *group, const double *half, const double *xt,
                          size_t B, size_t D, double *mean)
{
    for (size_t b = 0; b < B; b++) mean[b] = 2.0 * half[b] / (double)D;
    vectors_hold(v, tolerance, xt, B * D, "%s/xt", group);
    vectors_hold(v, tolerance, half, B, "%s/loss_half_sum", group);
    vectors_hold(v, tolerance, mean, B, "%s/loss_mean", group);
}

static PF_MUST_USE pf_status check_ddpm(vectors *v)
{
    const vectors_array *label = vectors_find(v, "ddpm/labels"),
                        *net = vectors_find(v, "ddpm/net"), *x = vectors_find(v, "data"),
                        *z = vectors_find(v, "z");
    if (!label || !net || !x || !z) return PF_OK;
    const int N = (int)vectors_number(v, "ddpm", "N");
    const double scale = N; /* beta_min/N .. beta_max/N */
    pf_betas rule = {.schedule = PF_SCHEDULE_LINEAR,
                     .b0 = vectors_number(v, "ddpm", "beta_min") / scale,
                     .b1 = vectors_number(v, "ddpm", "beta_max") / scale};
    size_t B = label->size, D = x->size / B, n = (size_t)(N > 2 ? N : 2);
    double *beta = pf_zalloc((3 * n + x->size + 2 * B) * sizeof *beta), *signal = beta + n,
           *noise = signal + n, *xt = noise + n, *half = xt + x->size;
    pf_gauss *g = NULL;
    pf_status st = beta ? pf_gauss_betas(&rule, N, beta)
                        : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d betas", N);
    if (!st) st = pf_gauss_create(N, beta, &g);
    for (int i = 0; !st && i < N; i++) {
        signal[i] = sqrt(g->abar[i]);
        noise[i] = sqrt(g->noise[i]);
    }
    for (size_t i = 0; !st && i < x->size; i++) {
        int at = (int)label->v[i / D];
        xt[i] = signal[at] * x->v[i] + noise[at] * z->v[i];
        half[i / D] += 0.5 * pow(net->v[i] - z->v[i], 2);
    }
    if (!st) {
        vectors_hold(v, tolerance, beta, n, "ddpm/betas");
        vectors_hold(v, tolerance, signal, n, "ddpm/sqrt_alphas_cumprod");
        vectors_hold(v, tolerance, noise, n, "ddpm/sqrt_1m_alphas_cumprod");
        hold_discrete(v, "ddpm", half, xt, B, D, half + B);
    }
    pf_gauss_free(g);
    pf_free(beta);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* A network of noise levels, by what the SDE says of label and noise at a time. */
static double level(const pf_sde *s, int n, int i)
{
    double std;
    s->ops->label(&s->opt, n, 1.0 - (double)i / (n - 1), &std);
    return std;
}

static PF_MUST_USE pf_status check_smld(vectors *v)
{
    const vectors_array *label = vectors_find(v, "smld/labels"),
                        *score = vectors_find(v, "smld/score"), *x = vectors_find(v, "data"),
                        *z = vectors_find(v, "z");
    if (!label || !score || !x || !z) return PF_OK;
    pf_sde s;
    PF_TRY(pf_sde_init("ve", &s));
    const int N = (int)vectors_number(v, "smld", "N");
    size_t B = label->size, D = x->size / B, n = (size_t)(N > 2 ? N : 2);
    double *sigma = pf_zalloc((n + x->size + D + 2 * B) * sizeof *sigma), *xt = sigma + n,
           *slope = xt + x->size, *half = slope + D;
    PF_REQUIRE(sigma, PF_EMEM, "no memory for %d noise levels", N);
    for (int i = 0; i < N; i++) sigma[i] = level(&s, N, i);
    for (size_t i = 0; i < x->size; i++)
        xt[i] = x->v[i] + sigma[(int)label->v[i / D]] * z->v[i];
    for (size_t b = 0; b < B; b++)
        half[b] = pf_ncsn_denoising(D, sigma[(int)label->v[b]], 2.0, score->v + b * D,
                                    z->v + b * D, slope);
    vectors_hold(v, tolerance, sigma, n, "smld/sigmas_descending");
    hold_discrete(v, "smld", half, xt, B, D, half + B);
    pf_free(sigma);
    return PF_OK;
}

static PF_MUST_USE pf_status check_labels(vectors *v)
{
    const vectors_array *t = vectors_find(v, "labels/t");
    if (!t) return PF_OK;
    int N = (int)vectors_number(v, "labels", "N");
    double *got = pf_zalloc(4 * t->size * sizeof *got), std;
    pf_sde_method vp = {.cond = PF_COND_LABEL, .levels = N}, ve = vp, cont = vp;
    PF_REQUIRE(got, PF_EMEM, "no memory for labels");
    pf_status st = pf_sde_init("vp", &vp.sde);
    if (!st) st = pf_sde_init("ve", &ve.sde);
    cont.sde = vp.sde;
    cont.cond = PF_COND_T;
    for (size_t i = 0; !st && i < t->size; i++) {
        got[i] = pf_sde_method_cond(&vp, t->v[i]);
        got[t->size + i] = pf_sde_method_cond(&ve, t->v[i]);
        got[2 * t->size + i] = pf_sde_method_cond(&cont, t->v[i]);
        /* the level whose noise the score is given: the last one that is not above it */
        vp.sde.ops->label(&vp.sde.opt, N, t->v[i], &std);
        int at = 0;
        for (double s; at + 1 < N; at++) {
            vp.sde.ops->label(&vp.sde.opt, N, (at + 1.5) / (N - 1), &s);
            if (s > std) break;
        }
        got[3 * t->size + i] = at;
    }
    if (!st) {
        vectors_hold(v, tolerance, got, t->size, "labels/vp_label");
        vectors_hold(v, 0.0, got + t->size, t->size, "labels/ve_label");
        vectors_hold(v, tolerance, got + 2 * t->size, t->size, "labels/continuous_vp_cond");
        vectors_hold(v, 0.0, got + 3 * t->size, t->size, "labels/vp_std_index");
        vectors_hold(v, 0.0, got + 3 * t->size, t->size, "labels/step_index");
    }
    pf_free(got);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status check_adaptive(vectors *v)
{
    const vectors_array *t = vectors_find(v, "adaptive/t"),
                        *loss = vectors_find(v, "adaptive/loss"),
                        *u = vectors_find(v, "adaptive/u");
    if (!t || !loss || !u) return PF_OK;
    int T = (int)vectors_number(v, "adaptive", "T");
    pf_times *law = NULL;
    PF_REQUIRE(t->size == loss->size && T > 0, PF_EFORMAT, "%s: adaptive lacks its losses",
               v->path);
    double *got = pf_zalloc((2 * (size_t)T + u->size) * sizeof *got), *drawn = got + 2 * T;
    pf_status st = got ? pf_times_create(T, PF_TIMES_LAST_TEN, &law)
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d indices", T);
    for (size_t k = 0; !st && k < t->size; k++) {
        int32_t i = (int32_t)t->v[k];
        if (i < 0 || i >= T) st = pf_raise(PF_EFORMAT, PF_WHERE, "there is no index %d", i);
        else pf_times_add(law, 1, &i, &loss->v[k]);
    }
    for (int i = 0; !st && i < T; i++) {
        got[i] = pf_times_probability(law, i);
        got[T + i] = pf_times_weight(law, i);
    }
    for (size_t k = 0; !st && k < u->size; k++) drawn[k] = pf_times_index(law, u->v[k]);
    if (!st) {
        vectors_hold(v, tolerance, got, (size_t)T, "adaptive/p");
        vectors_hold(v, tolerance, got + T, (size_t)T, "adaptive/importance_weight");
        vectors_hold(v, 0.0, drawn, u->size, "adaptive/drawn");
    }
    pf_times_free(law);
    pf_free(got);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check(vectors *v)
{
    for (int i = 0; i < v->n; i++)
        if (vectors_under("*/t", v->all[i].name) &&
            !strchr(strchr(v->all[i].name, '/') + 1, '/'))
            PF_TRY(check_sde(v, &v->all[i]));
    PF_TRY(check_ddpm(v));
    PF_TRY(check_smld(v));
    PF_TRY(check_labels(v));
    return check_adaptive(v);
}

const vectors_kind vectors_losses = {
    .stem = "losses",
    .inputs = (const char *const[]){"data", "z", "mixture", "*/t", "*/score", "*/labels",
                                    "ddpm/net", "*/importance/u", "adaptive/t", "adaptive/loss",
                                    "adaptive/u", NULL},
    .check = check};
