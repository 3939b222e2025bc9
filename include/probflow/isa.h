/* The instruction set of this process: one choice, which every own kernel obeys and which is passed
 * on to the libraries under them (oneDNN, OpenBLAS).
 *
 * All functions are Local, and any thread may call them.
 *
 * It is the best that the CPU and its system have, or the lesser one that the environment variable
 * PROBFLOW_ISA names (sse2, avx2, avx512, avx512_bf16, amx; on other machines: portable).
 *
 * Kernels are written once and compiled once for each of a few instruction sets: these are their
 * clones.  A file that is compiled so names what it exports by PF_CLONED, and a table of the
 * clones, made by PF_CLONE_TABLE, is indexed by pf_isa_clone(). */
#ifndef PROBFLOW_ISA_H
#define PROBFLOW_ISA_H

#include <probflow/status.h>

typedef enum pf_isa {
    PF_ISA_BASE,        /* sse2 on x86-64, portable elsewhere */
    PF_ISA_AVX2,        /* x86-64-v3: AVX2, FMA and what came with them */
    PF_ISA_AVX512,      /* x86-64-v4: F, BW, CD, DQ, VL */
    PF_ISA_AVX512_BF16, /* and products of bf16 numbers */
    PF_ISA_AMX,         /* and products of tiles of them */
    PF_ISA_COUNT
} pf_isa;

/* "avx2"; a static string.  NULL for levels that this kind of processor does not have. */
const char *pf_isa_name(pf_isa isa);
/* The most that CPU and system have.  Source: CPUID and XCR0, see src/base/isa.c. */
pf_isa pf_isa_best(void);
/* The one in use; where PROBFLOW_ISA cannot be followed, the best. */
pf_isa pf_isa_used(void);
/* From now on at most this: so that ranks on different machines compute alike.  Call it before any
 * kernel is chosen. */
void pf_isa_lower(pf_isa to);
/* 1 when less than the best is used, or when PROBFLOW_ISA says which: libraries then follow. */
int pf_isa_is_fixed(void);
/* Fails PF_EARG when PROBFLOW_ISA is unknown or more than this machine has.
 * Test   an_instruction_set_that_is_not_there_is_refused */
PF_MUST_USE pf_status pf_isa_check(void);

/* The CPU's own name, and its family and model, into buf [n bytes], cut where it does not fit; returns buf. */
const char *pf_cpu_name(char *buf, size_t n);

/* Index into a table of clones: what is above AVX-512 shares its clone.
 * Test   every_clone_draws_the_same_bits */
int pf_isa_clone(void);

#define PF_ISA_JOIN_(name, clone) name##_##clone
#define PF_ISA_JOIN(name, clone)  PF_ISA_JOIN_(name, clone)
#ifdef PF_CLONE /* set by the build where a file is compiled for one instruction set */
#define PF_CLONED(name) PF_ISA_JOIN(name, PF_CLONE)
#else
#define PF_CLONED(name) name
#endif

/* static type *const table[]: the clones of `name`, an exported object or function of this type. */
#if defined(__x86_64__)
#define PF_CLONE_TABLE(type, name, table) \
    extern type name##_sse2;              \
    extern type name##_avx2;              \
    extern type name##_avx512;            \
    static type *const table[] = {&name##_sse2, &name##_avx2, &name##_avx512}
#else
#define PF_CLONE_TABLE(type, name, table) \
    extern type name##_portable;          \
    static type *const table[] = {&name##_portable}
#endif

#endif
