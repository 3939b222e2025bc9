/* Named arrays of numbers, as NumPy and HDF5 files hold them: what they are for is said by their names. */
#ifndef PROBFLOW_SRC_DATA_ARRAYS_H
#define PROBFLOW_SRC_DATA_ARRAYS_H

#include "data/format.h"

enum { PF_ARRAY_RANK = 8, PF_ARRAY_NAME = 256 };

typedef enum pf_number {
    PF_NUMBER_NONE, /* see `no` */
    PF_NUMBER_BOOL,
    PF_NUMBER_SIGNED,
    PF_NUMBER_UNSIGNED,
    PF_NUMBER_FLOAT
} pf_number;

typedef struct pf_named {
    char name[PF_ARRAY_NAME]; /* with the groups above it: train/images */
    int type, size;           /* a pf_number; bytes a value */
    const char *no;           /* what it holds instead of numbers: "text" */
    int swapped, fortran;     /* big-endian; the first axis runs fastest */
    int rank;
    int64_t dim[PF_ARRAY_RANK];
    size_t values; /* product of the sizes; that many bytes times size are backed by the file */
    size_t id;     /* the reader's own */
} pf_named;

/* The arrays of one source, and how their values are had, from the first to the last in stored order. */
typedef struct pf_arrays {
    pf_source *s;
    int n;
    pf_named *list; /* [n], borrowed */
    void *self;
    pf_status (*begin)(void *self, const pf_named *a);
    /* The next values, at least one, owned by the reader until the next call. */
    pf_status (*next)(void *self, const unsigned char **block, size_t *values);
    /* Behind the last value.  Fails when more follows or a checksum does not hold. */
    pf_status (*end)(void *self);
} pf_arrays;

/* ---- arrays.c ----
 * Adds the arrays to a table by the rule of their names: images, x, data, arr_0, points or features, or
 * the only array; labels, y or targets; coarse; conditions; each of a split, or of that of the source.
 * Those of no role are named in a log line.  Booleans are data of two levels, of either form.
 * Fails PF_EFORMAT: two of one role and split, a shape or type that the role has not, a value out of
 * range (by row), none of any role; as the reader does. */
PF_MUST_USE pf_status pf_arrays_take(const pf_arrays *from, pf_table *t);
/* Fills in a->values.  Fails PF_EFORMAT: beyond memory. */
PF_MUST_USE pf_status pf_array_count(const char *path, pf_named *a);

/* ---- numbers.c ---- */
typedef enum pf_wanted { PF_AS_PIXELS, PF_AS_LABELS, PF_AS_DOUBLES } pf_wanted;
/* Where the values of an array go: axis k, the fastest first, has dim[k] steps of stride[k] values. */
typedef struct pf_target {
    pf_wanted as;
    void *to;   /* uint8, int32 or double, at least as many as the array has */
    size_t row; /* values a row */
    int axes;
    int64_t dim[PF_ARRAY_RANK], stride[PF_ARRAY_RANK];
} pf_target;
/* Fails PF_EFORMAT with the first row that holds what is no pixel, no int32, not finite, or no double. */
PF_MUST_USE pf_status pf_numbers_move(const pf_arrays *from, const pf_named *a,
                                      const pf_target *t);

/* ---- npy.c ----
 * Reads the header of a .npy by take(self, to, n), which fails at the end: type, shape, order, *bytes of
 * the header itself.  what: its name for messages.  Fails PF_EFORMAT and as take does. */
PF_MUST_USE pf_status pf_npy_head(pf_status (*take)(void *self, void *to, size_t n), void *self,
                                  const char *what, pf_named *a, size_t *bytes);
/* A name without .npy, into a->name. */
PF_MUST_USE pf_status pf_npy_name(const char *path, const char *name, pf_named *a);

#endif
