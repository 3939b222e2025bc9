/* State vector of the likelihood ODE: a serial N_Vector whose norm looks at each image alone.
 *
 *     image  |e|   = max over images b of max( rms over d of w e_bd, max over k of |w e_bk| )
 *            <a,b> = sum of a b over x entries / D  +  sum of a b over div entries
 *     group  |e|   = rms of w e over all entries,   <a,b> = mean of a b
 *
 * Both integrators test errors, choose first steps and stop their iterations by |w e| < c, which
 * holds for any norm; only the Krylov solver assumes more, an inner product whose norm bounds
 * |.|: the one above does, so its norm factor is 1 (CVODE's default, sqrt of the length, is for
 * a root mean square over everything).
 *
 * The serial operations read the content through its first member, so they serve unchanged;
 * clones are ours, because they carry the layout.  A clone must not fail: SUNDIALS 6.4 writes
 * through the NULL.  So all of them come from one arena, reserved before the solver starts.  The
 * masked norm is used by constraints only. */
#include "flow/state.h"

#include <math.h>
#include <nvector/nvector_serial.h>

/* The solvers clone 25 (CVODE) and 18 (ERKStep) times. */
enum { CLONES = 40 };

typedef struct content {
    struct _N_VectorContent_Serial serial;
    pf_layout lay;
    pf_arena *arena;
} content;

static const pf_layout *layout_of(N_Vector v)
{
    return &((const content *)v->content)->lay;
}

static double image_norm(const double *x, const double *w, int n)
{
    double s = 0.0;
    for (int i = 0; i < n; i++) s += x[i] * w[i] * (x[i] * w[i]);
    return sqrt(s / n);
}

static double norm(N_Vector v, N_Vector weight)
{
    const pf_layout *l = layout_of(v);
    const double *x = NV_DATA_S(v), *w = NV_DATA_S(weight);
    if (l->norm == PF_NORM_GROUP) return image_norm(x, w, (int)pf_layout_size(l));
    const double *dx = x + (size_t)l->B * l->D, *dw = w + (size_t)l->B * l->D;
    double most = 0.0;

    for (int b = 0; b < l->B; b++) {
        double e = image_norm(x + (size_t)b * l->D, w + (size_t)b * l->D, l->D);
        if (isnan(e)) return e; /* a comparison would drop it */
        most = fmax(most, e);
    }
    for (size_t i = 0; i < (size_t)l->B * l->K; i++) {
        double e = fabs(dx[i] * dw[i]);
        if (isnan(e)) return e;
        most = fmax(most, e);
    }
    return most;
}

static double dot(N_Vector u, N_Vector v)
{
    const pf_layout *l = layout_of(u);
    const double *a = NV_DATA_S(u), *b = NV_DATA_S(v);
    size_t nx = (size_t)l->B * l->D, n = pf_layout_size(l);
    double sx = 0.0, sd = 0.0;

    for (size_t i = 0; i < nx; i++) sx += a[i] * b[i];
    for (size_t i = nx; i < n; i++) sd += a[i] * b[i];
    if (l->norm == PF_NORM_GROUP) return (sx + sd) / (double)n;
    return sx / l->D + sd;
}

static void destroy(N_Vector v)
{
    if (!v) return;
    v->content = NULL; /* the arena's */
    N_VFreeEmpty(v);
}

static N_Vector clone_empty(N_Vector like)
{
    const content *old = like->content;
    N_Vector v = N_VNewEmpty(like->sunctx);
    PF_ASSERT(v && N_VCopyOps(like, v) == 0);
    content *c = v->content = pf_arena_alloc(old->arena, sizeof *c);
    PF_ASSERT(c);
    c->lay = old->lay;
    c->arena = old->arena;
    c->serial.length = (sunindextype)pf_layout_size(&c->lay);
    return v;
}

static N_Vector clone(N_Vector like)
{
    N_Vector v = clone_empty(like);
    content *c = v->content;
    c->serial.data = pf_arena_alloc(c->arena, (size_t)c->serial.length * sizeof(double));
    PF_ASSERT(c->serial.data);
    return v;
}

size_t pf_state_bytes(const pf_layout *l)
{
    enum { PADDING = 128 };
    return CLONES * (sizeof(content) + pf_layout_size(l) * sizeof(double) + PADDING);
}

pf_status pf_state_arena(const pf_layout *l, pf_arena **out)
{
    PF_TRY(pf_arena_create(pf_state_bytes(l), out));
    return PF_OK;
}

pf_status pf_state_create(const pf_layout *l, SUNContext ctx, pf_arena *a, N_Vector *out)
{
    N_Vector like = N_VNewEmpty_Serial((sunindextype)pf_layout_size(l), ctx);
    PF_REQUIRE(like, PF_EMEM, "no memory for the solver's state");

    void *serial = like->content;
    content mine = {.lay = *l, .arena = a};
    like->content = &mine;
    like->ops->nvclone = clone;
    like->ops->nvcloneempty = clone_empty;
    like->ops->nvdestroy = destroy;
    like->ops->nvwrmsnorm = norm;
    like->ops->nvdotprod = dot;
    *out = clone(like);

    like->content = serial;
    like->ops->nvdestroy = N_VDestroy_Serial;
    N_VDestroy(like);
    return PF_OK;
}
