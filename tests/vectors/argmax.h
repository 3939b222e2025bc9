/* argmax: cells of codes and of the largest number, bounds and exact probabilities under normal densities. */
#ifndef PF_TESTS_VECTORS_ARGMAX_H
#define PF_TESTS_VECTORS_ARGMAX_H

#include "vectors.h"

extern const vectors_kind vectors_argmax;

#endif
