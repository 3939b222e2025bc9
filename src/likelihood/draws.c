/* Bounds of several draws; see likelihood.h. */
#include "likelihood/columns.h"

#include <probflow/likelihood.h>
#include <probflow/linalg.h>
#include <probflow/memory.h>

#include <math.h>
#include <string.h>

double pf_bound_of_draws(int K, const double *log_w)
{
    return pf_log_sum_exp(K, log_w) - log(K);
}

/* Sets that the mean is taken over: of many draws it varies less. */
static int sets_of(int K)
{
    enum { SETS = 4096, FEW = 64 };
    return K <= FEW ? SETS : K < SETS ? SETS * FEW / K : FEW;
}

/* Of each set its negative too, so that the mean of one draw is 0. */
double pf_gain_of_draws(double deviation, int K)
{
    int sets = sets_of(K);
    double mean = 0.0;
    for (int r = 0; r < sets; r++) {
        double most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0, 0.0};
        pf_draw d = {.seed = 1, .stream = PF_STREAM_GAIN, .sample = (uint64_t)r};
        for (int k = 0; k < K; k++) {
            float e;
            pf_draw_normal(&d, (size_t)k, 1, &e);
            for (int side = 0; side < 2; side++) {
                double w = deviation * (side ? -(double)e : (double)e);
                double top = fmax(most[side], w);
                sum[side] = sum[side] * exp(most[side] - top) + exp(w - top);
                most[side] = top;
            }
        }
        for (int side = 0; side < 2; side++)
            mean += (most[side] + log(sum[side] / K)) / (2 * sets);
    }
    return mean;
}

/* One image: its rows, J of them. */
typedef struct image_draws {
    double bound, probes, spread; /* nats; the variance of log_w, of its probes too */
    double noise;                 /* mean variance by probes; NaN: not known */
} image_draws;

static image_draws of_image(int J, const double *cells, double nats, double *log_w)
{
    image_draws d = {0};
    double mean = 0.0;
    for (int j = 0; j < J; j++) {
        log_w[j] = -nats * cells[j * PF_FLOW_COLUMNS + PF_FLOW_NLL];
        mean += log_w[j] / J;
    }
    d.bound = pf_bound_of_draws(J, log_w);
    for (int j = 0; j < J; j++) {
        double v = nats * nats * cells[j * PF_FLOW_COLUMNS + PF_FLOW_PROBE_VARIANCE];
        double share = exp(log_w[j] - d.bound) / J;
        d.probes += 0.5 * share * (1.0 - share) * v;
        d.noise += v / J;
        d.spread += (log_w[j] - mean) * (log_w[j] - mean) / (J - 1);
    }
    return d;
}

/* Draws of the first image; 0: images differ in them, or have no likelihood that is dequantised. */
static int draws_of(const pf_ledger *l)
{
    int64_t J = 0;
    if (l->n != PF_FLOW_COLUMNS || strcmp(l->column[PF_FLOW_NLL].name, "nll")) return 0;
    while (J < l->rows && l->cell[J * l->n + PF_AT_IMAGE] == l->cell[PF_AT_IMAGE]) J++;
    if (J < 2 || l->rows % J) return 0;
    for (int64_t r = 0; r < l->rows; r++) {
        const double *c = l->cell + r * l->n;
        if (c[PF_AT_DRAW] != (double)(r % J) || isnan(c[PF_FLOW_NLL]) ||
            isnan(c[PF_FLOW_DEQUANTISATION]))
            return 0;
    }
    return (int)J;
}

pf_status pf_likelihood_draws(const pf_ledger *l, int dim, pf_draws *out)
{
    int J = draws_of(l);
    int64_t n = J ? l->rows / J : 0;
    double nats = dim * M_LN2, sum = 0.0, square = 0.0, spread = 0.0;
    *out = (pf_draws){.J = J};
    if (!J) return PF_OK;
    double *log_w = pf_zalloc((size_t)J * sizeof *log_w);
    PF_REQUIRE(log_w, PF_EMEM, "no memory for %d draws", J);
    for (int64_t i = 0; i < n; i++) {
        image_draws d = of_image(J, l->cell + i * J * l->n, nats, log_w);
        int known = !isnan(d.noise);
        double bits = ((known ? d.probes : 0.0) - d.bound) / nats;
        sum += bits;
        square += bits * bits;
        out->probes += d.probes / nats / (double)n;
        spread += (d.spread - (known ? d.noise : 0.0)) / (double)n;
    }
    pf_free(log_w);
    out->bound = sum / (double)n;
    out->se =
        n > 1 ? sqrt(fmax(square / (double)n - out->bound * out->bound, 0.0) / (double)(n - 1))
              : NAN;
    out->deviation = sqrt(fmax(spread, 0.0));
    return PF_OK;
}
