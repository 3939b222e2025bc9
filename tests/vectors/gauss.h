/* Kinds of files about chains of Gaussians and their decoders. */
#ifndef PF_TESTS_VECTORS_GAUSS_H
#define PF_TESTS_VECTORS_GAUSS_H

#include "vectors.h"

extern const vectors_kind vectors_gauss_tables, vectors_gauss_decoder, vectors_gauss_pmv,
    vectors_gauss_bpd, vectors_gauss_law, vectors_gauss_steps, vectors_gauss_spacing,
    vectors_lucid;

#endif
