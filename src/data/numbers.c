/* Values of any number type and order of axes -> pixels, labels or doubles, each exactly or not at all.
 *
 * Everything but bytes passes through doubles; an integer that no double holds becomes NaN, which no
 * target takes.  Source of the half format: IEEE 754-2008, 3.4. */
#include <math.h>
#include <string.h>
#include "data/arrays.h"

enum { BLOCK = 4096 };

typedef struct walk {
    const pf_target *t;
    int64_t at[PF_ARRAY_RANK];
    int64_t offset;   /* in values of the target */
    int64_t bad;      /* least row that does not fit; -1: none */
    double bad_value; /* in it */
} walk;

/* ---- loading ---- */

static void swap(unsigned char *to, const unsigned char *from, size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < size; k++) to[i * size + k] = from[i * size + size - 1 - k];
}

static double half(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h >> 15 ? -v : v;
}

static double whole(int64_t v)
{
    return v >= -(INT64_C(1) << 53) && v <= INT64_C(1) << 53 ? (double)v : NAN;
}

#define LOAD(type, how)                         \
    for (size_t i = 0; i < n; i++) {            \
        type v;                                 \
        memcpy(&v, b + i * sizeof v, sizeof v); \
        f[i] = how;                             \
    }

static void load_floats(int size, const unsigned char *b, size_t n, double *f)
{
    if (size == 2) LOAD(uint16_t, half(v))
    else if (size == 4) LOAD(float, (double)v)
    else LOAD(double, v)
}

static void load_signed(int size, const unsigned char *b, size_t n, double *f)
{
    if (size == 1) LOAD(int8_t, v)
    else if (size == 2) LOAD(int16_t, v)
    else if (size == 4) LOAD(int32_t, v)
    else LOAD(int64_t, whole(v))
}

static void load_unsigned(int size, const unsigned char *b, size_t n, double *f)
{
    if (size == 1) LOAD(uint8_t, v)
    else if (size == 2) LOAD(uint16_t, v)
    else if (size == 4) LOAD(uint32_t, v)
    else LOAD(uint64_t, v > INT64_MAX ? NAN : whole((int64_t)v))
}

static void load(const pf_named *a, const unsigned char *b, size_t n, double *f)
{
    unsigned char turned[BLOCK * 8];
    if (a->swapped && a->size > 1) {
        swap(turned, b, n, (size_t)a->size);
        b = turned;
    }
    if (a->type == PF_NUMBER_FLOAT) load_floats(a->size, b, n, f);
    else if (a->type == PF_NUMBER_SIGNED) load_signed(a->size, b, n, f);
    else load_unsigned(a->size, b, n, f);
}

/* ---- storing ---- */

static void mark(walk *w, int64_t at, double v)
{
    int64_t row = at / (int64_t)w->t->row;
    if (w->bad >= 0 && row >= w->bad) return;
    w->bad = row;
    w->bad_value = v;
}

/* n values along the fastest axis. */
static void store(walk *w, const double *f, size_t n)
{
    int64_t at = w->offset, step = w->t->stride[0];
    for (size_t i = 0; i < n; i++, at += step) {
        double v = f[i];
        int fits = isfinite(v);
        if (w->t->as == PF_AS_PIXELS) {
            fits = v >= 0 && v <= 255 && v == floor(v);
            ((uint8_t *)w->t->to)[at] = fits ? (uint8_t)v : 0;
        } else if (w->t->as == PF_AS_LABELS) {
            fits = v >= INT32_MIN && v <= INT32_MAX && v == floor(v);
            ((int32_t *)w->t->to)[at] = fits ? (int32_t)v : 0;
        } else ((double *)w->t->to)[at] = v;
        if (!fits) mark(w, at, v);
    }
}

static void store_bytes(walk *w, const unsigned char *b, size_t n)
{
    uint8_t *to = (uint8_t *)w->t->to + w->offset;
    int64_t step = w->t->stride[0];
    if (step == 1) memcpy(to, b, n);
    else
        for (size_t i = 0; i < n; i++) to[(int64_t)i * step] = b[i];
}

/* Moves on by n values along the fastest axis, at most to its end. */
static void advance(walk *w, size_t n)
{
    const pf_target *t = w->t;
    w->at[0] += (int64_t)n;
    w->offset += (int64_t)n * t->stride[0];
    for (int k = 0; k + 1 < t->axes && w->at[k] == t->dim[k]; k++) {
        w->offset += t->stride[k + 1] - t->dim[k] * t->stride[k];
        w->at[k] = 0;
        w->at[k + 1]++;
    }
}

static void place(walk *w, const pf_named *a, const unsigned char *b, size_t n)
{
    double f[BLOCK];
    int bytes = a->type == PF_NUMBER_UNSIGNED && a->size == 1 && w->t->as == PF_AS_PIXELS;
    while (n > 0) {
        size_t some = n < BLOCK ? n : BLOCK;
        if (!bytes) load(a, b, some, f);
        for (size_t at = 0; at < some;) {
            size_t left = (size_t)(w->t->dim[0] - w->at[0]), run = some - at;
            if (run > left) run = left;
            if (bytes) store_bytes(w, b + at, run);
            else store(w, f + at, run);
            advance(w, run);
            at += run;
        }
        b += some * (size_t)a->size;
        n -= some;
    }
}

static PF_MUST_USE pf_status refuse(const walk *w, const char *path, const pf_named *a)
{
    long long row = (long long)w->bad;
    double v = w->bad_value;
    PF_REQUIRE(a->type == PF_NUMBER_FLOAT || !isnan(v), PF_EFORMAT,
               "%s: row %lld of %s holds a number beyond 2^53, which no double holds", path,
               row, a->name);
    PF_REQUIRE(w->t->as != PF_AS_PIXELS, PF_EFORMAT,
               "%s: row %lld of %s holds the value %.17g; pixels are from 0 to 255, points are "
               "floats",
               path, row, a->name, v);
    PF_REQUIRE(w->t->as != PF_AS_LABELS, PF_EFORMAT,
               "%s: row %lld of %s is the label %.17g, which is no whole number of 32 bits",
               path, row, a->name, v);
    PF_FAIL(PF_EFORMAT, "%s: row %lld of %s holds a value that is not finite", path, row,
            a->name);
}

pf_status pf_numbers_move(const pf_arrays *from, const pf_named *a, const pf_target *t)
{
    walk w = {.t = t, .bad = -1};
    PF_TRY(from->begin(from->self, a));
    for (size_t done = 0; done < a->values;) {
        const unsigned char *b = NULL;
        size_t n = 0;
        PF_TRY(from->next(from->self, &b, &n));
        if (n > a->values - done) n = a->values - done;
        place(&w, a, b, n);
        done += n;
    }
    PF_TRY(from->end(from->self));
    if (w.bad >= 0) PF_TRY(refuse(&w, from->s->path, a));
    return PF_OK;
}
