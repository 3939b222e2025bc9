/* Types of values: which stored ones are read, and their names in sentences. */
#include "store/h5.h"
#include <stdio.h>

static hid_t half_type(hid_t like)
{
    hid_t t = H5Tcopy(like);
    H5Tset_fields(t, 15, 10, 5, 0, 10);
    H5Tset_ebias(t, 15);
    H5Tset_size(t, 2);
    return t;
}

static hid_t same_number(hid_t stored)
{
    const hid_t known[] = {H5T_STD_I8LE,   H5T_STD_I16LE,  H5T_STD_I32LE,  H5T_STD_I64LE,
                           H5T_STD_U8LE,   H5T_STD_U16LE,  H5T_STD_U32LE,  H5T_STD_U64LE,
                           H5T_STD_I8BE,   H5T_STD_I16BE,  H5T_STD_I32BE,  H5T_STD_I64BE,
                           H5T_STD_U8BE,   H5T_STD_U16BE,  H5T_STD_U32BE,  H5T_STD_U64BE,
                           H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_IEEE_F32BE, H5T_IEEE_F64BE};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (H5Tequal(stored, known[i]) > 0) return H5Tcopy(known[i]);
    hid_t half[2] = {half_type(H5T_IEEE_F32LE), half_type(H5T_IEEE_F32BE)};
    int k = H5Tequal(stored, half[1]) > 0;
    int is_half = k || H5Tequal(stored, half[0]) > 0;
    H5Tclose(half[!k]);
    if (is_half) return half[k];
    H5Tclose(half[k]);
    return -1;
}

static hid_t same_text(hid_t stored)
{
    hid_t t = H5Tcopy(H5T_C_S1);
    size_t n = H5Tis_variable_str(stored) > 0 ? H5T_VARIABLE : H5Tget_size(stored);
    if (H5Tset_size(t, n) >= 0 && H5Tset_cset(t, H5Tget_cset(stored)) >= 0 &&
        H5Tset_strpad(t, H5Tget_strpad(stored)) >= 0)
        return t;
    H5Tclose(t);
    return -1;
}

hid_t pf_h5_plain_type(hid_t stored)
{
    H5T_class_t k = H5Tget_class(stored);
    if (k == H5T_INTEGER || k == H5T_FLOAT) return same_number(stored);
    return k == H5T_STRING ? same_text(stored) : -1;
}

const char *pf_h5_type_name(hid_t t, char buf[32])
{
    H5T_class_t k = H5Tget_class(t);
    if (k == H5T_STRING) snprintf(buf, 32, "text");
    else
        snprintf(buf, 32, "%s%zu",
                 k == H5T_FLOAT     ? "float"
                 : k == H5T_INTEGER ? (H5Tget_sign(t) == H5T_SGN_NONE ? "uint" : "int")
                                    : "other",
                 8 * H5Tget_size(t));
    return buf;
}
