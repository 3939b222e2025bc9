/* Exact log-likelihood by the probability-flow ODE, and the denoising-score-matching bound.
 *
 *     log p_0(x) = log p_1(x_1) + integral_{t_min}^1 div f(x_t, t) dt      (Song et al. 2021, eq. 39)
 *
 * Estimands, named and never mixed; estimand.h has what a row of their table is:
 *   nll_ode  clean dequantised x placed at t_min
 *   bound    DSM bound on [t_min, 1] with the decoder term at t_min      (Song et al. 2021b, thm. 1, 3)
 *   vlb      variational bound of a discrete chain, on the levels themselves  (Ho et al. 2020, eq. 5)
 *
 * All figures are bits per dimension unless a name says nats. */
#ifndef PROBFLOW_LIKELIHOOD_H
#define PROBFLOW_LIKELIHOOD_H

#include <probflow/chain.h>
#include <probflow/flow.h>
#include <probflow/ledger.h>
#include <probflow/model.h>
#include <probflow/random.h>
#include <probflow/view.h>

typedef enum pf_dequant {
    PF_DEQUANT_NONE,
    PF_DEQUANT_UNIFORM,
    PF_DEQUANT_TRUNCATED_NORMAL,
    PF_DEQUANT_NORMAL
} pf_dequant;
typedef enum pf_strata { PF_STRATA_EVEN, PF_STRATA_GEOMETRIC, PF_STRATA_LEARNED } pf_strata;
typedef enum pf_control_kind { PF_CONTROL_NONE, PF_CONTROL_GAUSSIAN } pf_control_kind;
/* Rows of the table of estimands, as a set. */
typedef enum pf_estimand {
    PF_NLL_ODE = 1,
    PF_BOUND = 2,
    PF_NLL_AND_BOUND = 3,
    PF_VLB = 4
} pf_estimand;

typedef struct pf_trace_opt { /* of the divergence */
    int probe;                /* pf_probe */
    int probes;               /* K */
    int colours;              /* P: probes come in sets of P, see src/likelihood/probe.c */
    int control;              /* pf_control_kind */
    double control_noise;     /* std/mean from which it is used */
    int subspace;             /* directions taken exactly, one product each */
} pf_trace_opt;

typedef struct pf_likelihood_opt {
    pf_ode_opt ode;
    pf_trace_opt trace;
    int estimand;       /* set of pf_estimand */
    int dequantisation; /* pf_dequant */
    int draws;          /* J draws an image */
    int group;          /* images a solve: part of the definition of the result */
    int bound_samples;  /* times an image for the bound */
    int bound_form; /* how it is written and how its times are drawn: src/likelihood/bound_terms.h */
    int bound_times;
    int bound_control; /* pf_control_kind, of its residuals */
    int terms; /* of the steps of a chain an image for its bound, one in each of so many strata; 0: all */
    int strata; /* pf_strata */
    int clip;   /* pf_clip: are the chain's predictions of the data cut to their range? */
    /* Which of its steps are kept, as its method writes it; "": all. */
    char respacing[PF_STR_MAX];
    int check_groups; /* groups repeated at a tenth of the tolerances for the solver's share */
    int64_t seed;
} pf_likelihood_opt;
extern const pf_opt pf_likelihood_opts[];

/* Control variate of the divergence estimate: the Gaussian with the covariance of the data, whose
 * v'Jv has a known integral along every path (src/likelihood/control.c).  The estimate stays unbiased
 * whatever the data; its variance falls by what the model shares with that Gaussian.  Read-only once
 * made, shared by workers. */
typedef struct pf_control pf_control;
/* Covariance of the source plus noise_variance I (that of uniform dequantisation, (2/levels)^2/12),
 * and its eigenvectors: one pass of 2 n D^2 operations and about 10 D^3.  Owned; the source is
 * borrowed during the call.  The same bits on any number of threads only when the libraries run
 * on one.  Local.  Fails as the source does, PF_EMEM, PF_EEXT: LAPACK.
 * Test   one_probe_is_exact_when_the_control_is_the_model */
PF_MUST_USE pf_status pf_control_create(const pf_sample_source *src, double noise_variance,
                                        pf_control **out);
/* Moves the mean where the source has the data elsewhere than the model does. */
void pf_control_shift(pf_control *c, double by);
/* y [rows,D] of v [rows,D] in the basis of the covariance; y is not v.  Of data they are centred first, in place.  Local. */
void pf_control_project(const pf_control *c, int rows, const double *v, double *y);
void pf_control_centre(const pf_control *c, int rows, double *x);
/* |s score + z|^2 at m x + s z under the Gaussian itself, ratio = s/m, of centred data y [D] and noise z [D] in the basis;
 * *mean: over z.  Variances below `least` count as that.
 * Source  the score of a Gaussian; Song et al. 2021b, eq. 7
 * Test    a_control_that_is_the_model_leaves_nothing_to_chance */
double pf_control_residual(const pf_control *c, double ratio, double least, const double *y,
                           const double *z, double *mean);
/* The integral of rate times that mean, rate dt = 2 d log ratio, between two ratios [nats]. */
double pf_control_residuals(const pf_control *c, double from, double to, double least,
                            const double *y);
void pf_control_free(pf_control *c); /* NULL allowed */
int pf_control_dim(const pf_control *c);
/* Bytes it holds while it is made; about a third of them later. */
size_t pf_control_bytes(int dim);
/* How a solve from t_min to 1 uses it.  From t0 on the Gaussian's own integral of each direction counts;
 * before t0 all directions have the mean of theirs.  The `subspace` eigenvectors whose integrals are farthest
 * from that mean are left out: their divergence is exact. */
typedef struct pf_control_use {
    const pf_control *control;
    const pf_sde *sde;
    double t_min, t0;
    int subspace; /* <= dim */
} pf_control_use;
/* The first t in [t_min, 1] with std/mean >= noise, else 1. */
double pf_control_start(const pf_sde *sde, double t_min, double noise);
/* out [rows] = integral of v'Jv minus that of the trace [nats], both outside the subspace, of v
 * [rows,D]; mean zero when E vv' = I there.  work [rows + 1, D].  Local. */
void pf_control_integral(const pf_control_use *u, int rows, const double *v, double *work,
                         double *out);
/* s [subspace,D] = orthonormal basis of the subspace; v [rows,D] <- its part in the complement.
 * work as above.  Local. */
void pf_control_split(const pf_control_use *u, int rows, double *v, double *work, double *s);

/* 1 when these options need pf_group.control: a divergence is estimated, with a control variate or
 * outside a subspace. */
int pf_likelihood_has_control(const pf_likelihood_opt *opt);
/* Rules between options.  Fails PF_EARG. */
PF_MUST_USE pf_status pf_likelihood_check(const pf_likelihood_opt *opt);

/* Images [first, first+B).  pixels uint8 [B,D] of space.levels, or x double [B,D] in model scale, tokens too. */
typedef struct pf_group {
    int64_t first;
    int B;
    pf_space space; /* its shape says where colours lie; zeroed: one pixel of D channels */
    const unsigned char *pixels;
    const double *x;
    const int32_t *label;    /* [B], -1: none; NULL: the model is not told */
    const double *condition; /* [B,C]; NULL: the model is not told */
    int repeat;              /* 1: also by a better solve, for the columns of errors */
    /* borrowed; wanted where pf_likelihood_has_control says so; NULL: none */
    const pf_control *control;
} pf_group;

/* The columns of the ledger that these options give.  Returns how many; 0: their estimands have none in
 * common, which pf_likelihood_check tells. */
int pf_likelihood_columns(const pf_likelihood_opt *opt, const pf_ledger_column **columns);

/* Scores a group into cells [draws*B, columns], draw by draw.  The view is this worker's and takes B at
 * least.  Local.
 * Fails  PF_EARG: the options do not suit the data or the view, as a sentence; PF_ENUMERIC; PF_EMEM; as
 *        the score and the chain do. */
PF_MUST_USE pf_status pf_likelihood_group(const pf_view *view, const pf_likelihood_opt *opt,
                                          const pf_group *group, double *cells);

/* Bytes that pf_likelihood_group takes while it runs for images of dim entries.  What the view holds is not
 * among them. */
size_t pf_likelihood_bytes(const pf_likelihood_opt *opt, int dim);

/* Rows in any order.  The figures are NaN when there is no row or memory is exhausted. */
void pf_likelihood_summary(const pf_ledger *rows, pf_summary *out);
/* One figure more; name: below PF_FIGURE_NAME. */
void pf_summary_add(pf_summary *s, const char *name, double value);
/* NaN where there is none of that name. */
double pf_summary_figure(const pf_summary *s, const char *name);

/* Paired difference over the images that both ledgers have, draw by draw; NaN where there is none.
 * Both have the same columns and are sorted by image and draw, as pf_results_rows gives them.  Local.
 * Fails  PF_EMEM.
 * Test   a_paired_difference_is_that_of_the_images */
PF_MUST_USE pf_status pf_likelihood_difference(const pf_ledger *a, const pf_ledger *b,
                                               pf_difference *out);

/* What a ledger says of each image, with the variance that the draws, probes and times of this evaluation
 * give the number: mean over draws of every column, of an error's |.|.  A column of variances becomes the
 * variance that what it is of alone would give the first total. */
typedef struct pf_estimates {
    int64_t n; /* images */
    int columns;
    const pf_ledger_column *column;
    double *value;    /* [n,columns], owned */
    double *variance; /* [n,columns] of the totals, as reported; NaN of the others; owned */
} pf_estimates;
void pf_estimates_free(pf_estimates *e);
/* Groups to be drawn again so that each image's variance is known, and whose probes say their share of it
 * by more sets: enough for 512 images, or all; 0 where the rows say both themselves.  paired: of the
 * difference between two models.  Local.
 * Test   pilots_are_where_rows_do_not_say_it */
int64_t pf_likelihood_pilots(const pf_likelihood_opt *opt, int pixels, int paired,
                             int64_t images);
/* Times that these are drawn again: once, and of few images so often that 16 squares are known.  Local.
 * Test   pilots_are_where_rows_do_not_say_it */
int pf_likelihood_repeats(int64_t images);
/* Rows sorted by image and draw, `draws` of each, those not made NaN; from the second draw on they are
 * repeats where opt asks for one draw.  minus: of another model, in the same order; the totals and their
 * variances are then of the difference, and the rest NaN.  Variances by pf_moderate_variance.
 * out is zeroed, or what an earlier call made; its owner frees it, after a failure too.  Local.
 * Fails  PF_EMEM.
 * Test   stated_errors_are_those_of_the_estimates, estimates_are_of_the_draws_that_were_asked_for */
PF_MUST_USE pf_status pf_likelihood_estimates(const pf_likelihood_opt *opt, int pixels,
                                              const pf_ledger *rows, const pf_ledger *minus,
                                              int draws, pf_estimates *out);

/* The variance of each of n independent estimates from what repeats of some of them say.
 *
 *     variance_i = (n0 m + dof_i spread_i) / (n0 + dof_i)
 *
 * spread [n]   sample variance of row i's repeats, as of the estimate itself; read where dof > 0
 * dof    [n]   repeats less one; 0: none
 * out    [n]   NaN everywhere when no row has repeats
 * m is the mean of the spreads by their degrees of freedom, and n0 = 2 + 2/c^2 weighs it by how much the
 * variances differ from row to row, c their coefficient of variation, from the spread of the spreads
 * beyond 2/dof: the posterior mean under a scaled inverse chi-squared prior, whose two parameters are
 * those moments.  Rows without repeats get m.  Local.
 * Source  Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3(1), section 3 (the
 *         prior there is fitted by the moments of log spread)
 * Test    repeats_give_each_row_its_variance */
void pf_moderate_variance(int64_t n, const double *spread, const int *dof, double *out);

/* The bound of K draws, log(1/K sum exp log_w), K >= 1.
 * Source  Burda et al. 2016, eq. 8 */
double pf_bound_of_draws(int K, const double *log_w);
/* By how much its mean exceeds that of one draw where log_w is normal of this deviation, over a fixed sample.
 * Test  more_draws_close_the_gap */
double pf_gain_of_draws(double deviation, int K);

/* What the J >= 2 draws of each image's dequantisation make of nll_ode together [bits/dim]:
 *
 *     bound = -log(1/J sum exp log_w)/(D log 2),     log_w = -nll_j D log 2
 *
 * Probes add noise of variance v_j to log_w, which would lower it by 1/2 sum p_j (1 - p_j) v_j to second order, p_j the
 * share of draw j: that is added again.
 * Test  draws_of_dequantisation_are_one_bound */
typedef struct pf_draws {
    int J; /* 0: the ledger has no such draws */
    double bound, se;
    /* What was added, mean over images; NaN: the rows do not know their probes' noise. */
    double probes;
    double deviation; /* of log_w in an image, without the probes' noise [nats] */
} pf_draws;
/* Rows as pf_results_rows gives them, of dequantised data of dim entries.  Local.  Fails PF_EMEM. */
PF_MUST_USE pf_status pf_likelihood_draws(const pf_ledger *rows, int dim, pf_draws *out);

/* How levels are dequantised.  Borrowed. */
typedef struct pf_dequantiser {
    const pf_sde *sde;
    const pf_likelihood_opt *opt;
    const pf_space *space; /* of the levels */
    int dim;               /* D */
} pf_dequantiser;

/* Dequantisation: u around the middle of a bin of unit width, where each level lies. */
typedef struct pf_dequant_ops {
    const char *name;
    /* u [D] of these levels, and log q(u), less what a decoder says of the level, summed over the D entries [nats]; NULL:
     * of data that need none. */
    double (*draw)(const pf_dequantiser *q, const pf_draw *draw, const unsigned char *pixels,
                   double *u);
    /* Factor on x where it is placed at t_min. */
    double (*placement)(const pf_sde *sde, double t_min);
} pf_dequant_ops;
extern const pf_dequant_ops *const pf_dequants[]; /* by pf_dequant, NULL-terminated */
extern const char *const pf_dequant_words[];      /* their names, NULL-terminated */

/* Dequantises levels k of a space into model scale [-1,1]: x = 2 (k + u)/levels - 1.
 * Writes x [D] and log q(u|x), of normal noise less log p(k|x), summed over the D entries [nats, in units of u]. */
void pf_dequantise(const pf_dequantiser *q, const pf_draw *draw, const unsigned char *pixels,
                   double *x, double *log_q);

#endif
