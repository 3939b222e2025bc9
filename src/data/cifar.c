/* CIFAR-10 binary batches: records of one label byte and 3072 bytes, planes R, G, B of 32x32. */
#include "data/format.h"
#include <string.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE };

static int knows(const pf_source *s)
{
    const char *dot = strrchr(s->path, '.');
    return !s->is_folder && dot && !strcmp(dot, ".bin") && s->n_head > 0 && s->head[0] < 10;
}

static PF_MUST_USE pf_status parse(const char *path, const unsigned char *b, size_t bytes,
                                   pf_table *t)
{
    unsigned char *to = NULL;
    int32_t *labels = NULL;
    int64_t n = (int64_t)(bytes / RECORD);
    int split = pf_split_of(path);
    PF_REQUIRE(bytes % RECORD == 0, PF_EFORMAT,
               "%s is truncated: %zu bytes are no whole number of CIFAR-10 records of %d", path,
               bytes, RECORD);
    PF_TRY(pf_table_rows(t, path, split, n, (pf_shape){SIDE, SIDE, 3}, &to));
    PF_TRY(pf_table_labels(t, split, n, &labels));
    for (int64_t i = 0; i < n; i++, b += RECORD) {
        PF_REQUIRE(b[0] <= 9, PF_EFORMAT, "%s: record %lld has label %d, CIFAR-10 has 0 to 9",
                   path, (long long)i, b[0]);
        labels[i] = b[0];
        for (int p = 0; p < PLANE; p++)
            for (int c = 0; c < 3; c++) *to++ = b[1 + c * PLANE + p];
    }
    return PF_OK;
}

static pf_status read(const pf_source *s, pf_table *t)
{
    return pf_read_whole(s, parse, t);
}

const pf_format pf_format_cifar = {"CIFAR-10 binary", knows, read};
