/* Blocks of sums in registers.  Included by each file that makes a product, with
 *
 *     R                          rows of a block, which has two vectors of columns
 *     TERMS                      steps in which a pair of terms is multiplied
 *     factor, FACTOR(words, i)   what step i takes of a vector of words
 *     MULTIPLY_ADD(sum, x, y)    sum <- sum + x y */
#ifndef PROBFLOW_SRC_NN_KERNELS_BF16_PRODUCT_BLOCK_H
#define PROBFLOW_SRC_NN_KERNELS_BF16_PRODUCT_BLOCK_H

enum { V = PF_LANES };

#define load_words(p)                \
    __extension__({                  \
        pf_words w_;                 \
        memcpy(&w_, (p), sizeof w_); \
        w_;                          \
    })

/* wide: 1 with a right vector */
PF_INLINE void block(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b, float *c,
                     const float *bias, const int rows, const int wide)
{
    const size_t row = g->row, column = g->column, ldb = g->ldb, ldc = g->ldc;
    pf_vec left[R], right[R], l0 = {0}, r0 = {0};
    if (bias) l0 = pf_load(bias);
    if (bias && wide) r0 = pf_load(bias + V);
    PF_UNROLL
    for (int i = 0; i < rows; i++) {
        left[i] = g->add ? pf_load(c + (size_t)i * ldc) : l0;
        if (wide) right[i] = g->add ? pf_load(c + (size_t)i * ldc + V) : r0;
    }
    const uint32_t *upper = a + 4 * row; /* two pointers for eight rows */
    for (int k = g->pairs; k > 0; k--, a += column, upper += column, b += ldb) {
        PF_UNROLL
        for (int term = 0; term < TERMS; term++) {
            pf_words u = load_words(b), w = wide ? load_words(b + V) : u;
            factor y = FACTOR(u, term), z = FACTOR(w, term);
            PF_UNROLL
            for (int i = 0; i < rows; i++) {
                float word; /* stored as two halves or as one; broadcast as it is */
                memcpy(&word, (i < 4 ? a : upper) + (size_t)(i % 4) * row, sizeof word);
                factor x = FACTOR((pf_words)(word - (pf_vec){0}), term);
                MULTIPLY_ADD(left[i], x, y);
                if (wide) MULTIPLY_ADD(right[i], x, z);
            }
        }
    }
    PF_UNROLL
    for (int i = 0; i < rows; i++) {
        pf_store(c + (size_t)i * ldc, left[i]);
        if (wide) pf_store(c + (size_t)i * ldc + V, right[i]);
    }
}

typedef void block_fn(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b, float *c,
                      const float *bias);

#define BLOCK(rows, wide)                                                                    \
    PF_OWN_REGISTERS void block_##rows##x##wide(const pf_bf16_product *g, const uint32_t *a, \
                                                const uint32_t *b, float *c,                 \
                                                const float *bias)                           \
    {                                                                                        \
        block(g, a, b, c, bias, rows, wide - 1);                                             \
    }
#define BLOCKS(rows) BLOCK(rows, 1) BLOCK(rows, 2)
BLOCKS(1)
BLOCKS(2)
#if defined(__AVX__)
BLOCKS(4)
#endif
#if defined(__AVX512F__)
BLOCKS(8)
#endif

static block_fn *const blocks[][2] = {
    [1] = {block_1x1, block_1x2},
    [2] = {block_2x1, block_2x2},
#if defined(__AVX__)
    [4] = {block_4x1, block_4x2},
#endif
#if defined(__AVX512F__)
    [8] = {block_8x1, block_8x2},
#endif
};

/* The last n columns, fewer than a vector, through whole vectors beside C. */
static void last_columns(block_fn *run, const pf_bf16_product *g, const uint32_t *a,
                         const uint32_t *b, float *c, const float *bias, int rows, int n)
{
    float part[R * V] = {0}, start[V] = {0};
    size_t bytes = (size_t)n * sizeof *c;
    pf_bf16_product beside = *g;
    beside.ldc = V;
    if (bias) memcpy(start, bias, bytes);
    for (int i = 0; g->add && i < rows; i++)
        memcpy(part + i * V, c + (size_t)i * g->ldc, bytes);
    run(&beside, a, b, part, start);
    for (int i = 0; i < rows; i++) memcpy(c + (size_t)i * g->ldc, part + i * V, bytes);
}

PF_INLINE void all_panels(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b,
                          float *c)
{
    for (int j = 0, wide; j < g->N; j += wide * V) {
        const float *bias = g->bias ? g->bias + j : NULL;
        wide = g->N - j < 2 * V ? 1 : 2;
        for (int i = 0, rows; i < g->M; i += rows) {
            const uint32_t *ai = a + (size_t)i * g->row;
            float *at = c + (size_t)i * g->ldc + j;
            for (rows = R; rows > g->M - i;) rows /= 2;
            block_fn *run = blocks[rows][wide - 1];
            if (g->N - j >= V) run(g, ai, b + j, at, bias);
            else last_columns(run, g, ai, b + j, at, bias, rows, g->N - j);
        }
    }
}

#endif
