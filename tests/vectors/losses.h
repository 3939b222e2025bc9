/* Score matching of SDEs: losses.h5, bound.h5. */
#ifndef PF_TESTS_VECTORS_LOSSES_H
#define PF_TESTS_VECTORS_LOSSES_H

#include "vectors.h"

#include <probflow/sde.h>

extern const vectors_kind vectors_losses, vectors_bound;

/* The SDE of a group, by the last component of its path and the group's attributes.  *found: is it the name of one? */
PF_MUST_USE pf_status vectors_sde(const vectors *v, const char *group, pf_sde *sde, int *found);
/* A number of an attribute; NAN where it is absent. */
double vectors_number(const vectors *v, const char *group, const char *name);

#endif
