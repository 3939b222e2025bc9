/* Noise levels of score matching: ladders, and how their ends, ratio, number and step size follow from the data.
 *
 * Lengths are in one unit throughout, whatever it is.  All Local.
 * Source  Song and Ermon 2019, section 4; Song and Ermon 2020, techniques 1, 2 and 4
 * Test    test_ladder; check_vectors ncsn.h5 (sigmas, techniques) */
#ifndef PROBFLOW_LADDER_H
#define PROBFLOW_LADDER_H

#include <probflow/model.h>

typedef enum pf_ladder_kind {
    PF_LADDER_GEOMETRIC, /* neighbours in one ratio */
    PF_LADDER_UNIFORM    /* at one distance */
} pf_ladder_kind;
extern const char *const pf_ladder_words[]; /* NULL-terminated, by pf_ladder_kind */

/* sigma [levels]: from begin to end, both ends exactly; of one level it is begin. */
void pf_ladder_fill(pf_ladder_kind kind, double begin, double end, int levels, double *sigma);

/* Technique 1: the largest distance between two rows of the source is the first level.  n (n - 1) D operations of
 * matrix products, over blocks that take 2 blocks x D numbers of memory.  Reads the source once per block of 1024
 * rows.
 * Fails  PF_EARG: fewer than two rows; as the source does; PF_EMEM. */
PF_MUST_USE pf_status pf_ladder_largest_distance(const pf_sample_source *src, double *out);
/* Technique 2: the ratio g > 1 of neighbouring levels at which the shells |x| ~ sqrt(D) sigma of D-dimensional noise
 * overlap by half: Phi(sqrt(2D) (g - 1) + 3g) - Phi(sqrt(2D) (g - 1) - 3g) = 1/2, to 1e-12.  NAN where there is none:
 * D < 5. */
double pf_ladder_ratio(double D);
/* The least number of levels whose ratio is at most this. */
int pf_ladder_levels(double begin, double end, double ratio);
/* Technique 4: with T Langevin steps a level of size eps (sigma/end)^2, the variance of x about its data point over
 * sigma^2, after a level that was entered with the noise of the one before.  1 is perfect; share = eps/end^2.
 *     (1 - share)^(2T) (ratio^2 - F) + F,   F = 2/(2 - share) */
double pf_ladder_variance(double ratio, double share, int T);
/* The share in (0, 1) that makes it least, which is closest to 1 as F > 1; eps = share end^2. */
double pf_ladder_share(double ratio, int T);

#endif
