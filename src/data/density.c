/* Rows of a distribution whose entropy is known: density:NAME:N[:SEED].
 *
 * N points become the training split and N/5 others the test split; the entropy [nats] and log p
 * of each point stand in the dataset, so that a likelihood can be compared with the truth.
 *
 *   checkerboard  uniform on the 8 squares of side 1 of [-2,2]^2 whose column and row have the same
 *                 parity; entropy log 8
 *   ring          8 equal Gaussians of standard deviation 1/5, their means on the circle of radius
 *                 3/2; entropy by quadrature
 *   swiss_roll    a (cos a, sin a)/10, a uniform on [3/2 pi, 9/2 pi], plus noise of standard deviation 1/1000;
 *                 density and entropy by quadrature
 *   heartbeat     20 bits, every fifth of them 1, the first one of five with equal chances; entropy log 5
 *   markov        text, rows of 32 of text8's 27 symbols: the first one with equal chances, and after symbol i symbol
 *                 5 i + 1 + r mod 27 with a chance z_r ~ (r + 1)^-2.  All symbols stay equally likely; entropy
 *                 log 27 + 31 H(z), H(z) = 2.0861 bits a symbol being the chain's rate
 *
 * drawn.c makes the splits. */
#include <probflow/memory.h>
#include <probflow/random.h>
#include "data/drawn.h"
#include "data/symbols.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 8, PERIOD = 5, BEATS = 20, SYMBOLS = 27, LETTERS = 32, VALUES_MAX = LETTERS };
enum { PLANE_DRAWS = 3, DRAWS_MAX = LETTERS };
static const double ring_radius = 1.5, ring_std = 0.2, two_pi = 6.283185307179586;
static const double roll_std = 1e-3, roll_turns = 1.5, roll_pitch = 0.1;

typedef struct density {
    const char *name;
    pf_space space;
    int draws;
    void (*point)(const double *u, double *x); /* u [draws] uniform in [0,1) */
    double (*logp)(const double *x);           /* nats; -inf outside the support */
    double (*entropy)(void);                   /* nats */
} density;

static void checkerboard_point(const double *u, double *x)
{
    double column = floor(4.0 * u[0]), pair = floor(2.0 * u[1]);
    x[0] = 4.0 * u[0] - 2.0;
    x[1] = 2.0 * pair + fmod(column, 2.0) + (2.0 * u[1] - pair) - 2.0;
}

static double checkerboard_logp(const double *x)
{
    double column = floor(x[0] + 2.0), row = floor(x[1] + 2.0);
    int inside = column >= 0 && column < 4 && row >= 0 && row < 4;
    return inside && fmod(column + row, 2.0) == 0 ? -log(PARTS) : -INFINITY;
}

static double checkerboard_entropy(void)
{
    return log(PARTS);
}

static void ring_point(const double *u, double *x)
{
    double angle = two_pi * floor(PARTS * u[0]) / PARTS;
    double r = ring_std * sqrt(-2.0 * log1p(-u[1]));
    x[0] = ring_radius * cos(angle) + r * cos(two_pi * u[2]);
    x[1] = ring_radius * sin(angle) + r * sin(two_pi * u[2]);
}

static double ring_logp(const double *x)
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

/* ---- the roll ---- */

/* The point at a share u of the angles. */
static void roll_at(double u, double *x)
{
    double a = two_pi * roll_turns * (0.5 + u);
    x[0] = roll_pitch * a * cos(a);
    x[1] = roll_pitch * a * sin(a);
}

static void roll_point(const double *u, double *x)
{
    double r = roll_std * sqrt(-2.0 * log1p(-u[1]));
    roll_at(u[0], x);
    x[0] += r * cos(two_pi * u[2]);
    x[1] += r * sin(two_pi * u[2]);
}

/* Points of the curve as far out as x, 10 standard deviations up to down, are all that count; Simpson's rule in
 * steps of an eighth of a standard deviation along it. */
static double roll_logp(const double *x)
{
    double per = two_pi * roll_turns * roll_pitch, out = hypot(x[0], x[1]) / per - 0.5;
    double reach = 10.0 * roll_std / per;
    double from = fmax(0.0, out - reach), to = fmin(1.0, out + reach), sum = 0.0;
    if (from >= to) return -INFINITY;
    int n = 2 * (int)ceil((to - from) * per * 1.5 * two_pi * roll_turns / roll_std * 4.0);
    for (int i = 0; i <= n; i++) {
        double c[2], weight = i == 0 || i == n ? 1.0 : i % 2 ? 4.0 : 2.0;
        roll_at(from + (to - from) * i / n, c);
        double d = hypot(x[0] - c[0], x[1] - c[1]) / roll_std;
        sum += weight * exp(-0.5 * d * d);
    }
    return log(sum * (to - from) / (3.0 * n) / (two_pi * roll_std * roll_std));
}

/* E -log p of points about the curve at u: the trapezoidal rule in the noise. */
static double roll_cost(double u)
{
    double c[2], sum = 0.0, h = 0.5;
    roll_at(u, c);
    for (int i = -14; i <= 14; i++)
        for (int j = -14; j <= 14; j++) {
            double x[2] = {c[0] + roll_std * h * i, c[1] + roll_std * h * j};
            sum -= h * h / two_pi * exp(-0.5 * h * h * (i * i + j * j)) * roll_logp(x);
        }
    return sum;
}

/* Simpson's rule along the curve, the ends, where it is rougher, by themselves. */
static double roll_entropy(void)
{
    const double per = two_pi * roll_turns * roll_pitch, end = 40.0 * roll_std / per;
    const double at[] = {0.0, end, 1.0 - end, 1.0};
    enum { STEPS = 40 };
    double sum = 0.0;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i <= STEPS; i++) {
            double weight = i == 0 || i == STEPS ? 1.0 : i % 2 ? 4.0 : 2.0;
            double u = at[k] + (at[k + 1] - at[k]) * i / STEPS;
            sum += weight * (at[k + 1] - at[k]) / (3.0 * STEPS) * roll_cost(u);
        }
    return sum;
}

/* ---- the beat ---- */

static void beat_point(const double *u, double *x)
{
    int first = (int)(PERIOD * u[0]);
    for (int i = 0; i < BEATS; i++) x[i] = i % PERIOD == first;
}

static double beat_logp(const double *x)
{
    int ones = 0, first = 0;
    while (first < PERIOD && x[first] != 1.0) first++;
    for (int i = first; i < BEATS; i += PERIOD) ones += x[i] == 1.0;
    for (int i = 0; i < BEATS; i++) ones -= x[i] == 1.0;
    return first < PERIOD && ones == 0 && x[first + BEATS - PERIOD] == 1.0 ? -log(PERIOD)
                                                                           : -INFINITY;
}

static double beat_entropy(void)
{
    return log(PERIOD);
}

/* ---- the text ---- */

/* z_r */
static double chance(int r)
{
    double sum = 0.0;
    for (int k = SYMBOLS; k > 0; k--) sum += 1.0 / (k * k);
    return 1.0 / ((r + 1) * (r + 1)) / sum;
}

/* How far behind the first that may follow symbol i symbol j stands. */
static int rank_after(int i, int j)
{
    return (j - 5 * i - 1 + 6 * SYMBOLS) % SYMBOLS;
}

static void text_point(const double *u, double *x)
{
    x[0] = floor(SYMBOLS * u[0]);
    for (int l = 1; l < LETTERS; l++) {
        int r = 0;
        double left = u[l];
        while (r < SYMBOLS - 1 && left >= chance(r)) left -= chance(r++);
        x[l] = (5 * (int)x[l - 1] + 1 + r) % SYMBOLS;
    }
}

static double text_logp(const double *x)
{
    double sum = -log(SYMBOLS);
    for (int l = 1; l < LETTERS; l++) sum += log(chance(rank_after((int)x[l - 1], (int)x[l])));
    return sum;
}

static double text_entropy(void)
{
    double rate = 0.0;
    for (int r = 0; r < SYMBOLS; r++) rate -= chance(r) * log(chance(r));
    return log(SYMBOLS) + (LETTERS - 1) * rate;
}

/* clang-format off */
#define PLANE {.kind = PF_REAL, .shape = {1, 1, 2}}
#define BITS {.kind = PF_LEVELS, .shape = {1, 1, BEATS}, .levels = 2}
#define TEXT {.kind = PF_TOKENS, .shape = {1, 1, LETTERS}, .levels = SYMBOLS}
static const density densities[] = {
    {"checkerboard", PLANE, PLANE_DRAWS, checkerboard_point, checkerboard_logp, checkerboard_entropy},
    {"ring",         PLANE, PLANE_DRAWS, ring_point,         ring_logp,         ring_entropy},
    {"swiss_roll",   PLANE, PLANE_DRAWS, roll_point,         roll_logp,         roll_entropy},
    {"heartbeat",    BITS,  1,           beat_point,         beat_logp,         beat_entropy},
    {"markov",       TEXT,  LETTERS,     text_point,         text_logp,         text_entropy},
};
/* clang-format on */
enum { DENSITIES = sizeof densities / sizeof densities[0] };

/* Symbols of text8, so that samples can be read. */
static PF_MUST_USE pf_status name_symbols(pf_table *t)
{
    pf_rule rule = {0};
    pf_status st = pf_rule_open("text8", &rule);
    if (!st) st = pf_vocabulary_text(&rule.v, &t->vocabulary);
    pf_rule_free(&rule);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static double draw_point(const void *self, const pf_draw *at, unsigned char *row)
{
    const density *d = self;
    const size_t D = pf_shape_entries(d->space.shape);
    double u[DRAWS_MAX], x[VALUES_MAX];
    for (size_t k = 0; k < (size_t)d->draws; k++) u[k] = pf_draw_uniform_f64(at, k);
    d->point(u, x);
    if (d->space.kind == PF_REAL) memcpy(row, x, D * sizeof *x);
    else
        for (size_t k = 0; k < D; k++) row[k] = (unsigned char)x[k];
    return d->logp(x);
}

static PF_MUST_USE pf_status parse(const char *spec, const density **d, pf_drawn *r)
{
    const char *name = spec + sizeof PF_DENSITY_PREFIX - 1;
    size_t length = strcspn(name, ":");
    char known[128] = "";
    for (int i = 0; i < DENSITIES; i++) {
        if (strlen(densities[i].name) == length && !strncmp(densities[i].name, name, length))
            *d = &densities[i];
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 densities[i].name);
    }
    PF_REQUIRE(*d, PF_EARG, "%s names no known density (%s)", spec, known);
    return pf_drawn_ask(spec, name + length, "density:NAME", r);
}

static pf_status read(pf_source *s, pf_table *t)
{
    const density *d = NULL;
    pf_drawn r = {.point = draw_point};
    PF_TRY(parse(s->path, &d, &r));
    r.self = d;
    r.space = d->space;
    r.entropy = d->entropy();
    if (d->space.kind == PF_TOKENS) PF_TRY(name_symbols(t));
    PF_TRY(pf_drawn_read(s, t, &r));
    return PF_OK;
}

static int knows(const pf_source *s)
{
    return !strncmp(s->path, PF_DENSITY_PREFIX, sizeof PF_DENSITY_PREFIX - 1);
}

const pf_format pf_format_density = {"density", knows, read};
