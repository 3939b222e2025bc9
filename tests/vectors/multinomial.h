/* multinomial_k<N>: multinomial diffusion of any number of categories. */
#ifndef PF_TESTS_VECTORS_MULTINOMIAL_H
#define PF_TESTS_VECTORS_MULTINOMIAL_H

#include "vectors.h"

extern const vectors_kind vectors_multinomial;

#endif
