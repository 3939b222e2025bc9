/* The kind of files about indices that are drawn by their losses. */
#ifndef PF_TESTS_VECTORS_TIMES_H
#define PF_TESTS_VECTORS_TIMES_H

#include "vectors.h"

extern const vectors_kind vectors_gauss_resampler;

#endif
