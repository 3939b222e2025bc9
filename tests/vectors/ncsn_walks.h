/* The groups langevin, toy, inpaint and interpolate of ncsn files. */
#ifndef PF_TESTS_VECTORS_NCSN_WALKS_H
#define PF_TESTS_VECTORS_NCSN_WALKS_H

#include "vectors.h"

PF_MUST_USE pf_status ncsn_check_walks(vectors *v);

#endif
