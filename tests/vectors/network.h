/* Kinds of files about score networks and their probability flow: vectors of tests/golden/README.md. */
#ifndef PF_TESTS_VECTORS_NETWORK_H
#define PF_TESTS_VECTORS_NETWORK_H

#include "vectors.h"

extern const vectors_kind vectors_ddpmpp, vectors_ncsnpp;

#endif
