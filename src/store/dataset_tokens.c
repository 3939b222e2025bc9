/* Tokens of a dataset: narrow as they are stored, or as int32, as files from before had them; and where rows end. */
#include "store/dataset.h"

#include <probflow/memory.h>

void pf_dataset_find_bytes(pf_dataset *d)
{
    hid_t stored = H5Dget_type(d->values);
    d->about.token_bytes = (int)pf_token_bytes(d->about.space.levels);
    if (stored <= 0 || H5Tequal(stored, pf_dataset_type(&d->about)) <= 0)
        d->about.token_bytes = sizeof(int32_t);
    if (stored > 0) H5Tclose(stored);
}

pf_status pf_dataset_lengths(pf_dataset *d, int64_t first, int64_t n, int32_t *out)
{
    if (d->about.has_lengths) PF_TRY(pf_dataset_integers(d, d->lengths, first, n, out));
    for (int64_t i = 0; i < n; i++) {
        if (!d->about.has_lengths) out[i] = (int32_t)d->row;
        PF_REQUIRE(out[i] > 0 && (size_t)out[i] <= d->row, PF_EFORMAT,
                   "%s: row %lld has the length %d, want 1 to %zu", d->path,
                   (long long)(first + i), out[i], d->row);
    }
    return PF_OK;
}

pf_status pf_dataset_mark_ends(pf_dataset *d, int64_t first, int64_t n, double *x)
{
    int32_t *length = pf_zalloc((size_t)n * sizeof *length);
    PF_REQUIRE(length, PF_EMEM, "no memory for %lld lengths", (long long)n);
    pf_status st = pf_dataset_lengths(d, first, n, length);
    for (int64_t i = 0; !st && i < n; i++)
        for (size_t k = (size_t)length[i]; k < d->row; k++)
            x[(size_t)i * d->row + k] = PF_NO_TOKEN;
    pf_free(length);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Tokens of `bytes` each; 4: int32. */
static int64_t token(const void *v, size_t bytes, size_t i)
{
    return bytes == 1   ? ((const uint8_t *)v)[i]
           : bytes == 2 ? ((const uint16_t *)v)[i]
                        : ((const int32_t *)v)[i];
}

/* The largest of n tokens; of negative ones, which int32 alone has, a larger one than any. */
static uint32_t largest(const void *v, size_t bytes, size_t n)
{
    const uint8_t *k8 = v;
    const uint16_t *k16 = v;
    const uint32_t *k32 = v;
    uint8_t of8 = 0;
    uint16_t of16 = 0;
    uint32_t of32 = 0;
    for (size_t i = 0; bytes == 1 && i < n; i++) of8 = k8[i] > of8 ? k8[i] : of8;
    for (size_t i = 0; bytes == 2 && i < n; i++) of16 = k16[i] > of16 ? k16[i] : of16;
    for (size_t i = 0; bytes == 4 && i < n; i++) of32 = k32[i] > of32 ? k32[i] : of32;
    return bytes == 1 ? of8 : bytes == 2 ? of16 : of32;
}

static PF_MUST_USE pf_status check_tokens(const pf_dataset *d, int64_t first, size_t n,
                                          size_t bytes, const void *v)
{
    const int64_t levels = d->about.space.levels ? d->about.space.levels : INT32_MAX;
    int bad = largest(v, bytes, n) >= levels;
    for (size_t i = 0; bad && i < n; i++)
        PF_REQUIRE(token(v, bytes, i) >= 0 && token(v, bytes, i) < levels, PF_EFORMAT,
                   "%s: row %lld holds the value %lld, the dataset has %d levels", d->path,
                   (long long)(first + (int64_t)(i / d->row)), (long long)token(v, bytes, i),
                   d->about.space.levels);
    return PF_OK;
}

/* Tokens that are stored wider than they need to be, a row at a time. */
static PF_MUST_USE pf_status read_wide(const pf_dataset *d, int64_t first, int64_t n,
                                       size_t bytes, void *out)
{
    int32_t *row = pf_zalloc(d->row * sizeof *row);
    PF_REQUIRE(row, PF_EMEM, "no memory for a row of %s", d->path);
    pf_status st = PF_OK;
    pf_dataset_column c = {d->values, H5T_NATIVE_INT32, d->row * sizeof *row};
    for (int64_t i = 0; !st && i < n; i++) {
        st = pf_dataset_read(d, c, first + i, 1, row);
        if (!st) st = check_tokens(d, first + i, d->row, sizeof *row, row);
        for (size_t k = 0, at = (size_t)i * d->row; !st && k < d->row; k++, at++)
            if (bytes == 1) ((uint8_t *)out)[at] = (uint8_t)row[k];
            else ((uint16_t *)out)[at] = (uint16_t)row[k];
    }
    pf_free(row);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_dataset_tokens(pf_dataset *d, int64_t first, int64_t n, void *out)
{
    const pf_dataset_info *a = &d->about;
    size_t bytes = pf_token_bytes(a->space.levels);
    PF_REQUIRE(a->space.kind == PF_TOKENS, PF_EARG, "%s holds no tokens", d->path);
    if (bytes < (size_t)a->token_bytes) {
        PF_TRY(read_wide(d, first, n, bytes, out));
        return PF_OK;
    }
    PF_TRY(pf_dataset_read(
        d, (pf_dataset_column){d->values, pf_dataset_type(a), d->row * bytes}, first, n, out));
    PF_TRY(check_tokens(d, first, (size_t)n * d->row, bytes, out));
    return PF_OK;
}
