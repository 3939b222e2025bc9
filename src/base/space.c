/* Spaces of data, and the one place where levels become model scale and come back. */
#include <probflow/space.h>

#include <math.h>
#include <stdio.h>

const char *const pf_grid_words[] = {"dequantised", "published", "centres", NULL};

size_t pf_shape_entries(pf_shape s)
{
    return (size_t)s.h * (size_t)s.w * (size_t)s.c;
}

int pf_shape_same(pf_shape a, pf_shape b)
{
    return a.h == b.h && a.w == b.w && a.c == b.c;
}

int pf_space_dim(const pf_space *s)
{
    return (int)pf_shape_entries(s->shape);
}

int pf_space_length(const pf_space *s, const double *x)
{
    int D = pf_space_dim(s), n = 0;
    if (s->kind != PF_TOKENS) return D;
    while (n < D && x[n] >= 0.0) n++;
    return n;
}

size_t pf_token_bytes(int levels)
{
    return levels > 0 && levels <= 256 ? 1 : levels > 0 && levels <= 65536 ? 2 : 4;
}

int pf_space_same(const pf_space *a, const pf_space *b, char *why, size_t n)
{
    static const char *const kinds[] = {"levels", "tokens", "real numbers"};
    pf_shape s = a->shape, t = b->shape;
    if (a->kind != b->kind) snprintf(why, n, "%s, not %s", kinds[a->kind], kinds[b->kind]);
    else if (!pf_shape_same(s, t))
        snprintf(why, n, "%dx%dx%d values a row, not %dx%dx%d", s.h, s.w, s.c, t.h, t.w, t.c);
    else if (a->levels != b->levels)
        snprintf(why, n, "%d levels, not %d", a->levels, b->levels);
    else return 1;
    return 0;
}

double pf_space_offset(const pf_space *s, double mean)
{
    return s->kind == PF_REAL ? 0.0 : log2(0.5 * s->levels / mean);
}

double pf_grid_step(const pf_space *s, pf_grid grid)
{
    return 2.0 / (grid == PF_GRID_PUBLISHED && s->levels > 1 ? s->levels - 1 : s->levels);
}

static double shift_of(pf_grid grid)
{
    return grid == PF_GRID_CENTRES ? 0.5 : 0.0;
}

void pf_to_model(const pf_space *s, pf_grid grid, size_t n, const uint8_t *k, const float *u,
                 double *x)
{
    double step = pf_grid_step(s, grid), shift = shift_of(grid);
    if (grid == PF_GRID_DEQUANTISED)
        for (size_t i = 0; i < n; i++) x[i] = step * (k[i] + (double)u[i]) - 1.0;
    else
        for (size_t i = 0; i < n; i++) x[i] = step * (k[i] + shift) - 1.0;
}

void pf_to_model_f32(const pf_space *s, pf_grid grid, size_t n, const uint8_t *k,
                     const float *u, float *x)
{
    double step = pf_grid_step(s, grid), shift = shift_of(grid);
    if (grid == PF_GRID_DEQUANTISED)
        for (size_t i = 0; i < n; i++) x[i] = (float)(step * (k[i] + (double)u[i]) - 1.0);
    else
        for (size_t i = 0; i < n; i++) x[i] = (float)(step * (k[i] + shift) - 1.0);
}

void pf_bins_to_model(const pf_space *s, size_t n, double *v)
{
    for (size_t i = 0; i < n; i++) v[i] = 2.0 * v[i] / s->levels - 1.0;
}

/* Published points lie inside their bins, k/(L-1) between k/L and (k+1)/L, the last on its bin's end. */
void pf_from_model(const pf_space *s, size_t n, const double *x, uint8_t *k)
{
    double half = 0.5 * s->levels, last = s->levels - 1;
    for (size_t i = 0; i < n; i++) {
        double v = floor(half * (x[i] + 1.0));
        k[i] = (uint8_t)(v < 0.0 ? 0.0 : v > last ? last : v);
    }
}

void pf_conditions_known(int C, size_t n, const double *v, float *out)
{
    for (size_t i = 0; i < n; i++) {
        for (int j = 0; j < C; j++) *out++ = (float)*v++;
        *out++ = 1.0f;
    }
}
