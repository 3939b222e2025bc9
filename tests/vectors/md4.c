/* md4: schedules, losses with gradients and the call in bits, steps of sampling, and the bound over all masks. */
#include "masked.h"

#include "quadrature.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-10, by_quadrature = 1e-8;
enum { POSITIONS_MAX = 12, STATES_MAX = 1 << 12, NODES = 96, BATCHES = 2048 };

pf_status masked_open(const char *settings, size_t L, int K, pf_masked **out)
{
    const pf_space space = {.kind = PF_TOKENS, .shape = {1, 1, (int)L}, .levels = K};
    pf_method m;
    char text[512], *save = NULL;
    void *self;
    PF_TRY(pf_method_init("masked", &m));
    snprintf(text, sizeof text, "%s", settings);
    for (char *s = strtok_r(text, ";", &save); s; s = strtok_r(NULL, ";", &save)) {
        char *value = strchr(s, '=');
        *value++ = 0;
        PF_TRY(pf_opt_set(m.ops->opts, "method", s, value, &m.opt));
    }
    PF_TRY(m.ops->open(&m.opt, &space, &self));
    *out = self;
    return PF_OK;
}

int masked_attribute(const vectors *v, const char *name)
{
    char *text = vectors_attr(v, "%s", name);
    int n = text ? atoi(text) : 0;
    pf_free(text);
    return n;
}

typedef struct job {
    vectors *v;
    toy_net net, net0; /* net0.L 0: there is none */
    int T, K;
    size_t B, L, row; /* row: L K */
    const double *x, *t, *u;
    double *z; /* [L,K] */
} job;

/* Settings of the schedule that a group is named after: linear, cosine, poly<w>. */
static void settings_of(const char *name, int T, const char *more, char *out, size_t n)
{
    double w = 0.0;
    if (sscanf(name, "poly%lf", &w) == 1)
        snprintf(out, n, "bound=published;schedule=poly;power=%.17g;steps=%d%s", w, T, more);
    else snprintf(out, n, "bound=published;schedule=%s;steps=%d%s", name, T, more);
}

/* ---- schedules ---- */

static PF_MUST_USE pf_status hold_schedule(const job *j, const char *name)
{
    char settings[256];
    pf_masked *m;
    const vectors_array *t = vectors_find(j->v, "schedule/%s/t", name);
    if (!t) return PF_OK;
    settings_of(name, 1, "", settings, sizeof settings);
    PF_TRY(masked_open(settings, 1, 2, &m));
    double *a = pf_zalloc(4 * t->size * sizeof *a), *slope = a + t->size,
           *gamma = slope + t->size, *snr = gamma + t->size;
    for (size_t i = 0; a && i < t->size; i++) {
        a[i] = pf_masked_alpha(&m->noise, t->v[i]);
        slope[i] = pf_masked_slope(&m->noise, t->v[i]);
        gamma[i] = -pf_masked_at_time(m, t->v[i]).weight;
        snr[i] = log(a[i] / pf_masked_hidden(&m->noise, t->v[i]));
    }
    if (a) {
        vectors_hold(j->v, tolerance, a, t->size, "schedule/%s/alpha", name);
        vectors_hold(j->v, tolerance, slope, t->size, "schedule/%s/dalpha", name);
        vectors_hold(j->v, tolerance, gamma, t->size, "schedule/%s/dgamma_times_alpha", name);
        vectors_hold(j->v, tolerance, snr, t->size, "schedule/%s/log_snr", name);
    }
    pf_method_masked.close(m);
    pf_free(a);
    return PF_OK;
}

/* ---- losses ---- */

/* Nats of sample b at a time, with slopes g [L,K] (NULL: unwanted) and what is shown z [L]. */
static double sample_loss(const job *j, const pf_masked *m, const pf_masked_at *a, size_t b,
                          double *g, double *shown)
{
    int32_t z[POSITIONS_MAX];
    double sum = 0.0;
    for (size_t l = 0; l < j->L; l++) {
        int hides = pf_masked_hides(m, a, j->u[b * j->L + l]);
        z[l] = hides ? j->K : (int32_t)j->x[b * j->L + l];
        if (shown) shown[l] = z[l];
    }
    toy_net_logits(&j->net, a->cond / 1000.0, z, j->z);
    for (size_t l = 0; l < j->L; l++) {
        size_t at = l * (size_t)j->K;
        if (z[l] == j->K)
            sum += pf_masked_entry(m, a, (int)j->x[b * j->L + l], (pf_cat_row){.d = j->z + at},
                                   1.0, (pf_cat_slope){.d = g ? g + at : NULL});
    }
    return sum;
}

static PF_MUST_USE pf_status hold_losses(const job *j, const char *name, const char *kind)
{
    char settings[256];
    pf_masked *m;
    settings_of(name, j->T, !strcmp(kind, "discrete") ? ";time=finite;cond=time" : ";cond=time",
                settings, sizeof settings);
    PF_TRY(masked_open(settings, j->L, j->K, &m));
    double *mem = pf_zalloc(j->B * (2 + j->L + j->row) * sizeof *mem), *t = mem + j->B,
           *z = t + j->B, *g = z + j->B * j->L;
    double recon = (double)j->L * m->first, unit = (double)j->L * M_LN2, call[4] = {0};
    for (size_t b = 0; mem && b < j->B; b++) {
        pf_masked_at a = pf_masked_when(m, j->t[b]);
        t[b] = a.t;
        mem[b] = sample_loss(j, m, &a, b, g + b * j->row, z + b * j->L);
        a = pf_masked_when(m, fmod(0.37 + (double)b / (double)j->B, 1.0));
        call[1] += sample_loss(j, m, &a, b, NULL, NULL) / ((double)j->B * unit);
    }
    call[2] = recon / unit;
    call[3] = m->prior * (double)j->L / unit;
    call[0] = call[1] + call[2] + call[3];
    if (mem) {
        vectors_hold(j->v, tolerance, mem, j->B, "%s/%s/loss_diff_nats", name, kind);
        vectors_hold(j->v, tolerance, t, j->B, "%s/%s/t_used", name, kind);
        vectors_hold(j->v, 0.0, z, j->B * j->L, "%s/%s/z", name, kind);
        vectors_hold(j->v, tolerance, g, j->B * j->row, "%s/%s/grad_logits", name, kind);
        vectors_hold(j->v, tolerance, &recon, 1, "%s/%s/loss_recon_nats", name, kind);
        vectors_hold(j->v, tolerance, call, 1, "%s/%s/call_loss", name, kind);
        vectors_hold(j->v, tolerance, call + 1, 1, "%s/%s/call_loss_diff", name, kind);
        vectors_hold(j->v, tolerance, call + 2, 1, "%s/%s/call_loss_recon", name, kind);
        vectors_hold(j->v, tolerance, call + 3, 1, "%s/%s/call_loss_prior", name, kind);
    }
    pf_method_masked.close(m);
    pf_free(mem);
    return PF_OK;
}

/* ---- sampling ---- */

typedef struct draws {
    const double *z, *gumbel, *unmask;
    double *ancestral, *mean; /* [n,L] */
    size_t n;
} draws;

static void draw(const job *j, const pf_masked *m, const double time[2], const draws *d)
{
    size_t V = (size_t)j->K + 1;
    double log_p[64], log_w[64], shown = pf_masked_shown(m, time[0], time[1]);
    int32_t z[POSITIONS_MAX];
    for (size_t b = 0; b < d->n; b++) {
        for (size_t l = 0; l < j->L; l++) z[l] = (int32_t)d->z[b * j->L + l];
        toy_net_logits(&j->net, time[0], z, j->z);
        for (size_t l = 0; l < j->L; l++) {
            size_t at = b * j->L + l;
            const double *u = d->gumbel + at * V;
            d->ancestral[at] = d->mean[at] = z[l];
            if (z[l] < j->K) continue;
            pf_masked_say(m, 0.0, z[l], (pf_cat_row){.d = j->z + l * (size_t)j->K}, log_p);
            pf_masked_move(m, time[0], time[1], log_p, log_w);
            d->ancestral[at] = pf_cat_draw((int)V, log_w, u);
            if (d->unmask[at] < shown) d->mean[at] = pf_cat_draw(j->K, log_p, u);
        }
    }
}

/* Group NAME/sample_GRID/i<k>. */
static PF_MUST_USE pf_status hold_step(const job *j, const char *name, const char *grid, int k)
{
    char settings[256], more[96], group[192];
    pf_masked *m;
    snprintf(group, sizeof group, "%s/sample_%s/i%d", name, grid, k);
    const vectors_array *z = vectors_find(j->v, "%s/z", group),
                        *g = vectors_find(j->v, "%s/uniform_gumbel", group),
                        *u = vectors_find(j->v, "%s/uniform_unmask", group);
    size_t n = z ? z->size : 0;
    if (!z || !g || !u || n % j->L || g->size != n * ((size_t)j->K + 1) || u->size != n ||
        j->K > 62)
        return PF_OK;
    snprintf(more, sizeof more, ";grid=%s", grid);
    settings_of(name, j->T, more, settings, sizeof settings);
    PF_TRY(masked_open(settings, j->L, j->K, &m));
    const double time[2] = {pf_masked_grid_time(m, j->T - k),
                            pf_masked_grid_time(m, j->T - k - 1)};
    double shown = pf_masked_shown(m, time[0], time[1]), *mem = pf_zalloc(2 * n * sizeof *mem);
    const draws d = {z->v, g->v, u->v, mem, mem + n, n / j->L};
    if (mem) {
        draw(j, m, time, &d);
        vectors_hold(j->v, tolerance, time, 1, "%s/t", group);
        vectors_hold(j->v, tolerance, time + 1, 1, "%s/s", group);
        vectors_hold(j->v, tolerance, &shown, 1, "%s/unmask_prob", group);
        vectors_hold(j->v, 0.0, d.ancestral, n, "%s/ancestral", group);
        vectors_hold(j->v, 0.0, d.mean, n, "%s/mean_step", group);
    }
    pf_method_masked.close(m);
    pf_free(mem);
    return PF_OK;
}

/* ---- all masks ---- */

typedef struct exact {
    size_t S, M;                  /* data, masks */
    double *cost;                 /* [M,L] of one datum: -log p of entry l behind mask M */
    double *elbo, *log_p, *limit; /* [S] */
    double *by_count; /* [S,L+1] cost of all entries behind masks of m entries, summed */
} exact;

static void find_costs(const job *j, const pf_masked *m, const int32_t *x, const exact *e)
{
    int32_t z[POSITIONS_MAX];
    const pf_masked_at a = {.scale = 1.0, .weight = 1.0};
    for (size_t mask = 1; mask < e->M; mask++) {
        for (size_t l = 0; l < j->L; l++) z[l] = mask >> l & 1 ? j->K : x[l];
        toy_net_logits(&j->net0, 0.0, z, j->z);
        for (size_t l = 0; l < j->L; l++)
            e->cost[mask * j->L + l] =
                mask >> l & 1
                    ? pf_masked_entry(m, &a, x[l], (pf_cat_row){.d = j->z + l * (size_t)j->K},
                                      0.0, (pf_cat_slope){NULL, NULL})
                    : 0.0;
    }
}

/* log of the mean over orders of the product of chances, from the masked entries of `mask` on. */
static double orders(const job *j, const exact *e)
{
    double chance[1 << POSITIONS_MAX];
    chance[0] = 1.0;
    for (size_t mask = 1; mask < e->M; mask++) {
        chance[mask] = 0.0;
        for (size_t l = 0; l < j->L; l++)
            if (mask >> l & 1)
                chance[mask] += exp(-e->cost[mask * j->L + l]) *
                                chance[mask & ~((size_t)1 << l)] / __builtin_popcountll(mask);
    }
    return log(chance[e->M - 1]);
}

static void sum_costs(const job *j, const exact *e, size_t s)
{
    double *by = e->by_count + s * (j->L + 1), coefficient = 1.0, L = (double)j->L;
    for (size_t mask = 1; mask < e->M; mask++)
        for (size_t l = 0; l < j->L; l++)
            by[__builtin_popcountll(mask)] += e->cost[mask * j->L + l];
    for (size_t m = j->L; m > 0; m--) { /* (m-1)! (L-m)!/L! */
        coefficient = m == j->L ? 1.0 / L : coefficient * (L - (double)m) / (double)m;
        e->elbo[s] -= coefficient * by[m];
    }
    e->log_p[s] = orders(j, e);
    e->limit[s] = 0.5 * (by[j->L] - by[1]);
}

/* What one time adds to the integral of datum s. */
static double at_time(const job *j, const exact *e, const pf_masked_at *a, size_t s)
{
    double sum = 0.0;
    for (size_t m = 1; m <= j->L; m++)
        sum += pow(a->hidden, (double)m) * pow(a->alpha, (double)(j->L - m)) *
               e->by_count[s * (j->L + 1) + m];
    return a->scale * a->weight * sum;
}

static PF_MUST_USE pf_status hold_integral(const job *j, const exact *e, const char *name)
{
    char settings[256];
    double x[NODES], w[NODES];
    pf_masked *m;
    if (!vectors_find(j->v, "exact/%s/total_nats", name)) return PF_OK;
    settings_of(name, 1, "", settings, sizeof settings);
    PF_TRY(masked_open(settings, j->L, j->K, &m));
    double *sum = pf_zalloc(2 * e->S * sizeof *sum), *total = sum + e->S;
    /* t = v^q, of which powers of t are polynomials */
    double q = m->noise.kind == PF_MASKED_POLY ? 4.0 / m->noise.power : 4.0;
    gauss_legendre(NODES, x, w);
    for (size_t s = 0; sum && s < e->S; s++) {
        for (int i = 0; i < NODES; i++) {
            const pf_masked_at a = pf_masked_at_time(m, pow(x[i], q));
            sum[s] += w[i] * q * pow(x[i], q - 1.0) * at_time(j, e, &a, s);
        }
        total[s] = sum[s] + (double)j->L * m->first;
    }
    if (sum) {
        vectors_hold(j->v, by_quadrature, sum, e->S, "exact/%s/diffusion_loss_nats", name);
        vectors_hold(j->v, by_quadrature, total, e->S, "exact/%s/total_nats", name);
    }
    pf_method_masked.close(m);
    pf_free(sum);
    return PF_OK;
}

static PF_MUST_USE pf_status hold_finite(const job *j, const exact *e)
{
    const vectors_array *T = vectors_find(j->v, "exact/finite_T/T");
    if (!T) return PF_OK;
    double *total = pf_zalloc(T->size * e->S * sizeof *total);
    for (size_t k = 0; total && k < T->size; k++) {
        char settings[128];
        pf_masked *m;
        snprintf(settings, sizeof settings, "time=finite;eps=0;steps=%d", (int)T->v[k]);
        pf_status st = masked_open(settings, j->L, j->K, &m);
        if (st) {
            pf_free(total);
            return pf_trail(st, PF_WHERE);
        }
        for (int i = 1; i <= m->opt.steps; i++) {
            const pf_masked_at a = pf_masked_at_step(m, i);
            for (size_t s = 0; s < e->S; s++)
                total[k * e->S + s] += at_time(j, e, &a, s) / m->opt.steps;
        }
        pf_method_masked.close(m);
    }
    if (total)
        vectors_hold(j->v, by_quadrature, total, T->size * e->S, "exact/finite_T/total_nats");
    vectors_hold(j->v, by_quadrature, e->limit, e->S, "exact/finite_T/limit_of_T_times_excess");
    pf_free(total);
    return PF_OK;
}

static PF_MUST_USE pf_status hold_exact(const job *j, const exact *e)
{
    vectors_hold(j->v, by_quadrature, e->elbo, e->S, "exact/elbo_nats");
    vectors_hold(j->v, by_quadrature, e->log_p, e->S, "exact/log_p_nats");
    for (int k = 0; k < j->v->n; k++) {
        char name[64] = "";
        if (sscanf(j->v->all[k].name, "exact/%63[^/]/total_nats", name) == 1 &&
            strcmp(name, "finite_T"))
            PF_TRY(hold_integral(j, e, name));
    }
    PF_TRY(hold_finite(j, e));
    return PF_OK;
}

static PF_MUST_USE pf_status check_exact(const job *j)
{
    const vectors_array *x = vectors_find(j->v, "exact/x");
    if (!x || !j->net0.L || j->L > POSITIONS_MAX || x->size / j->L > STATES_MAX) return PF_OK;
    exact e = {.S = x->size / j->L, .M = (size_t)1 << j->L};
    pf_masked *m;
    PF_TRY(masked_open("", j->L, j->K, &m));
    double *mem = pf_zalloc((e.M * j->L + e.S * (j->L + 4)) * sizeof *mem);
    pf_status st = mem ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for all masks");
    e.cost = mem;
    e.elbo = mem + e.M * j->L;
    e.log_p = e.elbo + e.S;
    e.limit = e.log_p + e.S;
    e.by_count = e.limit + e.S;
    for (size_t s = 0; !st && s < e.S; s++) {
        int32_t d[POSITIONS_MAX];
        for (size_t l = 0; l < j->L; l++) d[l] = (int32_t)x->v[s * j->L + l];
        find_costs(j, m, d, &e);
        sum_costs(j, &e, s);
    }
    if (!st) st = hold_exact(j, &e);
    pf_method_masked.close(m);
    pf_free(mem);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- all of it ---- */

/* Batches for which published code, which steps from 0 by 1/B until 1, has one time too many. */
static void hold_batches(const job *j)
{
    const vectors_array *a = vectors_find(j->v, "antithetic_bad_batch_sizes_float64");
    double bad[BATCHES];
    size_t n = 0;
    if (!a) return;
    int most = a->size ? (int)a->v[a->size - 1] : 0;
    for (int B = 1; B <= most && n < BATCHES; B++)
        if (ceil(1.0 / (1.0 / B)) > B) bad[n++] = B;
    vectors_hold(j->v, 0.0, bad, n, "antithetic_bad_batch_sizes_float64");
}

static PF_MUST_USE pf_status check_groups(const job *j)
{
    for (int k = 0; k < j->v->n; k++) {
        char a[64], b[64];
        int i;
        const char *name = j->v->all[k].name;
        if (sscanf(name, "schedule/%63[^/]/%63s", a, b) == 2 && !strcmp(b, "t"))
            PF_TRY(hold_schedule(j, a));
        if (!j->z) continue;
        if (j->B && sscanf(name, "%63[^/]/%63[^/]", a, b) == 2 && strcmp(a, "exact") &&
            strstr(name, "/loss_diff_nats"))
            PF_TRY(hold_losses(j, a, b));
        if (sscanf(name, "%63[^/]/sample_%63[^/]/i%d/", a, b, &i) == 3 &&
            strstr(name, "/unmask_prob"))
            PF_TRY(hold_step(j, a, b, i));
    }
    if (j->z) PF_TRY(check_exact(j));
    return PF_OK;
}

static pf_status check_md4(vectors *v)
{
    const vectors_array *x = vectors_find(v, "x"), *t = vectors_find(v, "t"),
                        *u = vectors_find(v, "uniform_mask");
    job j = {.v = v, .T = masked_attribute(v, "timesteps")};
    hold_batches(&j);
    if (!toy_net_open(v, "net0", &j.net0)) j.net0.L = 0;
    if (!toy_net_open(v, "net", &j.net)) j.net = j.net0;
    if (j.net.L && j.net.L <= POSITIONS_MAX) {
        j.K = (int)j.net.K;
        j.L = j.net.L;
        j.row = j.L * j.net.K;
        j.z = pf_zalloc(j.row * sizeof *j.z);
        PF_REQUIRE(j.z, PF_EMEM, "no memory for logits");
    }
    if (j.z && x && t && u && x->size == t->size * j.L && u->size == x->size) {
        j.B = t->size;
        j.x = x->v;
        j.t = t->v;
        j.u = u->v;
    }
    pf_status st = check_groups(&j);
    pf_free(j.z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_md4 = {
    .stem = "md4",
    .inputs = (const char *const[]){"net", "net0", "x", "t", "uniform_mask", "schedule/*/t",
                                    "*/*/*/z", "*/*/*/uniform_gumbel", "*/*/*/uniform_unmask",
                                    "exact/x", "exact/finite_T/T", NULL},
    .check = check_md4};
