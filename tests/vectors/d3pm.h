/* d3pm: structured diffusion of categories, as published for images. */
#ifndef PF_TESTS_VECTORS_D3PM_H
#define PF_TESTS_VECTORS_D3PM_H

#include "vectors.h"

extern const vectors_kind vectors_d3pm;

#endif
