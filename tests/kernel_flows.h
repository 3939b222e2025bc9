/* Variants of the operators of flows of categories, for kernel tests. */
#ifndef PF_TESTS_KERNEL_FLOWS_H
#define PF_TESTS_KERNEL_FLOWS_H

#include "nn/kernel.h"

/* A bit, two or three; some symbols are not there. */
static inline void describe_bits(int v, pf_site *s)
{
    int B = s->in[0].c > 1 ? s->in[0].c / 2 : 1;
    s->in[0].c = 2 * B;
    s->n_in = 3;
    s->in[1] = s->in[2] = s->in[0];
    s->in[1].c = B;
    s->in[2].c = 1;
    s->out.c = B + 1;
}

static inline void describe_turn(int v, pf_site *s)
{
    s->n_in = 2;
    s->in[1] = s->in[0];
    s->in[1].c = 1;
    s->attr.step = v % 2 ? 1 : -1;
}

static inline void describe_invertible(pf_site *s)
{
    s->out.c++;
    s->n_param = 1;
    s->param_size[0] = (size_t)s->in[0].c * (size_t)s->in[0].c;
}

static inline void describe_normal_nats(pf_site *s)
{
    s->out.c = 1;
    s->n_param = 2;
    s->param_size[0] = s->param_size[1] = (size_t)s->in[0].c;
}

static inline void describe_draw(pf_site *s)
{
    s->n_in = 2;
    s->in[1] = s->in[0];
    s->in[0].c *= 2;
    s->out.c++;
}

static inline void describe_cells(pf_site *s)
{
    s->n_in = 2;
    s->in[1] = s->in[0];
    s->in[1].c = 1;
    s->out.c++;
}

static inline void describe_bounded(pf_site *s)
{
    s->n_in = 2;
    s->in[1] = s->in[0];
    s->in[1].c *= 2;
    s->out.c++;
}

static inline void describe_act_norm(pf_site *s)
{
    s->out.c++;
    s->n_param = 2;
    s->param_size[0] = s->param_size[1] = (size_t)s->in[0].c;
}

static inline void describe_shuffle(pf_site *s)
{
    s->n_param = 1;
    s->param_size[0] = (size_t)s->in[0].c;
}

/* From the last to the first. */
static inline void turn_order(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = (float)(n - 1 - i);
}

/* Far from a matrix without an inverse. */
static inline void lift_diagonal(float *w, int n)
{
    for (int i = 0; i < n; i++) w[i * (n + 1)] += 3.0f;
}

#endif
