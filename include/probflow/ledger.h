/* The ledger of a likelihood evaluation: plain data, written by flow, stored by store. */
#ifndef PROBFLOW_LEDGER_H
#define PROBFLOW_LEDGER_H

#include <stdint.h>

/* One ledger row per image and draw; total = prior + integral + dequantisation + offset. */
typedef struct pf_ledger {
    int64_t image;
    int32_t draw;
    int32_t label;         /* -1: none */
    double prior;          /* -log p_1(x_1) / (D ln 2)                       */
    double integral;       /* -integral div dt / (D ln 2)                    */
    double dequantisation; /* log q(u|x) / (D ln 2), 0 for uniform in its bin */
    double
        offset; /* from model scale to pixels: log2(levels/2) for data in [-1,1], 0 continuous;
                                truncated normal: log2(levels / (2 mean(t_min))) */
    double nll; /* total, nll_ode                                 */
    double bound; /* total, bound (same draw of u); NaN when not asked */
    double
        probe_variance; /* of the integral as reported: spread of its K probes / K; 0 exact, NaN for K = 1 */
    double
        solver_error; /* nll minus nll at a tenth of the tolerances; NaN where not repeated */
    int64_t steps, evaluations; /* of its group */
} pf_ledger;

/* Mean and standard error over images (draws averaged first), with the shares. */
typedef struct pf_summary {
    int64_t images, rows;
    double nll, nll_se, bound, bound_se; /* bound NaN when not asked */
    double prior, integral, dequantisation, offset;
    double probe_se; /* part of nll_se due to probes (K >= 2; NaN else)          */
    double
        dequant_se; /* part of nll_se due to dequantisation draws (J >= 2; NaN else); with one probe, probes included */
    double solver_error,
        solver_error_max;      /* mean |.| and max over repeated images; NaN when none */
    double evaluations, steps; /* mean a group */
} pf_summary;

/* Of two models on the same images with the same draws: the first minus the second. */
typedef struct pf_difference {
    int64_t images;                      /* that are in both ledgers */
    double nll, nll_se, bound, bound_se; /* standard errors of the difference itself */
    /* Root of the sum of squares of the two standard errors: what two separate numbers would give. */
    double nll_alone_se, bound_alone_se;
} pf_difference;

#endif
