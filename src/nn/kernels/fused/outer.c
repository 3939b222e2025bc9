/* C = A' B over many rows: CHUNK of them at a time are put into blocks of 16 columns, so that the product runs
 * through whole cache lines, which rows of a power of two would keep mapping to the same few sets; so would blocks of
 * CHUNK rows, hence ROOM.  Rows are read once, in order; their sum is made on the way, of a chunk in float and of
 * chunks in double. */
#include "nn/kernels/fused/outer.h"
#include "nn/kernels/fused/gemm.h"
#include "nn/kernels/fused/vec.h"

enum { CHUNK = 128, ROOM = CHUNK + 1, PANEL = PF_GEMM_COLUMNS };

/* C, chunks of A and B, sums in double and in float. */
static size_t scratch(const pf_outer *o)
{
    size_t M = (size_t)o->M, N = (size_t)o->N;
    return M * N + ROOM * (M + N) + 3 * M;
}

/* x [rows,C] to blocks of ROOM rows; sum: += their sum, NULL: not wanted */
static void pack(int rows, int C, const float *x, float *to, float *sum)
{
    for (int r = 0; r < rows; r++, x += C) {
        for (int c = 0; c < C; c += PANEL)
            memcpy(to + c * ROOM + r * PANEL, x + c, PANEL * sizeof *x);
        if (!sum) continue;
        PF_SIMD
        for (int c = 0; c < C; c++) sum[c] += x[c];
    }
}

static void take_sum(int M, float *part, double *sum)
{
    PF_SIMD
    for (int i = 0; i < M; i++) {
        sum[i] += (double)part[i];
        part[i] = 0.0f;
    }
}

static void unpack(const pf_outer *o, const float *x, float *c)
{
    for (int j = 0; j < o->N; j += PANEL)
        for (int i = 0; i < o->M; i++, x += PANEL)
            memcpy(c + (size_t)i * (size_t)o->N + j, x, PANEL * sizeof *x);
}

static void run(const pf_outer *o, const float *a, const float *b, const pf_outer_out *to,
                float *work)
{
    size_t M = (size_t)o->M, N = (size_t)o->N;
    pf_blocked out = {work, o->M}, left = {work + M * N, ROOM},
               right = {left.at + ROOM * M, ROOM};
    double *sum = (double *)(right.at + ROOM * N);
    float *part = (float *)(sum + M);
    pf_blocked_gemm g = {.M = o->M, .N = o->N, .transposed = 1};
    memset(sum, 0, 3 * M * sizeof *part);
    for (size_t first = 0; first < (size_t)o->rows; first += CHUNK) {
        size_t rest = (size_t)o->rows - first;
        g.K = rest < CHUNK ? (int)rest : CHUNK;
        g.add = first > 0;
        pack(g.K, o->M, a + first * M, left.at, to->sum ? part : NULL);
        pack(g.K, o->N, b + first * N, right.at, NULL);
        pf_blocked_gemm_run(&g, left, right, out);
        if (to->sum) take_sum(o->M, part, sum);
    }
    unpack(o, out.at, to->product);
    for (size_t i = 0; to->sum && i < M; i++) to->sum[i] = (float)sum[i];
}

const pf_outer_ops pf_outer_product = {scratch, run};
