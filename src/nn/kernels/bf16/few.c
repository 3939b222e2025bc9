/* 3x3 convolutions into or out of at most four channels in bf16: so little is multiplied that the
 * kernels in float are faster, on rounded pixels, kernels and gradients.  The products are the
 * same, exact ones. */
#include "nn/kernels/bf16/pack.h"
#include "nn/kernels/bf16/rows.h"
#include "nn/kernels/fused/rows.h"
#include <probflow/memory.h>

typedef struct few {
    void *inner;
    size_t in, out, kernels, inner_scratch; /* floats */
} few;

static int applies(const pf_site *s)
{
    return pf_fused_few.applies(s);
}

static void close(void *ctx)
{
    few *f = ctx;
    if (!f) return;
    pf_fused_few.close(f->inner);
    pf_free(f);
}

static PF_MUST_USE pf_status few_init(few *f, const pf_site *s)
{
    f->in = (size_t)s->B * pf_shape_size(s->in[0]);
    f->out = (size_t)s->B * pf_shape_size(s->out);
    f->kernels = s->param_size[0];
    PF_TRY(pf_fused_few.open(s, &f->inner));
    f->inner_scratch = pf_fused_few.scratch(s, f->inner);
    return PF_OK;
}

static pf_status open(const pf_site *s, void **ctx)
{
    few *f = pf_zalloc(sizeof *f);
    if (!f) PF_FAIL(PF_EMEM, "no memory for %s", s->name);
    pf_status st = few_init(f, s);
    if (st) {
        close(f);
        return pf_trail(st, PF_WHERE);
    }
    *ctx = f;
    return PF_OK;
}

static size_t scratch(const pf_site *s, void *ctx)
{
    const few *f = ctx;
    (void)s;
    size_t pass = f->inner_scratch + f->in + f->out;
    return pass > f->kernels ? pass : f->kernels;
}

static size_t prepared(const pf_site *s, void *ctx)
{
    const few *f = ctx;
    return pf_fused_few.prepared(s, f->inner);
}

static pf_status prepare(void *ctx, const pf_call *call)
{
    const few *f = ctx;
    pf_call rounded = *call;
    pf_bf16_round_floats(f->kernels, call->param[0], call->scratch);
    rounded.param[0] = call->scratch;
    PF_TRY(pf_fused_few.prepare(f->inner, &rounded));
    return PF_OK;
}

static pf_status forward(void *ctx, const pf_call *call)
{
    few *f = ctx;
    pf_call rounded = *call;
    float *x = call->scratch + f->inner_scratch;
    pf_bf16_round_floats(f->in, call->in[0], x);
    rounded.in[0] = x;
    PF_TRY(pf_fused_few.forward(f->inner, &rounded));
    return PF_OK;
}

static pf_status backward(void *ctx, const pf_call *call)
{
    few *f = ctx;
    const pf_site *s = call->site;
    pf_call rounded = *call;
    float *x = call->scratch + f->inner_scratch, *dy = x + f->in;
    pf_bf16_round_floats(f->out, call->gout, dy);
    if (call->gparam[0]) pf_bf16_round_floats(f->in, call->in[0], x);
    rounded.in[0] = x;
    rounded.gout = dy;
    rounded.gparam[1] = NULL; /* a sum, of what was not rounded */
    PF_TRY(pf_fused_few.backward(f->inner, &rounded));
    if (call->gparam[1])
        pf_fused_sum_rows(s->B * s->out.h * s->out.w, s->out.c, call->gout, call->gparam[1]);
    return PF_OK;
}

const pf_row pf_bf16_few = {
    .backend = "bf16",
    .applies = applies,
    .open = open,
    .close = close,
    .prepared = prepared,
    .prepare = prepare,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
