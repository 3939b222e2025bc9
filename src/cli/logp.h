/* The two forms of `probflow logp`. */
#ifndef PROBFLOW_SRC_CLI_LOGP_H
#define PROBFLOW_SRC_CLI_LOGP_H

#include <probflow/data.h>
#include <probflow/likelihood.h>
#include "cli/convert_args.h"

typedef struct pf_logp {
    pf_args args;
    const char *in, *group, *out, *params, *against, *scale, *dequantisation, *data;
    pf_convert_args convert; /* of the points */
    int gradient, unconditional;
} pf_logp;

/* Collective.  x and probe of an HDF5 file, to logp, prior_logp, delta_logp and z of another. */
PF_MUST_USE pf_status pf_logp_arrays(pf_comm *c, const pf_logp *a);
/* Collective.  Points of any format, to a table with errors, of one model or of two. */
PF_MUST_USE pf_status pf_logp_points(pf_comm *c, const pf_logp *a);

/* ---- the table ---- */
typedef struct pf_logp_table {
    int64_t n;
    int D, pixels;
    /* beside that of the estimates, log-likelihood in the units of the input less that in model scale [nats] */
    double offset;
    const int32_t *labels; /* NULL: none */
    const pf_likelihood_opt *opt;
    const pf_estimates *first, *second, *difference; /* the last two NULL without --against */
    const double *gradient;                          /* [n,D]; NULL: not asked for */
    const unsigned char *remarks;                    /* [n] bits of pf_remark */
    const pf_out_attr *attrs; /* [n_attrs] what made it; only HDF5 has room for them */
    int n_attrs;
} pf_logp_table;

typedef enum pf_remark {
    PF_REMARK_GRID = 1, /* values on a grid, scored as a density: it has no upper limit there */
    PF_REMARK_OUTSIDE = 2,  /* outside the range of the training data */
    PF_REMARK_NEGATIVE = 4, /* bits/dim below 0: more than all probability on one level */
    PF_REMARK_DENSITY = 8   /* a density above 1, which no probability is */
} pf_remark;

/* Fills remarks [n].  data: data set of the training, read where it can be.  Local. */
void pf_logp_remark(const pf_logp_table *t, const pf_points *p, const char *data,
                    unsigned char *remarks);
/* Kind of output by the ending of its name, for pf_take_output; NULL: none of .csv .npy .npz .h5.  opt
 * decides the second column; NULL: any. */
const char *pf_logp_kind(const char *out, const pf_likelihood_opt *opt);
/* Writes the table in the format of its name.  Local. */
PF_MUST_USE pf_status pf_logp_write(const char *out, const pf_logp_table *t);
/* Prints what it says of all points. */
void pf_logp_print(const char *out, const pf_logp_table *t);

#endif
