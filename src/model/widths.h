/* The image widths at which a network has attention. */
#ifndef PROBFLOW_SRC_MODEL_WIDTHS_H
#define PROBFLOW_SRC_MODEL_WIDTHS_H

#include <probflow/option.h>

/* Takes widths that images of this width do not have on the network's levels, each half of the one before,
 * out of `attention`.  given: the widths are the user's.  Fails PF_EARG then, naming the width. */
PF_MUST_USE pf_status pf_widths_keep(pf_ints *attention, int levels, int width, int given);
/* Is this width listed? */
int pf_widths_have(const pf_ints *attention, int width);

#endif
