/* The operators of autoregressive networks and flows: maps that some channels do not pass, increasing maps of each number.
 * What they compute is documented in graph.h. */
#include <probflow/graph.h>
#include <probflow/mixture_cdf.h>

#include "nn/graph_impl.h"

pf_node pf_mixture_map(pf_graph *g, const char *name, pf_node z, pf_node params, int mixtures)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_MIXTURE_CDF, name, z) || !pf_graph_input(g, &n, params))
        return PF_NONE;
    pf_shape s = pf_graph_in(g, &n, 1);
    int c = n.shape.c, M = mixtures;
    if (M < 1 || M > PF_MIXTURE_CDF_MAX)
        return pf_graph_fail_at(g, &n, "%d logistics, want 1 to %d", M, PF_MIXTURE_CDF_MAX);
    if (!pf_same_pixels(n.shape, s) || s.c != c * (2 + 3 * M))
        return pf_graph_fail_at(g, &n, "the parameters are %dx%dx%d, want %dx%dx%d", s.h, s.w,
                                s.c, n.shape.h, n.shape.w, c * (2 + 3 * M));
    n.shape.c = 2 * c;
    pf_param p = {.rank = 1, .dim = {c}, .trainable = 1, .init = PF_INIT_CONST};
    p.fan_in = p.fan_out = c;
    pf_graph_view(g, &n, "scaling_factor", &p);
    p.rank = 2;
    p.dim[1] = p.fan_in = p.fan_out = M;
    pf_graph_view(g, &n, "mixture_scaling_factor", &p);
    return pf_graph_push(g, &n);
}
