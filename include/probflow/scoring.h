/* A likelihood evaluation of many rows: groups of consecutive rows, one solve each, taken by the
 * workers of all ranks from a queue, into a results file that an interrupted run continues. */
#ifndef PROBFLOW_SCORING_H
#define PROBFLOW_SCORING_H

#include <probflow/comm.h>
#include <probflow/data.h>
#include <probflow/likelihood.h>
#include <probflow/net.h>
#include <probflow/times.h>

#include <pthread.h>

/* What is scored: a split of a data set, or points in memory. */
typedef struct pf_scored {
    const char *file; /* for sentences */
    pf_space space;
    int has_labels;
    int named; /* 1: the labels of points number names, in an order of their own */
    int64_t n;
    char content[65];      /* digest of the rows */
    pf_dataset *set;       /* borrowed; NULL: points, */
    const double *x;       /* [n,D] in model scale, or */
    const uint8_t *pixels; /* [n,D] */
    /* What is known of points, [n] and [n,space.conditions]; NULL: nothing.  A set has its own. */
    const int32_t *labels;
    const double *conditions;
    /* A split: */
    const char *split, *name, *sources; /* the last two as older result files name the data */
} pf_scored;

/* What scores: a trained model and the file it comes from.  Borrowed. */
typedef struct pf_scorer {
    const pf_net *net;       /* with parameters */
    const pf_data_opt *data; /* how its training data were dequantised */
    const char *path;        /* of its file, for sentences */
    const char *file;        /* the same file, to be read for its digest */
    int64_t step;            /* of the training */
    int raw;                 /* 1: parameters, though there is an average */
    const pf_times *law;     /* of the indices in training; NULL: none */
    const char *hint;        /* where a solve fails: why, said after the path; NULL: nothing */
} pf_scorer;

/* How far an evaluation is: groups of this part that are done; rows of it and of the whole file; their
 * mean, the sum of their squared distances from it, both by their entries, and the weight that these have. */
typedef struct pf_scored_sum {
    int64_t done, mine, scored;
    double mean, spread, weight;
} pf_scored_sum;

/* What an evaluation runs on. */
typedef struct pf_scoring_own {
    struct pf_seat *seats; /* [threads], each made by its worker */
    int threads;
    int created;         /* the results file was not there before */
    pf_control *control; /* made by the first worker that needs it */
    pthread_mutex_t io;  /* HDF5 is not thread-safe */
} pf_scoring_own;

typedef struct pf_scoring {
    /* Given; borrowed. */
    const char *verb, *unit; /* "bpd", "images" */
    double nats; /* of a row's log-likelihood for one bit/dim, for progress; 0: in bits/dim */
    pf_scorer model;
    const pf_likelihood_opt *opt; /* of this model or of the one it is compared with */
    const pf_scored *data;
    pf_dataset *train; /* source of the control variate; NULL: none */
    const char *train_content;
    int unconditional;   /* 1: the model is told no label and no condition */
    int64_t first, last; /* groups of this part */
    /* Groups, evenly spread, that are drawn a second time where opt asks for one draw, and whose
     * rows of the first draw say what another probe alone changes; 0: none.  The ledger then has
     * two draws a row at least, and those that were not made are NaN. */
    int64_t pilots;
    const char *path;          /* results file */
    const char *const *inputs; /* [n_inputs] never replaced */
    const char *const *from;   /* [n_from] result files whose groups are taken over */
    int n_inputs, n_from;

    /* Once it runs: the steps that the chain has and had when it was trained, and whether its predictions are
     * cut; 0: there is no chain.  Entries of a datum; unit and null as in pf_chain. */
    struct pf_scored_chain {
        int steps, whole, clips, dim;
        double unit, null;
    } chain;
    /* Rank 0, once it runs. */
    pf_results *results;
    pf_scored_sum sum;
    int64_t fresh;      /* groups done by this call */
    double started;     /* see pf_seconds */
    pf_scoring_own own; /* private */
} pf_scoring;

/* Was the model trained where opt, which may be another model's, scores it, and does its chain have what opt
 * wants of it?  Fails PF_EARG; PF_EMEM and as opening a chain of one sample does.  Local.
 * Test  a_chain_is_trained_scored_and_sampled.sh */
PF_MUST_USE pf_status pf_scoring_reaches(const pf_scorer *model, const pf_likelihood_opt *opt);
/* Do the data bring the labels and the conditions that the model reads, as many classes and conditions as it
 * was trained with?  Fails PF_EARG, and as reading the labels does.  Local.
 * Test  conditions_reach_the_density.sh */
PF_MUST_USE pf_status pf_scoring_brings(const pf_scorer *model, const pf_scored *data);
int64_t pf_scoring_groups(const pf_scoring *s);
int pf_scoring_group(const pf_scoring *s, int64_t group); /* rows of this one */
/* The draws a row that the ledger has: opt->draws, or with pilots of one draw its repeats as well. */
int pf_scoring_draws(const pf_scoring *s);
/* May its results file be written?  pf_scoring_run asks that too, but of a second model hours after the
 * first.  Local; rank 0.  Fails as pf_output_check. */
PF_MUST_USE pf_status pf_scoring_check(const pf_scoring *s);

/* Collective.  Opens or continues the results file and fills it; afterwards rank 0 may read
 * s->results.  Fails PF_ESTOP when a stop was asked for (the same call continues), and as
 * pf_likelihood_group, pf_results_open and pf_queue_run do. */
PF_MUST_USE pf_status pf_scoring_run(pf_comm *c, pf_scoring *s);
/* Prints a progress line. */
void pf_scoring_report(const pf_scoring *s, int last);
/* Closes the results file, or removes it when this call made it and failed before any row was in
 * it.  Returns st, or how the closing failed.  Once, after pf_scoring_run or without it. */
PF_MUST_USE pf_status pf_scoring_end(pf_scoring *s, pf_status st);

/* K [bits a datum] of a bound of bpd bits/dim, on the scale that it is published on, and of its null model.  Of data of
 * unit variance in that scale, a standard deviation of `scale` in model scale, whose width is 2,
 *     bits/dim of L levels = log2(L/2 scale) - K/D
 * Test   published_figures_are_converted */
double pf_scored_k(const struct pf_scored_chain *c, double bpd);
double pf_scored_k_null(const struct pf_scored_chain *c);

/* What a number of the ledger is in: "bits/dim", of tokens "bits/char". */
const char *pf_scored_unit(const pf_space *s);

/* A standard error as text; "?" where there is none, as of one image. */
const char *pf_error_bar(double se, int digits, char buf[32]);

/* Opens the train split of a dataset, the source of the control variate, for images of this shape.
 * Fails PF_EARG, saying what to set, when there is none. */
PF_MUST_USE pf_status pf_control_open_split(const char *data, pf_shape shape, pf_dataset **out);
/* The control variate from all its rows, dequantised as opt says the model was trained. */
PF_MUST_USE pf_status pf_control_of_split(pf_dataset *train, const pf_data_opt *opt,
                                          pf_control **out);

#endif
