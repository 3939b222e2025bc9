/* The inputs of a graph, by name: what a model asks for of what it is offered. */
#include <probflow/graph.h>

#include "nn/graph_impl.h"

#include <string.h>

static const char *type_of(const pf_port *p)
{
    return p->integer ? "integers" : "floats";
}

static pf_node known_input(pf_graph *g, int i, const pf_port *p)
{
    const pf_port *q = &g->port[i];
    if (!pf_shape_same(p->shape, q->shape) || !p->integer != !q->integer)
        return pf_graph_fail(g, PF_ESHAPE,
                             "the input %s is %s of %dx%dx%d, and %s of %dx%dx%d as well",
                             p->name, type_of(q), q->shape.h, q->shape.w, q->shape.c,
                             type_of(p), p->shape.h, p->shape.w, p->shape.c);
    return (pf_node){g->port_node[i]};
}

pf_node pf_port_node(pf_graph *g, const pf_port *p)
{
    pf_gnode n;
    int i = pf_graph_port(g, p->name);
    if (i >= 0 && !g->failed) return known_input(g, i, p);
    if (!pf_graph_begin(g, &n, PF_OP_INPUT, p->name)) return PF_NONE;
    if (!*p->name) return pf_graph_fail(g, PF_EARG, "an input without a name");
    if (g->n_port == PF_PORTS_MAX)
        return pf_graph_fail(g, PF_EARG, "the input %s: a network has at most %d inputs",
                             p->name, PF_PORTS_MAX);
    i = g->n_port;
    n.shape = p->shape;
    n.integer = p->integer;
    n.attr.port = i;
    n.of_in = 1u << i;
    pf_node r = pf_graph_push(g, &n);
    g->port[i] = *p;
    g->port[i].name = pf_namef(g, "%s", p->name);
    g->port_node[i] = r.id;
    g->n_port += !g->failed;
    return r;
}

pf_node pf_offered(pf_graph *g, const pf_ports *o, const char *name)
{
    char all[256] = "nothing";
    size_t at = 0;
    for (int i = 0; i < o->n; i++) {
        if (strcmp(o->port[i].name, name) == 0)
            return o->bound >> i & 1 ? o->node[i] : pf_port_node(g, &o->port[i]);
        if (at < sizeof all)
            at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "",
                                   o->port[i].name);
    }
    return pf_graph_fail(g, PF_EARG, "the network reads an input %s; offered is %s", name, all);
}

void pf_offer_node(pf_graph *g, pf_ports *o, const char *name, pf_node x)
{
    int i = 0;
    while (i < o->n && strcmp(o->port[i].name, name)) i++;
    if (i == PF_PORTS_MAX) {
        pf_graph_fail(g, PF_EARG, "%s is offered, but a network is offered at most %d inputs",
                      name, PF_PORTS_MAX);
        return;
    }
    o->port[i] = (pf_port){.name = name,
                           .shape = pf_graph_shape(g, x),
                           .integer = x.id >= 0 && g->node[x.id].integer};
    o->node[i] = x;
    o->bound |= 1u << i;
    if (i == o->n) o->n++;
}
