/* C = A B for the small dense products of a convolution: a block of sums stays in registers while k
 * runs.  A is read by broadcasts, so its transpose costs the same.
 *
 * A block has two vectors of columns and as many rows as leave registers for them and a broadcast:
 * 8 of 32, 6 of 16 (twelve sums hide the latency of two multiply-adds a cycle), or 4 where the
 * product needs one of its own. */
#include "nn/kernels/fused/gemm.h"
#include "nn/kernels/fused/vec.h"

enum { V = PF_LANES, WIDE = 2, R = V == 16 ? 8 : V == 8 ? 6 : 4, PANEL = PF_GEMM_COLUMNS };

/* Rows of the next block when `left` are to come.  Eights are cut into sixes after one or two
 * fours. */
PF_INLINE int rows_of(int left)
{
    return R == 6 && left % R ? 4 : R;
}

/* wide: 1 with a right vector */
PF_INLINE void block(const pf_small_gemm *g, const float *a, const float *b, float *c,
                     const int rows, const int wide)
{
    const size_t N = (size_t)g->N, row = g->row, column = g->column;
    pf_vec left[R], right[R];
    PF_UNROLL
    for (int i = 0; i < rows; i++) {
        const float *at = c + (size_t)i * N;
        left[i] = g->add ? pf_load(at) : (pf_vec){0};
        if (wide) right[i] = g->add ? pf_load(at + V) : (pf_vec){0};
    }
    for (int k = g->K; k > 0; k--, a += column, b += N) {
        pf_vec y = pf_load(b), z = wide ? pf_load(b + V) : y;
        PF_UNROLL
        for (int i = 0; i < rows; i++) {
            float x = a[(size_t)i * row];
            left[i] += x * y;
            if (wide) right[i] += x * z;
        }
    }
    PF_UNROLL
    for (int i = 0; i < rows; i++) {
        pf_store(c + (size_t)i * N, left[i]);
        if (wide) pf_store(c + (size_t)i * N + V, right[i]);
    }
}

typedef void block_fn(const pf_small_gemm *g, const float *a, const float *b, float *c);

#define BLOCKS(name, rows)                                                         \
    PF_OWN_REGISTERS void block_##name##x1(const pf_small_gemm *g, const float *a, \
                                           const float *b, float *c)               \
    {                                                                              \
        block(g, a, b, c, rows, 0);                                                \
    }                                                                              \
    PF_OWN_REGISTERS void block_##name##x2(const pf_small_gemm *g, const float *a, \
                                           const float *b, float *c)               \
    {                                                                              \
        block(g, a, b, c, rows, 1);                                                \
    }
BLOCKS(R, R)
BLOCKS(4, 4)

void pf_small_gemm_run(const pf_small_gemm *g, const float *a, const float *b, float *c)
{
    static block_fn *const most[] = {block_Rx1, block_Rx2}, *const four[] = {block_4x1,
                                                                             block_4x2};
    for (int j = 0, wide; j < g->N; j += V << wide) {
        wide = g->N - j >= WIDE * V;
        for (int i = 0, rows; i < g->M; i += rows) {
            rows = rows_of(g->M - i);
            (rows == R ? most : four)[wide](g, a + (size_t)i * g->row, b + j,
                                            c + (size_t)i * (size_t)g->N + j);
        }
    }
}

/* The same on matrices in blocks of columns: where the left and the right vectors of a block of sums
 * lie. */
typedef struct places {
    const float *b[WIDE];
    float *c[WIDE];
} places;

/* wide: 1 with right vectors.  A row of A runs through its blocks, `next` floats apart; a row of a
 * transposed A lies within one. */
PF_INLINE void blocked(const pf_blocked_gemm *g, const float *a, size_t next, const places *at,
                       const int rows, const int wide)
{
    size_t row = g->transposed ? 1 : PANEL, column = g->transposed ? PANEL : 1;
    pf_vec left[R], right[R];
    PF_UNROLL
    for (int i = 0; i < rows; i++) {
        left[i] = g->add ? pf_load(at->c[0] + i * PANEL) : (pf_vec){0};
        if (wide) right[i] = g->add ? pf_load(at->c[1] + i * PANEL) : (pf_vec){0};
    }
    for (int k = 0; k < g->K; k += PANEL, a += next) {
        int n = g->K - k < PANEL ? g->K - k : PANEL;
        const float *x = a;
        for (int l = k; l < k + n; l++, x += column) {
            pf_vec y = pf_load(at->b[0] + l * PANEL),
                   z = wide ? pf_load(at->b[1] + l * PANEL) : y;
            PF_UNROLL
            for (int i = 0; i < rows; i++) {
                left[i] += x[(size_t)i * row] * y;
                if (wide) right[i] += x[(size_t)i * row] * z;
            }
        }
    }
    PF_UNROLL
    for (int i = 0; i < rows; i++) {
        pf_store(at->c[0] + i * PANEL, left[i]);
        if (wide) pf_store(at->c[1] + i * PANEL, right[i]);
    }
}

/* Rows of the block at row i of a transposed A end with their block of columns. */
PF_INLINE int blocked_rows(const pf_blocked_gemm *g, int i)
{
    int left = g->M - i, within = PANEL - i % PANEL;
    return rows_of(g->transposed && within < left ? within : left);
}

typedef void blocked_fn(const pf_blocked_gemm *g, const float *a, size_t next,
                        const places *at);

#define BLOCKED(name, rows)                                                            \
    PF_OWN_REGISTERS void blocked_##name##x1(const pf_blocked_gemm *g, const float *a, \
                                             size_t next, const places *at)            \
    {                                                                                  \
        blocked(g, a, next, at, rows, 0);                                              \
    }                                                                                  \
    PF_OWN_REGISTERS void blocked_##name##x2(const pf_blocked_gemm *g, const float *a, \
                                             size_t next, const places *at)            \
    {                                                                                  \
        blocked(g, a, next, at, rows, 1);                                              \
    }
BLOCKED(R, R)
BLOCKED(4, 4)

/* Vectors from column j on, and one beside it. */
PF_INLINE places places_of(const pf_blocked *b, const pf_blocked *c, int j)
{
    places at;
    for (int v = 0; v < WIDE; v++, j += V) {
        size_t block = (size_t)(j / PANEL) * PANEL, in = (size_t)(j % PANEL);
        at.b[v] = b->at + block * (size_t)b->rows + in;
        at.c[v] = c->at + block * (size_t)c->rows + in;
    }
    return at;
}

void pf_blocked_gemm_run(const pf_blocked_gemm *g, pf_blocked a, pf_blocked b, pf_blocked c)
{
    static blocked_fn *const most[] = {blocked_Rx1, blocked_Rx2}, *const four[] = {blocked_4x1,
                                                                                   blocked_4x2};
    size_t block_a = (size_t)a.rows * PANEL, next = g->transposed ? PANEL * PANEL : block_a;
    for (int j = 0, wide; j < g->N; j += V << wide) {
        places at = places_of(&b, &c, j);
        wide = g->N - j >= WIDE * V;
        for (int i = 0, rows; i < g->M; i += rows) {
            const float *ai = a.at + (size_t)i * PANEL;
            if (g->transposed) ai = a.at + (size_t)(i / PANEL) * block_a + (size_t)(i % PANEL);
            rows = blocked_rows(g, i);
            (rows == R ? most : four)[wide](g, ai, next, &at);
            for (int v = 0; v < WIDE; v++) at.c[v] += (size_t)rows * PANEL;
        }
    }
}
