/* D3PM: schedules and matrices; see d3pm.h.
 *
 * Of tables, with rows R_j = C_i[j,.] of j < h and mirrored ones for the others,
 *
 *     sum_j p_j C_i[j,k] = a_k + b_(V-1-k),   a = sum_(j<h) p_j R_j,   b = sum_(j<h) p_(V-1-j) R_j,   the middle once. */
#include "method/d3pm.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

static const double least_chance = 1e-40; /* of a step */
static const double least_kept = 1e-150;  /* of C, so that no product is a denormal */
static const double most_bytes = 16e9;

/* ---- schedules ---- */

static double cosine(double t)
{
    return cos((t + 0.008) / 1.008 * M_PI * 0.5);
}

void pf_d3pm_betas(pf_d3pm_schedule schedule, int T, const double ends[2], double *beta)
{
    for (int i = 0; i < T; i++) {
        double share = T > 1 ? i / (T - 1.0) : 0.0;
        if (schedule == PF_D3PM_JSD) beta[i] = 1.0 / (T - i);
        else if (schedule == PF_D3PM_COSINE)
            beta[i] = fmin(1.0 - cosine((i + 1.0) / T) / cosine((double)i / T), 0.999);
        else beta[i] = i + 1 < T ? ends[0] + share * (ends[1] - ends[0]) : ends[1];
    }
}

/* ---- tables ---- */

/* v [bands+1]: chances of distances. */
static void distances(const pf_d3pm_matrices *is, int bands, double beta, double *v)
{
    double sum = 0.0;
    for (int d = 0; d <= bands; d++) {
        double far = is->unit * d;
        v[d] = is->kind == PF_D3PM_UNIFORM ? beta / is->V : exp(-far * far / beta);
        sum += d ? 2.0 * v[d] : v[d];
    }
    for (int d = 0; d <= bands; d++) {
        if (is->kind == PF_D3PM_GAUSSIAN) v[d] /= sum;
        if (v[d] < least_chance) v[d] = 0.0;
    }
}

/* What is left for the diagonal of row j. */
static double left(const pf_d3pm_kernel *k, int i, int j)
{
    const double *v = k->step + (size_t)i * (size_t)(k->n + 1);
    double sum = 0.0;
    for (int d = k->n; d > 0; d--) sum += v[d] * ((j >= d) + (j + d < k->is.V));
    return 1.0 - sum;
}

/* out [V] = in [V] Q_i;  both have n zeros on each side. */
static void step_row(const pf_d3pm_kernel *k, int i, const double *in, double *out)
{
    const double *v = k->step + (size_t)i * (size_t)(k->n + 1),
                 *stay = k->stay + (size_t)i * (size_t)k->h;
    int V = k->is.V, n = k->n;
    for (int j = 0; j < V; j++) out[j] = in[j] * stay[j < k->h ? j : V - 1 - j];
    while (n > 0 && v[n] == 0.0) n--;
    for (int d = n; d > 0; d--) {
        const double each = v[d], *below = in - d, *above = in + d;
        for (int j = 0; j < V; j++) out[j] += each * (below[j] + above[j]);
    }
    for (int j = 0; j < V; j++) out[j] = out[j] < least_kept ? 0.0 : out[j];
}

static void fill_rows(pf_d3pm_kernel *k, double *pad)
{
    size_t V = (size_t)k->is.V, h = (size_t)k->h, n = (size_t)k->n;
    double *in = pad + n, *out = pad + V + 3 * n;
    for (size_t j = 0; j < h; j++) {
        memset(in, 0, V * sizeof *in);
        in[j] = 1.0;
        for (int i = 0; i < k->is.T; i++) {
            step_row(k, i, in, out);
            memcpy(k->rows + ((size_t)i * h + j) * V, out, V * sizeof *out);
            memcpy(in, out, V * sizeof *in);
        }
    }
}

static PF_MUST_USE pf_status open_tables(pf_d3pm_kernel *k)
{
    const pf_d3pm_matrices *is = &k->is;
    size_t T = (size_t)is->T, V = (size_t)is->V, h = (V + 1) / 2;
    int n = is->bands && is->bands < is->V ? is->bands : is->V - 1;
    double bytes = (double)(T * h * V) * sizeof *k->rows;
    PF_REQUIRE(
        is->V <= PF_D3PM_WIDE, PF_EARG,
        "kernels of method d3pm that know how far symbols are from each other are for %d "
        "of them at most, and these are %d; take the kernel absorbing, or uniform without "
        "bands",
        PF_D3PM_WIDE, is->V);
    PF_REQUIRE(bytes <= most_bytes, PF_EARG,
               "%d steps of %d symbols want a table of %.0f GB; set method.steps lower", is->T,
               is->V, bytes * 1e-9);
    k->n = n;
    k->h = (int)h;
    k->step = pf_zalloc(T * (size_t)(n + 1) * sizeof *k->step);
    k->stay = pf_zalloc(T * h * sizeof *k->stay);
    k->rows = pf_zalloc(T * h * V * sizeof *k->rows);
    double *pad = pf_zalloc((2 * V + 4 * (size_t)n) * sizeof *pad);
    if (k->step && k->stay && k->rows && pad) {
        for (size_t i = 0; i < T; i++) {
            distances(is, n, k->beta[i], k->step + i * (size_t)(n + 1));
            for (size_t j = 0; j < h; j++) k->stay[i * h + j] = left(k, (int)i, (int)j);
        }
        fill_rows(k, pad);
    }
    int ok = k->step && k->stay && k->rows && pad;
    pf_free(pad);
    PF_REQUIRE(ok, PF_EMEM, "no memory for the matrices of %d steps of %d symbols", is->T,
               is->V);
    return PF_OK;
}

pf_status pf_d3pm_kernel_open(const pf_d3pm_matrices *is, const double *beta, pf_d3pm_kernel *k)
{
    size_t T = (size_t)is->T;
    *k = (pf_d3pm_kernel){.is = *is};
    k->beta = pf_zalloc(2 * T * sizeof *k->beta);
    PF_REQUIRE(k->beta, PF_EMEM, "no memory for %d steps", is->T);
    k->kept = k->beta + T;
    memcpy(k->beta, beta, T * sizeof *beta);
    for (size_t i = 0; i < T; i++) k->kept[i] = (i ? k->kept[i - 1] : 1.0) * (1.0 - beta[i]);
    if (is->kind == PF_D3PM_GAUSSIAN || (is->kind == PF_D3PM_UNIFORM && is->bands))
        PF_TRY(open_tables(k));
    return PF_OK;
}

void pf_d3pm_kernel_close(pf_d3pm_kernel *k)
{
    pf_free(k->beta);
    pf_free(k->step);
    pf_free(k->stay);
    pf_free(k->rows);
    *k = (pf_d3pm_kernel){0};
}

size_t pf_d3pm_kernel_bytes(const pf_d3pm_kernel *k)
{
    size_t T = (size_t)k->is.T, h = (size_t)k->h;
    return sizeof(double) *
           (2 * T + (k->step ? T * ((size_t)k->n + 1 + h + h * (size_t)k->is.V) : 0));
}

/* ---- rows and columns ---- */

void pf_d3pm_column(const pf_d3pm_kernel *k, int i, int x, pf_d3pm_part part, double *c)
{
    double b = k->beta[i];
    int V = k->is.V;
    for (int j = part.from; j < part.from + part.n; j++) {
        int far = j < x ? x - j : j - x;
        double q = far ? 0.0 : 1.0 - b;
        if (!k->step) q += k->is.kind == PF_D3PM_UNIFORM ? b / V : x == k->is.mask ? b : 0.0;
        else if (!far)
            q = k->stay[(size_t)i * (size_t)k->h + (size_t)(x < k->h ? x : V - 1 - x)];
        else if (far <= k->n) q = k->step[(size_t)i * (size_t)(k->n + 1) + (size_t)far];
        c[j - part.from] = q;
    }
}

static const double *row_of(const pf_d3pm_kernel *k, int i, int j)
{
    return k->rows + ((size_t)i * (size_t)k->h + (size_t)j) * (size_t)k->is.V;
}

/* Of symbol s, what a closed form adds to the share that is kept. */
static double spread(const pf_d3pm_kernel *k, int i, int s)
{
    double moved = 1.0 - k->kept[i];
    return k->is.kind == PF_D3PM_UNIFORM ? moved / k->is.V : s == k->is.mask ? moved : 0.0;
}

void pf_d3pm_row(const pf_d3pm_kernel *k, int i, int x, pf_d3pm_part part, double *r)
{
    int V = k->is.V;
    for (int j = part.from; j < part.from + part.n; j++) {
        double q = j == x;
        if (i >= 0 && k->rows)
            q = x < k->h ? row_of(k, i, x)[j] : row_of(k, i, V - 1 - x)[V - 1 - j];
        else if (i >= 0) q = (j == x ? k->kept[i] : 0.0) + spread(k, i, j);
        r[j - part.from] = q;
    }
}

/* ---- products ---- */

static void add_row(int V, double p, const double *row, double *to)
{
    for (int k = 0; k < V; k++) to[k] += p * row[k];
}

static double dot(int V, const double *a, const double *b)
{
    double sum[4] = {0};
    int k = 0;
    for (; k + 4 <= V; k += 4)
        for (int e = 0; e < 4; e++) sum[e] += a[k + e] * b[k + e];
    for (; k < V; k++) sum[0] += a[k] * b[k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void turned(int V, const double *a, double *out)
{
    for (int k = 0; k < V; k++) out[k] = a[V - 1 - k];
}

void pf_d3pm_mix(const pf_d3pm_kernel *k, int i, const double *p, double least,
                 pf_d3pm_part part, double *w)
{
    int V = k->is.V;
    double other[PF_D3PM_WIDE];
    if (i < 0) memcpy(w, p, (size_t)part.n * sizeof *w);
    if (i >= 0 && !k->rows)
        for (int j = 0; j < part.n; j++) w[j] = k->kept[i] * p[j] + spread(k, i, part.from + j);
    if (i < 0 || !k->rows) return;
    memset(w, 0, (size_t)V * sizeof *w);
    memset(other, 0, (size_t)V * sizeof *other);
    for (int j = 0; j < k->h; j++) {
        int far = V - 1 - j;
        if (p[j] > least) add_row(V, p[j], row_of(k, i, j), w);
        if (far != j && p[far] > least) add_row(V, p[far], row_of(k, i, j), other);
    }
    for (int j = 0; j < V; j++) w[j] += other[V - 1 - j];
}

void pf_d3pm_back(const pf_d3pm_kernel *k, int i, const double *p, double least,
                  const double *s, pf_d3pm_part part, double *t)
{
    int V = k->is.V;
    double other[PF_D3PM_WIDE], kept = i < 0 ? 1.0 : k->kept[i];
    if (i < 0 || !k->rows) {
        for (int j = 0; j < part.n; j++) t[j] = kept * s[j];
        return;
    }
    turned(V, s, other);
    for (int j = 0; j < V; j++) {
        int mirrored = j >= k->h;
        t[j] = p[j] > least
                   ? dot(V, row_of(k, i, mirrored ? V - 1 - j : j), mirrored ? other : s)
                   : 0.0;
    }
}

int pf_d3pm_noised(const pf_d3pm_kernel *k, int i, int x, double u)
{
    int V = k->is.V, mirrored = x >= k->h, last = x;
    double kept = k->kept[i], until = 0.0;
    if (!k->rows) {
        if (u < kept) return x;
        return k->is.kind == PF_D3PM_ABSORBING ? k->is.mask
                                               : pf_cat_even(V, (u - kept) / (1.0 - kept));
    }
    const double *row = row_of(k, i, mirrored ? V - 1 - x : x);
    for (int j = 0; j < V; j++) {
        double q = row[mirrored ? V - 1 - j : j];
        if (q > 0.0) last = j; /* what rounding leaves above the sum */
        until += q;
        if (u < until) return j;
    }
    return last;
}
