/* Kinds of files about the diffusions of 2015. */
#ifndef PF_TESTS_VECTORS_SOHL2015_H
#define PF_TESTS_VECTORS_SOHL2015_H

#include "vectors.h"

extern const vectors_kind vectors_sd15_gaussian, vectors_sd15_binomial;

#endif
