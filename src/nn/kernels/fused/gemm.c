/* C = A B for the small dense products of a convolution: a block of 8 x 32 sums stays in
 * registers while k runs.  A is read by broadcasts, so its transpose costs the same. */
#include <nn/kernels/fused/gemm.h>
#include <nn/kernels/fused/vec.h>

enum { R = PF_GEMM_ROWS, V = PF_GEMM_COLUMNS };

/* V2 vectors wide */
PF_INLINE void block(const pf_small_gemm *g, const float *a, const float *b, float *c, int V2)
{
    const size_t N = (size_t)g->N;
    pf_v16 sum[R][2];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
        for (int v = 0; v < V2; v++)
            sum[i][v] = g->add ? pf_load16(c + (size_t)i * N + (size_t)(v * V)) : (pf_v16){0};
    for (int k = 0; k < g->K; k++, a += g->column, b += N) {
        pf_v16 y[2];
        for (int v = 0; v < V2; v++) y[v] = pf_load16(b + v * V);
#pragma GCC unroll 8
        for (int i = 0; i < R; i++) {
            float x = a[(size_t)i * g->row];
            for (int v = 0; v < V2; v++) sum[i][v] += x * y[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
        for (int v = 0; v < V2; v++) pf_store16(c + (size_t)i * N + (size_t)(v * V), sum[i][v]);
}

PF_CLONES void pf_small_gemm_run(const pf_small_gemm *g, const float *a, const float *b,
                                 float *c)
{
    for (int j = 0; j < g->N; j += 2 * V)
        for (int i = 0; i < g->M; i += R) {
            const float *ai = a + (size_t)i * g->row;
            float *ci = c + (size_t)i * (size_t)g->N + j;
            if (g->N - j >= 2 * V) block(g, ai, b + j, ci, 2);
            else block(g, ai, b + j, ci, 1);
        }
}

/* The same on matrices in blocks of columns.  A row of A runs through its blocks; a row of a
 * transposed A lies within one, as 8 divides 16. */
PF_INLINE void blocked(const pf_blocked_gemm *g, const float *a, size_t next,
                       const float *const b[2], float *const c[2], int V2)
{
    size_t row = g->transposed ? 1 : V, column = g->transposed ? V : 1;
    pf_v16 sum[R][2];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
        for (int v = 0; v < V2; v++) sum[i][v] = g->add ? pf_load16(c[v] + i * V) : (pf_v16){0};
    for (int k = 0; k < g->K; k += V, a += next) {
        int n = g->K - k < V ? g->K - k : V;
        const float *x = a;
        for (int l = k; l < k + n; l++, x += column) {
            pf_v16 y[2];
            for (int v = 0; v < V2; v++) y[v] = pf_load16(b[v] + l * V);
#pragma GCC unroll 8
            for (int i = 0; i < R; i++)
                for (int v = 0; v < V2; v++) sum[i][v] += x[(size_t)i * row] * y[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
        for (int v = 0; v < V2; v++) pf_store16(c[v] + i * V, sum[i][v]);
}

PF_CLONES void pf_blocked_gemm_run(const pf_blocked_gemm *g, pf_blocked a, pf_blocked b,
                                   pf_blocked c)
{
    size_t block_a = (size_t)a.rows * V, block_b = (size_t)b.rows * V;
    size_t block_c = (size_t)c.rows * V;
    size_t next = g->transposed ? V * V : block_a;
    for (int j = 0; j < g->N; j += 2 * V) {
        const float *at = b.at + (size_t)(j / V) * block_b;
        const float *const bj[2] = {at, at + block_b};
        for (int i = 0; i < g->M; i += R) {
            float *to = c.at + (size_t)(j / V) * block_c + (size_t)i * V;
            float *const cij[2] = {to, to + block_c};
            const float *ai = a.at + (size_t)i * V;
            if (g->transposed) ai = a.at + (size_t)(i / V) * block_a + (size_t)(i % V);
            if (g->N - j >= 2 * V) blocked(g, ai, next, bj, cij, 2);
            else blocked(g, ai, next, bj, cij, 1);
        }
    }
}
