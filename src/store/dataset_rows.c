/* Rows of an open dataset, in blocks. */
#include "store/dataset.h"

#include <probflow/memory.h>

static PF_MUST_USE pf_status read_block(const pf_dataset *d, hid_t from, hid_t type,
                                        const hsize_t range[2], void *out)
{
    pf_h5_shape s = {0};
    size_t elements = 0;
    PF_TRY(pf_h5_shape_of(from, &s, &elements));
    hsize_t start[PF_RANK_MAX] = {range[0]};
    s.dim[0] = range[1];
    hid_t file_space = H5Dget_space(from), mem_space = H5Screate_simple(s.rank, s.dim, NULL);
    herr_t bad = H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, s.dim, NULL);
    if (bad >= 0) bad = H5Dread(from, type, mem_space, file_space, H5P_DEFAULT, out);
    H5Sclose(mem_space);
    H5Sclose(file_space);
    PF_REQUIRE(bad >= 0, PF_EIO,
               "%s is damaged: rows %llu to %llu cannot be read or do not match their checksum",
               d->path, (unsigned long long)range[0],
               (unsigned long long)(range[0] + range[1] - 1));
    return PF_OK;
}

pf_status pf_dataset_read(const pf_dataset *d, pf_dataset_column c, int64_t first, int64_t n,
                          void *out)
{
    enum { BLOCK = 1024 };
    PF_REQUIRE(first >= 0 && n >= 0 && first <= d->about.n - n, PF_EARG,
               "%s: rows %lld to %lld of %lld asked for", d->path, (long long)first,
               (long long)(first + n - 1), (long long)d->about.n);
    for (int64_t at = 0; at < n; at += BLOCK) {
        hsize_t range[2] = {(hsize_t)(first + at), (hsize_t)(n - at < BLOCK ? n - at : BLOCK)};
        PF_TRY(read_block(d, c.from, c.type, range, (char *)out + (size_t)at * c.row));
    }
    return PF_OK;
}

pf_status pf_dataset_integers(pf_dataset *d, hid_t from, int64_t first, int64_t n, int32_t *out)
{
    int64_t *wide = pf_zalloc((size_t)(n > 0 ? n : 0) * sizeof *wide), bad = -1;
    PF_REQUIRE(wide, PF_EMEM, "no memory for %lld labels", (long long)n);
    pf_status st = pf_dataset_read(d, (pf_dataset_column){from, H5T_NATIVE_INT64, sizeof *wide},
                                   first, n, wide);
    for (int64_t i = 0; !st && i < n && bad < 0; i++) {
        out[i] = (int32_t)wide[i];
        if (out[i] != wide[i]) bad = i;
    }
    if (bad >= 0)
        st =
            pf_raise(PF_EFORMAT, PF_WHERE, "%s: row %lld has the label %lld, which is no int32",
                     d->path, (long long)(first + bad), (long long)wide[bad]);
    pf_free(wide);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
