/* mdlm: noise, what the network is taken to say, losses of all variants with gradients, one step of each sampler.
 *
 * Where published code has 0 log(./0), at t = 1/T of finite time, the file holds NaN and nothing is compared; the
 * gradients of the second look leave such a row out.
 */
#include "masked.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

static const double tolerance = 1e-10;
enum { POSITIONS_MAX = 64, SYMBOLS_MAX = 512 };

typedef struct job {
    vectors *v;
    toy_net net;
    int T, K;
    size_t B, L, V, row; /* row: L V */
    double *z;           /* [L,V] */
} job;

/* ---- noise ---- */

static const struct {
    const char *name, *schedule;
} noises[] = {{"loglinear", "loglinear"},
              {"cosinesqr", "mdlm_cosinesqr"},
              {"cosine", "mdlm_cosine"},
              {"linear", "mdlm_linear"},
              {"geometric", "mdlm_geometric"}};
enum { NOISES = sizeof noises / sizeof *noises };

static PF_MUST_USE pf_status hold_noise(vectors *v, int k)
{
    const char *name = noises[k].name;
    const vectors_array *t = vectors_find(v, "noise/%s/t", name);
    char settings[128];
    pf_masked *m;
    if (!t) return PF_OK;
    snprintf(settings, sizeof settings, "estimator=mdlm;schedule=%s", noises[k].schedule);
    PF_TRY(masked_open(settings, 1, 2, &m));
    double *sigma = pf_zalloc(3 * t->size * sizeof *sigma), *rate = sigma + t->size,
           *moved = rate + t->size;
    for (size_t i = 0; sigma && i < t->size; i++) {
        sigma[i] = pf_masked_sigma(&m->noise, t->v[i]);
        rate[i] = pf_masked_rate(&m->noise, t->v[i]);
        moved[i] = pf_masked_importance(&m->noise, t->v[i]);
    }
    if (sigma) {
        vectors_hold(v, tolerance, sigma, t->size, "noise/%s/sigma", name);
        vectors_hold(v, tolerance, rate, t->size, "noise/%s/dsigma", name);
        vectors_hold(v, tolerance, moved, t->size, "noise/%s/importance_transform", name);
    }
    pf_method_masked.close(m);
    pf_free(sigma);
    return PF_OK;
}

/* ---- losses ---- */

/* Settings of a variant by its name. */
static void settings_of(const job *j, const char *name, char *out, size_t n)
{
    const char *noise = "loglinear", *predicts = strstr(name, "d3pm")   ? "d3pm"
                                                 : strstr(name, "sedd") ? "sedd"
                                                                        : "subs";
    for (int k = 0; k < NOISES; k++) {
        char part[32];
        snprintf(part, sizeof part, "_%s", noises[k].name);
        if (!strstr(name, part)) continue;
        noise = noises[k].schedule;
        break; /* the longer of two names is the first */
    }
    snprintf(out, n,
             "estimator=mdlm;bound=published;mask_logit=yes;schedule=%s;predicts=%s;steps=%d;"
             "time=%s;cond=%s;times=%s",
             noise, predicts, j->T, strstr(name, "discrete") ? "finite" : "continuous",
             strstr(name, "no_time") ? "none" : "sigma",
             strstr(name, "change_of_variables") ? "change_of_variables"
             : strstr(name, "importance")        ? "importance"
                                                 : "uniform");
}

typedef struct variant {
    const char *name;
    const pf_masked *m;
    double *nats, *slope, *again, *t; /* [B,L], [B,L,V] twice, [B] */
} variant;

/* NaN where the file has it, of n numbers from `at` on. */
static void leave_out(const job *j, const char *name, const char *what, size_t at, size_t n,
                      double *v)
{
    const vectors_array *a = vectors_find(j->v, "loss/%s/%s", name, what);
    for (size_t i = at; a && a->size >= at + n && i < at + n; i++)
        if (isnan(a->v[i])) v[i] = NAN;
}

static void add_again(const job *j, const variant *r, size_t b, const int32_t *x)
{
    toy_net_logits(&j->net, 0.0, x, j->z);
    for (size_t l = 0; l < j->L; l++)
        r->nats[b * j->L + l] +=
            pf_masked_again(r->m, x[l], (pf_cat_row){.d = j->z + l * j->V}, 1.0,
                            (pf_cat_slope){.d = r->again + b * j->row + l * j->V});
}

static void find_sample(const job *j, const variant *r, size_t b, double u, const double *mask,
                        const double *x0)
{
    pf_masked_at a = pf_masked_when(r->m, u);
    int32_t x[POSITIONS_MAX], z[POSITIONS_MAX];
    for (size_t l = 0; l < j->L; l++) {
        x[l] = (int32_t)x0[b * j->L + l];
        z[l] = pf_masked_hides(r->m, &a, mask[b * j->L + l]) ? j->K : x[l];
    }
    toy_net_logits(&j->net, a.cond, z, j->z);
    for (size_t l = 0; l < j->L; l++)
        if (z[l] == j->K)
            r->nats[b * j->L + l] =
                pf_masked_entry(r->m, &a, x[l], (pf_cat_row){.d = j->z + l * j->V}, 1.0,
                                (pf_cat_slope){.d = r->slope + b * j->row + l * j->V});
    if (r->m->opt.predicts == PF_MASKED_D3PM) add_again(j, r, b, x);
    if (r->m->opt.time == PF_MASKED_FINITE && a.s < 0.5 / j->T) {
        leave_out(j, r->name, "per_token_nats", b * j->L, j->L, r->nats);
        leave_out(j, r->name, "grad_logits", b * j->row, j->row, r->slope);
        memset(r->again + b * j->row, 0, j->row * sizeof *r->again);
    }
}

static PF_MUST_USE pf_status hold_variant(const job *j, const char *name)
{
    const vectors_array *ut = vectors_find(j->v, "uniform_t"),
                        *um = vectors_find(j->v, "uniform_mask"),
                        *x0 = vectors_find(j->v, "x0");
    char settings[512];
    pf_masked *m;
    if (!ut || !um || !x0 || ut->size != j->B || um->size != x0->size) return PF_OK;
    settings_of(j, name, settings, sizeof settings);
    PF_TRY(masked_open(settings, j->L, j->K, &m));
    double *mem = pf_zalloc(j->B * (1 + j->L + 2 * j->row) * sizeof *mem);
    variant r = {.name = name, .m = m, .t = mem, .nats = mem + j->B};
    r.slope = r.nats + j->B * j->L;
    r.again = r.slope + j->B * j->row;
    for (size_t b = 0; mem && b < j->B; b++) {
        double u = ut->v[b];
        if (!strstr(name, "not_antithetic"))
            u = fmod(u / (double)j->B + (double)b / (double)j->B, 1.0);
        r.t[b] = m->t0 + (1.0 - m->t0) * u;
        if (m->opt.times == PF_MASKED_IMPORTANCE)
            r.t[b] = pf_masked_importance(&m->noise, r.t[b]);
        find_sample(j, &r, b, u, um->v, x0->v);
    }
    if (mem) {
        vectors_hold(j->v, tolerance, r.t, j->B, "loss/%s/t_sampled", name);
        vectors_hold(j->v, tolerance, r.nats, j->B * j->L, "loss/%s/per_token_nats", name);
        vectors_hold(j->v, tolerance, r.slope, j->B * j->row, "loss/%s/grad_logits", name);
        vectors_hold(j->v, tolerance, r.again, j->B * j->row,
                     "loss/%s/grad_logits_reconstruction", name);
    }
    pf_method_masked.close(m);
    pf_free(mem);
    return PF_OK;
}

/* ---- what is said ---- */

static PF_MUST_USE pf_status hold_forward(const job *j)
{
    static const char *const kinds[][2] = {
        {"d3pm;time=finite", "log_p_d3pm"}, {"subs", "log_p_subs"}, {"sedd", "log_score_sedd"}};
    const vectors_array *sigma = vectors_find(j->v, "forward/sigma"),
                        *xt = vectors_find(j->v, "forward/x_t");
    if (!sigma || !xt || xt->size != sigma->size * j->L) return PF_OK;
    size_t n = sigma->size;
    double *out = pf_zalloc(n * j->row * sizeof *out);
    PF_REQUIRE(out, PF_EMEM, "no memory for %zu rows", n);
    for (int k = 0; k < 3; k++) {
        char settings[128];
        pf_masked *m;
        snprintf(settings, sizeof settings, "estimator=mdlm;mask_logit=yes;predicts=%s",
                 kinds[k][0]);
        pf_status st = masked_open(settings, j->L, j->K, &m);
        if (st) {
            pf_free(out);
            return pf_trail(st, PF_WHERE);
        }
        for (size_t b = 0; b < n; b++) {
            int32_t x[POSITIONS_MAX];
            for (size_t l = 0; l < j->L; l++) x[l] = (int32_t)xt->v[b * j->L + l];
            toy_net_logits(&j->net, sigma->v[b], x, j->z);
            for (size_t l = 0; l < j->L; l++)
                pf_masked_say(m, sigma->v[b], x[l], (pf_cat_row){.d = j->z + l * j->V},
                              out + b * j->row + l * j->V);
        }
        vectors_hold(j->v, tolerance, out, n * j->row, "forward/%s", kinds[k][1]);
        pf_method_masked.close(m);
    }
    pf_free(out);
    return PF_OK;
}

/* ---- steps ---- */

/* One row of the group `sample` by a sampler; the denoiser draws without the mask. */
static void step(const job *j, const pf_masked *m, const double time[2], int denoises,
                 const double *u, int32_t *x)
{
    double log_p[SYMBOLS_MAX], log_w[SYMBOLS_MAX], sigma = pf_masked_sigma(&m->noise, time[0]);
    toy_net_logits(&j->net, sigma, x, j->z);
    for (size_t l = 0; l < j->L; l++) {
        if (x[l] < j->K) continue;
        pf_masked_say(m, sigma, x[l], (pf_cat_row){.d = j->z + l * j->V}, log_p);
        pf_masked_move(m, time[0], time[1], log_p, log_w);
        x[l] = denoises ? pf_cat_draw(j->K, log_p, u + l * j->V)
                        : pf_cat_draw((int)j->V, log_w, u + l * j->V);
    }
}

static PF_MUST_USE pf_status hold_sample(const job *j, const char *name)
{
    const vectors_array *t = vectors_find(j->v, "sample/t"),
                        *dt = vectors_find(j->v, "sample/dt"),
                        *xt = vectors_find(j->v, "sample/x_t"),
                        *u = vectors_find(j->v, "sample/uniform");
    int denoises = !strcmp(name, "denoiser");
    char settings[128];
    pf_masked *m;
    if (!t || !dt || !xt || !u || u->size != xt->size * j->V || j->V > SYMBOLS_MAX)
        return PF_OK;
    snprintf(settings, sizeof settings,
             "estimator=mdlm;schedule=loglinear;mask_logit=yes;bound=published;sampler=%s",
             denoises ? "analytic" : name);
    PF_TRY(masked_open(settings, j->L, j->K, &m));
    const double time[2] = {t->v[0], t->v[0] - dt->v[0]};
    double *out = pf_zalloc(xt->size * sizeof *out);
    for (size_t b = 0; out && b < xt->size / j->L; b++) {
        int32_t x[POSITIONS_MAX];
        for (size_t l = 0; l < j->L; l++) x[l] = (int32_t)xt->v[b * j->L + l];
        step(j, m, time, denoises, u->v + b * j->row, x);
        for (size_t l = 0; l < j->L; l++) out[b * j->L + l] = x[l];
    }
    if (out) vectors_hold(j->v, 0.0, out, xt->size, "sample/%s", name);
    pf_method_masked.close(m);
    pf_free(out);
    return PF_OK;
}

static PF_MUST_USE pf_status check_all(const job *j)
{
    static const char *const samplers[] = {"ddpm", "ddpm_cache", "analytic", "denoiser"};
    for (int k = 0; k < j->v->n; k++) {
        char name[64];
        if (sscanf(j->v->all[k].name, "loss/%63[^/]/", name) == 1 &&
            strstr(j->v->all[k].name, "/t_sampled"))
            PF_TRY(hold_variant(j, name));
    }
    PF_TRY(hold_forward(j));
    for (int k = 0; k < 4; k++) PF_TRY(hold_sample(j, samplers[k]));
    return PF_OK;
}

static pf_status check_mdlm(vectors *v)
{
    const vectors_array *x0 = vectors_find(v, "x0");
    job j = {.v = v, .T = masked_attribute(v, "T")};
    for (int k = 0; k < NOISES; k++) PF_TRY(hold_noise(v, k));
    if (!toy_net_open(v, "net", &j.net) || j.net.L > POSITIONS_MAX) return PF_OK;
    PF_REQUIRE(j.T > 0, PF_EFORMAT, "%s does not say how many steps it has", v->path);
    j.V = j.net.K;
    j.K = (int)j.V - 1;
    j.L = j.net.L;
    j.B = x0 ? x0->size / j.L : 0;
    j.row = j.L * j.V;
    j.z = pf_zalloc(j.row * sizeof *j.z);
    PF_REQUIRE(j.z, PF_EMEM, "no memory for logits");
    pf_status st = check_all(&j);
    pf_free(j.z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_mdlm = {
    .stem = "mdlm",
    .inputs = (const char *const[]){"net", "x0", "uniform_t", "uniform_mask", "noise/*/t",
                                    "forward/sigma", "forward/x_t", "sample/t", "sample/dt",
                                    "sample/x_t", "sample/uniform", NULL},
    .check = check_mdlm};
