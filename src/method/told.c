/* Ports that all methods of noise have; see told.h. */
#include "method/told.h"

static const pf_shape one = {1, 1, 1};

pf_ports pf_told_ports(pf_shape x, pf_shape out)
{
    return (pf_ports){.n = PF_TOLD,
                      .port = {[PF_TOLD_X] = {.name = "x", .shape = x},
                               [PF_TOLD_COND] = {.name = "cond", .shape = one},
                               [PF_TOLD_SIGMA] = {.name = "sigma", .shape = one},
                               [PF_TOLD_MEAN] = {.name = "mean", .shape = one}},
                      .out = out};
}

void pf_told_add(pf_ports *p, const char *name, int classes)
{
    p->port[p->n++] = (pf_port){.name = name, .shape = one, .classes = classes};
}

void pf_told_put(void *const *in, int port, size_t row, double value)
{
    if (in[port]) ((float *)in[port])[row] = (float)value;
}

void pf_told_noise(void *const *in, size_t row, double cond, double sigma, double mean)
{
    pf_told_put(in, PF_TOLD_COND, row, cond);
    pf_told_put(in, PF_TOLD_SIGMA, row, sigma);
    pf_told_put(in, PF_TOLD_MEAN, row, mean);
}
