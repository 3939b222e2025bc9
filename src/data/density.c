/* Points of a 2-D density whose entropy is known: density:NAME:N[:SEED].
 *
 * N points become the training split and N/5 others the test split; the entropy [nats] and log p
 * of each point stand in the dataset, so that a likelihood can be compared with the truth.
 *
 *   checkerboard  uniform on the 8 squares of side 1 of [-2,2]^2 whose column and row have the same
 *                 parity; entropy log 8
 *   ring          8 equal Gaussians of standard deviation 1/5, their means on the circle of radius
 *                 3/2; entropy by quadrature
 *
 * Point i of split s is f(SEED, s, i): more points leave the first ones as they are. */
#include <probflow/memory.h>
#include <probflow/random.h>
#include "data/format.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 8, DRAWS = 3 };
static const double ring_radius = 1.5, ring_std = 0.2, two_pi = 6.283185307179586;
static const char prefix[] = "density:";

typedef struct density {
    const char *name;
    void (*point)(const double u[DRAWS], double x[2]); /* u uniform in [0,1) */
    double (*logp)(const double x[2]);                 /* nats; -inf outside the support */
    double (*entropy)(void);                           /* nats */
} density;

static void checkerboard_point(const double u[DRAWS], double x[2])
{
    double column = floor(4.0 * u[0]), pair = floor(2.0 * u[1]);
    x[0] = 4.0 * u[0] - 2.0;
    x[1] = 2.0 * pair + fmod(column, 2.0) + (2.0 * u[1] - pair) - 2.0;
}

static double checkerboard_logp(const double x[2])
{
    double column = floor(x[0] + 2.0), row = floor(x[1] + 2.0);
    int inside = column >= 0 && column < 4 && row >= 0 && row < 4;
    return inside && fmod(column + row, 2.0) == 0 ? -log(PARTS) : -INFINITY;
}

static double checkerboard_entropy(void)
{
    return log(PARTS);
}

static void ring_point(const double u[DRAWS], double x[2])
{
    double angle = two_pi * floor(PARTS * u[0]) / PARTS;
    double r = ring_std * sqrt(-2.0 * log1p(-u[1]));
    x[0] = ring_radius * cos(angle) + r * cos(two_pi * u[2]);
    x[1] = ring_radius * sin(angle) + r * sin(two_pi * u[2]);
}

static double ring_logp(const double x[2])
{
    double p = 0.0;
    for (int k = 0; k < PARTS; k++) {
        double dx = x[0] - ring_radius * cos(two_pi * k / PARTS);
        double dy = x[1] - ring_radius * sin(two_pi * k / PARTS);
        p += exp(-0.5 * (dx * dx + dy * dy) / (ring_std * ring_std));
    }
    return log(p / (PARTS * two_pi * ring_std * ring_std));
}

/* The trapezoidal rule on the plane converges faster than any power of its step for so smooth an
 * integrand; 10 standard deviations beyond the means p is below 1e-21. */
static double ring_entropy(void)
{
    double h = ring_std / 6.0, sum = 0.0;
    int n = (int)ceil((ring_radius + 10.0 * ring_std) / h);
    for (int i = -n; i <= n; i++)
        for (int j = -n; j <= n; j++) {
            double x[2] = {i * h, j * h}, l = ring_logp(x);
            if (l > -700.0) sum -= exp(l) * l;
        }
    return sum * h * h;
}

/* clang-format off */
static const density densities[] = {
    {"checkerboard", checkerboard_point, checkerboard_logp, checkerboard_entropy},
    {"ring",         ring_point,         ring_logp,         ring_entropy},
};
/* clang-format on */
enum { DENSITIES = sizeof densities / sizeof densities[0] };

static int knows(const pf_source *s)
{
    return pf_source_is_drawn(s->path);
}

typedef struct request {
    const density *d;
    int64_t n;
    uint64_t seed;
} request;

/* ":DIGITS" within [least, most]: what follows it; else NULL. */
static const char *number(const char *s, long long least, long long most, long long *v)
{
    char *end;
    if (*s != ':' || s[1] < '0' || s[1] > '9') return NULL;
    errno = 0;
    *v = strtoll(s + 1, &end, 10);
    return errno || *v < least || *v > most ? NULL : end;
}

static PF_MUST_USE pf_status parse(const char *spec, request *r)
{
    const char *name = spec + sizeof prefix - 1;
    size_t length = strcspn(name, ":");
    char known[128] = "";
    long long n = 0, seed = 1;
    for (int i = 0; i < DENSITIES; i++) {
        if (strlen(densities[i].name) == length && !strncmp(densities[i].name, name, length))
            r->d = &densities[i];
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 densities[i].name);
    }
    PF_REQUIRE(r->d, PF_EARG, "%s names no known density (%s)", spec, known);
    const char *rest = number(name + length, 5, 100000000, &n);
    if (rest && *rest) rest = number(rest, 0, LLONG_MAX, &seed);
    PF_REQUIRE(rest && !*rest, PF_EARG,
               "%s: want density:NAME:N[:SEED] with N from 5 to 100000000", spec);
    r->n = n;
    r->seed = (uint64_t)seed;
    return PF_OK;
}

static PF_MUST_USE pf_status draw_split(const char *spec, const request *r, int split,
                                        int64_t n, pf_table *t)
{
    unsigned char *values = NULL;
    const pf_space l = {.kind = PF_REAL, .shape = {1, 1, 2}, .levels = 0};
    PF_TRY(pf_table_rows(t, spec, split, n, l, &values));
    t->split[split].logp = pf_zalloc((size_t)n * sizeof(double));
    PF_REQUIRE(t->split[split].logp, PF_EMEM, "no memory for %lld points", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        pf_draw d = {r->seed, PF_STREAM_DATA, (uint64_t)i, (uint32_t)split};
        double u[DRAWS], x[2];
        for (size_t k = 0; k < DRAWS; k++) u[k] = pf_draw_uniform_f64(&d, k);
        r->d->point(u, x);
        t->split[split].logp[i] = r->d->logp(x);
        memcpy(values + (size_t)i * sizeof x, x, sizeof x);
    }
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    request r = {0};
    PF_TRY(parse(s->path, &r));
    PF_REQUIRE(t->space.shape.h == 0, PF_EFORMAT, "%s: a density makes a dataset alone",
               s->path);
    PF_REQUIRE(s->given == PF_SPLIT_UNSAID, PF_EARG,
               "--split: %s draws the splits train and test itself", s->path);
    s->how = "drawn";
    t->has_entropy = 1;
    t->entropy = r.d->entropy();
    PF_TRY(draw_split(s->path, &r, PF_TRAIN, r.n, t));
    PF_TRY(draw_split(s->path, &r, PF_TEST, r.n / 5, t));
    return PF_OK;
}

int pf_source_is_drawn(const char *path)
{
    return !strncmp(path, prefix, sizeof prefix - 1);
}

const pf_format pf_format_density = {"density", knows, read};
