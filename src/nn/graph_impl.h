/* Inside of a graph: shared by the builder, the operators and the plan. */
#ifndef PROBFLOW_SRC_NN_GRAPH_IMPL_H
#define PROBFLOW_SRC_NN_GRAPH_IMPL_H

#include "nn/kernel.h"

enum { PF_GRAPH_NODES_MAX = 1 << 16 }; /* dropout keys carry 16 bits of node number */

typedef struct pf_gnode {
    pf_op op;
    pf_attr attr;
    char name[PF_NAME_MAX];
    int n_in, in[PF_MAX_INPUTS];
    int n_param, param[PF_MAX_PARAMS];
    pf_shape shape;
    unsigned of_in; /* the inputs of the graph that it depends on, by index */
    int of_p;       /* depends on a trainable parameter */
    int integer;    /* holds int32 values */
} pf_gnode;

typedef struct pf_gname {
    struct pf_gname *next;
    char text[PF_NAME_MAX];
} pf_gname;

typedef struct pf_gints {
    struct pf_gints *next;
    int n, at[];
} pf_gints;

struct pf_graph {
    pf_gnode *node;
    int n_node, cap_node;
    pf_param *param;
    int n_param, cap_param;
    size_t floats;            /* parameter block with padding */
    char prefix[PF_NAME_MAX]; /* of the names of parameters */
    pf_gname *names;
    pf_gints *ints;             /* that attributes point to */
    pf_port port[PF_PORTS_MAX]; /* names are those of `names` */
    int port_node[PF_PORTS_MAX], n_port;
    int sequence; /* 1: it embeds positions, or steps through them */
    int output;   /* -1: not yet */
    pf_status failed;
    char message[512];
};

/* Starts operator n: kind, name and inputs.  0: the graph has failed. */
int pf_graph_begin(pf_graph *g, pf_gnode *n, pf_op op, const char *name);
/* Adds an input: integers for EMBED, floats for all others. */
int pf_graph_input(pf_graph *g, pf_gnode *n, pf_node in);
/* Adds an input of integers. */
int pf_graph_integers(pf_graph *g, pf_gnode *n, pf_node in);
/* The shape of input k. */
static inline pf_shape pf_graph_in(const pf_graph *g, const pf_gnode *n, int k)
{
    return g->node[n->in[k]].shape;
}
/* Starts an operator of one input, whose shape is the output's until the caller changes it.  0: the graph has
 * failed. */
int pf_graph_unary(pf_graph *g, pf_gnode *n, pf_op op, const char *name, pf_node x);
/* Adds the view NAME.suffix, or NAME itself where suffix is NULL, described by p (dims, init); offset and size
 * are set here. */
void pf_graph_view(pf_graph *g, pf_gnode *n, const char *suffix, const pf_param *p);
/* A copy that the graph owns; NULL: it has failed. */
const int *pf_graph_ints(pf_graph *g, const int *v, int n);
/* Stores the finished operator. */
pf_node pf_graph_push(pf_graph *g, const pf_gnode *n);
/* Fails with PF_ESHAPE and "operator NAME (op): ..." */
pf_node pf_graph_fail_at(pf_graph *g, const pf_gnode *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static inline int pf_same_pixels(pf_shape a, pf_shape b)
{
    return a.h == b.h && a.w == b.w;
}

/* One number a channel, for all pixels. */
static inline int pf_is_vector(pf_shape e, int c)
{
    return e.h == 1 && e.w == 1 && e.c == c;
}

/* live[i] = 1 when the output depends on node i. */
void pf_graph_live(const pf_graph *g, unsigned char *live);
/* Multiply-adds (x2) of one node and one sample. */
double pf_graph_node_flops(const pf_graph *g, const pf_gnode *n);

#endif
