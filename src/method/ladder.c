/* Noise levels: see ladder.h. */
#include <probflow/ladder.h>
#include <probflow/linalg.h>
#include <probflow/memory.h>

#include <math.h>

const char *const pf_ladder_words[] = {"geometric", "uniform", NULL};

void pf_ladder_fill(pf_ladder_kind kind, double begin, double end, int levels, double *sigma)
{
    double a = log(begin), b = log(end);
    for (int i = 0; i < levels; i++) {
        double u = levels > 1 ? (double)i / (levels - 1) : 0.0;
        sigma[i] = kind == PF_LADDER_UNIFORM ? begin + u * (end - begin) : exp(a + u * (b - a));
    }
    if (levels > 1) sigma[levels - 1] = end;
    sigma[0] = begin;
}

/* ---- largest distance ---- */

enum { BLOCK = 1024 };

typedef struct block {
    double *x, *square; /* [BLOCK,D], [BLOCK] */
    int64_t first, n;
} block;

typedef struct pairs {
    const pf_sample_source *src;
    block a, b;
    double *product; /* [BLOCK,BLOCK] */
    double largest;  /* squared */
} pairs;

static PF_MUST_USE pf_status read_block(const pf_sample_source *src, int64_t first, block *k)
{
    size_t D = (size_t)src->dim;
    k->first = first;
    k->n = src->n - first < BLOCK ? src->n - first : BLOCK;
    PF_TRY(src->read(src->self, first, k->n, k->x));
    for (int64_t i = 0; i < k->n; i++) {
        const double *x = k->x + (size_t)i * D;
        k->square[i] = 0.0;
        for (size_t d = 0; d < D; d++) k->square[i] += x[d] * x[d];
    }
    return PF_OK;
}

static double squared_distance(const pairs *p, int64_t i, int64_t j)
{
    size_t D = (size_t)p->src->dim;
    const double *x = p->a.x + (size_t)i * D, *y = p->b.x + (size_t)j * D;
    double sum = 0.0;
    for (size_t d = 0; d < D; d++) sum += (x[d] - y[d]) * (x[d] - y[d]);
    return sum;
}

/* |x - y|^2 = |x|^2 + |y|^2 - 2 x'y finds the block's largest pair, whose distance is then taken without cancelling. */
static void compare(pairs *p)
{
    const pf_gemm g = {0, 1, (int)p->a.n, (int)p->b.n, p->src->dim, 1.0, 0.0};
    double most = -1.0;
    int64_t at = 0, with = 0;
    pf_linalg_gemm(&g, p->a.x, p->b.x, p->product);
    for (int64_t i = 0; i < p->a.n; i++)
        for (int64_t j = 0; j < p->b.n; j++) {
            double d = p->a.square[i] + p->b.square[j] - 2.0 * p->product[i * p->b.n + j];
            if (d <= most) continue;
            most = d;
            at = i;
            with = j;
        }
    p->largest = fmax(p->largest, squared_distance(p, at, with));
}

static PF_MUST_USE pf_status compare_all(pairs *p)
{
    size_t D = (size_t)p->src->dim;
    double *all = p->product;
    PF_REQUIRE(all, PF_EMEM, "no memory for %d rows of %zu", 2 * BLOCK, D);
    p->a = (block){all + BLOCK * BLOCK, all + BLOCK * BLOCK + 2 * BLOCK * D, 0, 0};
    p->b = (block){p->a.x + BLOCK * D, p->a.square + BLOCK, 0, 0};
    for (int64_t i = 0; i < p->src->n; i += BLOCK) {
        PF_TRY(read_block(p->src, i, &p->a));
        for (int64_t j = i; j < p->src->n; j += BLOCK) {
            PF_TRY(read_block(p->src, j, &p->b));
            compare(p);
        }
    }
    return PF_OK;
}

pf_status pf_ladder_largest_distance(const pf_sample_source *src, double *out)
{
    PF_REQUIRE(src->n > 1, PF_EARG, "a distance needs two rows, there are %lld",
               (long long)src->n);
    size_t values = BLOCK * BLOCK + 2 * BLOCK * ((size_t)src->dim + 1);
    pairs p = {.src = src, .product = pf_zalloc(values * sizeof *p.product)};
    pf_status st = compare_all(&p);
    pf_free(p.product);
    *out = sqrt(p.largest);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- ratio, number, step ---- */

/* A zero of f, which falls from lo to hi, to the last bits. */
static double falls_to_zero(double (*f)(double x, const void *self), const void *self,
                            double lo, double hi)
{
    for (int i = 0; i < 200 && lo < 0.5 * (lo + hi) && 0.5 * (lo + hi) < hi; i++) {
        double mid = 0.5 * (lo + hi);
        if (f(mid, self) > 0.0) lo = mid;
        else hi = mid;
    }
    return 0.5 * (lo + hi);
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

static double overlap(double ratio, const void *D)
{
    double far = sqrt(2.0 * *(const double *)D) * (ratio - 1.0);
    return normal_cdf(far + 3.0 * ratio) - normal_cdf(far - 3.0 * ratio) - 0.5;
}

double pf_ladder_ratio(double D)
{
    double hi = 2.0;
    if (!(D >= 5.0)) return NAN;
    while (overlap(hi, &D) > 0.0) hi *= 2.0;
    return falls_to_zero(overlap, &D, 1.0, hi);
}

int pf_ladder_levels(double begin, double end, double ratio)
{
    return (int)ceil(log(begin / end) / log(ratio)) + 1;
}

double pf_ladder_variance(double ratio, double share, int T)
{
    double F = 2.0 / (2.0 - share);
    return pow(1.0 - share, 2.0 * T) * (ratio * ratio - F) + F;
}

typedef struct steps {
    double ratio;
    int T;
} steps;

/* Minus the derivative of the variance by the share: the variance has one minimum in (0, 1). */
static double gain(double share, const void *self)
{
    const steps *s = self;
    double F = 2.0 / (2.0 - share), slope = 0.5 * F * F;
    double kept = pow(1.0 - share, 2.0 * s->T - 1.0);
    return 2.0 * s->T * kept * (s->ratio * s->ratio - F) - (1.0 - kept * (1.0 - share)) * slope;
}

double pf_ladder_share(double ratio, int T)
{
    const steps s = {ratio, T};
    return falls_to_zero(gain, &s, 0.0, 1.0);
}
