/* An experiment: every section of a configuration, typed.  Its canonical text is stored in each
 * checkpoint and result and alone reproduces the run. */
#ifndef PROBFLOW_EXPERIMENT_H
#define PROBFLOW_EXPERIMENT_H

#include <probflow/config.h>
#include <probflow/data.h>
#include <probflow/likelihood.h>
#include <probflow/model.h>
#include <probflow/method.h>
#include <probflow/sample.h>

typedef enum pf_overlap { PF_OVERLAP_NO, PF_OVERLAP_YES, PF_OVERLAP_HOSTS } pf_overlap;

typedef struct pf_train_opt {
    int64_t steps;
    int batch; /* global */
    double lr, beta1, beta2, eps;
    int64_t warmup; /* first steps, over which the rate grows linearly */
    int64_t decay;  /* last steps, over which it falls linearly */
    double clip;    /* global gradient norm; 0: off */
    double ema;     /* decay; checkpoint /ema is what is evaluated */
    int ema_warmup; /* the decay of the first updates is smaller: pf_ema_decay */
    int64_t eval_every, log_every, checkpoint_every;
    /* of the evaluation loss; "": valid where there is one, else test */
    char eval_split[PF_STR_MAX];
    int eval_images;    /* its first images */
    int keep;           /* newest checkpoints kept */
    int64_t keep_every; /* checkpoints of every n-th step are kept too; 0: none */
    double max_hours;   /* of one call, then PF_ESTOP; 0: none */
    int overlap;   /* pf_overlap: gradients are exchanged while the backward pass goes on */
    int precision; /* pf_precision */
    int recompute; /* pf_recompute */
    int device;    /* enum: cpu; gpu is known and refused */
    double drop_conditions; /* share of the samples whose label and conditions are withheld */
} pf_train_opt;
extern const pf_opt pf_train_opts[];

/* The rate of step number `step` (from 0): lr min(1, step/warmup, (steps - step)/decay). */
double pf_learning_rate(const pf_train_opt *o, int64_t step);

/* 1 when the label and the conditions of this sample, by its global number, are withheld.
 * Test   the_share_of_withheld_samples_is_that_asked_for */
int pf_withheld(const pf_train_opt *o, uint64_t seed, uint64_t sample);

/* Decay of the n-th update of the average, n from 1: ema, or min(ema, (1 + n)/(10 + n)) with
 * ema_warmup.
 * Source: the training code published with Song et al. 2021, which counts an update before it is made.
 * Test   the_average_warms_up_as_published */
double pf_ema_decay(const pf_train_opt *o, int64_t n);
/* The weight that the initial values have in the average after `steps` updates: the product of their
 * decays. */
double pf_ema_initial(const pf_train_opt *o, int64_t steps);

typedef struct pf_run_opt { /* top level */
    char name[PF_STR_MAX];
    int64_t seed;
    int shards;
} pf_run_opt;
extern const pf_opt pf_run_opts[];

/* Whether the user gave a key whose absence has a meaning of its own. */
typedef struct pf_given {
    int attention, ema_warmup;
} pf_given;

typedef struct pf_experiment {
    pf_run_opt run;
    pf_data_opt data;
    pf_method method;
    pf_model model;
    pf_train_opt train;
    pf_likelihood_opt likelihood;
    char sampler[64];
    pf_sample_opt sample;
    pf_given given;
} pf_experiment;

/* Reads and checks all sections (unknown keys, ranges, cross-field rules, and choices of the user that
 * could have no effect).  Left out, likelihood.t_min of a network is not below objective.t_min, and
 * train.ema_warmup is true; false where c is stored, as all runs were before the key was there. */
PF_MUST_USE pf_status pf_experiment_read(pf_config *c, pf_experiment *out);
/* The same with each of sets ("section.key=value", in order) put into c first.  Frees c. */
PF_MUST_USE pf_status pf_experiment_take(pf_config *c, int n_sets, const char *const *sets,
                                         pf_experiment *out);
/* The space of a data set as the network of e wants it: with the number of classes where it reads labels.
 * Fails  PF_EARG: it reads labels or conditions, which the data lack, or train.drop_conditions would withhold
 *        neither; as pf_dataset_classes does.
 * Test   conditions_reach_the_density.sh */
PF_MUST_USE pf_status pf_experiment_space(const pf_experiment *e, pf_dataset *d, pf_space *out);
/* Canonical text, owned by the caller. */
PF_MUST_USE pf_status pf_experiment_text(const pf_experiment *e, pf_text *out);

#endif
