/* Inside the store: what reading and writing datasets have in common. */
#ifndef PROBFLOW_SRC_STORE_DATASET_H
#define PROBFLOW_SRC_STORE_DATASET_H

#include <probflow/sha256.h>
#include "store/h5.h"

/* Name and stored type of the values, by pf_kind. */
extern const char *const pf_dataset_values[];
hid_t pf_dataset_type(int kind);
size_t pf_dataset_row_bytes(const pf_dataset_info *a);
/* Begins the digest of a split as described by a, n included: a header, to be followed by values,
 * labels, coarse labels and conditions, little-endian as all files of this format are. */
void pf_dataset_begin_content(pf_sha256 *sum, const pf_dataset_info *a);

#endif
