/* Rows of logits, draws and ports of categories; see categorical.h. */
#include "method/categorical.h"

#include <math.h>
#include <string.h>

pf_cat_row pf_cat_row_at(pf_cat_row z, size_t at)
{
    return (pf_cat_row){z.f ? z.f + at : NULL, z.d ? z.d + at : NULL};
}

pf_cat_slope pf_cat_slope_at(pf_cat_slope g, size_t at)
{
    return (pf_cat_slope){g.f ? g.f + at : NULL, g.d ? g.d + at : NULL};
}

static double largest(int K, pf_cat_row z)
{
    double most = pf_cat_logit(z, 0);
    for (int k = 1; z.f && k < K; k++) most = (double)z.f[k] > most ? (double)z.f[k] : most;
    for (int k = 1; z.d && k < K; k++) most = z.d[k] > most ? z.d[k] : most;
    return most;
}

size_t pf_cat_chances(int K, pf_cat_row z, double shift, size_t from, double *p)
{
    size_t n = (size_t)K - from < PF_CAT_PIECE ? (size_t)K - from : PF_CAT_PIECE;
    for (size_t j = 0; j < n; j++) p[j] = exp(pf_cat_logit(z, from + j) - shift);
    return n;
}

static double sum_of(size_t n, const double *p)
{
    double sum[4] = {0};
    size_t j = 0;
    for (; j + 4 <= n; j += 4)
        for (size_t i = 0; i < 4; i++) sum[i] += p[j + i];
    for (; j < n; j++) sum[0] += p[j];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

double pf_cat_log_sum(int K, pf_cat_row z)
{
    double most = largest(K, z), sum = 0.0, p[PF_CAT_PIECE];
    for (size_t from = 0, n; from < (size_t)K; from += n) {
        n = pf_cat_chances(K, z, most, from, p);
        sum += sum_of(n, p);
    }
    return most + log(sum);
}

double pf_cat_cross_entropy(int K, pf_cat_row z, int k, double scale, pf_cat_slope g)
{
    double most = largest(K, z), sum = 0.0, p[PF_CAT_PIECE];
    for (size_t from = 0, n; from < (size_t)K; from += n) {
        n = pf_cat_chances(K, z, most, from, p);
        sum += sum_of(n, p);
        for (size_t j = 0; g.f && j < n; j++) g.f[from + j] = (float)p[j];
        for (size_t j = 0; g.d && j < n; j++) g.d[from + j] = p[j]; /* until the sum is known */
    }
    double nats = log(sum) - (pf_cat_logit(z, (size_t)k) - most), each = scale / sum;
    for (size_t j = 0; g.f && j < (size_t)K; j++) g.f[j] = (float)(each * (double)g.f[j]);
    for (size_t j = 0; g.d && j < (size_t)K; j++) g.d[j] *= each;
    /* p_k - 1 of a sure network is small: not as a difference */
    pf_cat_put(g, (size_t)k, scale * expm1(-nats));
    return nats;
}

void pf_cat_log_softmax(int K, pf_cat_row z, double *log_p)
{
    double sum = pf_cat_log_sum(K, z);
    for (int k = 0; k < K; k++) log_p[k] = pf_cat_logit(z, (size_t)k) - sum;
}

double pf_cat_kl(int K, const double *log_q, const double *log_p)
{
    double sum = 0.0;
    for (int k = 0; k < K; k++) {
        double q = exp(log_q[k]);
        if (q > 0.0) sum += q * (log_q[k] - log_p[k]);
    }
    return sum;
}

/* ---- draws ---- */

void pf_cat_uniform(const pf_draw *d, size_t first, size_t n, double *u)
{
    enum { PIECE = 64 };
    uint32_t word[2 * PIECE];
    for (size_t from = 0; from < n; from += PIECE) {
        size_t m = n - from < PIECE ? n - from : PIECE;
        pf_draw_bits(d, 2 * (first + from), 2 * m, word);
        for (size_t j = 0; j < m; j++) {
            uint64_t bits = ((uint64_t)word[2 * j] << 32 | word[2 * j + 1]) >> 11;
            u[from + j] = bits ? (double)bits * 0x1p-53 : 0x1p-54;
        }
    }
}

int pf_cat_draw(int K, const double *log_p, const double *u)
{
    double best = -INFINITY;
    int at = 0;
    for (int k = 0; k < K; k++) {
        double value = log_p[k] - log(-log(u[k]));
        if (value > best) {
            best = value;
            at = k;
        }
    }
    return at;
}

int pf_cat_even(int K, double u)
{
    int k = (int)(u * K);
    return k < K ? k : K - 1;
}

/* ---- data and ports ---- */

pf_status pf_cat_open(const pf_space *space, const char *name, pf_cat *out)
{
    PF_REQUIRE(space->kind != PF_REAL, PF_EARG,
               "%s is a method for tokens and levels, and these data are real numbers", name);
    PF_REQUIRE(space->levels > 1, PF_EARG,
               "%s is a method for two categories or more, and these data have %d", name,
               space->levels);
    *out = (pf_cat){.space = *space, .K = space->levels, .D = pf_shape_entries(space->shape)};
    return PF_OK;
}

int pf_cat_at(const pf_cat *c, double x)
{
    if (c->space.kind == PF_TOKENS) return (int)lround(fmin(fmax(x, PF_NO_TOKEN), c->K - 1));
    uint8_t k;
    pf_from_model(&c->space, 1, &x, &k);
    return k;
}

double pf_cat_place(const pf_cat *c, int k)
{
    return c->space.kind == PF_TOKENS ? k : 2.0 * k / (c->K - 1) - 1.0;
}

void pf_cat_datum(const pf_cat *c, int B, const double *x, double *out)
{
    for (size_t j = 0; j < (size_t)B * c->D; j++) out[j] = pf_cat_place(c, (int)x[j]);
}

int pf_cat_take(const pf_cat *c, const pf_batch *b, int s, int32_t *k)
{
    const uint8_t *levels = c->space.kind == PF_LEVELS ? b->k : NULL;
    size_t from = (size_t)s * c->D;
    int n = 0;
    for (size_t j = 0; j < c->D; j++) {
        k[j] = levels ? levels[from + j] : pf_cat_at(c, (double)b->x[from + j]);
        n += k[j] >= 0;
    }
    return n;
}

int pf_cat_likeliest(int K, pf_cat_row z)
{
    size_t best = 0;
    for (size_t k = 1; k < (size_t)K; k++)
        if (pf_cat_logit(z, k) > pf_cat_logit(z, best)) best = k;
    return (int)best;
}

void pf_cat_set_known(const pf_cat *c, const pf_move *how, int s, size_t j, double *x,
                      double *x0)
{
    if (!how->known || (how->mask && !how->mask[j])) return;
    *x = pf_cat_at(c, how->known[(size_t)s * c->D + j]);
    if (x0) *x0 = *x;
}

/* The shape of `per` numbers for each entry. */
static pf_shape per_entry(const pf_cat *c, int per)
{
    pf_shape s = c->space.shape;
    if (c->space.kind == PF_TOKENS) return (pf_shape){1, (int)c->D, per};
    return (pf_shape){s.h, s.w, s.c * per};
}

pf_ports pf_cat_ports(const pf_cat *c, int V, int columns)
{
    return (pf_ports){.n = PF_CAT_PORTS,
                      .port = {[PF_CAT_TOKENS] = {"tokens", per_entry(c, 1), 1, V},
                               [PF_CAT_X] = {.name = "x", .shape = per_entry(c, V)},
                               [PF_CAT_COND] = {.name = "cond", .shape = {1, 1, 1}}},
                      .out = per_entry(c, columns)};
}

void pf_cat_show(const pf_cat *c, int V, size_t row, const int32_t *k, double cond,
                 void *const *in)
{
    int32_t *tokens = in[PF_CAT_TOKENS];
    float *x = in[PF_CAT_X];
    size_t n = (size_t)V;
    if (tokens) memcpy(tokens + row * c->D, k, c->D * sizeof *k);
    if (x) memset(x + row * c->D * n, 0, c->D * n * sizeof *x);
    for (size_t j = 0; x && j < c->D; j++)
        if (k[j] >= 0) x[(row * c->D + j) * n + (size_t)k[j]] = 1.0f;
    if (in[PF_CAT_COND]) ((float *)in[PF_CAT_COND])[row] = (float)cond;
}
