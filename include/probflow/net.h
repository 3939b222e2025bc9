/* A model bound to a method, a space of data and parameters: shared by all workers of a process. */
#ifndef PROBFLOW_NET_H
#define PROBFLOW_NET_H

#include <probflow/method.h>
#include <probflow/model.h>
#include <probflow/plan.h>

struct pf_net {
    pf_model model;
    pf_method method;
    void *self; /* the method's tables */
    /* Of the method; NULL: it has none. */
    const pf_sde *sde;
    const pf_ladder *ladder;
    pf_space space;
    pf_ports offered;
    /* of each port offered: which input of the network; -1: not read */
    int input[PF_PORTS_MAX];
    pf_graph *graph; /* networks; NULL for analytic models */
    void *state;     /* analytic models, after pf_net_set_params */
    int n_views;
    const pf_param *views;
    pf_param *own_views; /* analytic models: owned */
    size_t floats;
    const float *params; /* borrowed */
};

/* Builds the graph or the views.  A network is offered the method's ports and, where the space has them,
 * `label` (integer [1,1,1], -1: none) and `condition` ([1,1,C+1]: the values, and 1 where they are known,
 * else zeros).
 * Fails  PF_ESHAPE: the data do not fit the model; PF_EARG: the method does not take such data, the model
 *        reads what is not offered, or is analytic under a method that has no SDE, or the method reads
 *        labels and the space has no classes.
 * Test   a_loss_that_reads_labels_is_told_them */
PF_MUST_USE pf_status pf_net_create(const pf_model *m, const pf_method *method,
                                    const pf_space *space, pf_net **out);
void pf_net_free(pf_net *n); /* NULL allowed */
/* Sets the parameters (borrowed, [floats]) for the views made afterwards.  Fails PF_ENUMERIC
 * naming the view when a value is not finite. */
PF_MUST_USE pf_status pf_net_set_params(pf_net *n, const float *params);

/* Network rows that a sample takes in training; see pf_method_ops.rows. */
int pf_net_rows(const pf_net *n);

/* The inputs of a network for a batch of B rows: memory of each, as pf_run.in wants them. */
typedef struct pf_inputs {
    void *in[PF_PORTS_MAX]; /* by the network's inputs; owned */
} pf_inputs;
PF_MUST_USE pf_status pf_inputs_create(const pf_net *n, int batch, pf_inputs *out);
void pf_inputs_free(pf_inputs *i);
size_t pf_inputs_bytes(const pf_net *n, int batch);
/* The method's draws for this batch, and everything the network reads of it: inputs of pf_net_rows B rows.  scratch
 * [B * ops->scratch]. */
void pf_net_see(const pf_net *n, const pf_batch *b, void *scratch, const pf_inputs *to);
/* 1 when a second pass is to be told the first one's answer, net [B,out], which pf_net_again then does.
 * Test  a_network_that_looks_twice_is_told_what_it_said */
int pf_net_looks_twice(const pf_net *n);
void pf_net_again(const pf_net *n, const pf_batch *b, void *scratch, const float *net,
                  const pf_inputs *to);
/* 1 when the network reads the port of this name; 0 also of analytic models. */
int pf_net_reads(const pf_net *n, const char *port);
/* 1 when the network or the method's loss reads labels. */
int pf_net_labels(const pf_net *n);
/* Fills the ports `label` and `condition` of `batch` samples where the network reads them.  label [B] and
 * condition [B,C+1] are as in pf_batch; samples from B on are as the last.  Without a call they are withheld.
 * Test  what_is_withheld_is_as_none, a_label_and_a_condition_change_the_output */
void pf_net_give(const pf_net *n, int batch, const pf_batch *told, const pf_inputs *to);
/* in[i] of the port offered as number i; NULL where the network does not read it. */
void pf_net_ports(const pf_net *n, const pf_inputs *from, void *in[PF_PORTS_MAX]);
/* The run's inputs are these. */
void pf_inputs_run(const pf_inputs *from, pf_run *run);

/* The score for one worker.  Fails PF_EARG: the method has none, there are no parameters, or o->with was made
 * otherwise; PF_EMEM, PF_EEXT. */
PF_MUST_USE pf_status pf_net_score(const pf_net *n, const pf_view_opt *o, pf_score *out);
/* The chain of steps for one worker, in the same way. */
PF_MUST_USE pf_status pf_net_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);
/* The classifier for one worker, in the same way. */
PF_MUST_USE pf_status pf_net_classifier(const pf_net *n, const pf_view_opt *o,
                                        pf_classifier *out);
/* May this classifier guide samples of this model: does it know the same noise of the same images?  Fails PF_EARG,
 * PF_ESHAPE. */
PF_MUST_USE pf_status pf_net_guides(const pf_net *classifier, const pf_net *model);

#endif
