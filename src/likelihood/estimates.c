/* Each image's number and its variance, from the rows of a ledger. */
#include <math.h>
#include <probflow/likelihood.h>
#include <probflow/memory.h>

static int sets_of(const pf_likelihood_opt *o)
{
    return o->probes / o->colours;
}

static int has_nll(const pf_likelihood_opt *o)
{
    return o->estimand != PF_BOUND;
}

/* 1 when the sets of probes of a row say all that is random in it. */
static int sets_say_it(const pf_likelihood_opt *o, int pixels, int paired)
{
    return !pixels && !paired && o->estimand == PF_NLL_ODE && sets_of(o) > 1;
}

static int nothing_is_random(const pf_likelihood_opt *o, int pixels)
{
    return !pixels && o->estimand == PF_NLL_ODE && o->probe == PF_EXACT;
}

/* 1 when draws say the error of a row, but not the share of the probes: one set, and pixels beside it. */
static int probes_are_silent(const pf_likelihood_opt *o, int pixels)
{
    return pixels && has_nll(o) && o->probe != PF_EXACT && sets_of(o) == 1;
}

int64_t pf_likelihood_pilots(const pf_likelihood_opt *o, int pixels, int paired, int64_t images)
{
    enum { ENOUGH = 512 }; /* the mean of as many squares is known to sqrt(2/512), 6 % */
    int64_t groups = (images + o->group - 1) / o->group,
            some = (ENOUGH + o->group - 1) / o->group;
    if (nothing_is_random(o, pixels) || sets_say_it(o, pixels, paired)) return 0;
    if (o->draws > 1 && !probes_are_silent(o, pixels)) return 0;
    return some < groups ? some : groups;
}

int pf_likelihood_repeats(int64_t images)
{
    enum { LEAST = 16 }; /* the mean of as many squares is known to sqrt(2/16), a third */
    return images < LEAST ? (int)((LEAST + images - 1) / images) : 1;
}

typedef double (*getter)(const pf_ledger *r);
static double get_nll(const pf_ledger *r)
{
    return r->nll;
}
static double get_bound(const pf_ledger *r)
{
    return r->bound;
}

/* One image's mean over the draws that are reported, and what its repeats say of the mean's variance. */
static void average(getter get, const pf_ledger *rows, const pf_ledger *minus, int draws,
                    int reported, double *mean, double *spread, int *dof)
{
    double sum = 0.0, all = 0.0, squares = 0.0;
    int made = 0;
    for (int j = 0; j < draws; j++) {
        double v = get(&rows[j]) - (minus ? get(&minus[j]) : 0.0);
        if (j < reported) sum += v;
        if (!isnan(v)) all += v, made++;
    }
    *mean = sum / reported;
    for (int j = 0; j < draws; j++) {
        double v = get(&rows[j]) - (minus ? get(&minus[j]) : 0.0);
        if (!isnan(v)) squares += (v - all / made) * (v - all / made);
    }
    *dof = made > 1 ? made - 1 : 0;
    *spread = made > 1 ? squares / (made - 1) / reported : NAN;
}

static void fill_parts(const pf_ledger *rows, int reported, pf_estimate *e)
{
    double variance = 0.0, known = 0.0; /* of the draws whose probes have said it */
    for (int j = 0; j < reported; j++) {
        const pf_ledger *r = &rows[j];
        e->prior += r->prior / reported;
        e->integral += r->integral / reported;
        e->dequantisation += r->dequantisation / reported;
        e->offset += r->offset / reported;
        e->solver_error += fabs(r->solver_error) / reported;
        if (!isnan(r->probe_variance)) variance += r->probe_variance, known++;
    }
    e->probe_variance = variance / known / reported; /* NaN: of none */
}

/* Three columns that are moderated, one after the other. */
typedef struct columns {
    double *spread, *out;
    int *dof;
} columns;

static void moderate(int64_t n, int which, const columns *c, pf_estimate *out)
{
    pf_moderate_variance(n, c->spread, c->dof, c->out);
    for (int64_t i = 0; i < n; i++) {
        double *to = which == 0   ? &out[i].nll_variance
                     : which == 1 ? &out[i].bound_variance
                                  : &out[i].probe_variance;
        *to = c->out[i];
    }
}

static void fill(const pf_likelihood_opt *o, int pixels, const pf_ledger *rows,
                 const pf_ledger *minus, int64_t n, int draws, const columns *c,
                 pf_estimate *out)
{
    int reported = o->draws;
    for (int64_t i = 0; i < n; i++) {
        const pf_ledger *r = rows + i * draws, *m = minus ? minus + i * draws : NULL;
        out[i] = (pf_estimate){.image = r->image};
        fill_parts(r, reported, &out[i]);
        average(get_nll, r, m, draws, reported, &out[i].nll, &c->spread[i], &c->dof[i]);
        if (sets_say_it(o, pixels, minus != NULL) && reported == 1) {
            c->spread[i] = r->probe_variance;
            c->dof[i] = sets_of(o) - 1;
        } else if (nothing_is_random(o, pixels)) c->spread[i] = 0.0, c->dof[i] = 1;
    }
    moderate(n, 0, c, out);
    for (int64_t i = 0; i < n; i++)
        average(get_bound, rows + i * draws, minus ? minus + i * draws : NULL, draws, reported,
                &out[i].bound, &c->spread[i], &c->dof[i]);
    moderate(n, 1, c, out);
}

/* Of the probes alone: by sets, by the pairs of the pilots, or, where nothing else is random, all. */
static void fill_probes(const pf_likelihood_opt *o, int pixels, int64_t n, const columns *c,
                        pf_estimate *out)
{
    int known = 0;
    for (int64_t i = 0; i < n; i++) {
        c->spread[i] = o->probe == PF_EXACT ? 0.0 : out[i].probe_variance;
        c->dof[i] = isnan(c->spread[i]) ? 0 : sets_of(o) > 1 ? o->draws * (sets_of(o) - 1) : 1;
        known += c->dof[i] > 0;
    }
    if (known || pixels) moderate(n, 2, c, out);
    else
        for (int64_t i = 0; i < n; i++) out[i].probe_variance = out[i].nll_variance;
}

pf_status pf_likelihood_estimates(const pf_likelihood_opt *o, int pixels, const pf_ledger *rows,
                                  const pf_ledger *minus, int64_t n_rows, int draws,
                                  pf_estimate *out)
{
    int64_t n = n_rows / draws;
    columns c = {pf_zalloc(((size_t)n + 1) * sizeof *c.spread),
                 pf_zalloc(((size_t)n + 1) * sizeof *c.out),
                 pf_zalloc(((size_t)n + 1) * sizeof *c.dof)};
    int failed = !c.spread || !c.out || !c.dof;
    if (!failed) {
        fill(o, pixels, rows, minus, n, draws, &c, out);
        if (!minus && has_nll(o)) fill_probes(o, pixels, n, &c, out);
        for (int64_t i = 0; minus && i < n; i++) {
            pf_estimate *e = &out[i];
            e->prior = e->integral = e->dequantisation = e->offset = NAN;
            e->probe_variance = e->solver_error = NAN;
        }
    }
    pf_free(c.spread);
    pf_free(c.out);
    pf_free(c.dof);
    PF_REQUIRE(!failed, PF_EMEM, "no memory for the errors of %lld images", (long long)n);
    return PF_OK;
}
