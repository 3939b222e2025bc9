/* What every method that adds noise offers a network: the noisy data x and three numbers [1,1,1] of each row,
 *
 *     cond    how the method tells the noise: a time, a step, a level
 *     sigma   deviation of the noise over the factor of the data in x
 *     mean    that factor
 *
 * A method's further ports have the numbers from PF_TOLD on.  All Local. */
#ifndef PROBFLOW_SRC_METHOD_TOLD_H
#define PROBFLOW_SRC_METHOD_TOLD_H

#include <probflow/graph.h>

enum { PF_TOLD_X, PF_TOLD_COND, PF_TOLD_SIGMA, PF_TOLD_MEAN, PF_TOLD };

/* x and the network's output have these shapes. */
pf_ports pf_told_ports(pf_shape x, pf_shape out);
/* A further one, of a number a row; classes as in pf_port. */
void pf_told_add(pf_ports *p, const char *name, int classes);
/* Sets the number of a row, where the network reads the port: in[port] is not NULL. */
void pf_told_put(void *const *in, int port, size_t row, double value);
void pf_told_noise(void *const *in, size_t row, double cond, double sigma, double mean);

#endif
