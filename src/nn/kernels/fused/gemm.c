/* C = A B for the small dense products of a convolution: a block of sums stays in registers while k
 * runs.  A is read by broadcasts, so its transpose costs the same.
 *
 * A block has two vectors of columns and as many rows as leave registers for them and a broadcast:
 * 8 of 32, 6 of 16 (twelve sums hide the latency of two multiply-adds a cycle), or 4 where the
 * product needs one of its own. */
#include <nn/kernels/fused/gemm.h>
#include <nn/kernels/fused/vec.h>

enum { V = PF_LANES, WIDE = 2, R = V == 16 ? 8 : V == 8 ? 6 : 4, PANEL = PF_GEMM_COLUMNS };

#if defined(__AVX512F__)
#define EACH_BLOCK(make) make(8, 1) make(8, 2)
#define TABLE_OF_BLOCKS(name)     \
    {                             \
        {name##_8x1, name##_8x2}, \
    }
#elif defined(__AVX__)
#define EACH_BLOCK(make) make(6, 1) make(6, 2) make(4, 1) make(4, 2)
#define TABLE_OF_BLOCKS(name)      \
    {                              \
        {name##_6x1, name##_6x2},  \
        {                          \
            name##_4x1, name##_4x2 \
        }                          \
    }
#else
#define EACH_BLOCK(make) make(4, 1) make(4, 2)
#define TABLE_OF_BLOCKS(name)     \
    {                             \
        {name##_4x1, name##_4x2}, \
    }
#endif

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

#define BLOCK(rows, wide)                                                               \
    PF_OWN_REGISTERS void block_##rows##x##wide(const pf_small_gemm *g, const float *a, \
                                                const float *b, float *c)               \
    {                                                                                   \
        block(g, a, b, c, rows, wide - 1);                                              \
    }
EACH_BLOCK(BLOCK)

void pf_small_gemm_run(const pf_small_gemm *g, const float *a, const float *b, float *c)
{
    static block_fn *const blocks[][WIDE] = TABLE_OF_BLOCKS(block);
    for (int j = 0, wide; j < g->N; j += wide * V) {
        wide = g->N - j < WIDE * V ? 1 : WIDE;
        for (int i = 0, rows; i < g->M; i += rows) {
            rows = rows_of(g->M - i);
            blocks[rows < R][wide - 1](g, a + (size_t)i * g->row, b + j,
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

/* wide: 1 with right vectors.  A row of A runs through its blocks, `next` floats apart; a row of a transposed A lies within one. */
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

#define BLOCKED(rows, wide)                                                                 \
    PF_OWN_REGISTERS void blocked_##rows##x##wide(const pf_blocked_gemm *g, const float *a, \
                                                  size_t next, const places *at)            \
    {                                                                                       \
        blocked(g, a, next, at, rows, wide - 1);                                            \
    }
EACH_BLOCK(BLOCKED)

void pf_blocked_gemm_run(const pf_blocked_gemm *g, pf_blocked a, pf_blocked b, pf_blocked c)
{
    static blocked_fn *const blocks[][WIDE] = TABLE_OF_BLOCKS(blocked);
    size_t block_a = (size_t)a.rows * PANEL, next = g->transposed ? PANEL * PANEL : block_a;
    size_t block_b = (size_t)b.rows * PANEL, block_c = (size_t)c.rows * PANEL;
    for (int j = 0, wide; j < g->N; j += wide * V) {
        places at;
        wide = g->N - j < WIDE * V ? 1 : WIDE;
        for (int v = 0; v < WIDE; v++) {
            size_t block = (size_t)((j + v * V) / PANEL), in = (size_t)((j + v * V) % PANEL);
            at.b[v] = b.at + block * block_b + in;
            at.c[v] = c.at + block * block_c + in;
        }
        for (int i = 0, rows; i < g->M; i += rows) {
            const float *ai = a.at + (size_t)i * PANEL;
            if (g->transposed) ai = a.at + (size_t)(i / PANEL) * block_a + (size_t)(i % PANEL);
            rows = blocked_rows(g, i);
            blocks[rows < R][wide - 1](g, ai, next, &at);
            for (int v = 0; v < WIDE; v++) at.c[v] += (size_t)rows * PANEL;
        }
    }
}
