/* What `probflow sample` is given beside the model: labels, conditions, data to encode. */
#include "cli/sample.h"

#include <probflow/data.h>
#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --label K, or as many of each class in turn. */
static pf_status take_label(pf_sample_job *j)
{
    long k = 0,
         classes = j->guide.net ? j->guide.net->space.classes : j->model.net->space.classes;
    int all = !strcmp(j->label, "all");
    PF_REQUIRE(pf_net_reads(j->model.net, "label") || j->guide.net, PF_EARG,
               "--label: %s reads no labels, and no classifier guides it", j->model.path);
    if (!all) PF_TRY(pf_arg_int("--label", j->label, 0, classes - 1, &k));
    j->labels = pf_zalloc((size_t)j->n * sizeof *j->labels);
    PF_REQUIRE(j->labels, PF_EMEM, "no memory for %ld labels", j->n);
    for (long i = 0; i < j->n; i++) j->labels[i] = (int32_t)(all ? i % classes : k);
    return PF_OK;
}

/* --condition V,V,... of all samples. */
static pf_status take_condition(pf_sample_job *j)
{
    int C = j->model.net->space.conditions, found = 0;
    PF_REQUIRE(pf_net_reads(j->model.net, "condition"), PF_EARG,
               "--condition: %s reads no conditions", j->model.path);
    j->conditions = pf_zalloc((size_t)j->n * (size_t)C * sizeof *j->conditions);
    PF_REQUIRE(j->conditions, PF_EMEM, "no memory for %ld conditions", j->n);
    for (const char *at = j->condition; at; found++) {
        char *end;
        double v = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !isfinite(v))
            return pf_usage_error(PF_WHERE, "--condition: '%s' is no list of numbers",
                                  j->condition);
        if (found < C) j->conditions[found] = v;
        at = *end ? end + 1 : NULL;
    }
    if (found != C)
        return pf_usage_error(PF_WHERE, "--condition has %d numbers, %s reads %d", found,
                              j->model.path, C);
    for (long i = 1; i < j->n; i++)
        memcpy(j->conditions + i * C, j->conditions, (size_t)C * sizeof *j->conditions);
    return PF_OK;
}

/* The first n images of a split. */
static pf_status take_data(pf_sample_job *j, const char *split, pf_grid grid, double **out)
{
    pf_dataset *set = NULL;
    char why[256];
    const pf_net *net = j->model.net;
    size_t values = (size_t)j->n * pf_shape_entries(net->space.shape);
    PF_TRY(pf_data_or_stored(&j->model, &j->data));
    PF_TRY(pf_dataset_open(j->data, split, &set));
    const pf_dataset_info *about = pf_dataset_about(set);
    const pf_draw none = {0};
    pf_status st = PF_OK;
    if (!pf_space_same(&about->space, &net->space, why, sizeof why))
        st = pf_raise(PF_ESHAPE, PF_WHERE, "%s: %s", j->data, why);
    else if (about->n < j->n)
        st = pf_raise(PF_EARG, PF_WHERE, "-n is %ld, and split %s of %s has %lld images", j->n,
                      split, j->data, (long long)about->n);
    if (!st) *out = pf_zalloc(values * sizeof **out);
    if (!st && !*out) st = pf_raise(PF_EMEM, PF_WHERE, "no memory for %ld images", j->n);
    if (!st) st = pf_rows_read(set, grid, &none, 0, j->n, *out);
    pf_dataset_close(set);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* A model that reads something is told it, or the user says that it is not. */
pf_status pf_sample_given(pf_sample_job *j)
{
    const pf_net *net = j->model.net;
    if (j->unconditional && (j->label || j->condition))
        return pf_usage_error(PF_WHERE, "--unconditional tells the model nothing: leave out "
                                        "--label and --condition");
    if (j->label) PF_TRY(take_label(j));
    PF_REQUIRE(j->label || !j->guide.net, PF_EARG,
               "--guide leads to a label: say --label K or --label all");
    if (j->encode) PF_TRY(take_data(j, j->encode, PF_GRID_PUBLISHED, &j->from));
    const char *known = j->inpaint ? j->inpaint : j->denoise;
    /* a model of dequantised levels knows the middle of their bins */
    int bins = j->model.e.data.grid == PF_GRID_DEQUANTISED;
    if (known)
        PF_TRY(take_data(j, known, bins ? PF_GRID_CENTRES : PF_GRID_PUBLISHED, &j->whole));
    if (known) PF_TRY(pf_sample_known(j));
    if (j->condition) PF_TRY(take_condition(j));
    PF_REQUIRE(j->unconditional || j->label || !pf_net_reads(net, "label"), PF_EARG,
               "%s reads a label from 0 to %d: say --label K, --label all or --unconditional",
               j->model.path, net->space.classes - 1);
    PF_REQUIRE(j->unconditional || j->condition || !pf_net_reads(net, "condition"), PF_EARG,
               "%s reads %d condition%s: say --condition or --unconditional", j->model.path,
               net->space.conditions, net->space.conditions == 1 ? "" : "s");
    return PF_OK;
}
