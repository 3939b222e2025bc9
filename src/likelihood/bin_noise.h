/* Normal noise around the middle of a bin of unit width, in which a level lies: u = 1/2 + s e, e ~ N(0,1),
 *
 *     s = L std/(2 mean),     whole, or cut to |e| < tau = 1/(2 s), of mass Z = erf(tau/sqrt 2)
 *
 * so that mean x is distributed like the level's centre diffused to (mean, std).
 *
 *     log q(u) = -e^2/2 - log(2 pi)/2 - log(s Z)
 *     entropy  = 1/2 (1 + log 2 pi) + log(s Z) - tau exp(-tau^2/2)/(sqrt(2 pi) Z)          of u [nats]
 *
 * Source  Zheng et al. 2023 (i-DODE), section 3
 * Test    check_vectors dequantise.h5; log_q_is_a_density_that_its_draws_follow */
#ifndef PROBFLOW_SRC_LIKELIHOOD_BIN_NOISE_H
#define PROBFLOW_SRC_LIKELIHOOD_BIN_NOISE_H

typedef struct pf_bin_noise {
    double s, tau, mass; /* whole: tau is infinite, the mass 1 */
} pf_bin_noise;

pf_bin_noise pf_bin_noise_cut(int levels, double mean, double std);
pf_bin_noise pf_bin_noise_whole(int levels, double mean, double std);
/* e of the p-th quantile, p in (0,1), of cut noise. */
double pf_bin_noise_quantile(const pf_bin_noise *n, double p);
double pf_bin_noise_log_q(const pf_bin_noise *n, double e);
double pf_bin_noise_entropy(const pf_bin_noise *n);

#endif
