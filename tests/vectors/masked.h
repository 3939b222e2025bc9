/* md4, mdlm: masked diffusion. */
#ifndef PF_TESTS_VECTORS_MASKED_H
#define PF_TESTS_VECTORS_MASKED_H

#include "toy_net.h"

#include "method/masked.h"

extern const vectors_kind vectors_md4, vectors_mdlm;

/* The method with settings "key=value;.." for rows of L symbols of K; close with pf_method_masked.close. */
PF_MUST_USE pf_status masked_open(const char *settings, size_t L, int K, pf_masked **out);
/* The number that an attribute holds; 0: there is none. */
int masked_attribute(const vectors *v, const char *name);

#endif
