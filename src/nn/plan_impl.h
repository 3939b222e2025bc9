/* Inside of a plan: shared by its making, its memory layout and its execution. */
#ifndef PROBFLOW_SRC_NN_PLAN_IMPL_H
#define PROBFLOW_SRC_NN_PLAN_IMPL_H

#include "nn/graph_impl.h"

/* A piece of memory that is live during the moments first .. last, both included. */
typedef struct pf_piece {
    size_t floats, offset;
    int first, last;
} pf_piece;

/* Gives every piece an offset (multiple of 16 floats) such that pieces live at the same moment
 * do not overlap; returns the floats needed in all.  reuse = 0 overlaps nothing at all.
 * order [2 n] is working space. */
size_t pf_plan_place(pf_piece *piece, int n, int reuse, int *order);

enum { PF_GIN_NONE, PF_GIN_WRITE, PF_GIN_ADD };

typedef struct pf_step { /* one operator of the graph; its number is the node's */
    pf_site site;
    const pf_row *row;
    void *ctx;
    int opened, live;
    int backward;                   /* takes part in reverse mode */
    int value, saved, grad;         /* pieces; -1: none */
    int scratch[2];                 /* forward, backward */
    size_t prepared_at, prepared_n; /* where its prepared parameters are, and their floats */
    int gparam;                     /* gradients of its parameters, to be put; -1: none */
    int again;                      /* operator before whose backward this one runs once more */
    int value_again, saved_again;   /* of that run; again = -1: none */
    size_t room;                    /* floats of the working space at its backward moment */
    int gin_mode[PF_MAX_INPUTS];    /* first contribution to a gradient, or a later one */
    int gin_piece[PF_MAX_INPUTS];   /* where a later contribution is computed */
    double prepare_s, forward_s, backward_s;
} pf_step;

typedef enum pf_plan_state {
    PF_PLAN_FRESH,    /* no parameters */
    PF_PLAN_READY,    /* parameters set */
    PF_PLAN_FORWARDED /* values stand: backward may run */
} pf_plan_state;

struct pf_plan {
    const pf_graph *graph;
    pf_plan_opt opt;
    pf_step *step;
    int n_step;
    unsigned
        want_in; /* the output depends on these inputs and the plan's gradients are asked for */
    int want_p;  /* the same of the parameters */
    pf_piece *piece;
    int n_piece;
    float *mem;
    size_t mem_floats;
    const float *params; /* borrowed */
    float *prepared;     /* [prepared_floats], of opt.with where there is one */
    size_t prepared_floats;
    pf_run run; /* of the last forward; samples point to `sample` */
    uint64_t *sample;
    pf_plan_state state;
    int profile;
};

/* ---- recompute.c ---- */
/* Backward of this step reads the values of its inputs. */
int pf_step_reads_inputs(const pf_step *st);
/* Sets `again` of every step from its graph, options and wishes for gradients. */
PF_MUST_USE pf_status pf_plan_choose_again(pf_plan *p);

/* ---- plan.c ---- */
/* Floats of operator i's views in the flat block, padding included; it has some. */
size_t pf_plan_param_floats(const pf_plan *p, int i);

/* pf_plan_create with the choice to give every value its own memory (tests of the layout). */
PF_MUST_USE pf_status pf_plan_create_with(const pf_graph *g, const pf_plan_opt *opt, int reuse,
                                          pf_plan **out);

#endif
