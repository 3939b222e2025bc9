/* Samples of tokens: their arrays, their data set, the entropy of each position. */
#include "sample/tokens.h"

#include <probflow/memory.h>

#include <math.h>

pf_status pf_symbol_entropy(const pf_space *s, int64_t n, const double *x, double *entropy)
{
    size_t D = (size_t)pf_space_dim(s), K = (size_t)s->levels;
    int64_t *count = pf_zalloc(K * sizeof *count);
    PF_REQUIRE(count, PF_EMEM, "no memory for the counts of %zu symbols", K);
    for (size_t d = 0; d < D; d++) {
        int64_t all = 0;
        entropy[d] = 0.0;
        for (size_t k = 0; k < K; k++) count[k] = 0;
        for (int64_t i = 0; i < n; i++) {
            double v = x[(size_t)i * D + d];
            if (v >= 0.0 && v < (double)K) count[(size_t)v]++, all++;
        }
        for (size_t k = 0; k < K; k++)
            if (count[k])
                entropy[d] +=
                    (double)count[k] / (double)all * log2((double)all / (double)count[k]);
    }
    pf_free(count);
    return PF_OK;
}

static PF_MUST_USE pf_status make(pf_token_samples *t, const pf_sampling *s)
{
    const pf_space *space = &s->net->space;
    size_t n = (size_t)s->n, D = (size_t)pf_space_dim(space),
           bytes = pf_token_bytes(space->levels);
    t->bytes = bytes;
    t->values = pf_zalloc(n * D * bytes);
    t->length = pf_zalloc(n * sizeof *t->length);
    t->entropy = pf_zalloc(D * sizeof *t->entropy);
    PF_REQUIRE(t->values && t->length && t->entropy, PF_EMEM, "no memory for %zu samples", n);
    for (size_t i = 0; i < n; i++) {
        t->length[i] = pf_space_length(space, s->x + i * D);
        t->shorter |= (size_t)t->length[i] < D;
        for (size_t d = i * D; d < i * D + (size_t)t->length[i]; d++)
            if (bytes == 1) ((uint8_t *)t->values)[d] = (uint8_t)s->x[d];
            else if (bytes == 2) ((uint16_t *)t->values)[d] = (uint16_t)s->x[d];
            else ((int32_t *)t->values)[d] = (int32_t)s->x[d];
    }
    PF_TRY(pf_symbol_entropy(space, s->n, s->x, t->entropy));
    return PF_OK;
}

pf_status pf_token_samples_make(const pf_sampling *s, pf_token_samples *out)
{
    *out = (pf_token_samples){0};
    PF_TRY(make(out, s));
    return PF_OK;
}

void pf_token_samples_free(pf_token_samples *t)
{
    pf_free(t->values);
    pf_free(t->length);
    pf_free(t->entropy);
    *t = (pf_token_samples){0};
}

int pf_token_samples_arrays(const pf_token_samples *t, const pf_sampling *s, pf_out_array *to)
{
    int64_t D = pf_space_dim(&s->net->space);
    int n = 0;
    to[n++] = (pf_out_array){.name = "entropy", .rank = 1, .dim = {D}, .f64 = t->entropy};
    if (t->bytes == 4) return n; /* x says them */
    to[n] = (pf_out_array){.name = "tokens", .rank = 2, .dim = {s->n, D}};
    if (t->bytes == 1) to[n].u8 = t->values;
    else to[n].u16 = t->values;
    return n + 1;
}
