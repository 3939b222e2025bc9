/* IDX, the format of MNIST and its successors: big-endian, magic 0 0 TYPE RANK, then RANK sizes.
 * Unsigned bytes only; rank 3 or 4 are images, rank 1 are labels. */
#include "data/format.h"
#include <string.h>

static uint32_t big(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int knows(const pf_source *s)
{
    return !s->is_folder && s->n_head >= 8 && s->head[0] == 0 && s->head[1] == 0 &&
           s->head[2] >= 8 && s->head[2] <= 14 && s->head[3] >= 1 && s->head[3] <= 4;
}

static PF_MUST_USE pf_status parse(const char *path, const unsigned char *b, size_t n,
                                   pf_table *t)
{
    int rank = b[3], split = pf_split_of(path);
    uint32_t dim[4] = {0, 1, 1, 1};
    PF_REQUIRE(b[2] == 8, PF_EFORMAT, "%s: IDX type %d, only unsigned bytes (8) are images",
               path, b[2]);
    PF_REQUIRE(rank != 2, PF_EFORMAT, "%s: IDX of rank 2 is neither images nor labels", path);
    size_t head = 4 + 4 * (size_t)rank, want = 1;
    PF_REQUIRE(n >= head, PF_EFORMAT, "%s is truncated", path);
    for (int i = 0; i < rank; i++) {
        dim[i] = big(b + 4 + 4 * i);
        PF_REQUIRE(dim[i] > 0 && want <= SIZE_MAX / 2 / dim[i], PF_EFORMAT,
                   "%s: impossible IDX size", path);
        want *= dim[i];
    }
    PF_REQUIRE(n == head + want, PF_EFORMAT, "%s is truncated or too long: %zu of %zu bytes",
               path, n, head + want);
    if (rank == 1) {
        int32_t *labels = NULL;
        PF_TRY(pf_table_labels(t, split, dim[0], &labels));
        for (uint32_t i = 0; i < dim[0]; i++) labels[i] = b[head + i];
        return PF_OK;
    }
    PF_REQUIRE(dim[1] < 1 << 15 && dim[2] < 1 << 15 && dim[3] < 1 << 10, PF_EFORMAT,
               "%s: impossible image size", path);
    unsigned char *values = NULL;
    PF_TRY(pf_table_rows(t, path, split, dim[0],
                         (pf_shape){(int)dim[1], (int)dim[2], (int)dim[3]}, &values));
    memcpy(values, b + head, want);
    return PF_OK;
}

static pf_status read(const pf_source *s, pf_table *t)
{
    return pf_read_whole(s, parse, t);
}

const pf_format pf_format_idx = {"IDX", knows, read};
