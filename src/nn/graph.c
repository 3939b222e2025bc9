/* The graph builder: nodes in topological order (an input always has a smaller number), the
 * first error, and the flat parameter block with its views.
 *
 * Each view starts at a multiple of 16 floats (64 bytes), so kernels read aligned parameters and
 * a slice of the block never splits a cache line. */
#include <probflow/graph.h>
#include <probflow/memory.h>

#include "nn/graph_impl.h"

#include <stdarg.h>
#include <string.h>

enum { ALIGN_FLOATS = 16 };

static pf_node fail_va(pf_graph *g, pf_status code, const char *prefix, const char *fmt,
                       va_list ap)
{
    if (g->failed) return PF_NONE;
    g->failed = code;
    size_t n = (size_t)snprintf(g->message, sizeof g->message, "%s", prefix);
    if (n < sizeof g->message) vsnprintf(g->message + n, sizeof g->message - n, fmt, ap);
    return PF_NONE;
}

/* Doubles a full array; 0 when memory is exhausted. */
static int grow(void **array, int *cap, int used, size_t item)
{
    if (used < *cap) return 1;
    int want = *cap ? 2 * *cap : 64;
    void *bigger = pf_zalloc((size_t)want * item);
    if (!bigger) return 0;
    if (used) memcpy(bigger, *array, (size_t)used * item);
    pf_free(*array);
    *array = bigger;
    *cap = want;
    return 1;
}

static int find_view(const pf_graph *g, const char *name)
{
    for (int i = 0; i < g->n_param; i++)
        if (strcmp(g->param[i].name, name) == 0) return i;
    return -1;
}

pf_status pf_graph_create(pf_graph **out)
{
    pf_graph *g = pf_zalloc(sizeof *g);
    if (!g) PF_FAIL(PF_EMEM, "no memory for a graph");
    g->output = -1;
    *out = g;
    return PF_OK;
}

void pf_graph_free(pf_graph *g)
{
    if (!g) return;
    while (g->names) {
        pf_gname *next = g->names->next;
        pf_free(g->names);
        g->names = next;
    }
    while (g->ints) {
        pf_gints *next = g->ints->next;
        pf_free(g->ints);
        g->ints = next;
    }
    pf_free(g->node);
    pf_free(g->param);
    pf_free(g);
}

pf_status pf_graph_finish(pf_graph *g, pf_node output)
{
    if (g->failed) PF_FAIL(g->failed, "%s", g->message);
    PF_REQUIRE(output.id >= 0 && output.id < g->n_node, PF_EARG,
               "the graph's output is not one of its nodes");
    PF_REQUIRE(!g->node[output.id].integer, PF_EARG,
               "the graph's output is %s, which is integers", g->node[output.id].name);
    g->output = output.id;
    return PF_OK;
}

pf_node pf_graph_fail(pf_graph *g, pf_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    pf_node n = fail_va(g, code, "", fmt, ap);
    va_end(ap);
    return n;
}

pf_node pf_graph_fail_at(pf_graph *g, const pf_gnode *n, const char *fmt, ...)
{
    char prefix[PF_NAME_MAX + 64];
    snprintf(prefix, sizeof prefix, "operator %s (%s): ", n->name, pf_op_name(n->op));
    va_list ap;
    va_start(ap, fmt);
    pf_node r = fail_va(g, PF_ESHAPE, prefix, fmt, ap);
    va_end(ap);
    return r;
}

/* A failed node has the shape 1x1x1, so that a model's own arithmetic on it stays defined. */
pf_shape pf_graph_shape(const pf_graph *g, pf_node x)
{
    if (x.id < 0 || x.id >= g->n_node) return (pf_shape){1, 1, 1};
    return g->node[x.id].shape;
}

int pf_graph_ports(const pf_graph *g)
{
    return g->n_port;
}

const pf_port *pf_graph_port_at(const pf_graph *g, int i)
{
    return &g->port[i];
}

int pf_graph_port(const pf_graph *g, const char *name)
{
    for (int i = 0; i < g->n_port; i++)
        if (strcmp(g->port[i].name, name) == 0) return i;
    return -1;
}

int pf_graph_param_count(const pf_graph *g)
{
    return g->n_param;
}

const pf_param *pf_graph_params(const pf_graph *g)
{
    return g->param;
}

size_t pf_graph_param_floats(const pf_graph *g)
{
    return g->floats;
}

void pf_graph_prefix(pf_graph *g, const char *prefix)
{
    if (snprintf(g->prefix, sizeof g->prefix, "%s", prefix) >= PF_NAME_MAX)
        pf_graph_fail(g, PF_EARG, "the prefix %s... is too long", g->prefix);
}

const char *pf_namef(pf_graph *g, const char *fmt, ...)
{
    pf_gname *n = pf_zalloc(sizeof *n);
    if (!n) {
        pf_graph_fail(g, PF_EMEM, "no memory for a name");
        return "";
    }
    n->next = g->names;
    g->names = n;
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(n->text, sizeof n->text, fmt, ap);
    va_end(ap);
    if (len >= PF_NAME_MAX) pf_graph_fail(g, PF_EARG, "the name %s... is too long", n->text);
    return n->text;
}

const int *pf_graph_ints(pf_graph *g, const int *v, int n)
{
    if (g->failed) return NULL;
    pf_gints *k = pf_zalloc(sizeof *k + (size_t)n * sizeof *v);
    if (!k) {
        pf_graph_fail(g, PF_EMEM, "no memory for %d numbers", n);
        return NULL;
    }
    k->next = g->ints;
    k->n = n;
    memcpy(k->at, v, (size_t)n * sizeof *v);
    g->ints = k;
    return k->at;
}

int pf_graph_begin(pf_graph *g, pf_gnode *n, pf_op op, const char *name)
{
    *n = (pf_gnode){.op = op};
    if (g->failed) return 0;
    int len = name ? snprintf(n->name, sizeof n->name, "%s", name)
                   : snprintf(n->name, sizeof n->name, "%s.%d", pf_op_name(op), g->n_node);
    if (g->output >= 0) {
        pf_graph_fail(g, PF_EARG, "operator %s: added to a finished graph", n->name);
    } else if (len >= PF_NAME_MAX) {
        pf_graph_fail(g, PF_EARG, "the name %s... is too long", n->name);
    } else if (g->n_node >= PF_GRAPH_NODES_MAX) {
        pf_graph_fail(g, PF_EARG, "a graph has at most %d operators", PF_GRAPH_NODES_MAX);
    }
    return !g->failed;
}

static int add_input(pf_graph *g, pf_gnode *n, pf_node in, int integers)
{
    if (g->failed) return 0;
    if (in.id < 0 || in.id >= g->n_node) {
        pf_graph_fail(g, PF_EARG, "operator %s: input %d is not a node of this graph", n->name,
                      n->n_in);
        return 0;
    }
    const pf_gnode *from = &g->node[in.id];
    if (from->integer != integers) {
        pf_graph_fail_at(
            g, n, from->integer ? "%s is integers, want floats" : "%s is floats, want integers",
            from->name);
        return 0;
    }
    n->of_in |= from->of_in;
    n->of_p |= from->of_p;
    n->in[n->n_in++] = in.id;
    return 1;
}

int pf_graph_input(pf_graph *g, pf_gnode *n, pf_node in)
{
    return add_input(g, n, in, n->op == PF_OP_EMBED);
}

int pf_graph_integers(pf_graph *g, pf_gnode *n, pf_node in)
{
    return add_input(g, n, in, 1);
}

int pf_graph_unary(pf_graph *g, pf_gnode *n, pf_op op, const char *name, pf_node x)
{
    if (!pf_graph_begin(g, n, op, name) || !pf_graph_input(g, n, x)) return 0;
    n->shape = pf_graph_in(g, n, 0);
    return 1;
}

void pf_graph_view(pf_graph *g, pf_gnode *n, const char *suffix, const pf_param *p)
{
    if (g->failed) return;
    if (!grow((void **)&g->param, &g->cap_param, g->n_param, sizeof *g->param)) {
        pf_graph_fail(g, PF_EMEM, "no memory for the parameters");
        return;
    }
    pf_param *v = &g->param[g->n_param];
    *v = *p;
    int len = snprintf(v->name, sizeof v->name, "%s%s%s%s", g->prefix, n->name,
                       suffix ? "." : "", suffix ? suffix : "");
    if (len >= PF_NAME_MAX || find_view(g, v->name) >= 0) {
        pf_graph_fail(g, PF_EARG, "the parameter name %s is %s", v->name,
                      len >= PF_NAME_MAX ? "too long" : "used twice");
        return;
    }
    v->size = 1;
    for (int i = 0; i < v->rank; i++) v->size *= (size_t)v->dim[i];
    v->offset = g->floats;
    g->floats += (v->size + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    n->of_p |= v->trainable;
    n->param[n->n_param++] = g->n_param++;
}

pf_node pf_graph_push(pf_graph *g, const pf_gnode *n)
{
    if (g->failed) return PF_NONE;
    pf_shape s = n->shape;
    if (s.h < 1 || s.w < 1 || s.c < 1 || (double)s.h * s.w * s.c > 2147483647.0)
        return pf_graph_fail_at(g, n, "the output would be %dx%dx%d", s.h, s.w, s.c);
    if (!grow((void **)&g->node, &g->cap_node, g->n_node, sizeof *g->node))
        return pf_graph_fail(g, PF_EMEM, "no memory for the operators");
    g->node[g->n_node] = *n;
    return (pf_node){g->n_node++};
}

void pf_graph_live(const pf_graph *g, unsigned char *live)
{
    memset(live, 0, (size_t)g->n_node);
    live[g->output] = 1;
    for (int i = g->output; i >= 0; i--)
        for (int k = 0; live[i] && k < g->node[i].n_in; k++) live[g->node[i].in[k]] = 1;
}
