/* Data of a group as the flow takes them, and the columns that come with that.
 *
 * Truncated-normal dequantisation places mean(t_min) x, not x, at t_min (see dequants.c); its
 * Jacobian mean^D joins the offset: log2(L / (2 mean)). */
#include "likelihood/place.h"
#include "likelihood/columns.h"

#include <math.h>
#include <string.h>

/* clang-format off */
const pf_ledger_column pf_flow_columns[PF_FLOW_COLUMNS] = {
    {"image", "", PF_CELL_I64, PF_ROLE_KEY, NULL},
    {"draw", "", PF_CELL_I32, PF_ROLE_KEY, NULL},
    {"label", "", PF_CELL_I32, PF_ROLE_LABEL, NULL},
    {"prior", "bits/dim", PF_CELL_F64, PF_ROLE_PART, NULL},             /* -log p_1(x_1) */
    {"integral", "bits/dim", PF_CELL_F64, PF_ROLE_PART, NULL},          /* -integral div dt */
    {"dequantisation", "bits/dim", PF_CELL_F64, PF_ROLE_DEQUANT, NULL}, /* log q(u|x), 0 for uniform in its bin */
    {"offset", "bits/dim", PF_CELL_F64, PF_ROLE_OFFSET, NULL},          /* from model scale to levels */
    {"nll", "bits/dim", PF_CELL_F64, PF_ROLE_TOTAL, "nll_ode"},         /* their sum */
    {"bound", "bits/dim", PF_CELL_F64, PF_ROLE_TOTAL, NULL},            /* of the same draw of u */
    {"probe_variance", "(bits/dim)^2", PF_CELL_F64, PF_ROLE_VARIANCE, "probes"}, /* of the integral as reported, from the spread of its sets; 0 exact, NaN of one set */
    {"solver_error", "bits/dim", PF_CELL_F64, PF_ROLE_ERROR, NULL},     /* nll less that at a tenth of the tolerances */
    {"steps", "", PF_CELL_I64, PF_ROLE_COUNT, NULL},
    {"evaluations", "", PF_CELL_I64, PF_ROLE_WORK, NULL},
};
/* clang-format on */

pf_status pf_place_check(const pf_likelihood_opt *opt, const pf_group *group)
{
    int none = opt->dequantisation == PF_DEQUANT_NONE, levels = group->space.levels;
    PF_REQUIRE(
        none ? group->x && !group->pixels : group->pixels != NULL, PF_EARG,
        none
            ? "without dequantisation the data must be continuous, not pixels"
            : "only pixels can be dequantised: choose dequantisation none for continuous data");
    PF_REQUIRE(none || (levels >= 2 && levels <= 256), PF_EARG,
               "pixels of %d levels, want 2 to 256", levels);
    return PF_OK;
}

double pf_place_mean(const pf_likelihood_opt *opt, const pf_sde *sde, const pf_group *group,
                     double *offset)
{
    *offset = 0.0;
    if (!group->pixels) return 1.0;
    double mean = pf_dequants[opt->dequantisation]->placement(sde, opt->ode.t_min);
    *offset = pf_space_offset(&group->space, mean);
    return mean;
}

void pf_place_data(const pf_likelihood_opt *opt, const pf_view *view, const pf_group *group,
                   int draw, double *x, double *cells)
{
    int dim = view->score->dim;
    size_t D = (size_t)dim;
    double offset;
    pf_dequantiser q = {view->sde, opt, &group->space, dim};
    pf_place_mean(opt, view->sde, group, &offset);
    for (int b = 0; b < group->B; b++, cells += PF_FLOW_COLUMNS) {
        pf_draw d = {(uint64_t)opt->seed, PF_STREAM_EVAL_DEQUANT, (uint64_t)(group->first + b),
                     (uint32_t)draw};
        double log_q = 0.0;
        if (group->pixels) pf_dequantise(&q, &d, group->pixels + b * D, x + b * D, &log_q);
        else memcpy(x + b * D, group->x + b * D, D * sizeof *x);
        cells[PF_FLOW_DEQUANTISATION] = log_q / (dim * M_LN2);
        cells[PF_FLOW_OFFSET] = offset;
    }
}
