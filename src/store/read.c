/* The values of datasets: of a type that loses nothing, as many as are stored, and as their checksum has
 * them. */
#include <probflow/memory.h>
#include "store/h5.h"

pf_status pf_h5_verify(hid_t d, const char *path, const char *name)
{
    if (!pf_h5_has_attr(d, "crc32")) return PF_OK;
    int64_t crc = 0;
    pf_h5_shape s;
    size_t n = 0;
    PF_TRY(pf_h5_get_i64(d, path, "crc32", 1, &crc));
    PF_TRY(pf_h5_backed(d, path, name, &s, &n));
    PF_TRY(pf_h5_want(d, path, name, PF_H5_NUMBERS));
    hid_t type = H5Dget_type(d); /* the sum is that of the stored bytes */
    n *= H5Tget_size(type);
    void *data = pf_zalloc(n);
    herr_t bad = data && n ? H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) : 0;
    int same = data && bad >= 0 && crc == (int64_t)pf_h5_crc(data, n);
    H5Tclose(type);
    pf_free(data);
    PF_REQUIRE(data, PF_EMEM, "no memory to check the dataset %s of %s", name, path);
    PF_REQUIRE(same, PF_EFORMAT, "%s is damaged: the dataset %s does not match its checksum",
               path, name);
    return PF_OK;
}

/* Does HDF5 read a stored type without changing a value? */
static int serves(hid_t stored, int want)
{
    static const struct {
        H5T_class_t class;
        size_t least, most; /* bytes */
    } of[] = {[PF_H5_BYTES] = {H5T_INTEGER, 1, 1},
              [PF_H5_INT32] = {H5T_INTEGER, 1, 4},
              [PF_H5_INTEGERS] = {H5T_INTEGER, 1, 8},
              [PF_H5_FLOATS] = {H5T_FLOAT, 2, 8},
              [PF_H5_NUMBERS] = {H5T_INTEGER, 1, 8}};
    hid_t plain = pf_h5_plain_type(stored);
    if (plain <= 0) return 0;
    H5Tclose(plain);
    H5T_class_t k = H5Tget_class(stored);
    size_t n = H5Tget_size(stored);
    int is_unsigned = k == H5T_INTEGER && H5Tget_sign(stored) == H5T_SGN_NONE;
    if (want == PF_H5_NUMBERS) return k == H5T_INTEGER || k == H5T_FLOAT;
    if (want == PF_H5_BYTES && !is_unsigned) return 0;
    if (want == PF_H5_INT32 && is_unsigned && n == 4) return 0;
    return k == of[want].class && n >= of[want].least && n <= of[want].most;
}

pf_status pf_h5_want(hid_t d, const char *path, const char *name, int want)
{
    static const char *const words[] = {[PF_H5_BYTES] = "uint8",
                                        [PF_H5_INT32] = "int32",
                                        [PF_H5_INTEGERS] = "integers",
                                        [PF_H5_FLOATS] = "floats",
                                        [PF_H5_NUMBERS] = "numbers"};
    char have[32] = "no type";
    hid_t t = H5Dget_type(d);
    int ok = t > 0 && serves(t, want);
    if (t > 0) {
        pf_h5_type_name(t, have);
        H5Tclose(t);
    }
    PF_REQUIRE(ok, PF_EFORMAT, "%s: the dataset %s%s holds %s, want %s", path,
               name[0] == '/' ? "" : "/", name, have, words[want]);
    return PF_OK;
}

/* The sum of what was read serves when it was read as it is stored. */
static PF_MUST_USE pf_status verify(hid_t d, const char *path, const char *name, hid_t type,
                                    const void *data, size_t bytes)
{
    hid_t stored = H5Dget_type(d);
    int same = H5Tequal(stored, type) > 0;
    int64_t crc = 0;
    H5Tclose(stored);
    if (!same || !pf_h5_has_attr(d, "crc32")) {
        PF_TRY(pf_h5_verify(d, path, name));
        return PF_OK;
    }
    PF_TRY(pf_h5_get_i64(d, path, "crc32", 1, &crc));
    PF_REQUIRE(crc == (int64_t)pf_h5_crc(data, bytes), PF_EFORMAT,
               "%s is damaged: the dataset %s does not match its checksum", path, name);
    return PF_OK;
}

static int wanted_as(hid_t memory)
{
    if (H5Tget_class(memory) == H5T_FLOAT) return PF_H5_FLOATS;
    return H5Tget_size(memory) == 1 ? PF_H5_BYTES : PF_H5_INTEGERS;
}

static PF_MUST_USE pf_status get_opened(hid_t d, const char *path, const char *name, hid_t type,
                                        void *data, size_t bytes)
{
    pf_h5_shape s;
    size_t n = 0, size = H5Tget_size(type);
    PF_TRY(pf_h5_want(d, path, name, wanted_as(type)));
    PF_TRY(pf_h5_backed(d, path, name, &s, &n));
    PF_REQUIRE(bytes % size == 0 && n == bytes / size, PF_EFORMAT,
               "%s: the dataset %s holds %zu values, want %zu", path, name, n, bytes / size);
    PF_REQUIRE(!bytes || H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, PF_EIO,
               "%s is damaged: cannot read the dataset %s", path, name);
    PF_TRY(verify(d, path, name, type, data, bytes));
    return PF_OK;
}

pf_status pf_h5_get(hid_t where, const char *path, const char *name, hid_t type, void *data,
                    size_t bytes)
{
    PF_REQUIRE(pf_h5_has(where, name), PF_EIO, "%s has no dataset %s", path, name);
    hid_t d = H5Dopen2(where, name, H5P_DEFAULT);
    PF_REQUIRE(d > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", path, name);
    pf_status st = get_opened(d, path, name, type, data, bytes);
    H5Dclose(d);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
