/* Inside the store: what reading and writing datasets have in common. */
#ifndef PROBFLOW_SRC_STORE_DATASET_H
#define PROBFLOW_SRC_STORE_DATASET_H

#include <probflow/sha256.h>
#include "store/h5.h"

/* Name and stored type of the values, by pf_kind. */
extern const char *const pf_dataset_values[];
hid_t pf_dataset_type(const pf_dataset_info *a);
size_t pf_dataset_row_bytes(const pf_dataset_info *a);
/* Begins the digest of a split as described by a, n included: a header, to be followed by values,
 * labels, coarse labels and conditions, little-endian as all files of this format are. */
void pf_dataset_begin_content(pf_sha256 *sum, const pf_dataset_info *a);

/* ---- an open split ---- */
struct pf_dataset {
    char path[4096];
    pf_dataset_info about;
    char *classes, *vocabulary;                              /* owned */
    hid_t file, values, labels, coarse, conditions, lengths; /* 0: not open */
    size_t row;                                              /* values a row */
    char content[65];                                        /* "": not stored */
    int summed; /* content is that of the rows read */
};

/* A column of the split, as what it is read, and the bytes of its row then. */
typedef struct pf_dataset_column {
    hid_t from, type;
    size_t row;
} pf_dataset_column;

/* dataset_rows.c: rows first .. first+n-1 of a column into out.  Fails PF_EARG (there are none), PF_EIO (damaged). */
PF_MUST_USE pf_status pf_dataset_read(const pf_dataset *d, pf_dataset_column c, int64_t first,
                                      int64_t n, void *out);
/* The same of a column of any integers, one a row.  Fails PF_EFORMAT: one is no int32. */
PF_MUST_USE pf_status pf_dataset_integers(pf_dataset *d, hid_t from, int64_t first, int64_t n,
                                          int32_t *out);
/* dataset_tokens.c: the bytes in which the tokens of the open values are read: those of their symbols where they are
 * stored so, else 4. */
void pf_dataset_find_bytes(pf_dataset *d);
/* PF_NO_TOKEN behind the end of each of these rows x [n,L].  Fails as pf_dataset_lengths. */
PF_MUST_USE pf_status pf_dataset_mark_ends(pf_dataset *d, int64_t first, int64_t n, double *x);

#endif
