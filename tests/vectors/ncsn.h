/* The kind of files about score matching on a ladder of noise levels and annealed Langevin dynamics. */
#ifndef PF_TESTS_VECTORS_NCSN_H
#define PF_TESTS_VECTORS_NCSN_H

#include "vectors.h"

extern const vectors_kind vectors_ncsn;

#endif
