/* Checkpoints as the command line names them, points read from a file. */
#include "cli/common.h"

#include <string.h>

pf_status pf_hold_checkpoint(pf_comm *c, const char *run_or_file, pf_args *args)
{
    PF_TRY(pf_checkpoint_hold(c, run_or_file, &args->held));
    return PF_OK;
}

pf_status pf_load(const char *run_or_file, const pf_args *args, const char *params,
                  pf_loaded *out)
{
    pf_load_opt o = {
        .from = run_or_file, .held = &args->held, .n_sets = args->n_sets, .sets = args->sets};
    memset(out, 0, sizeof *out);
    if (params && !strcmp(params, "ema")) o.params = PF_PARAMS_EMA;
    else if (params && !strcmp(params, "raw")) o.params = PF_PARAMS_RAW;
    else if (params)
        return pf_usage_error(PF_WHERE, "--params is '%s'; want ema or raw", params);
    PF_TRY(pf_loaded_open(&o, out));
    return PF_OK;
}

pf_status pf_told_nothing(const pf_loaded *l, int unconditional)
{
    const char *what = pf_net_reads(l->net, "label")       ? "labels"
                       : pf_net_reads(l->net, "condition") ? "conditions"
                                                           : NULL;
    PF_REQUIRE(
        !what || unconditional, PF_EARG,
        "%s reads %s, which the arrays of this command do not hold; --unconditional goes "
        "on without",
        l->path, what);
    return PF_OK;
}

static const char *join(const char *group, const char *name, char *buf, size_t n)
{
    snprintf(buf, n, "%s%s%s", group ? group : "", group && *group ? "/" : "", name);
    return buf;
}

pf_status pf_has_points(const char *path, const char *group, const char *name, int *has)
{
    char full[1024];
    PF_TRY(pf_store_has(path, join(group, name, full, sizeof full), has));
    return PF_OK;
}

static int fits(const pf_array *a, pf_shape s)
{
    if (a->rank == 4) return a->dim[1] == s.h && a->dim[2] == s.w && a->dim[3] == s.c;
    return a->rank == 2 && s.h == 1 && s.w == 1 && a->dim[1] == s.c;
}

pf_status pf_read_points(const pf_loaded *l, const char *path, const char *group,
                         const char *name, int64_t n, pf_array *out)
{
    char full[1024];
    pf_shape s = l->net->space.shape;

    PF_TRY(pf_store_read_array(path, join(group, name, full, sizeof full), out));
    PF_REQUIRE(fits(out, s), PF_ESHAPE,
               "%s: %s does not hold points of the model, [N,%d,%d,%d]", path, full, s.h, s.w,
               s.c);
    PF_REQUIRE(n <= 0 || out->dim[0] == n, PF_ESHAPE, "%s: %s holds %lld points, want %lld",
               path, full, (long long)out->dim[0], (long long)n);
    PF_REQUIRE(out->dim[0] > 0, PF_ESHAPE, "%s: %s holds no points", path, full);
    return PF_OK;
}
