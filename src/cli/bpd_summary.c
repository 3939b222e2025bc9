/* The summary of `probflow bpd`: the number, its error, the ledger behind it. */
#include "cli/bpd.h"

#include <probflow/estimand.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *said(const pf_ledger_column *c)
{
    return c->said ? c->said : c->name;
}

/* The figure whose name is the first n characters of the column's, and `end`. */
static double figure(const pf_summary *s, const pf_ledger_column *c, int n, const char *end)
{
    char full[PF_FIGURE_NAME];
    snprintf(full, sizeof full, "%.*s%s", n, c->name, end);
    return pf_summary_figure(s, full);
}

static double of(const pf_summary *s, const pf_ledger_column *c, const char *end)
{
    return figure(s, c, (int)strlen(c->name), end);
}

void pf_bpd_count_groups(pf_bpd_page *p, const pf_ledger *rows)
{
    int error = 0, weights = pf_ledger_weights(rows);
    double symbols = 0.0;
    p->groups = p->repeated = 0;
    while (error < rows->n && rows->column[error].role != PF_ROLE_ERROR) error++;
    for (int64_t i = 0, last = -1; i < rows->rows; i++) {
        const double *r = rows->cell + i * rows->n;
        int64_t group = (int64_t)r[PF_AT_IMAGE] / p->o->group;
        if (weights >= 0 && r[PF_AT_DRAW] == 0.0) symbols += r[weights];
        if (group == last) continue;
        last = group;
        p->groups++;
        p->repeated += error < rows->n && !isnan(r[error]);
    }
    p->symbols = p->of_tokens ? (int64_t)symbols : 0;
}

static void print_totals(const pf_bpd_page *p, const pf_summary *s)
{
    const pf_estimand_ops *e;
    char error[32];
    for (int i = 0; (e = pf_estimand_asked(p->o, i)); i++) {
        const pf_ledger_column *c = &e->columns[e->total];
        printf("%-13s %.5f +- %s %s\n", said(c), of(s, c, ""),
               pf_error_bar(of(s, c, "_se"), 5, error), p->unit);
    }
}

/* Of a chain: which one, and what of it. */
static void print_chain(const pf_bpd_page *p)
{
    const pf_estimand_ops *e = pf_estimand_asked(p->o, 0);
    const struct pf_scored_chain *c = &p->chain;
    int n = p->o->terms;
    if (!(e->needs & PF_NEEDS_CHAIN)) return;
    printf("estimand      %s, ", e->help);
    if (c->whole > c->steps)
        printf("%d of %d (respacing %s)", c->steps, c->whole, p->o->respacing);
    else printf("all %d", c->steps);
    printf("; predictions of the data %s; ", c->clips ? "clipped" : "not clipped");
    if (n)
        printf("%d of its %d terms, drawn in each draw%s\n", n, c->steps - 1,
               p->o->strata == PF_STRATA_GEOMETRIC ? " from geometric strata"
               : p->o->strata == PF_STRATA_LEARNED ? " by the law that training learned"
                                                   : "");
    else printf("all its %d terms\n", c->steps - 1);
}

/* As the bound is published where a method has a scale of its own for it. */
static void print_k(const pf_bpd_page *p, const pf_summary *s)
{
    const struct pf_scored_chain *c = &p->chain;
    char error[32];
    if (c->null == 0.0) return;
    double k = pf_scored_k(c, s->figure[0].value), se = c->dim * s->figure[1].value;
    printf("K             %.5f +- %s bits a datum, %.5f above its null", k,
           pf_error_bar(se, 5, error), k - pf_scored_k_null(c));
    if (p->pixels > 1)
        printf("; %.5f +- %s a pixel, %.5f above", k / p->pixels,
               pf_error_bar(se / p->pixels, 5, error), (k - pf_scored_k_null(c)) / p->pixels);
    printf("\n");
}

/* What a part is made of; nothing where some rows do not know. */
static void print_bands(const pf_ledger_column *c, int n, const pf_summary *s)
{
    const char *gap = NULL;
    for (int i = 0; i < n; i++) {
        double v = of(s, &c[i], "");
        if (c[i].role != PF_ROLE_BAND || isnan(v)) continue;
        if (!gap) printf("bands         %s", said(&c[i]));
        printf("%s %.5f", gap ? gap : ":", v);
        gap = "";
    }
    if (gap) printf("\n");
}

static void print_parts(const pf_ledger_column *c, int n, const pf_summary *s)
{
    const char *gap = "ledger        ";
    for (int i = 0; i < n; i++) {
        pf_role r = c[i].role;
        if (r != PF_ROLE_PART && r != PF_ROLE_DEQUANT && r != PF_ROLE_OFFSET) continue;
        if (isnan(of(s, &c[i], ""))) continue; /* of an estimand that was not asked for */
        printf("%s%s %.5f", gap, said(&c[i]), of(s, &c[i], ""));
        gap = "  ";
    }
    printf("\n");
}

/* Shares of the standard error of the first total. */
static void print_shares(const pf_ledger_column *c, int n, const pf_summary *s)
{
    for (int i = 0; i < n; i++) {
        int stem = (int)strlen(c[i].name) - (int)strlen("_variance");
        if (c[i].role != PF_ROLE_VARIANCE) continue;
        double se = figure(s, &c[i], stem, "_se");
        if (!isnan(se)) printf("  of the s.e.: %s %.5f\n", said(&c[i]), se);
    }
    for (int i = 0; i < n; i++) {
        double se = pf_summary_figure(s, "dequant_se");
        if (c[i].role == PF_ROLE_DEQUANT && !isnan(se))
            printf("  of the s.e.: %s draws %.5f\n", said(&c[i]), se);
    }
}

/* All draws as one bound, and what more of them would make of it. */
static void print_bound_of_draws(const pf_draws *d, int dim)
{
    char error[32];
    double now, nats = dim * M_LN2;
    if (!d->J) return;
    printf("draws         the bound of all %d together is %.5f +- %s bits/dim", d->J, d->bound,
           pf_error_bar(d->se, 5, error));
    if (isnan(d->probes))
        printf(", lowered by what probes add to it; likelihood.probes=2 says by how much\n");
    else if (d->probes > 0.0)
        printf(", with %.5f in place of what probes take from it\n", d->probes);
    else printf("\n");
    now = pf_gain_of_draws(d->deviation, d->J);
    printf("              where log weights are normal, of deviation %.2f nats, %d draws would "
           "give %.5f less, %d %.5f\n",
           d->deviation, 2 * d->J, (pf_gain_of_draws(d->deviation, 2 * d->J) - now) / nats,
           4 * d->J, (pf_gain_of_draws(d->deviation, 4 * d->J) - now) / nats);
}

/* The same where nothing is dequantised: what more draws would remove, and what only more images would. */
static void print_draws(const pf_likelihood_opt *o, const pf_summary *s)
{
    double draws = pf_summary_figure(s, "draws_se"), images = pf_summary_figure(s, "images_se");
    double all = s->figure[1].value, terms = pf_summary_figure(s, "terms_se");
    if (pf_estimand_dequantises(pf_estimand_asked(o, 0))) return;
    if (o->draws == 1 && !isnan(all) && !isnan(terms))
        printf("  of the s.e.: images and their noise, at least %.5f\n",
               sqrt(fmax(all * all - terms * terms, 0.0)));
    if (!isnan(draws))
        printf("  of the s.e.: noise%s %.5f, which more draws remove\n",
               o->terms ? " and drawn terms" : "", draws);
    if (!isnan(images))
        printf("  of the s.e.: images %.5f, which only more images reduce\n", images);
}

static void print_work(const pf_bpd_page *p, const pf_ledger_column *c, int n,
                       const pf_summary *s)
{
    for (int i = 0; i < n; i++)
        if (c[i].role == PF_ROLE_ERROR && !isnan(of(s, &c[i], "")))
            printf("solver        mean |error| %.1e, largest %.1e bits/dim against a tenth of "
                   "the tolerances, in %lld of %lld groups\n",
                   of(s, &c[i], ""), of(s, &c[i], "_max"), (long long)p->repeated,
                   (long long)p->groups);
    for (int i = 0; i < n; i++)
        if (c[i].role == PF_ROLE_WORK)
            printf("%-13s %.1f a group of %d\n", said(&c[i]), of(s, &c[i], ""), p->o->group);
}

void pf_bpd_print(const pf_bpd_page *p, const pf_summary *s)
{
    const pf_ledger_column *c;
    int n = pf_likelihood_columns(p->o, &c);
    if (!s->images) {
        printf("images        none: this part holds no group\n");
        return;
    }
    printf("%s%lld of the %s split of %s, ", p->symbols ? "rows          " : "images        ",
           (long long)s->images, p->split, p->dataset);
    if (p->symbols) printf("%lld symbols, ", (long long)p->symbols);
    printf("%d draw%s each\n", p->o->draws, p->o->draws == 1 ? "" : "s");
    print_totals(p, s);
    print_k(p, s);
    print_chain(p);
    print_parts(c, n, s);
    print_bands(c, n, s);
    print_shares(c, n, s);
    print_draws(p->o, s);
    print_bound_of_draws(&p->draws, p->dim);
    print_work(p, c, n, s);
    if (p->speed > 0.0)
        printf("speed         %.2f %s/s\n", p->speed, p->symbols ? "rows" : "images");
    printf("results       %s\n", p->results);
}

static void print_one(const char *what, const struct pf_paired *d, const char *unit)
{
    char paired[32], unpaired[32];
    printf("  %-11s %+.5f +- %s %s, paired (of two unpaired numbers: +- %s)\n", what, d->mean,
           pf_error_bar(d->se, 5, paired), unit, pf_error_bar(d->alone_se, 5, unpaired));
}

void pf_bpd_print_difference(const pf_likelihood_opt *opt, const pf_difference *d,
                             const char *unit)
{
    const pf_estimand_ops *e;
    if (!d->images) {
        printf("difference    none: no image is in both files\n");
        return;
    }
    printf("difference    the first model minus the second, %lld images; below 0 the first is "
           "better\n",
           (long long)d->images);
    for (int i = 0; (e = pf_estimand_asked(opt, i)); i++)
        for (int k = 0; k < d->n; k++)
            if (d->total[k].column == e->total)
                print_one(said(&e->columns[e->total]), &d->total[k], unit);
}
