/* C = A' B over many rows: CHUNK of them at a time are put into blocks of 16 columns, so that the product runs
 * through whole cache lines, which rows of a power of two would keep mapping to the same few sets. */
#include "nn/kernels/fused/outer.h"
#include "nn/kernels/fused/gemm.h"
#include "nn/kernels/fused/rows.h"

#include <string.h>

enum { CHUNK = 128, PANEL = PF_GEMM_COLUMNS };

static size_t scratch(const pf_outer *o)
{
    return (size_t)o->M * (size_t)o->N + CHUNK * (size_t)(o->M + o->N);
}

/* x [rows,C] to blocks of CHUNK rows */
static void pack(int rows, int C, const float *x, float *to)
{
    for (int c = 0; c < C; c += PANEL, to += CHUNK * PANEL)
        for (int r = 0; r < rows; r++)
            memcpy(to + r * PANEL, x + (size_t)r * (size_t)C + c, PANEL * sizeof *x);
}

static void unpack(const pf_outer *o, const float *x, float *c)
{
    for (int j = 0; j < o->N; j += PANEL)
        for (int i = 0; i < o->M; i++, x += PANEL)
            memcpy(c + (size_t)i * (size_t)o->N + j, x, PANEL * sizeof *x);
}

static void run(const pf_outer *o, const float *a, const float *b, float *c, float *work)
{
    pf_blocked out = {work, o->M};
    pf_blocked left = {work + (size_t)o->M * (size_t)o->N, CHUNK};
    pf_blocked right = {left.at + (size_t)CHUNK * (size_t)o->M, CHUNK};
    pf_blocked_gemm g = {.M = o->M, .N = o->N, .transposed = 1};
    for (int first = 0; first < o->rows; first += CHUNK) {
        g.K = o->rows - first < CHUNK ? o->rows - first : CHUNK;
        g.add = first > 0;
        pack(g.K, o->M, a + (size_t)first * (size_t)o->M, left.at);
        pack(g.K, o->N, b + (size_t)first * (size_t)o->N, right.at);
        pf_blocked_gemm_run(&g, left, right, out);
    }
    unpack(o, out.at, c);
}

const pf_outer_ops pf_outer_product = {scratch, run, pf_fused_sum_rows};
