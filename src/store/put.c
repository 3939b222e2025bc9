/* New groups and datasets of an open file, in a form that depends on their content alone: no times, and
 * members in the order in which they were made. */
#include "store/h5.h"

pf_status pf_h5_group(hid_t file, const char *name, hid_t *out)
{
    hid_t p = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(p, 0);
    H5Pset_link_creation_order(p, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    *out = H5Gcreate2(file, name, H5P_DEFAULT, p, H5P_DEFAULT);
    H5Pclose(p);
    PF_REQUIRE(*out > 0, PF_EEXT, "HDF5 cannot create the group %s", name);
    return PF_OK;
}

pf_status pf_h5_put(hid_t where, const char *name, hid_t type, pf_h5_shape s, const void *data,
                    int flags)
{
    hid_t space = H5Screate_simple(s.rank, s.dim, NULL), p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(p, 0);
    H5Pset_alloc_time(p, H5D_ALLOC_TIME_EARLY);
    hid_t d = H5Dcreate2(where, name, type, space, H5P_DEFAULT, p, H5P_DEFAULT);
    size_t n = H5Tget_size(type);
    for (int i = 0; i < s.rank; i++) n *= s.dim[i];
    herr_t bad = d <= 0;
    if (!bad && n && !(flags & PF_H5_EMPTY))
        bad = H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0;
    pf_status st = PF_OK;
    if (!bad && (flags & PF_H5_CHECKSUM)) {
        int64_t crc = pf_h5_crc(data, n);
        st = pf_h5_put_i64(d, "crc32", 1, &crc);
    }
    if (d > 0) H5Dclose(d);
    H5Pclose(p);
    H5Sclose(space);
    PF_REQUIRE(!bad, PF_EEXT, "HDF5 cannot write the dataset %s", name);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
