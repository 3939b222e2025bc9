/* Score matching of SDEs and its likelihood: losses.h5, bound.h5, dequantise.h5, decoder.h5, entropy.h5. */
#ifndef PF_TESTS_VECTORS_LOSSES_H
#define PF_TESTS_VECTORS_LOSSES_H

#include "vectors.h"

#include <probflow/sde.h>

extern const vectors_kind vectors_losses, vectors_bound, vectors_dequantise, vectors_decoder,
    vectors_entropy;

/* The SDE of a group, by the last component of its path and the group's attributes.  *found: is it the name of one? */
PF_MUST_USE pf_status vectors_sde(const vectors *v, const char *group, pf_sde *sde, int *found);

#endif
