/* Blocks of up to 8 x 32 sums in registers.  Included by each file that makes a product, with
 *
 *     TARGET           attributes of the instruction set
 *     DOT(sum, x, y)   sum <- sum + x y of 16 pairs, the odd one first */
enum { L = 16, R = 8 };

TARGET PF_INLINE void load_part(pf_v16 *to, const float *from, int n)
{
    float part[L] = {0};
    memcpy(part, from, (size_t)n * sizeof *part);
    *to = pf_load16(part);
}

TARGET PF_INLINE void store_part(float *to, const pf_v16 *from, int n)
{
    float part[L];
    pf_store16(part, *from);
    memcpy(to, part, (size_t)n * sizeof *part);
}

/* rows x V vectors, the last of which has n columns */
TARGET PF_INLINE void block(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b,
                            float *c, const float *bias, const int rows, const int V,
                            const int n)
{
    pf_v16 sum[R][2], start[2] = {{0}};
    for (int v = 0; v < V && bias; v++) {
        if (v < V - 1 || n == L) start[v] = pf_load16(bias + v * L);
        else load_part(&start[v], bias + v * L, n);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < V; v++) {
            const float *at = c + (size_t)i * g->ldc + (size_t)(v * L);
            if (!g->add) sum[i][v] = start[v];
            else if (v < V - 1 || n == L) sum[i][v] = pf_load16(at);
            else load_part(&sum[i][v], at, n);
        }
    for (int k = 0; k < g->pairs; k++, a += g->column, b += g->ldb) {
        pf_w16 y[2];
        for (int v = 0; v < V; v++) memcpy(&y[v], b + v * L, sizeof y[v]);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            uint32_t word; /* stored as two halves or as one */
            memcpy(&word, a + (size_t)i * g->row, sizeof word);
            pf_w16 x = word + (pf_w16){0};
            for (int v = 0; v < V; v++) DOT(sum[i][v], x, y[v]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < V; v++) {
            float *at = c + (size_t)i * g->ldc + (size_t)(v * L);
            if (v < V - 1 || n == L) pf_store16(at, sum[i][v]);
            else store_part(at, &sum[i][v], n);
        }
}

/* All rows under V vectors */
TARGET PF_INLINE void panel(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b,
                            float *c, const float *bias, const int V, const int n)
{
    int i = 0;
    for (; i + R <= g->M; i += R)
        block(g, a + (size_t)i * g->row, b, c + (size_t)i * g->ldc, bias, R, V, n);
    for (; i + 2 <= g->M; i += 2)
        block(g, a + (size_t)i * g->row, b, c + (size_t)i * g->ldc, bias, 2, V, n);
    if (i < g->M) block(g, a + (size_t)i * g->row, b, c + (size_t)i * g->ldc, bias, 1, V, n);
}

TARGET PF_INLINE void all_panels(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b,
                                 float *c)
{
    int j = 0;
    for (; j + 2 * L <= g->N; j += 2 * L)
        panel(g, a, b + j, c + j, g->bias ? g->bias + j : NULL, 2, L);
    for (; j + L <= g->N; j += L) panel(g, a, b + j, c + j, g->bias ? g->bias + j : NULL, 1, L);
    if (j < g->N) panel(g, a, b + j, c + j, g->bias ? g->bias + j : NULL, 1, g->N - j);
}
