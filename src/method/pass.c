/* A trained network inside a chain; see pass.h. */
#include "method/pass.h"

#include <probflow/memory.h>

pf_status pf_pass_takes(const pf_net *n, const pf_view_opt *o)
{
    const char *name = n->method.ops->name;
    PF_REQUIRE(!o->respacing || !o->respacing[0], PF_EARG,
               "respacing is %s, but method %s takes all of its steps; leave it out",
               o->respacing, name);
    PF_REQUIRE(o->clip != PF_CLIP_YES, PF_EARG,
               "clip is yes, but method %s has no predictions of the data to cut; leave it out",
               name);
    return PF_OK;
}

pf_status pf_pass_create(pf_pass *p, const pf_net *n, const pf_view_opt *o, unsigned want_in,
                         const pf_pass *with)
{
    pf_plan_opt po = {.batch = o->batch,
                      .backend = o->backend,
                      .want_in = want_in,
                      .with = with ? with->plan : NULL};
    size_t out = pf_shape_entries(n->offered.out);
    p->net = n;
    p->batch = o->batch;
    PF_TRY(pf_inputs_create(n, o->batch, &p->inputs));
    pf_inputs_run(&p->inputs, &p->run);
    pf_net_ports(n, &p->inputs, p->in);
    p->out = pf_zalloc((size_t)o->batch * out * sizeof *p->out);
    PF_REQUIRE(p->out, PF_EMEM, "no memory for a pass of %d samples", o->batch);
    PF_TRY(pf_plan_create(n->graph, &po, &p->plan));
    if (!with) PF_TRY(pf_plan_set_params(p->plan, n->params));
    return PF_OK;
}

void pf_pass_free(pf_pass *p)
{
    pf_plan_free(p->plan);
    pf_inputs_free(&p->inputs);
    pf_free(p->out);
    *p = (pf_pass){0};
}

pf_status pf_pass_fits(const pf_pass *p, const pf_batch *b)
{
    PF_REQUIRE(b->B > 0 && b->B <= p->batch, PF_EARG, "a chain of %d samples, made for 1 to %d",
               b->B, p->batch);
    return PF_OK;
}

pf_status pf_pass_moves(const pf_pass *p, const pf_move *how, int exact)
{
    const char *name = p->net->method.ops->name;
    PF_REQUIRE(how->kind == PF_MOVE_ANCESTRAL && !how->guide, PF_EARG,
               "method %s draws by its own steps, unguided; set sample.name=chain", name);
    PF_REQUIRE(!exact || !how->known || how->known_std == 0.0, PF_EARG,
               "symbols are known exactly or not at all: method %s fills in, and takes away no "
               "noise of a deviation",
               name);
    return PF_OK;
}

pf_status pf_pass_run(pf_pass *p, const pf_batch *b)
{
    pf_net_give(p->net, p->batch, b, &p->inputs);
    PF_TRY(pf_plan_forward(p->plan, &p->run, p->out));
    return PF_OK;
}
