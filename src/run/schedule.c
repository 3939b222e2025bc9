/* What the options of training say of a step: its rate, the decay of its average, how much of the initial
 * values an average still holds, and which samples the network is told nothing of.
 *
 * Source: Song et al. 2021, appendix H; the average's warm-up as in their published training. */
#include <probflow/experiment.h>
#include <probflow/random.h>

#include <math.h>

double pf_learning_rate(const pf_train_opt *o, int64_t step)
{
    double part = 1.0;
    if (o->warmup > 0) part = fmin(part, (double)step / (double)o->warmup);
    if (o->decay > 0) part = fmin(part, (double)(o->steps - step) / (double)o->decay);
    return o->lr * part;
}

int pf_withheld(const pf_train_opt *o, uint64_t seed, uint64_t sample)
{
    pf_draw d = {seed, PF_STREAM_WITHHOLD, sample, 0};
    return o->drop_conditions > 0.0 && pf_draw_uniform_f64(&d, 0) < o->drop_conditions;
}

double pf_ema_decay(const pf_train_opt *o, int64_t n)
{
    double warm = (1.0 + (double)n) / (10.0 + (double)n);
    return o->ema_warmup && warm < o->ema ? warm : o->ema;
}

/* (1+n)/(10+n) is below the decay r up to some n; its product up to there is that of 2/11, 3/12, ... */
double pf_ema_initial(const pf_train_opt *o, int64_t steps)
{
    double r = o->ema, all = (double)steps, warm = 0.0, log_warm = 0.0;
    if (steps <= 0) return 1.0;
    if (o->ema_warmup) {
        warm = r < 1 ? fmax(fmin(ceil((10 * r - 1) / (1 - r)) - 1, all), 0) : all;
        log_warm = lgamma(warm + 2) + lgamma(11) - lgamma(warm + 11);
    }
    if (r <= 0) return 0.0;
    return exp(log_warm + (all - warm) * log(r));
}
