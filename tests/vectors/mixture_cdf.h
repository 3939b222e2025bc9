/* argmax: its group mixture_cdf, one layer of a flow. */
#ifndef PF_TESTS_VECTORS_MIXTURE_CDF_H
#define PF_TESTS_VECTORS_MIXTURE_CDF_H

#include "vectors.h"

PF_MUST_USE pf_status vectors_check_mixture_cdf(vectors *v);

#endif
