/* HDF5 files that are not made by the store, and what is expected of a refusal. */
#ifndef PF_TESTS_FOREIGN_H
#define PF_TESTS_FOREIGN_H

#include <fcntl.h>
#include <probflow/store.h>
#include "scratch.h"
#include "store/h5.h"

static inline hid_t fresh(const char *path)
{
    pf_h5_quiet();
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(f > 0);
    return f;
}

/* A dataset of these dims; v NULL: nothing is written.  plist 0: the usual one. */
static inline void add(hid_t at, const char *name, hid_t type, int rank, const hsize_t *dim,
                       hid_t memory, const void *v, hid_t plist)
{
    hid_t space = H5Screate_simple(rank, dim, NULL), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    hid_t d =
        H5Dcreate2(at, name, type, space, links, plist > 0 ? plist : H5P_DEFAULT, H5P_DEFAULT);
    assert_true(d > 0);
    if (v) assert_true(H5Dwrite(d, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
    H5Dclose(d);
    H5Pclose(links);
    H5Sclose(space);
}

/* "x", pairs of numbers. */
static inline void no_numbers(hid_t f)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, 16);
    H5Tinsert(t, "a", 0, H5T_NATIVE_DOUBLE);
    H5Tinsert(t, "b", 8, H5T_NATIVE_DOUBLE);
    add(f, "x", t, 1, (hsize_t[]){2}, 0, NULL, 0);
    H5Tclose(t);
}

static inline void attr(hid_t at, const char *name, hid_t type, hsize_t n, hid_t memory,
                        const void *v)
{
    hid_t space = n ? H5Screate_simple(1, &n, NULL) : H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(a > 0 && H5Awrite(a, memory, v) >= 0);
    H5Aclose(a);
    H5Sclose(space);
}

static inline hid_t text_type(size_t n)
{
    hid_t t = H5Tcopy(H5T_C_S1);
    H5Tset_size(t, n);
    return t;
}

/* A checkpoint of six parameters, "w" [2,2] and "b" [2], and their average. */
static inline pf_checkpoint small_checkpoint(pf_shape shape)
{
    static float v[6] = {1, 2, 3, 4, 5, 6};
    static pf_param views[2] = {{.name = "w", .rank = 2, .dim = {2, 2}, .size = 4},
                                {.name = "b", .rank = 1, .dim = {2}, .offset = 4, .size = 2}};
    return (pf_checkpoint){.n_views = 2,
                           .views = views,
                           .floats = 6,
                           .params = v,
                           .ema = v,
                           .shards = 1,
                           .space.shape = shape,
                           .config = "a: b\n"};
}

static inline int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Refused with a sentence that names the file and says why. */
static inline void refused(const char *path, pf_status st, const char *why)
{
    if (!st) fail_msg("%s was accepted", path);
    if (!strstr(pf_error_message(), path) || !strstr(pf_error_message(), why))
        fail_msg("not '%s' but: %s", why, pf_error_message());
}

static inline pf_status read_x(const char *path)
{
    pf_array a;
    pf_status st = pf_store_read_array(path, "x", &a);
    if (!st) pf_array_free(&a);
    return st;
}

static inline pf_status print_to_nowhere(const char *path)
{
    FILE *f = fopen("/dev/null", "w");
    pf_status st = pf_store_info(path, f);
    fclose(f);
    return st;
}

#endif
