/* `probflow info DATA --ladder`: the noise levels and the step size that a data set asks for. */
#include "cli/info.h"

#include <probflow/data.h>
#include <probflow/ladder.h>

#include <math.h>

typedef struct rows {
    pf_dataset *set;
    double unit; /* of model scale */
    int dim;
} rows;

static pf_status read_rows(void *self, int64_t first, int64_t n, double *x)
{
    const rows *r = self;
    const pf_draw none = {0};
    PF_TRY(pf_rows_read(r->set, PF_GRID_PUBLISHED, &none, first, n, x));
    for (size_t i = 0; i < (size_t)n * (size_t)r->dim; i++) x[i] *= r->unit;
    return PF_OK;
}

static PF_MUST_USE pf_status say(const pf_info_job *j, const rows *r, int64_t n)
{
    const pf_sample_source src = {(void *)r, n, r->dim, read_rows};
    double begin, ratio = pf_ladder_ratio(r->dim), end = j->sigma_end;
    PF_REQUIRE(pf_dataset_about(r->set)->space.kind != PF_TOKENS, PF_EARG,
               "%s holds tokens, between which there are no distances", j->args.positional[0]);
    PF_REQUIRE(isfinite(ratio), PF_EARG,
               "shells of noise in %d dimensions always overlap by half: a ladder that follows "
               "from it needs 5 or more",
               r->dim);
    PF_TRY(pf_ladder_largest_distance(&src, &begin));
    PF_REQUIRE(begin > end, PF_EARG, "the largest distance of two rows is %g, want above %g",
               begin, end);
    int L = pf_ladder_levels(begin, end, ratio), T = (int)j->T;
    double used = pow(begin / end, 1.0 / (L - 1)), share = pf_ladder_share(used, T);
    printf("rows          %lld of %d entries%s\n", (long long)n, r->dim,
           r->unit < 1.0 ? ", images in [0,1]" : "");
    printf("distance      %.6g, the largest of two rows\n", begin);
    printf("ratio         %.6f of levels whose noise overlaps by half; %.6f of %d levels\n",
           ratio, used, L);
    printf("variance      %.5f of that of the noise, after %d steps a level\n",
           pf_ladder_variance(used, share, T), T);
    printf("method        {name: ncsn, levels: %d, sigma_begin: %.6g, sigma_end: %g}\n", L,
           begin, end);
    printf("sample        {name: langevin, langevin_steps: %d, step_size: %.4g}\n", T,
           share * end * end);
    return PF_OK;
}

pf_status pf_info_ladder(const pf_info_job *j)
{
    rows r = {.unit = 1.0};
    PF_TRY(pf_dataset_open(j->args.positional[0], j->split ? j->split : "train", &r.set));
    const pf_dataset_info *about = pf_dataset_about(r.set);
    int64_t n = j->limit && j->limit < about->n ? j->limit : about->n;
    if (about->space.kind == PF_LEVELS) r.unit = 0.5;
    r.dim = pf_space_dim(&about->space);
    pf_status st = say(j, &r, n);
    pf_dataset_close(r.set);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
