/* Bounds of several draws; see likelihood.h. */
#include <probflow/likelihood.h>

#include <math.h>

double pf_bound_of_draws(int K, const double *log_w)
{
    double most = -INFINITY, sum = 0.0;
    for (int k = 0; k < K; k++) most = fmax(most, log_w[k]);
    if (isinf(most)) return most;
    for (int k = 0; k < K; k++) sum += exp(log_w[k] - most);
    return most + log(sum / K);
}

enum { REPEATS = 4096 };

/* The mean over fixed sets of K draws; of each set its negative too, so that the mean of one draw is 0. */
double pf_gain_of_draws(double deviation, int K)
{
    double mean = 0.0;
    for (int r = 0; r < REPEATS; r++) {
        double most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0, 0.0};
        pf_draw d = {.seed = 1, .stream = PF_STREAM_TEST, .sample = (uint64_t)r};
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
            mean += (most[side] + log(sum[side] / K)) / (2 * REPEATS);
    }
    return mean;
}
