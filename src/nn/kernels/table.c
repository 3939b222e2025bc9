/* The table of operators and the choice of a kernel. */
#include "nn/kernel.h"

#include <probflow/isa.h>

#include <string.h>

typedef struct op_info {
    const char *name;
    int reads, inplace, slopes;
} op_info;

static const op_info info[PF_OP_COUNT] = {
#define PF_OP(id, name, reads, inplace, slopes) [PF_OP_##id] = {name, reads, inplace, slopes},
#include "nn/ops.def"
#undef PF_OP
};

const char *pf_op_name(pf_op op)
{
    return info[op].name;
}

int pf_op_reads(pf_op op)
{
    return info[op].reads;
}

int pf_op_inplace(pf_op op)
{
    return info[op].inplace;
}

int pf_op_slopes(pf_op op)
{
    return info[op].slopes;
}

PF_CLONE_TABLE(const pf_kernel *const, pf_fused_kernels, fused);
PF_CLONE_TABLE(const pf_kernel *const, pf_bf16_kernels, bf16);

static const pf_row *first_that_applies(const pf_kernel *k, const pf_site *s)
{
    while (k->row && (k->op != s->op || (k->row->applies && !k->row->applies(s)))) k++;
    return k->row;
}

const pf_row *pf_kernel_row(const char *backend, const pf_site *s)
{
    if (!strcmp(backend, "ref")) return pf_ref_rows[s->op];
    const pf_row *r = NULL;
    if (s->precision == PF_BF16) r = first_that_applies(*bf16[pf_isa_clone()], s);
    if (!r) r = first_that_applies(*fused[pf_isa_clone()], s);
    if (!r) r = first_that_applies(pf_onednn_kernels, s);
    return r ? r : pf_ref_rows[s->op];
}

int pf_bf16_is_native(void)
{
    return pf_isa_used() >= PF_ISA_AVX512_BF16;
}
