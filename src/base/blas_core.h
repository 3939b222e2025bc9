/* The kernels that OpenBLAS uses. */
#ifndef PROBFLOW_SRC_BASE_BLAS_CORE_H
#define PROBFLOW_SRC_BASE_BLAS_CORE_H

#include <probflow/isa.h>

/* Before the first product: sees to it that OpenBLAS uses the instruction set in use, as far as it can be
 * told to.  It can where it holds kernels for several CPUs.  OPENBLAS_CORETYPE in the environment
 * stands. */
void pf_blas_settle(void);
/* "OpenBLAS Haswell", or "BLAS" where it is another library. */
const char *pf_blas_name(void);

/* What a core type of OpenBLAS computes with; unknown ones: PF_ISA_BASE. */
pf_isa pf_blas_core_isa(const char *core);
/* The core type for an instruction set, on AMD's CPUs or others. */
const char *pf_blas_core_for(pf_isa isa, int amd);
/* 1 when a product and a Cholesky factor come out right. */
int pf_blas_computes(void);

#endif
