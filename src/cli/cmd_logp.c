/* probflow logp: log-likelihood of given points. */
#include "cli/common.h"
#include "cli/logp.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A pipe without a writer is not waited for: who reads the points refuses it. */
static int is_hdf5(const char *path)
{
    char head[4] = "";
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return 0;
    int is = read(fd, head, sizeof head) == sizeof head && !memcmp(head, "\211HDF", 4);
    close(fd);
    return is;
}

/* HDF5 to HDF5 of any name, and nothing asked for that came later: x in model scale, probe where it is
 * there. */
static PF_MUST_USE pf_status is_of_arrays(const pf_logp *a, int *is)
{
    const char *kind = pf_logp_kind(a->out, NULL);
    int h5 = (!kind || !strncmp(kind, "arrays/", 7)) && is_hdf5(a->in), x = 0;
    *is = 0;
    int later = a->against || a->gradient || a->scale || a->dequantisation || a->data ||
                pf_convert_args_given(&a->convert);
    if (h5 && !later) {
        PF_TRY(pf_has_points(a->in, a->group, "x", &x));
        *is = x || a->group;
    }
    PF_REQUIRE(
        *is || !a->group, PF_EARG,
        "--group names a group of an HDF5 file whose results go into an HDF5 file, without "
        "--against, --gradient, --scale, --dequantisation, those of `probflow data` and "
        "--data");
    if (!*is && !kind)
        return pf_usage_error(PF_WHERE, "--out: %s ends in none of .csv, .npy, .npz and .h5",
                              a->out);
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    const pf_logp *a = self;
    int arrays = 0;
    PF_TRY(pf_comm_agree(c, is_of_arrays(a, &arrays)));
    if (!arrays) pf_catch_signals();
    PF_TRY(arrays ? pf_logp_arrays(c, a) : pf_logp_points(c, a));
    return PF_OK;
}

/* POINTS-logp in the format read, CSV for images. */
static const char *default_out(const char *in)
{
    static char path[4200];
    const char *dot = pf_logp_kind(in, NULL) ? strrchr(in, '.') : NULL;
    size_t n = strlen(in);
    while (n > 1 && in[n - 1] == '/') n--;
    if (dot) n = (size_t)(dot - in);
    snprintf(path, sizeof path, "%.*s-logp%s", (int)n, in, dot ? dot : ".csv");
    return path;
}

static pf_status run(int argc, char **argv)
{
    static pf_logp a;
    const char *minutes = NULL;
    const pf_arg flags[] = {{"--in", &a.in, NULL},
                            {"--group", &a.group, NULL},
                            {"--out", &a.out, NULL},
                            {"--against", &a.against, NULL},
                            {"--scale", &a.scale, NULL},
                            {"--dequantisation", &a.dequantisation, NULL},
                            {"--gradient", NULL, &a.gradient},
                            {"--unconditional", NULL, &a.unconditional},
                            {"--data", &a.data, NULL},
                            PF_CONVERT_ARGS(a.convert),
                            {"--params", &a.params, NULL},
                            {"--max-minutes", &minutes, NULL},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &a.args));
    if (!a.in) return pf_usage_error(PF_WHERE, "logp needs --in POINTS");
    if (!a.out) a.out = default_out(a.in);
    PF_TRY(pf_arg_minutes(minutes));
    PF_TRY(pf_with_comm(body, &a));
    return PF_OK;
}

const pf_command pf_command_logp = {
    .name = "logp",
    .usage =
        "RUN_OR_CKPT --in POINTS [--out TABLE] [--scale model|pixels] [--dequantisation D] "
        "[--gradient] [--unconditional] [--against RUN_OR_CKPT] [--label COLUMN] [--crop N] "
        "[--resize N] ... "
        "[--data "
        "D.h5] [--group G] [--params ema|raw] "
        "[--max-minutes M] [--set section.key=value]... [--quiet]",
    .help =
        "log-likelihood of given points, each with its error\n\n"
        "  --in POINTS   any source that `probflow data` reads: .csv, .npy, .npz, images, .h5. "
        " "
        "Pixels of\n"
        "                8 bits are dequantised as bpd does; floating-point numbers are in "
        "model "
        "scale\n"
        "  --scale S     model (default); or pixels: numbers from 0 to 255, scored as pixels "
        "when "
        "they\n"
        "                are whole, else as pixels that were dequantised\n"
        "  --dequantisation D  of pixels: uniform or truncated_normal; default "
        "likelihood.dequantisation\n"
        "  --out TABLE   .csv, .npy, .npz or .h5, a row a point; default POINTS-logp in the "
        "format read, CSV\n"
        "                for images.  An interrupted command continues from TABLE.progress.h5\n"
        "  --gradient    adds d log p/dx, the score at likelihood.t_min, of the first draw\n"
        "  --against M   another run or checkpoint, scored with the same probes, "
        "dequantisation "
        "and times:\n"
        "                adds its log-likelihood and the difference with the error of the "
        "difference\n"
        "  --label, --condition, --alpha, --grey, --rgb, --crop, --resize, --shrink, "
        "--levels,\n"
        "                --binarise of the points, as of `probflow data`: images become what "
        "the model "
        "was trained on\n"
        "                A model that reads labels or conditions is told those of the points\n"
        "  --unconditional  it is told none\n"
        "  --data D.h5   training data for a control variate; default: those the model names\n"
        "  --params P    ema: averaged parameters, the default where there are any; raw: the "
        "parameters themselves\n"
        "  --max-minutes M  stops in time for a batch system's limit: exit status 75\n"
        "  --set K=V     likelihood options, for example --set likelihood.probes=4,\n"
        "                likelihood.estimand=nll_ode,bound, likelihood.check_groups=1 (the "
        "solver's error\n"
        "                of one group instead of each point, in half the time)\n\n"
        "Columns of TABLE [nats, unless the name says bits_per_dim]:\n\n"
        "  log_likelihood        of pixels a probability (a bound from below with uniform "
        "dequantisation), of other\n"
        "                        numbers a density in the units of the input\n"
        "  error                 standard error of this number: probes, dequantisation, times\n"
        "  probe_error           the share of the probes\n"
        "  solver_error          distance from a solve at a tenth of the tolerances\n"
        "  weight_correction     half the variance of the probes: subtract it before "
        "exponentiating, whose\n"
        "                        mean is else too large\n"
        "  prior, integral, dequantisation, offset  the parts of log_likelihood\n"
        "  bound                 lower bound of the SDE, where likelihood.estimand asks for "
        "it\n"
        "  vlb, vlb_prior, ...   lower bound of a chain of steps, and its parts; "
        "vlb_diffusion_0 to 9 are of tenths\n"
        "                        of its steps, the least noisy first\n"
        "  against_, difference  see --against\n"
        "  gradient_0, ...       see --gradient\n"
        "  remark                grid, outside, negative bits/dim, density above 1 (text in "
        ".csv; "
        "else the sum of\n"
        "                        1, 2, 4, 8)\n\n"
        "Where one draw and one set of probes are asked for, some points are drawn again, and "
        "their spread\n"
        "gives the error of all; more of them give each point a spread of its own, which is "
        "weighed with that of all.\n\n"
        "From x [N,H,W,C] of an .h5 file to an .h5 file the older form stands: x in model "
        "scale "
        "at\n"
        "likelihood.t_min, where it is there probe (shape of x), else the exact trace, D "
        "products "
        "an\n"
        "evaluation; --group G names the group that holds them.  It writes logp, prior_logp, "
        "delta_logp\n"
        "[nats], z; attributes evaluations and steps, summed over solves of likelihood.group "
        "points.",
    .run = run,
};
