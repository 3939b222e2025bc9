/* The summary of `probflow bpd`: the number, its error, the ledger behind it. */
#include "cli/bpd.h"

#include <math.h>
#include <stdio.h>

void pf_bpd_count_groups(pf_bpd_page *p, const pf_ledger *rows, int64_t n)
{
    p->groups = p->repeated = 0;
    for (int64_t i = 0, last = -1; i < n; i++) {
        int64_t group = rows[i].image / p->o->group;
        if (group == last) continue;
        last = group;
        p->groups++;
        p->repeated += !isnan(rows[i].solver_error);
    }
}

void pf_bpd_print(const pf_bpd_page *p, const pf_summary *s)
{
    int estimand = p->o->estimand;
    char error[32];
    if (!s->images) {
        printf("images        none: this part holds no group\n");
        return;
    }
    printf("images        %lld of the %s split of %s, %d draw%s each\n", (long long)s->images,
           p->split, p->dataset, p->o->draws, p->o->draws == 1 ? "" : "s");
    if (estimand != PF_BOUND)
        printf("nll_ode       %.5f +- %s bits/dim\n", s->nll,
               pf_error_bar(s->nll_se, 5, error));
    if (estimand != PF_NLL_ODE)
        printf("bound         %.5f +- %s bits/dim\n", s->bound,
               pf_error_bar(s->bound_se, 5, error));
    printf("ledger        prior %.5f  integral %.5f  dequantisation %.5f  offset %.5f\n",
           s->prior, s->integral, s->dequantisation, s->offset);
    if (!isnan(s->probe_se)) printf("  of the s.e.: probes %.5f\n", s->probe_se);
    if (!isnan(s->dequant_se))
        printf("  of the s.e.: dequantisation draws %.5f\n", s->dequant_se);
    if (!isnan(s->solver_error))
        printf("solver        mean |error| %.1e, largest %.1e bits/dim against a tenth of the "
               "tolerances, in %lld of %lld groups\n",
               s->solver_error, s->solver_error_max, (long long)p->repeated,
               (long long)p->groups);
    printf("evaluations   %.1f a group of %d\n", s->evaluations, p->o->group);
    if (p->speed > 0.0) printf("speed         %.2f images/s\n", p->speed);
    printf("results       %s\n", p->results);
}

static void print_one(const char *what, double mean, double se, double alone)
{
    char paired[32], unpaired[32];
    printf("  %-11s %+.5f +- %s bits/dim, paired (of two unpaired numbers: +- %s)\n", what,
           mean, pf_error_bar(se, 5, paired), pf_error_bar(alone, 5, unpaired));
}

void pf_bpd_print_difference(int estimand, const pf_difference *d)
{
    if (!d->images) {
        printf("difference    none: no image is in both files\n");
        return;
    }
    printf("difference    the first model minus the second, %lld images; below 0 the first is "
           "better\n",
           (long long)d->images);
    if (estimand != PF_BOUND) print_one("nll_ode", d->nll, d->nll_se, d->nll_alone_se);
    if (estimand != PF_NLL_ODE) print_one("bound", d->bound, d->bound_se, d->bound_alone_se);
}
