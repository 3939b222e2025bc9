/* A map that some channels do not pass: the map of a library, with a weight whose entries under the mask are 0.
 *
 * Prepared: the masked weight, and what the map prepares of it.  Its gradient is that of the whole matrix, and then
 * 0 under the mask. */
#include "nn/kernel.h"

#include <probflow/memory.h>

extern const pf_row pf_dnn_conv;

typedef struct masked {
    pf_site map; /* the same without a mask */
    void *ctx;   /* of its row */
} masked;

static void close(void *ctx)
{
    masked *m = ctx;
    if (m) pf_dnn_conv.close(m->ctx);
    pf_free(m);
}

static pf_status open(const pf_site *s, void **ctx)
{
    masked *m = pf_zalloc(sizeof *m);
    if (!m) PF_FAIL(PF_EMEM, "no memory for %s", s->name);
    m->map = *s;
    m->map.op = PF_OP_LINEAR;
    m->map.precision = PF_F32;
    pf_status st = pf_dnn_conv.open(&m->map, &m->ctx);
    if (st) {
        pf_free(m);
        return pf_trail(st, PF_WHERE);
    }
    *ctx = m;
    return PF_OK;
}

static size_t weight_floats(const masked *m)
{
    return (m->map.param_size[0] + 15) / 16 * 16;
}

static size_t prepared(const pf_site *s, void *ctx)
{
    const masked *m = ctx;
    return weight_floats(m) + pf_dnn_conv.prepared(&m->map, m->ctx);
}

static size_t scratch(const pf_site *s, void *ctx)
{
    const masked *m = ctx;
    return pf_dnn_conv.scratch(&m->map, m->ctx);
}

/* The call of the map. */
static pf_call call_of(const masked *m, const pf_call *c)
{
    pf_call map = *c;
    map.site = &m->map;
    map.param[0] = c->prepared;
    map.prepared = c->prepared + weight_floats(m);
    return map;
}

static void mask(const pf_site *s, const float *from, float *to)
{
    for (int o = 0, k = 0; o < s->out.c; o++)
        for (int i = 0; i < s->in[0].c; i++, k++)
            to[k] = pf_sees(&s->attr, o, i) ? from[k] : 0.0f;
}

static pf_status prepare(void *ctx, const pf_call *c)
{
    masked *m = ctx;
    pf_call map = call_of(m, c);
    mask(&m->map, c->param[0], c->prepared);
    if (pf_dnn_conv.prepared(&m->map, m->ctx)) PF_TRY(pf_dnn_conv.prepare(m->ctx, &map));
    return PF_OK;
}

static pf_status forward(void *ctx, const pf_call *c)
{
    masked *m = ctx;
    pf_call map = call_of(m, c);
    return pf_dnn_conv.forward(m->ctx, &map);
}

static pf_status backward(void *ctx, const pf_call *c)
{
    masked *m = ctx;
    pf_call map = call_of(m, c);
    PF_TRY(pf_dnn_conv.backward(m->ctx, &map));
    if (c->gparam[0]) mask(&m->map, c->gparam[0], c->gparam[0]);
    return PF_OK;
}

const pf_row pf_dnn_masked = {
    .backend = "onednn",
    .open = open,
    .close = close,
    .prepared = prepared,
    .prepare = prepare,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
