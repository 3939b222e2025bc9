/* Models: a row builds a network graph, or fits an analytic density.  One file and one row of
 * models.c each. */
#ifndef PROBFLOW_MODEL_H
#define PROBFLOW_MODEL_H

#include <probflow/graph.h>
#include <probflow/option.h>
#include <probflow/score.h>
#include <probflow/sde.h>

/* Reads samples [first, first+n) in model scale into x [n,D]; Local. */
typedef struct pf_sample_source {
    void *self;
    int64_t n;
    int dim;
    pf_status (*read)(void *self, int64_t first, int64_t n, double *x);
} pf_sample_source;
/* Its mean [D] and maximum-likelihood covariance [D,D], in double, in two passes.  Fails as the
 * source does, PF_EMEM. */
PF_MUST_USE pf_status pf_source_moments(const pf_sample_source *src, double *mean, double *cov);

typedef struct pf_model_ops {
    const char *name, *help;
    size_t size;
    const pf_opt *opts;
    /* Networks: builds the graph from what is offered (pf_offered).  Every method offers the noisy data x; the
     * conditioning value cond, by which the network knows the time; the noise sigma in x, std over mean factor
     * of its marginal; and that mean factor, mean; all but x [1,1,1].  The output is offered->out.  Parameter
     * names are published ones. */
    pf_node (*build)(const void *opt, pf_graph *g, const pf_ports *offered);
    /* Networks; 1: each number of the output's position l that belongs to channel c of the port x (of as many parts as x has
     * channels) depends on those numbers of x alone that come before, by position and then by channel.  NULL: 0. */
    int (*causal)(const void *opt);
    /* Networks; NULL where every option has a use.  Takes what images of this shape have no use for out
     * of options that were left to their defaults; given: they were not, PF_EARG names what is useless. */
    pf_status (*settle)(void *opt, pf_shape s, int given);
    /* Analytic models (build == NULL): views of the parameters for images of this shape ... */
    pf_status (*views)(const void *opt, pf_shape s, int *n, pf_param **views);
    /* ... their values from data (closed form), params [floats] ... */
    pf_status (*fit)(const void *opt, const pf_sample_source *src, float *params);
    /* ... shared read-only state derived from them once per process (factorisations) ... */
    pf_status (*prepare)(const void *opt, pf_shape s, const float *params, void **state);
    void (*release)(void *state);
    /* ... and the score of x_t under sde when x_0 has this density; one per worker. */
    pf_status (*score)(void *state, const pf_sde *sde, int batch, pf_score *out);
    /* log p_0(x) of x [n,D] convolved with the marginal at t, closed form, nats: what tests compare with. */
    pf_status (*logp)(void *state, const pf_sde *sde, double t, int n, const double *x,
                      double *lp);
} pf_model_ops;

enum { PF_MODEL_BYTES = 1024 };
typedef struct pf_model { /* options, plain data */
    const pf_model_ops *ops;
    union {
        double align;
        unsigned char bytes[PF_MODEL_BYTES];
    } opt;
} pf_model;

extern const pf_model_ops *const pf_models[]; /* NULL-terminated */
PF_MUST_USE pf_status pf_model_init(const char *name, pf_model *out);

#endif
