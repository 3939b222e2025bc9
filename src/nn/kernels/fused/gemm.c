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
